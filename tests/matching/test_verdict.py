import pytest

from fpserver.fingerprint.landmarks import fingerprint_of
from fpserver.matching.candidates import candidates_of
from fpserver.matching.confidence import (
    COHORT,
    SCALES,
    USUAL_CHANCE,
    chance_level,
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


def test_the_rate_falls_by_a_factor_of_e_with_every_step_of_scale() -> None:
    rates = [
        false_accept_rate(lead, unevenness=0.2, n_frames=200, share=0.5)
        for lead in (-100, 3.0, 3.0 + SCALES[1], 40.0)
    ]
    assert rates[0] == 1.0
    assert rates[1] / rates[2] == pytest.approx(2.718281828)
    assert rates[2] > rates[3] > 0


def test_the_more_uneven_a_clip_the_larger_the_lead_it_needs() -> None:
    rates = [
        false_accept_rate(4.0, unevenness=unevenness, n_frames=200, share=1 / 3)
        for unevenness in (0, 0.03, 0.06, 0.15, 1)
    ]
    assert rates[0] == rates[1] < rates[2] < rates[3] == rates[4]


def test_a_clip_of_a_second_needs_a_larger_lead() -> None:
    rates = [
        false_accept_rate(4.0, unevenness=0.2, n_frames=n_frames, share=1 / 3)
        for n_frames in (14, 20, 35, 999)
    ]
    assert rates[0] > rates[1] > rates[2] == rates[3]


def test_several_steps_share_the_rate() -> None:
    one, three = (false_accept_rate(4.0, unevenness=0.2, n_frames=200, share=share) for share in (1.0, 1 / 3))
    assert three == pytest.approx(3 * one)


def test_a_lead_counts_from_two_deviations_over_the_mean_of_the_other_tracks() -> None:
    assert chance_level([30.0, *[2.0] * COHORT, 1.0, 1.0]) == pytest.approx(2.0)
    assert chance_level([30.0, 3.0, 3.0, 3.0, 3.0, 2.0, 1.0, 1.0, 1.0, 1.0]) == pytest.approx(
        2 + 2 * 8**0.5 / 3
    )


def test_tracks_that_a_small_catalogue_lacks_are_reckoned_as_usual_ones() -> None:
    assert chance_level([]) == chance_level([30.0]) == pytest.approx(USUAL_CHANCE)


def test_other_recordings_of_the_same_song_do_not_hide_it() -> None:
    lead = 9.0 - chance_level([9.0] * 20)
    assert false_accept_rate(lead, unevenness=0.2, n_frames=200, share=1 / 3) < 1e-4


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
            max_verified=max_verified, share=1 / 3,
        )  # fmt: skip
        return [match.track_id for match in found]

    assert judged(without=0, max_verified=20)[0] == 2
    assert 2 not in judged(without=2, max_verified=20)
    assert judged(without=0, max_verified=1) == [2]  # the most likely one is the one that is judged
    assert matches_of(clip_map(samples), [], [], max_verified=9, share=1 / 3) == []


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
