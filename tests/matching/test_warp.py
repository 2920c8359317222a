import numpy as np
import pytest

from fpserver.fingerprint.cells import levels_from_peaks
from fpserver.fingerprint.constellation import band
from fpserver.matching.evidence import ClipMap
from fpserver.matching.verdict import matches_of
from fpserver.matching.warp import STEP, TEMPO_STEP, finer, hypotheses, refined, settled
from fpserver.terms import Candidate, Constellation, Peaks, Warp
from tests.matching.making import CONFIG


@pytest.mark.parametrize(
    ("kind", "lowest", "highest", "step"),
    [
        ("speed", 0.85, 1.15, STEP),
        ("tempo", 0.85, 1.15, TEMPO_STEP),
        ("pitch", 2 ** (-4 / 12), 2 ** (4 / 12), STEP),
    ],
)
def test_hypotheses_cover_their_range_in_even_steps(
    kind: str, lowest: float, highest: float, step: float
) -> None:
    factors = {
        "speed": [warp.speed for warp in hypotheses() if warp.speed == warp.pitch],
        "tempo": [warp.speed for warp in hypotheses() if warp.pitch == 1],
        "pitch": [warp.pitch for warp in hypotheses() if warp.speed == 1],
    }[kind]
    steps = np.diff(np.log(sorted([*factors, 1.0])))
    np.testing.assert_allclose(steps, step)
    assert min(factors) <= lowest * (1 + step)
    assert max(factors) >= highest * (1 - step)


def test_finer_hypotheses_lie_evenly_between_those_around_them() -> None:
    some = hypotheses()
    for one in (
        [warp for warp in some if warp.speed == warp.pitch and warp.speed > 1],
        [warp for warp in some if warp.speed == 1 and warp.pitch < 1],
    ):
        fine = finer(one)
        assert len(fine) == 4 * len(one)
        np.testing.assert_allclose(np.diff(np.log(sorted(warp.pitch for warp in fine))), STEP / 4)
        assert all((warp.speed == warp.pitch) == (one[0].speed == one[0].pitch) for warp in fine)
    assert finer([Warp(speed=1.08)]) == [Warp(speed=1.08)]
    assert finer([]) == []


def test_every_hypothesis_stands_once_and_none_is_the_clip_as_it_is() -> None:
    warps = hypotheses()
    assert len(set(warps)) == len(warps)
    assert Warp() not in warps


def random_track(rng: np.random.Generator, *, n_frames: int, per_frame: float = 1.9) -> Peaks:
    n = round(n_frames * per_frame)
    first, last = band(CONFIG)
    places = np.unique(
        np.c_[rng.integers(0, n_frames, n), rng.integers(first + 150, last - 200, n)], axis=0
    ).astype(np.int32)
    return Peaks(frame=places[:, 0], bin=places[:, 1], n_frames=n_frames)


def played(track: Peaks, warp: Warp, *, first: int, n_frames: int) -> Constellation:
    """A clip's peaks, had it the track's, `first` frames in, under the warp."""
    frame = np.rint((track.frame - first) / warp.speed).astype(np.int32)
    bin_ = np.rint(track.bin * warp.pitch).astype(np.int32)
    inside = (frame >= 0) & (frame < n_frames)
    places = np.unique(np.c_[frame[inside], bin_[inside]], axis=0)
    level = np.full(len(places), 40, np.uint8)
    return Constellation(frame=places[:, 0], bin=places[:, 1], level=level, n_frames=n_frames)


@pytest.mark.parametrize(
    "warp",
    [
        Warp(speed=0.9, pitch=0.9),
        Warp(speed=1.037, pitch=1.037),
        Warp(speed=1.12, pitch=1.12),
        Warp(speed=0.953),
        Warp(speed=1.08),
        Warp(pitch=2 ** (-2 / 12)),
        Warp(pitch=2 ** (1.3 / 12)),
    ],
    ids=str,
)
def test_the_hypothesis_nearby_is_refined_to_the_warp_within_half_a_percent(
    rng: np.random.Generator, warp: Warp
) -> None:
    track = random_track(rng, n_frames=800)
    clip = played(track, warp, first=300, n_frames=215)
    clip_map = ClipMap(clip, levels_from_peaks(clip, CONFIG), first_bin=band(CONFIG)[0])
    nearest = sorted(
        hypotheses(),
        key=lambda each: abs(np.log(each.speed / warp.speed)) + abs(np.log(each.pitch / warp.pitch)),
    )
    middle = 300 + warp.speed * 215 / 2
    for start in nearest[:2]:
        begins = middle - start.speed * 215 / 2
        rough = Candidate(track_id=1, alignment=begins + 0.7, warp=start, votes=3.0, n_votes=30)
        found = refined(clip_map, rough, track)
        assert found.warp.speed == pytest.approx(warp.speed, rel=0.005)
        assert found.warp.pitch == pytest.approx(warp.pitch, rel=0.005)
        assert found.alignment == pytest.approx(300, abs=1.0)
        assert (found.votes, found.n_votes) == (3.0, 30)


