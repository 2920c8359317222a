"""Turn a file into mono samples at the analysis rate.

Decodes packet by packet, mixes and resamples in blocks, and stops at the limit: what a file claims about its
own length is never believed, so a few megabytes that unpack to ten hours cost no more than the seconds asked
for. The delay that encoders put before the first sample is skipped as FFmpeg does, so offsets agree between
formats (an ADTS file does not state its delay: it is late by 20 to 50 ms).

Memory: 4 bytes per sample that is returned (691 MB for 6 h at 8000 Hz), grown in place, plus about 20 MB.
Runs inside a child process (`dsp_pool`), which bounds what a fault in a decoder can do.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import av
import numpy as np
import soxr

from fpserver.audio.container import open_audio
from fpserver.audio.downmix import MAX_CHANNELS, Channels, Downmix, without_nonsense
from fpserver.errors import AudioDamaged, AudioTooLong, AudioTooShort, AudioUnsupported
from fpserver.terms import Samples, Sound

MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 384_000
BLOCK = 32_768  # samples per channel that are mixed and resampled at once
MAX_BAD_RUN = 500  # packets in a row that cannot be decoded (13 s of mp3): the rest is given up
MAX_PACKETS_PER_S = 1000  # of sound that came out (Opus has at most 400), beyond
FREE_PACKETS = 10_000  # of them: each costs 20 microseconds whatever is in it, so the rest is given up
CLAIM_SLACK = (
    1.05  # a file that claims to be longer than what came out by more than this, and by 1 s, was cut
)
_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
_FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31}


Observer = Callable[[Channels, int], None]  # is shown every block that is mixed, and its rate in Hz


def decode(
    path: Path,
    *,
    rate_hz: int,
    max_s: float,
    max_bytes: int,
    min_s: float = 0.0,
    cut: bool,
    observe: Observer | None = None,
) -> Sound:
    """Decode a file to mono samples at `rate_hz`, at most `max_s` of them.

    With `cut`, what is longer is heard to there and marked truncated; without, it is refused. Damaged packets
    are skipped; a file that ends early is heard to its end and marked truncated (where its format tells).

    `observe` is shown all channels at the file's own rate, once, block by block; it changes nothing.

    Raises:
        SourceMissing: there is no such file.
        AudioEmpty, AudioTooLarge: it has no bytes, or more than `max_bytes`.
        AudioUnsupported: no decoder reads it, it holds no sound, or its rate or channels are out of bounds.
        AudioDamaged: it begins like audio, but gives no usable sound.
        AudioTooLong, AudioTooShort: it is longer than `max_s` (without `cut`), or shorter than `min_s`.
    """
    tape, downmix, damage = _listen(
        path, Downmix(), rate_hz=rate_hz, max_s=max_s, max_bytes=max_bytes, observe=observe
    )
    if downmix.instead is not None:
        del tape
        alone = Downmix(downmix.instead)
        tape, _, damage = _listen(path, alone, rate_hz=rate_hz, max_s=max_s, max_bytes=max_bytes)
    duration_s = len(tape) / rate_hz
    if not len(tape) or damage.n_bad > damage.n_good:
        raise AudioDamaged(
            f"{duration_s:.1f} s of sound came out, and {damage.n_bad} of {damage.n_bad + damage.n_good} "
            "packets cannot be decoded: the file is damaged, or no audio"
        )
    if tape.overran and not cut:
        raise AudioTooLong(f"audio goes on after {max_s:g} s, at most {max_s:g} s are allowed")
    truncated = tape.overran or damage.cut_short(duration_s)
    if duration_s < min_s:
        cause = " and its file is cut short" if truncated else ""
        raise AudioTooShort(f"audio is {duration_s:.2f} s long{cause}, need at least {min_s:g} s")
    return Sound(samples=tape.samples(), rate_hz=rate_hz, truncated=truncated)


class _Tape:
    """Samples up to a limit, in one array that grows in place (realloc moves pages, not bytes)."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._n = 0
        self._array = np.empty(0, np.float32)
        self.overran = False  # more was offered than the limit

    def __len__(self) -> int:
        return self._n

    def append(self, samples: Samples) -> None:
        self.overran |= len(samples) > self._limit - self._n
        end = min(self._limit, self._n + len(samples))
        if end > len(self._array):
            self._array.resize(min(self._limit, end + end // 4), refcheck=False)
        self._array[self._n : end] = samples[: end - self._n]
        self._n = end

    def samples(self) -> Samples:
        self._array.resize(self._n, refcheck=False)
        return self._array


class _Damage:
    """What went wrong on the way, and where the file said it would end."""

    def __init__(self) -> None:
        self.n_good = self.n_bad = 0  # packets
        self.bad_run = 0  # of them, the last ones without a good one between
        self.ended_early = False
        self.claimed_s = 0.0

    def count(self, good: bool) -> None:
        self.n_good += good
        self.n_bad += not good
        self.bad_run = 0 if good else self.bad_run + 1

    def cut_short(self, duration_s: float) -> bool:
        claims_more = self.claimed_s > max(duration_s * CLAIM_SLACK, duration_s + 1)
        return self.ended_early or self.bad_run > 0 or claims_more


def _listen(
    path: Path,
    downmix: Downmix,
    *,
    rate_hz: int,
    max_s: float,
    max_bytes: int,
    observe: Observer | None = None,
) -> tuple[_Tape, Downmix, _Damage]:
    """One pass through the file: decode, mix, resample, until the tape is full."""
    tape, damage = _Tape(round(max_s * rate_hz)), _Damage()
    resampler: soxr.ResampleStream | None = None
    from_hz = 0
    with open_audio(path, max_bytes=max_bytes) as (container, stream):
        _check_rate(stream.codec_context.sample_rate or MIN_RATE_HZ)
        damage.claimed_s = (container.duration or 0) / av.time_base
        for block, block_hz in _blocks(_frames(container, stream, damage)):
            if block_hz != from_hz:
                _finish(resampler, tape)
                resampler = soxr.ResampleStream(block_hz, rate_hz, 1, dtype="float32", quality="HQ")
                from_hz = block_hz
            assert resampler is not None
            sane = without_nonsense(block)
            if observe is not None:
                observe(sane, block_hz)
            tape.append(resampler.resample_chunk(downmix.mix(sane)))
            if tape.overran:
                return tape, downmix, damage
        _finish(resampler, tape)
    return tape, downmix, damage


def _finish(resampler: soxr.ResampleStream | None, tape: _Tape) -> None:
    if resampler is not None:
        tape.append(resampler.resample_chunk(np.empty(0, np.float32), last=True))


def _frames(
    container: av.container.InputContainer, stream: av.AudioStream, damage: _Damage
) -> Iterator[av.AudioFrame]:
    """Frames in order; what cannot be decoded is counted and skipped."""
    packets = container.demux(stream)
    n_packets, most = 0, float(FREE_PACKETS)
    while damage.bad_run <= MAX_BAD_RUN and n_packets < most:
        n_packets += 1
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            damage.ended_early = True
            packet = None
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.FFmpegError:
            damage.count(good=False)
            continue
        if packet.size:  # the last packet is empty: it asks the decoder for what it still holds
            damage.count(good=True)
            damage.ended_early = packet.is_corrupt
        for frame in frames:
            most += frame.samples / (frame.sample_rate or MIN_RATE_HZ) * MAX_PACKETS_PER_S
            yield frame
    damage.ended_early = True


def _blocks(frames: Iterator[av.AudioFrame]) -> Iterator[tuple[Channels, int]]:
    """Frames joined to blocks of at least BLOCK samples, as float, with their rate."""
    waiting: list[av.AudioFrame] = []
    n_waiting, kind = 0, (0, 0, "")
    interleave: av.AudioResampler | None = None
    for frame in frames:
        n_channels = frame.layout.nb_channels
        if (frame.sample_rate, n_channels, frame.format.name) != kind:
            if waiting:
                yield _joined(waiting), kind[0]
            waiting, n_waiting, kind = [], 0, (frame.sample_rate, n_channels, frame.format.name)
            _check_rate(frame.sample_rate)
            if not 1 <= n_channels <= MAX_CHANNELS:
                raise AudioUnsupported(f"audio has {n_channels} channels, must have 1 to {MAX_CHANNELS}")
            interleave = _interleaver(frame)
        for readable in interleave.resample(frame) if interleave else (frame,):
            waiting.append(readable)
            n_waiting += readable.samples
        if n_waiting >= BLOCK:
            yield _joined(waiting), kind[0]
            waiting, n_waiting = [], 0
    if waiting:
        yield _joined(waiting), kind[0]


def _check_rate(rate_hz: int) -> None:
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise AudioUnsupported(
            f"audio has a sample rate of {rate_hz} Hz, must be {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz"
        )


def _interleaver(frame: av.AudioFrame) -> av.AudioResampler | None:
    """For planar frames of 8 channels and more, which PyAV (18.1) reads beyond their end: SIGSEGV."""
    if frame.format.is_planar and frame.layout.nb_channels >= 8:
        return av.AudioResampler(format="flt", layout=frame.layout, rate=frame.sample_rate)
    return None


def _joined(frames: Sequence[av.AudioFrame]) -> Channels:
    """The samples of frames of one kind, (n_channels, n_samples), −1..1 for integer formats, as they are for floats."""
    kind, n_channels = frames[0].format, frames[0].layout.nb_channels
    packed, end = kind.packed.name, 0
    joined = np.empty((n_channels, sum(frame.samples for frame in frames)), np.float32)
    with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, and then 0
        for frame in frames:
            begin, end = end, end + frame.samples
            _copy(frame, _DTYPES[packed], joined[:, begin:end], planar=kind.is_planar)
    if packed == "u8":
        joined -= 128
    if packed in _FULL_SCALE:
        joined *= np.float32(1 / _FULL_SCALE[packed])
    return joined


def _copy(frame: av.AudioFrame, dtype: str, channels: Channels, *, planar: bool) -> None:
    """The samples of a frame, as 32-bit floats, into `channels`."""
    for plane, part in zip(frame.planes, channels if planar else (channels.T,), strict=True):
        samples = np.frombuffer(plane, dtype, part.size)  # type: ignore[call-overload]  # a buffer, untold
        part[:] = samples.reshape(part.shape)
