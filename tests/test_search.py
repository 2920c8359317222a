"""The steps of a search, on an index in memory: what each may cost, and when each is taken."""

from typing import Any

import numpy as np
import pytest
import soxr

from fpserver.config import Config, FingerprintConfig
from fpserver.fingerprint.landmarks import fingerprint_of
from fpserver.fingerprint.query import warped_query_of
from fpserver.matching import kernels
from fpserver.matching.warp import STEP, hypotheses
from fpserver.search import N_LIKELY, SHARES, STEPS, Clock, Step, prepare, search
from fpserver.terms import Constellation, Hashes, Hearing, Lookup, Samples, Warp
from tests.hearing.clips import warped
from tests.matching.making import CONFIG, MemoryIndex, dense, heard
from tests.synth import at_snr, duet, noise, silence, tone

RATE_HZ = CONFIG.rate_hz
DEFAULTS = Config()


@pytest.fixture(scope="module")
def index() -> MemoryIndex:
    return MemoryIndex({seed: duet(seed, 30.0, RATE_HZ) for seed in range(1, 13)})


def cut(seed: int, start_s: float = 8.0, duration_s: float = 8.0) -> Samples:
    return duet(seed, 30.0, RATE_HZ)[round(start_s * RATE_HZ) : round((start_s + duration_s) * RATE_HZ)]


async def all_steps(
    index: MemoryIndex, hearing: Hearing, config: Config = DEFAULTS, *, warped: bool = True
) -> list[Step]:
    index.asked.clear()
    index.windows_asked.clear()
    return [step async for step in search(index, hearing, config, Clock({}), warped=warped)]


async def test_the_steps_come_in_order_and_each_finds_a_clean_clip(index: MemoryIndex) -> None:
    steps = await all_steps(index, heard(cut(3)))
    assert tuple(step.name for step in steps) == STEPS
    for step in steps[:2]:
        assert step.ranked[0].track_id == 3
        assert step.ranked[0].false_accept_rate < 1e-4
        assert step.ranked[0].alignment == pytest.approx(8.0 * RATE_HZ / CONFIG.hop, abs=0.7)


async def test_nothing_is_asked_before_a_step_is_wanted(index: MemoryIndex) -> None:
    index.asked.clear()
    steps = search(index, heard(cut(3)), Config(), Clock({}), warped=True)
    assert index.asked == []
    async for step in steps:
        assert step.name == "plain"
        break
    assert len(index.asked) == 1


async def test_all_that_a_search_runs_is_compiled_before_the_first_clip(index: MemoryIndex) -> None:
    await prepare()
    loops = [each for each in vars(kernels).values() if hasattr(each, "signatures")]
    known = {each: list(each.signatures) for each in loops}
    assert len(loops) > 6
    await all_steps(index, heard(cut(3)))
    assert {each: each.signatures for each in loops} == known


def test_the_steps_spend_what_is_allowed_and_no_more() -> None:
    assert sum(SHARES.values()) == pytest.approx(1)


async def test_without_leave_no_other_speed_is_tried(index: MemoryIndex) -> None:
    steps = await all_steps(index, heard(noise(1, 8.0, RATE_HZ)), warped=False)
    assert [step.name for step in steps] == ["plain", "dense"]
    assert {(match.warp.speed, match.warp.pitch) for step in steps for match in step.ranked} <= {(1.0, 1.0)}


@pytest.mark.parametrize("lookups", [60, 500])
async def test_no_step_costs_more_than_its_settings_say(index: MemoryIndex, lookups: int) -> None:
    config = Config().with_values(
        matching={"max_verified": 3},
        **{step: {"max_lookups": lookups, "max_postings": 300, "max_candidates": 7} for step in STEPS},
    )
    steps = await all_steps(index, heard(at_snr(cut(4, duration_s=20.0), 0, seed=1)), config)
    assert len(steps) == len(index.windows_asked) == 4
    for step, (hashes, most), windows in zip(steps, index.asked, index.windows_asked, strict=True):
        assert step.n_lookups == len(np.unique(hashes)) <= lookups
        assert most == 300
        assert step.n_postings <= 300
        assert step.n_candidates == len(windows) <= 7
        assert len(step.ranked) <= 3


