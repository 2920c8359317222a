"""Turn a recording into what a phone would send of it: a few seconds, under noise, in a poor codec."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fpserver.audio.decode import decode
from fpserver.audio.encode import encode
from fpserver.config import AudioConfig
from fpserver.terms import Samples

RATE_HZ = 22050
CLIP_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What is done to a clip; the seed decides place and noise."""

    seed: int
    snr_db: float
    bitrate: int  # bits per second


@dataclass(frozen=True, slots=True, kw_only=True)
class DegradedClip:
    """A clip, and the truth about it."""

    mp3: bytes
    start_s: float  # in the recording
    duration_s: float


def degraded_clip(path: Path, audio: AudioConfig, damage: Damage) -> DegradedClip:
    """Cut a random `CLIP_S` out of a file (all of a shorter one), bury it in noise, encode it as mp3.

    Runs in a child process, as every decoding does.

    Raises:
        AudioError: the file cannot be used as audio.
    """
    rng = np.random.default_rng(damage.seed)
    sound = decode(path, rate_hz=RATE_HZ, max_s=600.0, max_bytes=audio.max_track_bytes, cut=True)
    n_samples = round(CLIP_S * RATE_HZ)
    start = int(rng.integers(max(1, len(sound.samples) - n_samples)))
    cut = sound.samples[start : start + n_samples]
    return DegradedClip(
        mp3=encode(under_noise(cut, damage.snr_db, rng), RATE_HZ, container="mp3", bitrate=damage.bitrate),
        start_s=start / RATE_HZ,
        duration_s=len(cut) / RATE_HZ,
    )


def under_noise(samples: Samples, snr_db: float, rng: np.random.Generator) -> Samples:
    """The same with white noise `snr_db` below it, brought to a peak of at most 0.9."""
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    noisy = samples + rng.normal(0, np.sqrt(power / 10 ** (snr_db / 10)), len(samples))
    return np.asarray(noisy * min(1.0, 0.9 / max(1e-9, float(np.max(np.abs(noisy))))), dtype=np.float32)
