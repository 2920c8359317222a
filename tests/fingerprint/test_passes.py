import numpy as np
import pytest
from scipy.ndimage import maximum_filter, uniform_filter1d

from fpserver.config import FingerprintConfig
from fpserver.fingerprint.constellation import log_spectrogram
from fpserver.fingerprint.passes import above_mean, peaks_of
from tests.synth import song

CONFIG = FingerprintConfig()


def cells(rng: np.random.Generator, n_frames: int, n_bins: int) -> np.ndarray:
    return rng.normal(-60, 20, (n_frames, n_bins)).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 1), (1, 90), (4, 30), (13, 90), (200, 300)])
def test_what_is_above_the_mean_is_to_the_last_bit_what_scipy_says(
    rng: np.random.Generator, shape: tuple[int, int]
) -> None:
    decibels, floor = cells(rng, *shape), rng.normal(-70, 5, shape[0]).astype(np.float32)
    floored = np.maximum(decibels, floor[:, None])
    mean = uniform_filter1d(floored, 51, axis=1, mode="nearest")
    mean = uniform_filter1d(mean, 41, axis=0, mode="nearest")
    whitened = np.empty_like(decibels)
    above_mean(decibels, floor, 20, 25, whitened)
    np.testing.assert_array_equal(whitened, floored - mean)


@pytest.mark.parametrize("shape", [(1, 1), (1, 90), (2, 2), (13, 90), (100, 300)])
def test_peaks_are_where_a_maximum_filter_changes_nothing(
    rng: np.random.Generator, shape: tuple[int, int]
) -> None:
    whitened = np.round(cells(rng, *shape), -1)  # many cells are equal
    highest = maximum_filter(whitened, (7, 33), mode="constant", cval=-np.inf)
    frame, bin_ = np.nonzero((whitened == highest) & (whitened >= -60))
    found = peaks_of(whitened, (0, shape[0]), 3, 16, np.float32(-60))
    np.testing.assert_array_equal(found, (frame, bin_))


def test_a_frame_has_the_same_cells_whichever_frames_are_analysed_with_it() -> None:
    samples = song(9, 8.0, CONFIG.rate_hz)
    whole = log_spectrogram(samples, CONFIG)
    for first, last in [(0, 1), (1, 4), (5, 40), (7, 100)]:
        part = samples[first * CONFIG.hop : (last - 1) * CONFIG.hop + CONFIG.window]
        np.testing.assert_array_equal(log_spectrogram(part, CONFIG), whole[first:last])
