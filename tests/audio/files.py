"""Sounds and files for the tests of the audio room."""

import io
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fpserver.audio.decode import decode
from fpserver.terms import Samples, Sound

RATE_HZ = 11025


def sweep(rate_hz: int, duration_s: float = 3.0) -> Samples:
    """A sound below 3 kHz that is never twice the same, so that its place can be told: the same at all rates."""
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    turns = 200 * time_s + 1400 * time_s**2 / duration_s
    wobble = 1 + 0.5 * np.sin(2 * np.pi * 3.7 * time_s)
    return np.asarray(0.4 * wobble * np.sin(2 * np.pi * turns), dtype=np.float32)


def hear(folder: Path, data: bytes, *, name: str = "upload.mp3", **limits: object) -> Sound:
    """Decode bytes, from a file whose name tells nothing."""
    path = folder / name
    path.write_bytes(data)
    parameters = {"rate_hz": RATE_HZ, "max_s": 60.0, "max_bytes": 2**30, "cut": True, **limits}
    return decode(path, **parameters)  # type: ignore[arg-type]  # tests name what they change


def likeness(left: Samples, right: Samples) -> tuple[float, float]:
    """(correlation at the best lag, 0..1, sign left out; that lag in seconds: `left` is later by it)."""
    n = min(len(left), len(right))
    n_fft = 2 * n
    cross = np.fft.irfft(np.fft.rfft(left[:n], n_fft) * np.conj(np.fft.rfft(right[:n], n_fft)), n_fft)
    at = int(np.argmax(np.abs(cross)))
    lag = at if at < n else at - n_fft
    scale = float(np.linalg.norm(left[:n]) * np.linalg.norm(right[:n]))
    return float(abs(cross[at])) / scale, lag / RATE_HZ


def wav(samples: npt.NDArray[np.int16], rate_hz: int) -> bytes:
    """16-bit WAV by Python's own writer; (n_samples,) or (n_channels, n_samples)."""
    channels = np.atleast_2d(samples)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(channels.T.astype("<i2").tobytes())
    return buffer.getvalue()
