"""Moments: where they lie, and that what is done to a clip on its way leaves them near."""

import numpy as np
import pytest

from fpserver.descriptors import MOMENT_TIMBRE_DIM, RATE_HZ
from fpserver.features.describe import describe
from fpserver.terms import MOMENT_HOP_S, SEGMENTS, Moments, Samples
from tests.synth import at_snr, silence, song, tone


def moments(samples: Samples) -> Moments:
    found = describe(samples, parts={SEGMENTS}, loudness_db=-20.0).moments
    assert found is not None
    return found


@pytest.mark.parametrize(("duration_s", "n"), [(0.3, 1), (1.0, 1), (1.49, 1), (1.5, 2), (3.0, 5), (10.2, 19)])
def test_every_half_second_begins_a_moment_of_a_second(duration_s: float, n: int) -> None:
    found = moments(song(1, duration_s))
    assert found.timbre.shape == (n, MOMENT_TIMBRE_DIM)
    assert found.chroma.shape == (n, 12)
    assert found.timbre.dtype == found.chroma.dtype == np.float32


def test_a_moment_is_of_its_second_alone() -> None:
    samples = song(2, 8.0)
    changed = samples.copy()
    changed[6 * RATE_HZ :] = 0
    first, second = moments(samples), moments(changed)
    unchanged = round(5 / MOMENT_HOP_S)  # those that end before the sixth second, less the width of a frame
    assert first.timbre[: unchanged - 1] == pytest.approx(second.timbre[: unchanged - 1], abs=1e-5)


def test_chroma_names_the_note_that_sounds() -> None:
    found = moments(np.concatenate([tone(261.63, 3.0), tone(440.0, 3.0)])).chroma
    assert found[:4].argmax(axis=1).tolist() == [0] * 4
    assert found[-4:].argmax(axis=1).tolist() == [9] * 4
    assert found.max(axis=1) == pytest.approx(1)


def test_silence_within_a_sound_is_zero_and_finite() -> None:
    found = moments(np.concatenate([song(1, 3.0), silence(4.0)]))
    assert not found.chroma[-2:].any()
    assert np.isfinite(found.timbre).all()


def test_loudness_makes_no_difference() -> None:
    samples = song(3, 4.0)
    assert moments(samples * np.float32(0.05)).timbre == pytest.approx(moments(samples).timbre, abs=1e-3)


def test_the_moment_that_was_noised_is_nearest_to_itself() -> None:
    samples = song(4, 30.0)
    clean, noisy = moments(samples).timbre, moments(at_snr(samples, 10.0, seed=1)).timbre
    scale = clean.std(axis=0)
    distance = np.linalg.norm((clean[:, np.newaxis] - noisy) / scale, axis=2)
    nearest = distance.argmin(axis=0)
    assert np.mean(np.abs(nearest - np.arange(len(noisy))) <= 1) > 0.6
