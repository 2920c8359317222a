"""Sounds that are no music: noise, claps, tones, hum; each so long and at 44.1 kHz, peaks within −1..1."""

from collections.abc import Callable, Mapping

import numpy as np

from fpserver.terms import Samples
from loadtest.accuracy.degrade import HIGH_HZ, LOW_HZ, band_pass, normalised
from loadtest.corpus import RATE_HZ

Rng = np.random.Generator


def white(n_samples: int, rng: Rng) -> Samples:
    """White noise over the whole band."""
    return normalised(rng.normal(0, 1, n_samples).astype(np.float32))


def white_in_band(n_samples: int, rng: Rng) -> Samples:
    """White noise within the analysed band."""
    return normalised(band_pass(white(n_samples, rng), LOW_HZ, HIGH_HZ, order=4))


def pink(n_samples: int, rng: Rng) -> Samples:
    """Noise with as much power in each octave, from 20 Hz."""
    spectrum = np.fft.rfft(rng.normal(0, 1, n_samples))
    hz = np.fft.rfftfreq(n_samples, 1 / RATE_HZ)
    return normalised(np.fft.irfft(spectrum / np.sqrt(np.maximum(hz, 20)), n_samples).astype(np.float32))


def broadband(n_samples: int, rng: Rng) -> Samples:
    """White within the band, or pink."""
    return white_in_band(n_samples, rng) if rng.random() < 0.5 else pink(n_samples, rng)


def impulsive(n_samples: int, rng: Rng) -> Samples:
    """Clicks of 1 to 5 ms, bursts of 10 to 60 ms and claps, 3 to 12 a second."""
    return _events(n_samples, rng, per_s=rng.uniform(3, 12), decays_s=(0.001, 0.06))


def applause(n_samples: int, rng: Rng) -> Samples:
    """Some hundred hands: 60 to 400 claps a second."""
    return _events(n_samples, rng, per_s=rng.uniform(60, 400), decays_s=(0.004, 0.015))


def sine(n_samples: int, rng: Rng) -> Samples:
    """One steady tone."""
    return _tones(n_samples, [rng.uniform(100, 4000)])


def chord(n_samples: int, rng: Rng) -> Samples:
    """Three to six steady tones of a tempered scale, with two overtones each."""
    notes = 110 * 2 ** (rng.integers(0, 36, rng.integers(3, 7)) / 12)
    return _tones(n_samples, [note * k for note in notes for k in (1, 2, 3)])


def sweep(n_samples: int, rng: Rng) -> Samples:
    """One tone that rises or falls."""
    from_hz, to_hz = rng.uniform(100, 4500, 2)
    hz = np.geomspace(from_hz, to_hz, n_samples)
    return (0.5 * np.sin(2 * np.pi * np.cumsum(hz) / RATE_HZ)).astype(np.float32)


def hum(n_samples: int, rng: Rng) -> Samples:
    """Mains hum of 50 or 60 Hz with its overtones, over hiss."""
    mains = rng.choice((50.0, 60.0))
    tones = _tones(n_samples, [mains * k for k in range(1, 30)])
    return normalised(tones + np.float32(0.02) * white(n_samples, rng))


def hiss(n_samples: int, rng: Rng) -> Samples:
    """Silence as a microphone hears it: white noise at −70 to −40 dB."""
    return white(n_samples, rng) * np.float32(10 ** (rng.uniform(-70, -40) / 20))


SYNTHETIC: Mapping[str, Callable[[int, Rng], Samples]] = {
    "white noise": white,
    "pink noise": pink,
    "sine": sine,
    "chord": chord,
    "sweep": sweep,
    "hum": hum,
    "applause": applause,
    "hiss": hiss,
}


def _tones(n_samples: int, hertz: list[float]) -> Samples:
    time_s = np.arange(n_samples) / RATE_HZ
    mixed = sum(np.sin(2 * np.pi * hz * time_s + i) / (1 + i % 3) for i, hz in enumerate(hertz))
    return normalised(np.asarray(mixed, np.float32), peak=0.5)


def _events(n_samples: int, rng: Rng, *, per_s: float, decays_s: tuple[float, float]) -> Samples:
    """Bursts of noise with random decay, level and colour."""
    sound = np.zeros(n_samples, np.float32)
    colours = [(100.0, 6000.0), (800.0, 3500.0), (300.0, 1500.0)]
    for _ in range(max(1, rng.poisson(per_s * n_samples / RATE_HZ))):
        decay_s = np.exp(rng.uniform(*np.log(decays_s)))
        begin = int(rng.integers(n_samples))
        n = min(round(6 * decay_s * RATE_HZ) + 1, n_samples - begin)
        shape = np.exp(-np.arange(n) / (decay_s * RATE_HZ))
        burst = (rng.normal(0, 1, n) * shape).astype(np.float32) * np.float32(rng.uniform(0.2, 1))
        sound[begin : begin + n] += band_pass(burst, *colours[rng.integers(3)])
    return normalised(sound)
