"""Sounds and files for the tests of the audio room."""

import io
import struct
import wave
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
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


def raw_wav(
    data: bytes,
    *,
    rate_hz: int,
    channels: int = 1,
    bits: int = 16,
    tag: int = 1,
    claimed_bytes: int | None = None,
) -> bytes:
    """A WAV file by hand, free to say what is not so. `tag` is 1 for integers, 3 for floats."""
    frame_bytes = channels * bits // 8
    claim = len(data) if claimed_bytes is None else claimed_bytes
    form = struct.pack(
        "<HHIIHH", tag, channels, rate_hz, rate_hz * frame_bytes & 0xFFFFFFFF, frame_bytes, bits
    )
    chunks = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", claim)
    return b"RIFF" + struct.pack("<I", min(claim + len(chunks), 0xFFFFFFFF)) + chunks + data


def flac_silence(*, hours: float, rate_hz: int = 44100, channels: int = 1) -> bytes:
    """Silence in a FLAC file of about 14 bytes per 32,768 samples, frames written by hand.

    # | sync : 14 | 0 | fixed blocks : 1 | block 2**15 : 4 | rate as in the file's head : 4 |
    # | channels - 1 : 4 | 16 bit : 3 | 0 : 1 | frame number : 8..32, as UTF-8 | crc-8 |
    # per channel | constant subframe : 8 | value : 16 |, then | crc-16 |
    """
    block = 32768
    n_blocks = int(hours * 3600 * rate_hz / block)
    info = struct.pack(">HH6x", block, block)
    info += ((rate_hz << 44) | (channels - 1 << 41) | (15 << 36) | (n_blocks * block)).to_bytes(
        8, "big"
    ) + bytes(16)
    frames = []
    for number in range(n_blocks):
        frame = bytes((0xFF, 0xF8, 0xF0, channels - 1 << 4 | 8)) + chr(number).encode(
            "utf-8", "surrogatepass"
        )
        frame += _crc(frame, 0x07, 8).to_bytes(1, "big") + bytes(3 * channels)
        frames.append(frame + _crc(frame, 0x8005, 16).to_bytes(2, "big"))
    return b"fLaC\x80" + len(info).to_bytes(3, "big") + info + b"".join(frames)


@cache
def _crc_table(polynomial: int, bits: int) -> list[int]:
    table = []
    for byte in range(256):
        rest = byte << (bits - 8)
        for _ in range(8):
            rest = (rest << 1) ^ (polynomial if rest >> (bits - 1) else 0)
            rest &= (1 << bits) - 1
        table.append(rest)
    return table


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    table, rest, mask = _crc_table(polynomial, bits), 0, (1 << bits) - 1
    for byte in data:
        rest = ((rest << 8) & mask) ^ table[(rest >> (bits - 8)) ^ byte]
    return rest


def picture(codec: str = "mjpeg") -> bytes:
    """A small picture, as JPEG or PNG."""
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width = context.height = 64
    context.pix_fmt = "yuvj420p" if codec == "mjpeg" else "rgb24"
    context.time_base = Fraction(1, 1)
    frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), format="rgb24")
    packets = [*context.encode(frame.reformat(format=context.pix_fmt)), *context.encode(None)]
    return b"".join(bytes(packet) for packet in packets)


def silent_film() -> bytes:
    """An mp4 of pictures without sound."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = 64
        for _ in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()
