"""The columns of frames are librosa's, function by function."""

from collections.abc import Callable

import librosa
import numpy as np
import numpy.typing as npt
import pytest

from fpserver.descriptors import RATE_HZ
from fpserver.features import banks
from fpserver.features.frames import BLOCK_FRAMES, Frames, frames_of
from fpserver.terms import PARTS, Samples
from tests.synth import chirp, noise, silence, song, tone


def hissing(samples: Samples) -> Samples:
    """With noise at −60 dB: the lowest bins of a clean tone are rounding, which differs between any two transforms."""
    return samples + noise(9, len(samples), 1, level=1e-3)


SOUNDS: dict[str, Samples] = {
    "song": song(3, 6.0),
    "noise": noise(1, 2.0),
    "chirp": hissing(chirp(50, 9000, 3.0)),
    "with a pause": np.concatenate([hissing(tone(700, 1.3)), silence(1.0), song(5, 1.7)]),
    "one second": song(4, 1.0),
}


@pytest.fixture(params=SOUNDS, scope="module")
def samples(request: pytest.FixtureRequest) -> Samples:
    return SOUNDS[request.param]


def librosas(
    function: Callable[..., npt.NDArray[np.float32]], samples: Samples, **more: object
) -> npt.NDArray[np.float32]:
    """(n_frames, n_columns)."""
    return np.asarray(function(y=samples, sr=RATE_HZ, **more)).T


def frames(samples: Samples) -> Frames:
    return frames_of(samples, PARTS)


def test_the_level_is_the_root_mean_square(samples: Samples) -> None:
    expected = librosa.feature.rms(y=samples)[0]
    assert 10 ** (frames(samples).level_db / 20) == pytest.approx(np.maximum(expected, 1e-5), rel=1e-4)


def test_the_rate_of_zero_crossings_is_librosas(samples: Samples) -> None:
    expected = librosa.feature.zero_crossing_rate(samples)[0]
    assert frames(samples).crossings == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("column", "function", "tolerance"),
    [
        (0, librosa.feature.spectral_centroid, 0.05),
        (1, librosa.feature.spectral_bandwidth, 0.2),
        (2, librosa.feature.spectral_rolloff, 11.0),  # one bin, where the sum is a hair beside the threshold
    ],
)
def test_centroid_bandwidth_and_rolloff_are_librosas_in_hertz(
    samples: Samples, column: int, function: Callable[..., npt.NDArray[np.float32]], tolerance: float
) -> None:
    difference = np.abs(frames(samples).shape[:, column] - librosas(function, samples)[:, 0])
    assert np.percentile(difference, 99) <= tolerance / (10 if column == 2 else 1)
    assert difference.max() <= tolerance


def test_flatness_is_librosas(samples: Samples) -> None:
    expected = librosa.feature.spectral_flatness(y=samples)[0]
    assert frames(samples).shape[:, 3] == pytest.approx(expected, rel=2e-3, abs=1e-6)


def test_contrast_is_librosas(samples: Samples) -> None:
    expected = librosas(librosa.feature.spectral_contrast, samples)
    assert frames(samples).contrast_db == pytest.approx(expected, abs=0.05)


def test_mel_bands_are_librosas(samples: Samples) -> None:
    expected = librosa.power_to_db(librosas(librosa.feature.melspectrogram, samples))
    assert frames(samples).mel_db == pytest.approx(expected, abs=0.02)


def test_pitch_classes_are_librosas_tuning_too(samples: Samples) -> None:
    energy = frames(samples).chroma
    spectrum = np.abs(librosa.stft(samples)) ** 2
    tuning = librosa.estimate_tuning(S=np.sqrt(spectrum), sr=RATE_HZ)
    expected = librosas(librosa.feature.chroma_stft, samples, tuning=tuning, norm=None)
    assert energy == pytest.approx(expected, rel=2e-3, abs=1e-4 * float(expected.max()))


@pytest.mark.parametrize("detune", [-0.4, -0.2, 0.0, 0.3])
def test_a_tone_between_the_semitones_tells_the_tuning(detune: float) -> None:
    samples = tone(440 * 2 ** (detune / 12), 2.0)
    energy = frames(samples).chroma.mean(axis=0)
    expected = librosa.feature.chroma_stft(y=samples, sr=RATE_HZ, tuning=detune, norm=None).mean(axis=1)
    assert energy / energy.max() == pytest.approx(expected / expected.max(), abs=0.02)


@pytest.mark.parametrize("bands", [(128, 0.0, RATE_HZ / 2), (36, 60.0, 5000.0), (20, 300.0, 3000.0)])
def test_mel_weights_are_librosas(bands: tuple[int, float, float]) -> None:
    n_mels, fmin, fmax = bands
    expected = librosa.filters.mel(sr=RATE_HZ, n_fft=banks.N_FFT, n_mels=n_mels, fmin=fmin, fmax=fmax)
    assert banks.mel_weights(*bands) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("tuning", [-0.5, 0.0, 0.21])
def test_chroma_weights_are_librosas(tuning: float) -> None:
    expected = librosa.filters.chroma(sr=RATE_HZ, n_fft=banks.N_FFT, tuning=tuning)
    assert banks.chroma_weights(tuning) == pytest.approx(expected, abs=1e-6)


def test_only_what_is_asked_for_is_measured() -> None:
    measured = frames_of(SOUNDS["noise"], {"temporal"})
    n_frames = len(measured.level_db)
    assert [len(each) for each in (measured.mel_db, measured.shape, measured.chroma, measured.bands)] == [
        *(n_frames, 0, 0, 0)
    ]


@pytest.mark.parametrize("extra", [-1, 0, 1, 511, 512])
def test_blocks_leave_no_seam(extra: int) -> None:
    whole = song(6, 4.0)[: 2 * BLOCK_FRAMES * banks.HOP - banks.HOP + extra]
    expected = librosa.power_to_db(librosas(librosa.feature.melspectrogram, whole))
    assert frames(whole).mel_db == pytest.approx(expected, abs=0.02)
