"""Turn frames into moments: what sounds in each second, every half second.

Timbre of a moment: mean and standard deviation of MFCC over its frames, from the mel bands in which music is louder
than most noise, and which codecs leave alone. Bands are scaled by the moment's mean power, so loudness cancels, and
compressed by a root instead of a logarithm: what is weak, where noise rules, says little. The coefficient that is the
level is left out. How well this finds noisy clips, and what was tried: docs/decisions/0027-descriptors.md.

Chroma of a moment: the energy of the pitch classes over its frames.
"""

import numpy as np
import numpy.typing as npt

from fpserver.descriptors import MOMENT_TIMBRE_DIM, N_PITCH_CLASSES, RATE_HZ
from fpserver.features.banks import FRAMES_PER_S, cosines
from fpserver.features.tonal import scaled
from fpserver.terms import MOMENT_HOP_S, MOMENT_S, Moments, Vectors

N_BANDS = 36
MIN_HZ, MAX_HZ = 60.0, 3000.0
ROOT = 0.4  # power of the power
N_COEFFICIENTS = MOMENT_TIMBRE_DIM // 2  # from the second on

HOP_FRAMES = MOMENT_HOP_S * FRAMES_PER_S
N_FRAMES = round(MOMENT_S * FRAMES_PER_S)  # of a moment
BLOCK_MOMENTS = 256

Rows = npt.NDArray[np.float32]  # (n_frames, n_columns)


def moments_of(bands: Rows, chroma: Rows, *, n_samples: int) -> Moments:
    """The moments of a sound, in order; at least one.

    Args:
        bands: power of each frame in N_BANDS mel bands from MIN_HZ to MAX_HZ.
        chroma: energy of each frame's pitch classes.
        n_samples: length of the sound, at RATE_HZ.
    """
    n_moments = max(0, int((n_samples / RATE_HZ - MOMENT_S) / MOMENT_HOP_S)) + 1
    timbre = np.empty((n_moments, MOMENT_TIMBRE_DIM), np.float32)
    energy = np.empty((n_moments, N_PITCH_CLASSES), np.float32)
    for begin in range(0, n_moments, BLOCK_MOMENTS):
        block = np.arange(begin, min(begin + BLOCK_MOMENTS, n_moments))
        first = np.rint(block * HOP_FRAMES).astype(np.int64)
        frames = np.minimum(first[:, np.newaxis] + np.arange(N_FRAMES), len(bands) - 1)
        timbre[block] = _timbre(bands[frames])
        energy[block] = chroma[frames].mean(axis=1)
    return Moments(timbre=timbre, chroma=scaled(energy))


def _timbre(bands: npt.NDArray[np.float32]) -> Vectors:
    """Of some moments, (n_moments, MOMENT_TIMBRE_DIM), from (n_moments, N_FRAMES, N_BANDS)."""
    mean = bands.mean(axis=(1, 2), keepdims=True)
    level = np.where(mean > 0, mean, np.float32(1))
    compressed = (bands / level) ** np.float32(ROOT)
    coefficients = compressed @ cosines(N_COEFFICIENTS + 1, N_BANDS)[1:].T
    return np.concatenate([coefficients.mean(axis=1), coefficients.std(axis=1)], axis=1)
