"""Sort the cells of a clip's spectrogram by how far they stand above their surroundings, into four levels.

Peaks say where a clip is loudest; levels say also where it is not, which is what tells a track that was played from
one that was not. A level is a share of the clip's own cells, so neither loudness nor a noise floor moves it.
"""

import numpy as np

from fpserver.config import FingerprintConfig
from fpserver.fingerprint.constellation import Spectrogram, band, log_spectrogram, whiten
from fpserver.terms import CellLevels, Constellation, Samples

SHARES_BELOW = (1 - 2**-1.0, 1 - 2**-2.5, 1 - 2**-5.0)  # of all cells, below level 1, 2, 3
N_LEVELS = len(SHARES_BELOW) + 1


def levels_of(samples: Samples, config: FingerprintConfig) -> CellLevels:
    """Level of each cell of the analysed band, 0..3; no frames for fewer samples than one window."""
    first, last = band(config)
    if len(samples) < config.window:
        return np.zeros((0, last - first), np.uint8)
    whitened: Spectrogram = whiten(log_spectrogram(samples, config))
    limits = np.quantile(whitened, SHARES_BELOW)
    return np.searchsorted(limits, whitened.ravel(), side="right").astype(np.uint8).reshape(whitened.shape)


def levels_from_peaks(constellation: Constellation, config: FingerprintConfig) -> CellLevels:
    """What the peaks alone say of the levels: the highest at peaks, a low one elsewhere."""
    first, last = band(config)
    levels = np.ones((constellation.n_frames, last - first), np.uint8)
    levels[constellation.frame, constellation.bin - first] = N_LEVELS - 1
    return levels
