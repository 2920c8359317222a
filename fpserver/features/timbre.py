"""Turn mel bands into 20 MFCC with their deltas, and these into a mean and a covariance.

`librosa.feature.mfcc` (orthonormal DCT-II of the mel bands in dB) and `librosa.feature.delta` (slope of a straight line
through nine frames; the first and last four frames have the slope of the nearest nine).
In the vector, what is more than 60 dB below the loudest cell counts as so much below: docs/decisions/0028-measures.md.
"""

import numpy as np
import numpy.typing as npt

from fpserver.descriptors import N_MFCC
from fpserver.features.banks import cosines
from fpserver.features.tonal import mean_and_covariance
from fpserver.terms import Vector

MAX_BELOW_LOUDEST_DB = 60.0  # what is lower is taken for this: lossy coding leaves nothing of it
HALF_WIDTH_FRAMES = 4  # of a slope

Rows = npt.NDArray[np.float32]  # (n_frames, n_columns)


def timbre_of(mel_db: Rows, sounding: npt.NDArray[np.bool_]) -> Vector:
    """Means, and the upper triangle of the covariance, of the frames that sound."""
    coefficients = mfcc_of(np.maximum(mel_db, mel_db.max() - np.float32(MAX_BELOW_LOUDEST_DB)))
    both = np.concatenate([coefficients, deltas_of(coefficients)], axis=1)
    mean, covariance = mean_and_covariance(both[sounding])
    return np.concatenate([mean, covariance[np.triu_indices(2 * N_MFCC)]]).astype(np.float32)


def mfcc_of(mel_db: Rows) -> Rows:
    """(n_frames, N_MFCC)."""
    mfcc: Rows = mel_db @ cosines(N_MFCC, mel_db.shape[1]).T
    return mfcc


def deltas_of(rows: Rows) -> Rows:
    """Slope of each column per frame; 0 where there are fewer than nine frames."""
    steps = np.arange(1, HALF_WIDTH_FRAMES + 1, dtype=np.float32)
    n_inner = len(rows) - 2 * HALF_WIDTH_FRAMES
    if n_inner < 1:
        return np.zeros_like(rows)
    slopes = np.zeros((n_inner, rows.shape[1]), np.float32)
    for step in range(1, HALF_WIDTH_FRAMES + 1):
        later = rows[HALF_WIDTH_FRAMES + step :][:n_inner]
        earlier = rows[HALF_WIDTH_FRAMES - step :][:n_inner]
        slopes += (later - earlier) * np.float32(step)
    slopes /= 2 * np.square(steps).sum()
    return np.pad(slopes, ((HALF_WIDTH_FRAMES, HALF_WIDTH_FRAMES), (0, 0)), mode="edge")
