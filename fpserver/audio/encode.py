"""Turn samples into the bytes of an audio file: for the demo, the tests and the load tests.

The kind of file is named by its usual suffix. Encoders that know only some rates are given the nearest one
that keeps all of the sound; a decoder hears the same either way.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
import soxr

BLOCK = 65536  # samples handed to the encoder at once


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """How FFmpeg calls a kind of file, and what its encoder asks for."""

    muxer: str
    codec: str
    rates_hz: tuple[int, ...] = ()  # empty: any
    options: Mapping[str, str] = field(default_factory=dict)
    stereo: bool = False  # knows two channels only


_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_AAC_RATES = (7350, *_MP3_RATES, 64000, 88200, 96000)
_FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "500000"}

KINDS: Mapping[str, _Kind] = {
    "mp3": _Kind(muxer="mp3", codec="libmp3lame", rates_hz=_MP3_RATES),
    "flac": _Kind(muxer="flac", codec="flac"),
    "ogg": _Kind(muxer="ogg", codec="vorbis", options={"strict": "experimental"}, stereo=True),
    "opus": _Kind(muxer="ogg", codec="libopus", rates_hz=_OPUS_RATES),
    "webm": _Kind(muxer="webm", codec="libopus", rates_hz=_OPUS_RATES, options={"live": "1"}),
    "m4a": _Kind(muxer="ipod", codec="aac", rates_hz=_AAC_RATES),
    "mp4": _Kind(muxer="mp4", codec="aac", rates_hz=_AAC_RATES, options=_FRAGMENTS),
    "aac": _Kind(muxer="adts", codec="aac", rates_hz=_AAC_RATES),
    "alac": _Kind(muxer="ipod", codec="alac"),
    "wav": _Kind(muxer="wav", codec="pcm_s16le"),
    "wav32": _Kind(muxer="wav", codec="pcm_f32le"),
    "aiff": _Kind(muxer="aiff", codec="pcm_s16be"),
    "wv": _Kind(muxer="wv", codec="wavpack"),
}


def encode(
    samples: npt.NDArray[np.float32],
    rate_hz: int,
    *,
    container: str = "mp3",
    bitrate: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """Encode samples, (n_samples,) or (n_channels, n_samples), −1..1.

    `container` is one of `KINDS`; `bitrate` is in bits per second (None: the encoder's own choice, and
    without meaning for lossless kinds). "webm" is written as a browser's recorder writes it: without a
    duration.

    Raises:
        ValueError: `container` is not one of `KINDS`.
    """
    if container not in KINDS:
        raise ValueError(f"container is {container!r}, must be one of {', '.join(KINDS)}")
    kind = KINDS[container]
    channels = np.atleast_2d(np.asarray(samples, dtype=np.float32))
    if kind.stereo and len(channels) == 1:
        channels = np.repeat(channels, 2, axis=0)
    coded_hz = _coded_rate(rate_hz, kind.rates_hz)
    if coded_hz != rate_hz:
        channels = np.atleast_2d(soxr.resample(channels.T, rate_hz, coded_hz).T)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind.muxer, container_options=dict(kind.options)) as output:
        output.metadata.update(metadata or {})
        layout = av.AudioLayout("mono" if len(channels) == 1 else f"{len(channels)}c")
        stream = output.add_stream(kind.codec, rate=coded_hz, layout=layout, options=dict(kind.options))
        assert isinstance(stream, av.AudioStream)  # said to the type checker: every codec above is audio
        if bitrate is not None:
            stream.bit_rate = bitrate
        for start in range(0, channels.shape[1], BLOCK):
            block = channels[:, start : start + BLOCK].T.reshape(
                1, -1
            )  # interleaved: PyAV miscounts 8 planes
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="flt", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = coded_hz, start, Fraction(1, coded_hz)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def _coded_rate(rate_hz: int, rates_hz: tuple[int, ...]) -> int:
    if not rates_hz or rate_hz in rates_hz:
        return rate_hz
    return min((rate for rate in rates_hz if rate > rate_hz), default=max(rates_hz))
