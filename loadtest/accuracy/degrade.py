"""What is done to clips: samples in, samples out, all at 44.1 kHz, mono, float32, and all randomness passed in.

Signal-to-noise ratios are RMS over the whole clip within the analysed band, LOW_HZ to HIGH_HZ.
"""

import shutil
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soxr
from scipy.signal import butter, fftconvolve, sosfilt

from fpserver.audio.decode import decode
from fpserver.audio.encode import encode
from fpserver.terms import Samples
from loadtest.corpus import RATE_HZ

LOW_HZ, HIGH_HZ = 130.0, 5000.0
GSM_RATE_HZ = 8000
GSM_TOOLS = ("toast", "untoast")  # Debian: libgsm-tools
TINY = 1e-9
_TICK = Fraction(1, RATE_HZ)


def band_rms(samples: Samples) -> float:
    """RMS of what lies in the analysed band."""
    spectrum = np.abs(np.fft.rfft(samples.astype(np.float64))) ** 2
    hz = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    inside = (hz >= LOW_HZ) & (hz <= HIGH_HZ)
    return float(np.sqrt(2 * spectrum[inside].sum()) / len(samples))


def add_noise(samples: Samples, noise: Samples, *, snr_db: float) -> Samples:
    """Samples with noise of the same length, so loud that the ratio is `snr_db`."""
    gain = band_rms(samples) / max(band_rms(noise), TINY) * 10 ** (-snr_db / 20)
    return (samples + np.float32(gain) * noise).astype(np.float32)


def normalised(samples: Samples, *, peak: float = 0.9) -> Samples:
    """The same with its highest sample at `peak`."""
    return (samples * np.float32(peak / max(float(np.abs(samples).max()), TINY))).astype(np.float32)


def high_pass(samples: Samples, hz: float, *, order: int = 2) -> Samples:
    """Without what lies below."""
    sos = butter(order, hz, "highpass", fs=RATE_HZ, output="sos")
    return np.asarray(sosfilt(sos, samples), np.float32)


def band_pass(samples: Samples, low_hz: float, high_hz: float, *, order: int = 2) -> Samples:
    """Only what lies between."""
    sos = butter(order, (low_hz, high_hz), "bandpass", fs=RATE_HZ, output="sos")
    return np.asarray(sosfilt(sos, samples), np.float32)


def clipped(samples: Samples, share: float) -> Samples:
    """The loudest `share` of the samples cut off."""
    limit = np.float32(np.quantile(np.abs(samples), 1 - share))
    return np.clip(samples, -limit, limit)


def simulated_response(rng: np.random.Generator) -> Samples:
    """A room that was never built: direct sound, six early reflections, noise that decays in 0.2 to 0.8 s (RT60).

    The reverberant part is 0 to 10 dB below the direct sound and loses its highs, as walls take them.
    """
    rt60_s = rng.uniform(0.2, 0.8)
    time_s = np.arange(round(rt60_s * RATE_HZ)) / RATE_HZ
    tail = rng.normal(0, 1, len(time_s)) * 10 ** (-3 * time_s / rt60_s)
    tail[: round(0.003 * RATE_HZ)] = 0
    response = np.asarray(sosfilt(butter(1, 4000, fs=RATE_HZ, output="sos"), tail))
    for delay_s in rng.uniform(0.003, 0.03, 6):
        response[round(delay_s * RATE_HZ)] += rng.choice((-1, 1)) * np.abs(response).max() * rng.uniform(1, 3)
    response *= 10 ** (-rng.uniform(0, 10) / 20) / max(float(np.sqrt(np.sum(response**2))), TINY)
    response[0] = 1.0
    return response.astype(np.float32)


def in_room(samples: Samples, response: Samples, *, run_in: int) -> Samples:
    """Heard through a response; the first `run_in` samples have filled the room and are cut off."""
    heard = fftconvolve(samples, response)[: len(samples)]
    return np.asarray(heard[run_in:], np.float32)


def at_speed(samples: Samples, factor: float) -> Samples:
    """Played `factor` times as fast, as a record player does it: n samples become n / factor."""
    return np.asarray(soxr.resample(samples, RATE_HZ * factor, RATE_HZ, quality="VHQ"), np.float32)


def at_tempo(samples: Samples, factor: float) -> Samples:
    """`factor` times as fast at the same pitch (FFmpeg's atempo, which overlaps and adds): n become n / factor."""
    graph = av.filter.Graph()
    layout = av.AudioLayout("mono")
    source = graph.add_abuffer(
        sample_rate=RATE_HZ, format=av.AudioFormat("flt"), layout=layout, time_base=_TICK
    )
    tempo = graph.add("atempo", f"{factor:.6f}")
    sink = graph.add("abuffersink")
    source.link_to(tempo)
    tempo.link_to(sink)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None], np.float32), "flt", layout)
    frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, 0, _TICK
    graph.push(frame)
    graph.push(None)
    pieces = []
    while True:
        try:
            pieces.append(graph.pull().to_ndarray()[0])
        except (av.EOFError, av.BlockingIOError):
            return np.concatenate(pieces).astype(np.float32)


def at_pitch(samples: Samples, factor: float) -> Samples:
    """Frequencies `factor` times as high at the same tempo: as many samples."""
    return at_tempo(at_speed(samples, factor), 1 / factor)


def coded(samples: Samples, kind: str, bitrate: int) -> Samples:
    """Encoded, decoded, as long as before."""
    with tempfile.NamedTemporaryFile(suffix=f".{kind}") as file:
        file.write(encode(samples, RATE_HZ, container=kind, bitrate=bitrate))
        file.flush()
        sound = decode(Path(file.name), rate_hz=RATE_HZ, max_s=120, max_bytes=2**26, cut=True)
    return _as_long(sound.samples, len(samples))


def has_gsm() -> bool:
    """Whether the GSM 06.10 tools are installed."""
    return all(map(shutil.which, GSM_TOOLS))


def gsm(samples: Samples) -> Samples:
    """Through a GSM 06.10 full-rate telephone: 8 kHz, 13 kbit/s, frames of 20 ms."""
    narrow = np.asarray(soxr.resample(normalised(samples), RATE_HZ, GSM_RATE_HZ, quality="VHQ"))
    pcm = np.clip(narrow * 32767, -32768, 32767).astype("<i2").tobytes()
    for tool in GSM_TOOLS:
        pcm = subprocess.run(
            [tool, "-l", "-c"], input=pcm, capture_output=True, check=True, timeout=60
        ).stdout
    heard = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    return _as_long(
        np.asarray(soxr.resample(heard, GSM_RATE_HZ, RATE_HZ, quality="VHQ"), np.float32), len(samples)
    )


def _as_long(samples: Samples, n_samples: int) -> Samples:
    return np.pad(samples, (0, max(0, n_samples - len(samples))))[:n_samples]
