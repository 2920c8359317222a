import pytest

from fpserver.fingerprint.constellation import constellation_of
from fpserver.fingerprint.landmarks import fingerprint_of
from fpserver.matching.confidence import DENSE, PLAIN, REFERENCE_POSTINGS, Tail, confidence, false_accept_rate
from fpserver.matching.sameness import is_same_recording
from fpserver.terms import Constellation, Samples
from tests.matching.making import CONFIG, MemoryIndex
from tests.synth import at_snr, clicks, noise, song, tone

RATE_HZ, HOP = CONFIG.rate_hz, CONFIG.hop


def dense(samples: Samples) -> Constellation:
    return constellation_of(samples, CONFIG)


@pytest.fixture(scope="module")
def index() -> MemoryIndex:
    return MemoryIndex({seed: dense(song(seed, 30.0, RATE_HZ)) for seed in range(1, 9)})


@pytest.mark.parametrize("track_id", [1, 4, 8])
def test_a_noisy_clip_from_the_middle_is_found_at_its_offset(index: MemoryIndex, track_id: int) -> None:
    start = 250 * HOP + 100
    clip = at_snr(song(track_id, 30.0, RATE_HZ)[start : start + 8 * RATE_HZ], 3, seed=track_id)
    best = index.search(dense(clip))[0]
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
    assert all(match.false_accept_rate > 1e-4 for match in index.search(dense(samples)))


def test_two_tracks_that_share_material_are_both_found() -> None:
    shared = song(1, 12.0, RATE_HZ)
    one, two = (dense(shared + song(seed, 12.0, RATE_HZ) * 0.1) for seed in (30, 31))
    matches = MemoryIndex({1: one, 2: two, 3: dense(song(5, 12.0, RATE_HZ))}).search(
        dense(shared[: 8 * RATE_HZ])
    )
    assert {match.track_id for match in matches if match.false_accept_rate < 1e-4} == {1, 2}


def test_the_rate_falls_with_the_score_and_grows_with_the_catalogue() -> None:
    def rate(score: float, n_indexed: int = REFERENCE_POSTINGS) -> float:
        return false_accept_rate(score, PLAIN, n_indexed=n_indexed, n_steps=2)

    assert rate(-100) == 1.0
    assert rate(12) > rate(13) > rate(200) > 0
    assert rate(14, 10 * REFERENCE_POSTINGS) == pytest.approx(10 * rate(14))


def test_one_step_of_scale_is_a_factor_of_e() -> None:
    tail = Tail(location=5.0, scale=0.5)
    rates = [false_accept_rate(score, tail, n_indexed=REFERENCE_POSTINGS, n_steps=1) for score in (7.0, 7.5)]
    assert rates[0] / rates[1] == pytest.approx(2.718281828)
    assert rates[0] == pytest.approx(2.718281828**-4)


def test_the_dense_step_asks_for_more_than_the_plain_one() -> None:
    plain, dense_ = (
        false_accept_rate(13.0, tail, n_indexed=REFERENCE_POSTINGS, n_steps=2) for tail in (PLAIN, DENSE)
    )
    assert plain < dense_


def test_confidence_is_a_probability_that_falls_with_the_rate() -> None:
    assert confidence(0.0) == 1.0
    assert confidence(1.0) == 0.5
    assert confidence(1e-4) == pytest.approx(0.9999)


def test_a_recording_with_a_little_noise_is_the_same_and_another_mix_is_not() -> None:
    samples = song(3, 20.0, RATE_HZ)
    old = fingerprint_of(dense(samples), CONFIG).constellation

    def same(again: Samples) -> bool:
        new = dense(again)
        return is_same_recording(
            old=old,
            new=fingerprint_of(new, CONFIG).constellation,
            new_dense=new,
            alignment=0,
            n_bins=512,
        )

    assert same(samples)
    assert same(at_snr(samples[:-50], 40, seed=2))
    assert not same(samples + song(4, 20.0, RATE_HZ))
    assert not same(song(5, 20.0, RATE_HZ))
    half = samples.copy()
    half[len(half) // 2 :] = song(6, 20.0, RATE_HZ)[len(half) // 2 :]
    assert not same(half)