def test_what_was_not_changed_stays_as_it_is(rng: np.random.Generator) -> None:
    track = random_track(rng, n_frames=800)
    clip = played(track, Warp(speed=1.05), first=300, n_frames=215)
    clip_map = ClipMap(clip, levels_from_peaks(clip, CONFIG), first_bin=band(CONFIG)[0])
    rough = Candidate(track_id=1, alignment=300.0, warp=Warp(speed=1.05), votes=1.0, n_votes=9)
    assert refined(clip_map, rough, track).warp.pitch == 1.0


def test_a_stretched_clip_is_placed_where_all_of_it_fits_not_where_the_track_repeats_a_part(
    rng: np.random.Generator,
) -> None:
    once = random_track(rng, n_frames=800)
    repeated = (once.frame >= 380) & (once.frame < 460)
    track = Peaks(
        frame=np.r_[once.frame, once.frame[repeated] + 600],
        bin=np.r_[once.bin, once.bin[repeated]],
        n_frames=1400,
    )
    clip = played(track, Warp(speed=0.96), first=300, n_frames=215)
    clip_map = ClipMap(clip, levels_from_peaks(clip, CONFIG), first_bin=band(CONFIG)[0])
    fits_unstretched_at = 420 - (420 - 300) / 0.96
    places = [
        Candidate(track_id=1, alignment=fits_unstretched_at + moved, votes=votes, warp=Warp(), n_votes=9)
        for moved, votes in ((600, 40.0), (0, 9.0))
    ]
    best = matches_of(clip_map, places, [track, track], max_verified=9, share=1 / 3)[0]
    assert clip_map.evidence(places[0], track) is not None
    assert best.alignment == pytest.approx(300, abs=1.0)
    assert best.warp.speed == pytest.approx(0.96, rel=0.005)


def test_a_clip_of_a_second_is_not_called_another_speed_because_one_of_many_fits_its_few_peaks() -> None:
    n_frames, n_clips = 14, 40
    n_unchanged = 0
    for seed in range(n_clips):
        rng = np.random.default_rng(seed)
        track = random_track(rng, n_frames=800)
        whole = played(track, Warp(), first=300, n_frames=n_frames)
        heard = rng.random(len(whole.frame)) < 0.4
        moved = (rng.random(len(whole.frame)) < 0.3) * rng.integers(-1, 2, len(whole.frame))
        frame = np.clip(whole.frame + moved, 0, n_frames - 1)
        places = np.unique(np.c_[frame, whole.bin][heard], axis=0).astype(np.int32)
        level = np.full(len(places), 40, np.uint8)
        clip = Constellation(frame=places[:, 0], bin=places[:, 1], level=level, n_frames=n_frames)
        clip_map = ClipMap(clip, levels_from_peaks(clip, CONFIG), first_bin=band(CONFIG)[0])
        as_it_is = Candidate(track_id=1, alignment=300.0, warp=Warp(), votes=3.0, n_votes=9)
        n_unchanged += settled(clip_map, as_it_is, track, agrees=(3, n_frames - 3)) is as_it_is
    assert n_unchanged == n_clips


@pytest.mark.parametrize(
    ("speed", "n_frames", "told"), [(1.004, 215, False), (1.06, 14, False), (1.015, 215, True)]
)
def test_a_tempo_that_moves_the_clips_ends_by_less_than_a_frame_is_not_told(
    rng: np.random.Generator, speed: float, n_frames: int, told: bool
) -> None:
    track = random_track(rng, n_frames=800, per_frame=6)
    clip = played(track, Warp(speed=speed), first=300, n_frames=n_frames)
    clip_map = ClipMap(clip, levels_from_peaks(clip, CONFIG), first_bin=band(CONFIG)[0])
    middle = 300 + (speed - 1) * n_frames / 2
    as_it_is = Candidate(track_id=1, alignment=middle, warp=Warp(), votes=3.0, n_votes=9)
    found = settled(clip_map, as_it_is, track, agrees=(0, n_frames - 1))
    assert (found.warp.speed != 1) == told
