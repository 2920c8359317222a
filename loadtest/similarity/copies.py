"""What is done to whole tracks that must still find their original: samples in, samples out, 44.1 kHz, mono."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from fpserver.audio.decode import decode
from fpserver.audio.encode import encode
from fpserver.terms import Samples
from loadtest.accuracy import degrade
from loadtest.corpus import RATE_HZ

RENDERING = 1  # to be raised when a copy begins to sound different: kept descriptions are then not used again
SEMITONE = 2 ** (1 / 12)
EXCERPT_S = 20.0
MP3_BPS = 32_000
LEAST_LEVEL = 10**-2.5  # of an excerpt, below its track's


def excerpt(samples: Samples, seconds: float = EXCERPT_S) -> Samples:
    """A part from anywhere that is at most 25 dB below the whole; its place depends on the samples alone."""
    n_samples = round(seconds * RATE_HZ)
    rng = np.random.default_rng(len(samples))
    for _ in range(100):
        begin = int(rng.integers(max(1, len(samples) - n_samples)))
        piece = samples[begin : begin + n_samples]
        if np.mean(piece**2) > LEAST_LEVEL * np.mean(samples**2):
            return piece
    return samples[:n_samples]


def mp3(samples: Samples) -> Samples:
    """Through MP3 at 32 kbit/s."""
    with tempfile.NamedTemporaryFile(suffix=".mp3") as file:
        file.write(encode(samples, RATE_HZ, container="mp3", bitrate=MP3_BPS))
        file.flush()
        path = Path(file.name)
        return decode(path, rate_hz=RATE_HZ, max_s=4 * 3600, max_bytes=2**31, cut=True).samples


COPIES: Mapping[str, Callable[[Samples], Samples]] = {
    "pitch +2 semitones": lambda samples: degrade.at_pitch(samples, SEMITONE**2),
    "pitch -2 semitones": lambda samples: degrade.at_pitch(samples, SEMITONE**-2),
    "tempo +10 %": lambda samples: degrade.at_tempo(samples, 1.1),
    "tempo -10 %": lambda samples: degrade.at_tempo(samples, 0.9),
    "20 s excerpt": excerpt,
    "mp3 32k": mp3,
}
