"""What is done to the clips of the synthetic grid: samples in, samples out, all at the analysis rate, seeded."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import soxr

from fpserver.config import FingerprintConfig
from fpserver.terms import Samples
from loadtest.accuracy import degrade
from loadtest.corpus import RATE_HZ as FINE_HZ

RATE_HZ = FingerprintConfig().rate_hz
LOW_HZ, HIGH_HZ = 130.0, 5000.0
RUN_OUT_S = 0.3  # more of the song than a clip needs, since a tempo change eats some

Damage: TypeAlias = Callable[[Samples, np.random.Generator], Samples]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One kind of clip, and how many of its clips must be right."""

    name: str
    duration_s: float
    least: int
    damage: Damage | None = None
    speed: float = 1.0
    pitch: float = 1.0


def made(cell: Cell, song: Samples, start_s: float, rng: np.random.Generator) -> Samples:
    """The clip of a cell that begins at `start_s` of a song."""
    needed_s = cell.duration_s * cell.speed + (RUN_OUT_S if cell.speed != 1 or cell.pitch != 1 else 0.0)
    clip = song[round(start_s * RATE_HZ) : round((start_s + needed_s) * RATE_HZ)]
    if cell.speed != 1 or cell.pitch != 1:
        clip = warped(clip, speed=cell.speed, pitch=cell.pitch)
    clip = clip[: round(cell.duration_s * RATE_HZ)]
    return cell.damage(clip, rng) if cell.damage else clip


def warped(samples: Samples, *, speed: float, pitch: float) -> Samples:
    """Played `speed` times as fast and `pitch` times as high."""
    fine = resampled(samples, RATE_HZ, FINE_HZ)
    if pitch != 1:
        fine = degrade.at_speed(fine, pitch)
    if speed != pitch:
        fine = degrade.at_tempo(fine, speed / pitch)
    return resampled(fine, FINE_HZ, RATE_HZ)


def resampled(samples: Samples, from_hz: float, to_hz: float) -> Samples:
    return np.asarray(soxr.resample(samples, from_hz, to_hz), np.float32)


def under(snr_db: float) -> Damage:
    """Noise of a street for every second clip, a room full of talkers for the others."""

    def damage(samples: Samples, rng: np.random.Generator) -> Samples:
        noise = coloured(len(samples), rng) if rng.random() < 0.5 else babble(len(samples), rng)
        return mixed(samples, noise, snr_db)

    return damage


def phone(samples: Samples, rng: np.random.Generator) -> Samples:
    """300 to 3400 Hz at 8 kHz, overdriven, over a noisy line."""
    narrow = in_band(mixed(samples, coloured(len(samples), rng), 12), 300, 3400)
    narrow = resampled(narrow, RATE_HZ, 8000)
    driven = np.tanh(3 * narrow / np.abs(narrow).max())
    return resampled(driven.astype(np.float32), 8000, RATE_HZ)


def mixed(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """Both, the noise so loud that the ratio of their power in the analysed band is `snr_db`."""
    power, noise_power = (
        float(np.mean(np.square(in_band(each, LOW_HZ, HIGH_HZ), dtype=np.float64)))
        for each in (samples, noise)
    )
    gain = np.sqrt(power / noise_power / 10 ** (snr_db / 10))
    return samples + np.float32(gain) * noise


def coloured(n_samples: int, rng: np.random.Generator) -> Samples:
    """Noise that falls with frequency and swells and fades, as traffic does."""
    slope = rng.uniform(0.3, 1.2)
    hz = np.maximum(np.fft.rfftfreq(n_samples, 1 / RATE_HZ), 20)
    noise = np.fft.irfft(np.fft.rfft(rng.normal(size=n_samples)) / hz**slope, n_samples)
    swell = 1 + 0.5 * np.sin(
        2 * np.pi * (np.arange(n_samples) / RATE_HZ * rng.uniform(0.1, 0.5) + rng.random())
    )
    return np.asarray(noise / noise.std() * swell, np.float32)


def babble(n_samples: int, rng: np.random.Generator) -> Samples:
    """Twelve talkers: syllables of a gliding buzz in two resonances, at times of their own."""
    room = np.zeros(n_samples)
    for _ in range(12):
        voice_hz, at_s = rng.uniform(90, 240), -rng.random()
        while at_s < n_samples / RATE_HZ:
            length_s = rng.uniform(0.08, 0.3)
            time_s = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
            turns = np.cumsum(voice_hz * (1 + rng.normal(0, 0.3) * time_s)) / RATE_HZ
            buzz = (turns % 1.0 < 0.15) - 0.15 + rng.normal(0, 0.05, len(time_s))
            low_hz, high_hz = rng.uniform(250, 900), rng.uniform(900, 3000)
            spoken = in_band(buzz, low_hz * 0.7, low_hz * 1.4) + in_band(buzz, high_hz * 0.8, high_hz * 1.2)
            _add(room, spoken * np.hanning(len(time_s)), round(at_s * RATE_HZ))
            at_s += length_s * rng.uniform(1.0, 2.0)
    return room.astype(np.float32)


def in_band(samples: npt.NDArray[np.floating], low_hz: float, high_hz: float) -> Samples:
    """Only what lies between."""
    spectrum = np.fft.rfft(samples)
    hz = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    kept = np.where((hz >= low_hz) & (hz <= high_hz), spectrum, 0)
    return np.asarray(np.fft.irfft(kept, len(samples)), np.float32)


def _add(tape: npt.NDArray[np.float64], sound: npt.NDArray[np.floating], at: int) -> None:
    sound = sound[max(0, -at) : max(0, len(tape) - at)]
    at = max(0, at)
    tape[at : at + len(sound)] += sound
