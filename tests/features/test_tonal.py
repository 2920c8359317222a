"""Notes: a scale tells its key, and transposing turns every block."""

import numpy as np
import pytest

from fpserver.descriptors import LAYOUT, N_PITCH_CLASSES, PITCH_CLASSES, RATE_HZ
from fpserver.features.frames import frames_of
from fpserver.features.tonal import key_of, mean_and_covariance, scaled, tonal_of
from fpserver.terms import Group, Samples, Vector
from tests.synth import noise, tone

MAJOR_SCALE, MINOR_SCALE = (0, 2, 4, 5, 7, 9, 11, 12), (0, 2, 3, 5, 7, 8, 11, 12)
C4_HZ = 261.6256


def melody(steps: tuple[int, ...], *, up: int = 0, note_s: float = 0.4) -> Samples:
    """Notes with three overtones and a decay, the keynote twice as long, at its beginning and end."""
    notes = []
    for i, step in enumerate(steps):
        pitch_hz = C4_HZ * 2 ** ((step + up) / 12)
        seconds = note_s * (2 if i in (0, len(steps) - 1) else 1)
        sound = np.sum([tone(pitch_hz * n, seconds, level=0.3 / n) for n in (1, 2, 3)], axis=0)
        notes.append(sound * np.exp(-2 * np.arange(len(sound)) / RATE_HZ))
    return np.concatenate(notes).astype(np.float32)


def tonal(samples: Samples) -> Vector:
    return tonal_of(scaled(frames_of(samples, {"tonal"}).chroma))


@pytest.mark.parametrize("up", [0, 3, 7, 10])
def test_a_scale_tells_its_key(up: int) -> None:
    for steps, mode in ((MAJOR_SCALE, "major"), (MINOR_SCALE, "minor")):
        key = key_of(tonal(melody(steps, up=up))[:12])
        assert key is not None
        assert key[0] == f"{PITCH_CLASSES[up]} {mode}"
        assert 0.65 < key[1] <= 1


def test_the_notes_of_c_major_are_its_strongest_pitch_classes() -> None:
    mean = tonal(melody(MAJOR_SCALE, up=12))[:12]  # an octave lower, semitones share bins
    assert {PITCH_CLASSES[i] for i in np.argsort(mean)[-7:]} == {"C", "D", "E", "F", "G", "A", "B"}


@pytest.mark.parametrize("up", [1, 2, 5, -2])
def test_transposing_turns_every_block(up: int) -> None:
    original, transposed = tonal(melody(MAJOR_SCALE)), tonal(melody(MAJOR_SCALE, up=up))
    blocks = original.reshape(-1, N_PITCH_CLASSES)
    turned = np.roll(blocks, up, axis=1).ravel()
    assert np.corrcoef(transposed, turned)[0, 1] > 0.97
    assert np.corrcoef(transposed[:12], original[:12])[0, 1] < 0.6


def test_turned_chroma_is_a_turned_vector_exactly() -> None:
    chroma = np.random.default_rng(1).random((50, 12)).astype(np.float32)
    turned = tonal_of(np.roll(chroma, 5, axis=1)).reshape(-1, N_PITCH_CLASSES)
    assert turned == pytest.approx(
        np.roll(tonal_of(chroma).reshape(-1, N_PITCH_CLASSES), 5, axis=1), abs=1e-6
    )


def test_the_vector_is_as_the_layout_says() -> None:
    chroma = np.random.default_rng(2).random((60, 12)).astype(np.float32)
    vector = tonal_of(chroma)
    values = dict(zip((each.name for each in LAYOUT[Group.TONAL]), vector, strict=True))
    covariance = np.cov(chroma.T.astype(np.float64), bias=True)
    assert values["chroma_mean_D"] == pytest.approx(chroma[:, 2].mean(), rel=1e-5)
    assert values["chroma_std_B"] == pytest.approx(chroma[:, 11].std(), rel=1e-5)
    assert values["chroma_covariance_3_A#"] == pytest.approx(covariance[10, 1], rel=1e-4)


def test_noise_has_no_key() -> None:
    assert key_of(tonal(noise(1, 5.0))[:12]) is None
    assert key_of(np.full(12, 0.7, np.float32)) is None
    assert key_of(np.zeros(12, np.float32)) is None


def test_a_mean_and_covariance_in_blocks_are_those_of_all_rows() -> None:
    rows = (np.random.default_rng(3).normal(size=(9000, 5)) + 40).astype(np.float32)
    mean, covariance = mean_and_covariance(rows)
    assert mean == pytest.approx(rows.astype(np.float64).mean(axis=0), abs=1e-9)
    assert covariance == pytest.approx(np.cov(rows.T.astype(np.float64), bias=True), abs=1e-9)
