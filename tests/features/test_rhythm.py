"""Onsets and tempo: librosa's on real patterns, the true one on click tracks, none where nothing beats."""

import librosa
import numpy as np
import pytest

from fpserver.demo.songs import _style
from fpserver.descriptors import RATE_HZ, tempo_bins_bpm
from fpserver.features.frames import frames_of
from fpserver.features.rhythm import (
    Column,
    beat_of,
    likeness_of,
    onset_strength,
    onsets_of,
)
from fpserver.terms import Samples
from tests.synth import clicks, noise, song, tone


def strength_of(samples: Samples) -> Column:
    return onset_strength(frames_of(samples, {"rhythm"}).mel_db)


@pytest.mark.parametrize("samples", [song(1, 8.0), noise(2, 3.0), clicks(0.5, 5.0), tone(300, 1.0)])
def test_onset_strength_is_librosas(samples: Samples) -> None:
    expected = librosa.onset.onset_strength(y=samples, sr=RATE_HZ)
    assert strength_of(samples) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_onsets_are_librosas(seed: int) -> None:
    strength = strength_of(song(seed, 10.0))
    assert (
        onsets_of(strength).tolist()
        == librosa.onset.onset_detect(onset_envelope=strength, sr=RATE_HZ).tolist()
    )


@pytest.mark.parametrize("n_frames", [40, 384, 700])
def test_likeness_is_the_mean_autocorrelation_of_windows(n_frames: int) -> None:
    strength = strength_of(song(1, 20.0))[:n_frames].astype(np.float64)
    above = [value - np.pad(strength, 21, mode="edge")[i : i + 43].mean() for i, value in enumerate(strength)]
    n_window = min(384, n_frames)
    n_known = min(131, n_window // 2)
    hann = np.hanning(n_window + 1)[:-1]
    sums = np.zeros(n_window)
    starts = range(0, n_frames - n_window + 1, 4)
    for start in starts:
        window = np.array(above[start : start + n_window]) * hann
        correlation = np.correlate(window, window, "full")[n_window - 1 :]
        sums += correlation / correlation[0]
    taper = np.correlate(hann, hann, "full")[n_window - 1 :]
    expected = np.clip((sums / len(starts) * taper[0])[:n_known] / taper[:n_known], -1, 1)
    found = likeness_of(strength.astype(np.float32))
    assert found[: len(expected)] == pytest.approx(expected, abs=1e-4)
    assert not found[len(expected) :].any()


def test_songs_tell_their_tempo_or_a_multiple_of_it() -> None:
    right, related = 0, 0
    for seed in range(12):
        true_bpm = _style(np.random.default_rng([seed, 0x50A6])).tempo_bpm
        ratio = beat_of(strength_of(song(seed, 12.0))).tempo_bpm / true_bpm
        right += abs(ratio - 1) < 0.04
        related += any(abs(ratio / multiple - 1) < 0.04 for multiple in (1 / 2, 2 / 3, 1, 3 / 2, 2))
    assert right >= 9
    assert related == 12


@pytest.mark.parametrize("bpm", [60, 90, 97.3, 120, 133, 150, 174])
def test_clicks_tell_their_tempo(bpm: float) -> None:
    beat = beat_of(strength_of(clicks(60 / bpm, 20.0)))
    assert beat.is_heard
    assert beat.tempo_bpm == pytest.approx(bpm, rel=0.01)
    assert beat.strength > 0.8
    peak_bpm = tempo_bins_bpm()[int(np.argmax(beat.tempogram[12:])) + 12]  # from 60 BPM on
    assert np.log2(peak_bpm / bpm) % 1 == pytest.approx(0, abs=0.09) or np.log2(bpm / peak_bpm) % 1 < 0.09


@pytest.mark.parametrize(
    "samples",
    [tone(440, 10.0), tone(1000, 30.0), *(noise(seed, s) for seed in range(4) for s in (1.0, 3.0, 8.0))],
)
def test_what_does_not_beat_has_no_tempo(samples: Samples) -> None:
    beat = beat_of(strength_of(samples))
    assert not beat.is_heard
    assert np.isfinite([beat.tempo_bpm, beat.strength, *beat.tempogram]).all()


def test_a_song_beats_more_clearly_than_noise() -> None:
    assert beat_of(strength_of(song(1, 20.0))).strength > beat_of(strength_of(noise(1, 20.0))).strength + 0.3


def test_another_tempo_shifts_the_tempogram() -> None:
    slow, fast = (
        beat_of(strength_of(clicks(60 / bpm, 30.0))).tempogram for bpm in (100, 119.36)
    )  # three bins
    assert np.corrcoef(slow[:-3], fast[3:])[0, 1] > 0.8
    assert np.corrcoef(slow, fast)[0, 1] < 0.5


@pytest.mark.parametrize("n_frames", [1, 2, 5, 40, 300])
def test_short_strengths_have_finite_likeness(n_frames: int) -> None:
    strength = np.abs(np.random.default_rng(n_frames).normal(size=n_frames)).astype(np.float32) * 5
    assert np.isfinite(likeness_of(strength)).all()
    assert np.isfinite(beat_of(strength).tempo_bpm)
