"""The small sounds that tests are made of: float32 mono; the same arguments always give the same samples."""

import numpy as np

from fpserver.demo.songs import song
from fpserver.terms import Samples

RATE_HZ = 22050

__all__ = ["RATE_HZ", "at_snr", "chirp", "clicks", "duet", "noise", "silence", "song", "tone"]


def silence(duration_s: float, rate_hz: int = RATE_HZ) -> Samples:
    return np.zeros(round(duration_s * rate_hz), dtype=np.float32)


def duet(seed: int, duration_s: float, rate_hz: int = RATE_HZ) -> Samples:
    """Two songs at once, each in its own tempo: less like itself a bar later than one song is."""
    one, other = song(seed, duration_s, rate_hz), song(seed + 5000, duration_s, rate_hz)
    return (one + other) / np.float32(2)


def tone(frequency_hz: float, duration_s: float, rate_hz: int = RATE_HZ, *, level: float = 0.5) -> Samples:
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    return (level * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def chirp(
    from_hz: float, to_hz: float, duration_s: float, rate_hz: int = RATE_HZ, *, level: float = 0.5
) -> Samples:
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    turns = from_hz * time_s + (to_hz - from_hz) * time_s**2 / (2 * duration_s)
    return (level * np.sin(2 * np.pi * turns)).astype(np.float32)


def clicks(
    every_s: float, duration_s: float, rate_hz: int = RATE_HZ, *, level: float = 0.8, first_s: float = 0.0
) -> Samples:
    samples = silence(duration_s, rate_hz)
    at = np.round(np.arange(first_s, duration_s, every_s) * rate_hz).astype(int)
    samples[at[at < len(samples)]] = level
    return samples


def noise(seed: int, duration_s: float, rate_hz: int = RATE_HZ, *, level: float = 0.2) -> Samples:
    rng = np.random.default_rng(seed)
    return (level * rng.normal(size=round(duration_s * rate_hz))).astype(np.float32)


def at_snr(samples: Samples, snr_db: float, *, seed: int) -> Samples:
    """The same with white noise under it."""
    power = float(np.mean(samples**2, dtype=np.float64))
    disturbance = noise(seed, len(samples), 1, level=float(np.sqrt(power / 10 ** (snr_db / 10))))
    return samples + disturbance
