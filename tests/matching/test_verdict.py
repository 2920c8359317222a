import pytest

from fpserver.fingerprint.landmarks import fingerprint_of
from fpserver.matching.candidates import candidates_of
from fpserver.matching.confidence import (
    DENSE,
    MIN_POSTINGS,
    PLAIN,
    REFERENCE_POSTINGS,
    WARPED,
    Tail,
    confidence,
    false_accept_rate,
)
from fpserver.matching.sameness import is_same_recording
from fpserver.matching.verdict import matches_of, score_of
from fpserver.terms import Samples
from tests.matching.making import CONFIG, MemoryIndex, clip_map, dense
from tests.synth import at_snr, clicks, noise, song, tone

RATE_HZ, HOP = CONFIG.rate_hz, CONFIG.hop


@pytest.fixture(scope="module")
def index() -> MemoryIndex:
    return MemoryIndex({seed: song(seed, 30.0, RATE_HZ) for seed in range(1, 9)})


@pytest.mark.parametrize("track_id", [1, 4, 8])
def test_a_noisy_clip_from_the_middle_is_found_at_its_offset(index: MemoryIndex, track_id: int) -> None:
    start = 250 * HOP + 100
    clip = at_snr(song(track_id, 30.0, RATE_HZ)[start : start + 8 * RATE_HZ], 3, seed=track_id)
    best = index.search(clip)[0]
    assert best.track_id == track_id
    assert best.alignment * HOP == pytest.approx(start, abs=0.03 * RATE_HZ)
    assert best.false_accept_rate < 1e-4
    assert best.confidence > 0.9999


@pytest.mark.parametrize(
    "samples",
    [
        song(99, 10.0, RATE_HZ),
        noise(1, 10.0, RATE_HZ),
        tone(880, 10.0, RATE_HZ),
        clicks(0.25, 10.0, RATE_HZ),
    ],
    ids=["another song", "white noise", "a tone", "clicks"],
)
def test_a_clip_of_nothing_catalogued_is_never_sure(index: MemoryIndex, samples: Samples) -> None:
    assert all(match.false_accept_rate > 1e-4 for match in index.search(samples))


def test_two_tracks_that_share_material_are_both_found() -> None:
    shared = song(1, 12.0, RATE_HZ)
    one, two = (shared + song(seed, 12.0, RATE_HZ) * 0.1 for seed in (30, 31))
    matches = MemoryIndex({1: one, 2: two, 3: song(5, 12.0, RATE_HZ)}).search(shared[: 8 * RATE_HZ])
    assert {match.track_id for match in matches if match.false_accept_rate < 1e-4} == {1, 2}


def test_the_rate_falls_with_the_score_and_grows_with_the_catalogue() -> None:
    def rate(score: float, n_indexed: int = REFERENCE_POSTINGS) -> float:
        return false_accept_rate(score, PLAIN, seconds=5.0, n_indexed=n_indexed, n_steps=2)

    assert rate(-100) == 1.0
    assert rate(12) > rate(13) > rate(200) > 0
    assert rate(14, 10 * REFERENCE_POSTINGS) == pytest.approx(10 * rate(14))


def test_one_step_of_scale_is_a_factor_of_e() -> None:
    tail = Tail((5.0, 5.0, 5.0, 5.0), 0.5)
    rates = [
        false_accept_rate(score, tail, seconds=5.0, n_indexed=REFERENCE_POSTINGS, n_steps=1)
        for score in (7.0, 7.5)
    ]
    assert rates[0] / rates[1] == pytest.approx(2.718281828)
    assert rates[0] == pytest.approx(2.718281828**-4)


def test_the_plain_step_which_asks_least_wants_the_lowest_score() -> None:
    plain, *others = (
        false_accept_rate(8.0, tail, seconds=5.0, n_indexed=REFERENCE_POSTINGS, n_steps=3)
        for tail in (PLAIN, DENSE, WARPED)
    )
    assert plain <= min(others)


def test_a_small_catalogue_fills_a_step_with_candidates_too() -> None:
    rates = [
        false_accept_rate(8.0, PLAIN, seconds=5.0, n_indexed=n, n_steps=3) for n in (0, 1000, MIN_POSTINGS)
    ]
    assert rates[0] == rates[1] == rates[2] > 0


def test_votes_alone_and_evidence_alone_are_worth_less_than_both() -> None:
    assert score_of(8.0, 9.0) > score_of(8.0, 0.0)
    assert score_of(8.0, 9.0) > score_of(0.0, 9.0)


def test_candidates_whose_peaks_are_not_there_are_passed_over(index: MemoryIndex) -> None:
    samples = song(2, 30.0, RATE_HZ)[: 8 * RATE_HZ]
    candidates = candidates_of(index.hits(dense(samples)), max_candidates=20)

    def judged(*, without: int, max_verified: int) -> list[int]:
        stored = [None if c.track_id == without else index.fingerprints[c.track_id].peaks for c in candidates]
        found = matches_of(
            clip_map(samples), candidates, stored,
            max_verified=max_verified, seconds=8.0, tail=PLAIN, n_indexed=index.n_indexed, n_steps=3,
        )  # fmt: skip
        return [match.track_id for match in found]

    assert judged(without=0, max_verified=20)[0] == 2
    assert 2 not in judged(without=2, max_verified=20)
    assert judged(without=0, max_verified=1) == [2]  # the most likely one is the one that is judged
    assert (
        matches_of(clip_map(samples), [], [], max_verified=9, seconds=8.0, tail=PLAIN, n_indexed=1, n_steps=3)
        == []
    )


def test_confidence_is_a_probability_that_falls_with_the_rate() -> None:
    assert confidence(0.0) == 1.0
    assert confidence(1.0) == 0.5
    assert confidence(1e-4) == pytest.approx(0.9999)


def test_a_recording_with_a_little_noise_is_the_same_and_another_mix_is_not() -> None:
    samples = song(3, 20.0, RATE_HZ)
    old = fingerprint_of(dense(samples), CONFIG).peaks

    def same(again: Samples) -> bool:
        new = dense(again)
        return is_same_recording(
            old=old,
            new=fingerprint_of(new, CONFIG).peaks,
            new_dense=new,
            alignment=0,
        )

    assert same(samples)
    assert same(at_snr(samples[:-50], 40, seed=2))
    assert not same(samples + song(4, 20.0, RATE_HZ))
    assert not same(song(5, 20.0, RATE_HZ))
    half = samples.copy()
    half[len(half) // 2 :] = song(6, 20.0, RATE_HZ)[len(half) // 2 :]
    assert not same(half)