async def test_no_step_asks_again_for_what_was_read(index: MemoryIndex) -> None:
    steps = await all_steps(index, heard(at_snr(cut(5, duration_s=10.0), -3, seed=2)))
    asked = np.concatenate([hashes for hashes, _ in index.asked])
    assert len(np.unique(asked)) == len(asked) == sum(step.n_lookups for step in steps)


async def test_what_was_read_before_still_votes(index: MemoryIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    async def only_at_first(hashes: Hashes, *, max_postings: int) -> Lookup:
        found = index.found(hashes, max_postings=max_postings if not index.asked else 0)
        index.asked.append((hashes, max_postings))
        return found

    monkeypatch.setattr(index, "lookup", only_at_first)
    _, dense_ = await all_steps(index, heard(cut(3)), warped=False)
    assert dense_.n_postings == 0
    assert dense_.ranked[0].track_id == 3
    assert dense_.ranked[0].n_votes > 20


async def test_the_last_step_asks_finer_around_the_hypotheses_whose_hashes_are_commonest(
    index: MemoryIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[Warp], float]] = []

    def spied(clip: Constellation, warps: list[Warp], config: FingerprintConfig, **rest: Any) -> Any:
        asked.append((list(warps), rest["step"]))
        return warped_query_of(clip, warps, config, **rest)

    monkeypatch.setattr("fpserver.search.warped_query_of", spied)
    speed = 1.0413
    played = soxr.resample(cut(6, 4.0, 20.0), RATE_HZ * speed, RATE_HZ).astype(np.float32)
    await all_steps(index, heard(played[: 10 * RATE_HZ]))
    (all_warps, step), (likely, fine_step) = asked
    assert (len(all_warps), step) == (len(hypotheses()), STEP)
    assert fine_step == STEP / 4
    tempos = [warp for warp in all_warps if warp.pitch == 1]
    assert [warp for warp in likely if warp.pitch == 1] == tempos
    assert len(likely) == 4 * N_LIKELY + len(tempos)
    assert (
        min(abs(np.log(warp.speed / speed)) + abs(np.log(warp.pitch / speed)) for warp in likely) < STEP / 4
    )


async def test_at_the_defaults_a_clip_of_a_minute_keeps_within_the_settings(index: MemoryIndex) -> None:
    settings = Config()
    steps = await all_steps(index, heard(noise(2, 60.0, RATE_HZ)))
    for step, (_, max_postings) in zip(steps, index.asked, strict=True):
        assert step.n_lookups <= getattr(settings, step.name).max_lookups
        assert max_postings == getattr(settings, step.name).max_postings
        assert step.n_candidates <= getattr(settings, step.name).max_candidates
    assert sum(step.n_lookups for step in steps) <= 20_000
    assert sum(getattr(settings, step).max_postings for step in STEPS) <= 2_000_000


async def test_a_later_step_asks_for_more_than_the_one_before(index: MemoryIndex) -> None:
    plain, dense_, warped, _ = await all_steps(index, heard(at_snr(cut(5), -3, seed=2)))
    assert plain.n_lookups < dense_.n_lookups
    assert plain.n_lookups < warped.n_lookups


async def test_the_dense_step_finds_what_a_few_hashes_miss(index: MemoryIndex) -> None:
    few = Config().with_values(plain={"max_lookups": 1})
    plain, dense_ = await all_steps(index, heard(at_snr(cut(5), -3, seed=2)), few, warped=False)
    assert all(match.false_accept_rate > 1e-4 for match in plain.ranked)
    assert dense_.ranked[0].track_id == 5
    assert dense_.ranked[0].false_accept_rate < 1e-4


