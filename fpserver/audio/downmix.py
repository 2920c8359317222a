"""Make one channel of many, by one rule for catalogue and clips.

Mono is the mean of the channels. Where the mean cancels (antiphase stereo: right is left upside down), it is
the loudest channel, the first of equals. It cancels when its energy over the recording is under 1/100 of the
channels' mean energy. Whether it does is known at the end only, so `Downmix` counts while it mixes, and the
decoder goes through the file again when it did: twice the time for the rare recording, one copy in memory for
every other.
"""

import numpy as np
import numpy.typing as npt

from fpserver.terms import Samples

Channels = npt.NDArray[np.float32]  # (n_channels, n_samples)

MAX_CHANNELS = 32
CANCELLED = 0.01  # of the channels' mean energy: −20 dB
MAX_LEVEL = 1e6  # float files in units of 16-bit steps reach 32,768; what is beyond this is no sound


class Downmix:
    """Mixes blocks of one recording, and adds up the energy of the channels and of their mean."""

    def __init__(self, channel: int | None = None) -> None:
        """Mix to the mean, or take `channel` alone."""
        self._channel = channel
        self._energy = np.zeros(MAX_CHANNELS)
        self._mean_energy = 0.0
        self._n_channels = 1

    def mix(self, block: Channels) -> Samples:
        """One block to mono."""
        n_channels = len(block)
        if n_channels == 1 or self._channel is not None:
            alone: Samples = block[min(self._channel or 0, n_channels - 1)]
            return alone
        mean: Samples = block.mean(axis=0, dtype=np.float32)
        self._n_channels = max(self._n_channels, n_channels)
        self._energy[:n_channels] += [float(np.dot(samples, samples)) for samples in block]
        self._mean_energy += float(np.dot(mean, mean))
        return mean

    @property
    def instead(self) -> int | None:
        """The channel to take alone, because the mean cancels; None: the mean is good."""
        channels_energy = float(self._energy.sum()) / self._n_channels
        return int(self._energy.argmax()) if self._mean_energy < CANCELLED * channels_energy else None


def without_nonsense(block: Channels) -> Channels:
    """The block with 0 for every sample that is not a number, infinite, or louder than any sound."""
    if np.abs(block).max(initial=0.0) <= MAX_LEVEL:  # False for NaN, too
        return block
    return np.where(np.abs(block) <= MAX_LEVEL, block, np.float32(0))
