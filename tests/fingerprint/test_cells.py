import numpy as np
import pytest

from fpserver.config import FingerprintConfig
from fpserver.fingerprint.cells import N_LEVELS, SHARES_BELOW, levels_from_peaks, levels_of
from fpserver.fingerprint.constellation import band, constellation_of, thin
from fpserver.terms import Samples
from tests.synth import noise, silence, song, tone

CONFIG = FingerprintConfig()
RATE_HZ = CONFIG.rate_hz


@pytest.mark.parametrize("samples", [song(1, 5.0, RATE_HZ), noise(2, 5.0, RATE_HZ)], ids=["song", "noise"])
def test_each_level_holds_its_share_of_the_cells_whatever_is_heard(samples: Samples) -> None:
    levels = levels_of(samples, CONFIG)
    assert levels.shape == (constellation_of(samples, CONFIG).n_frames, np.subtract(*band(CONFIG)[::-1]))
    below = [float((levels < level).mean()) for level in range(1, N_LEVELS)]
    assert below == pytest.approx(SHARES_BELOW, abs=0.002)


def test_loudness_moves_no_level() -> None:
    samples = song(3, 5.0, RATE_HZ)
    loud, quiet = levels_of(samples, CONFIG), levels_of(samples * np.float32(0.2), CONFIG)
    assert (loud == quiet).mean() > 0.99


def test_a_tone_stands_at_the_highest_level_where_it_is() -> None:
    hz = 200 * RATE_HZ / CONFIG.window
    heard = tone(hz, 5.0, RATE_HZ, level=0.1) + noise(4, 5.0, RATE_HZ, level=0.02)
    assert (levels_of(heard, CONFIG)[:, 200 - band(CONFIG)[0]] == N_LEVELS - 1).all()


def test_the_highest_peaks_stand_at_the_highest_level_and_no_peak_at_the_lowest() -> None:
    samples = song(5, 5.0, RATE_HZ)
    peaks, levels = constellation_of(samples, CONFIG), levels_of(samples, CONFIG)
    highest = thin(peaks, CONFIG.strong_peaks_per_s, CONFIG)
    assert (levels[highest.frame, highest.bin - band(CONFIG)[0]] == N_LEVELS - 1).mean() > 0.9
    assert levels[peaks.frame, peaks.bin - band(CONFIG)[0]].min() > 0


def test_the_levels_of_a_part_are_those_of_the_whole_but_near_their_limits() -> None:
    samples = song(6, 12.0, RATE_HZ)
    first, n = 60, 100
    whole = levels_of(samples, CONFIG)[first : first + n]
    part = levels_of(samples[first * CONFIG.hop :], CONFIG)[:n]
    assert (whole[25:] == part[25:]).mean() > 0.95  # the first frames see other surroundings


@pytest.mark.parametrize("duration_s", [0.0, 0.05])
def test_less_than_a_window_has_no_frames(duration_s: float) -> None:
    first, last = band(CONFIG)
    assert levels_of(silence(duration_s, RATE_HZ), CONFIG).shape == (0, last - first)


def test_peaks_alone_say_where_the_highest_level_is() -> None:
    peaks = constellation_of(song(7, 3.0, RATE_HZ), CONFIG)
    levels = levels_from_peaks(peaks, CONFIG)
    frame, bin_ = np.nonzero(levels == N_LEVELS - 1)
    np.testing.assert_array_equal(frame, peaks.frame)
    np.testing.assert_array_equal(bin_ + band(CONFIG)[0], peaks.bin)
    assert set(np.unique(levels).tolist()) == {1, N_LEVELS - 1}