@pytest.mark.parametrize("speed", [0.93, 1.07])
async def test_only_the_warped_step_finds_a_clip_at_another_speed(index: MemoryIndex, speed: float) -> None:
    played = soxr.resample(cut(6, 4.0, 20.0), RATE_HZ * speed, RATE_HZ).astype(np.float32)
    plain, dense_, warped, _ = await all_steps(index, heard(played[: 10 * RATE_HZ]))
    for step in (plain, dense_):
        assert all(match.false_accept_rate > 1e-4 for match in step.ranked)
    best = warped.ranked[0]
    assert best.track_id == 6
    assert best.false_accept_rate < 1e-4
    assert best.warp.speed == pytest.approx(speed, rel=0.005)
    assert best.warp.pitch == pytest.approx(speed, rel=0.005)


@pytest.mark.parametrize("semitones", [2, -2])
async def test_a_clip_two_semitones_off_is_often_found_and_never_with_another_pitch(
    index: MemoryIndex, semitones: int
) -> None:
    pitch, n_found = 2 ** (semitones / 12), 0
    for seed in range(1, 13):
        *_, last = await all_steps(index, heard(warped(cut(seed, 6.0, 10.3), speed=1.0, pitch=pitch)))
        for match in last.ranked:
            if match.false_accept_rate <= 1e-4:
                n_found += 1
                assert match.track_id == seed
                assert match.warp.speed == 1.0
                assert match.warp.pitch == pytest.approx(pitch, rel=0.005)
    assert n_found >= 3


async def test_windows_lie_around_what_the_clip_covers_of_the_track(index: MemoryIndex) -> None:
    clip = heard(cut(7))
    steps = await all_steps(index, clip)
    n_frames = clip.constellation.n_frames
    for windows in index.windows_asked:
        for window in windows:
            assert n_frames * 0.8 < window.last_frame - window.first_frame < n_frames * 1.25
    (match, *_) = steps[0].ranked
    window = next(each for each in index.windows_asked[0] if each.track_id == match.track_id)
    assert window.first_frame <= match.alignment
    assert window.last_frame >= match.alignment + n_frames


async def test_a_clip_of_peaks_alone_is_still_found(index: MemoryIndex) -> None:
    hearing = heard(at_snr(cut(8), 3, seed=3))
    alone = Hearing(constellation=hearing.constellation, duration_s=8.0, truncated=False, timings_s={})
    steps = await all_steps(index, alone, warped=False)
    best = steps[0].ranked[0]
    assert best.track_id == 8
    assert best.false_accept_rate < 1e-4


@pytest.mark.parametrize(
    "samples",
    [
        silence(8.0, RATE_HZ),
        tone(1000, 8.0, RATE_HZ),
        noise(3, 1.0, RATE_HZ),
        noise(4, 1.2, RATE_HZ, level=1e-6),
    ],
    ids=["silence", "a tone", "a second of noise", "next to nothing"],
)
async def test_a_clip_that_offers_little_takes_all_steps_and_finds_nothing(
    index: MemoryIndex, samples: Samples
) -> None:
    steps = await all_steps(index, heard(samples))
    assert len(steps) == 4
    assert all(match.false_accept_rate > 1e-4 for step in steps for match in step.ranked)


async def test_a_part_of_the_index_that_did_not_answer_is_told(
    index: MemoryIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(windows: list[object]) -> list[None]:
        return [None] * len(windows)

    monkeypatch.setattr(index, "windows", away)
    steps = await all_steps(index, heard(cut(3)))
    assert all(step.degraded and step.ranked == [] for step in steps)


async def test_the_clock_counts_what_each_stage_took(index: MemoryIndex) -> None:
    clock = Clock({"audio": 1.5})
    async for _ in search(index, heard(cut(3)), Config(), clock, warped=False):
        pass
    assert set(clock.spent_s) == {"audio", "fingerprint", "index", "matching"}
    assert clock.spent_s["audio"] == 1.5
    assert all(spent > 0 for spent in clock.spent_s.values())


def test_a_track_costs_the_index_as_many_postings_as_its_settings_say() -> None:
    landmarks = fingerprint_of(dense(duet(9, 60.0, RATE_HZ)), CONFIG).landmarks
    assert len(landmarks) / 60 <= 1.1 * CONFIG.strong_peaks_per_s * CONFIG.fan_out
