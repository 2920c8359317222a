"""MFCC and deltas are librosa's; the vector holds their means, and their covariance once."""

import librosa
import numpy as np
import pytest

from fpserver.descriptors import LAYOUT, N_MFCC, RATE_HZ
from fpserver.features.frames import frames_of
from fpserver.features.timbre import MAX_BELOW_LOUDEST_DB, deltas_of, mfcc_of, timbre_of
from fpserver.terms import Group
from tests.synth import song

SAMPLES = song(2, 5.0)
MEL_DB = frames_of(SAMPLES, {"timbre"}).mel_db


def test_mfcc_are_librosas() -> None:
    expected = librosa.feature.mfcc(y=SAMPLES, sr=RATE_HZ, n_mfcc=N_MFCC).T
    assert mfcc_of(MEL_DB) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("n_frames", [9, 10, 100])
def test_deltas_are_librosas(n_frames: int) -> None:
    coefficients = mfcc_of(MEL_DB)[:n_frames]
    assert deltas_of(coefficients) == pytest.approx(librosa.feature.delta(coefficients.T).T, abs=1e-4)


def test_fewer_than_nine_frames_have_no_slope() -> None:
    assert not deltas_of(np.ones((8, 3), np.float32)).any()


def test_the_vector_is_as_the_layout_says() -> None:
    sounding = np.arange(len(MEL_DB)) > 20
    names = [each.name for each in LAYOUT[Group.TIMBRE]]
    values = dict(zip(names, timbre_of(MEL_DB, sounding), strict=True))
    coefficients = mfcc_of(np.maximum(MEL_DB, MEL_DB.max() - MAX_BELOW_LOUDEST_DB))
    both = np.concatenate([coefficients, deltas_of(coefficients)], axis=1)[sounding].astype(np.float64)
    covariance = np.cov(both.T, bias=True)
    assert values["mfcc_3_mean"] == pytest.approx(both[:, 3].mean(), rel=1e-5)
    assert values["delta_0_mean"] == pytest.approx(both[:, 20].mean(), abs=1e-4)
    assert values["covariance_mfcc_2_mfcc_2"] == pytest.approx(covariance[2, 2], rel=1e-4)
    assert values["covariance_mfcc_1_delta_5"] == pytest.approx(covariance[1, 25], abs=1e-3)
    assert len(names) == 2 * N_MFCC + N_MFCC * (2 * N_MFCC + 1)
