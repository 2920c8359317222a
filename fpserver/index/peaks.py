"""A track's peaks as one string of blocks, so that a window of frames is read without the rest. Big endian.

    | version : 8 | n_frames : 24 | start : 32 × (n_blocks + 1) | block … |

`start` is where each block begins in the string, then where the string ends. A block holds the peaks of 128 frames;
one without peaks has no bytes, any other is

    | n : 16 | unary : 512 + n bits | low : 8 × n | odd : n bits | strong : n bits |

where columns of bits end at a whole byte. A peak's bin has 11 bits: the lowest is its bit in `odd`, the 8 above are its
byte in `low`. The upper 2, with its frame, say in which of the block's 512 quarter frames it lies: `unary` has, for
each of these in order, a 1 for every peak and then a 0. That is 13.2 bits per peak at 40 peaks a second.

Elias, "Efficient Storage and Retrieval by Content and Address of Static Files", JACM 1974.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from fpserver.compiling import compiled
from fpserver.errors import AudioTooLong, InvalidRequest
from fpserver.terms import Bins, Frames, Peaks, TrackPeaks

VERSION = 3
BLOCK_FRAMES = 128  # 6 s: a window of 10 s reads 2.7 blocks, 16 s; blocks of 256 frames would be 22 s
MAX_FRAMES = (1 << 24) - 1
MAX_BIN = (1 << 11) - 1
QUARTERS_PER_FRAME = 4
QUARTER_BITS = 9  # of a bin, below those that say the quarter
QUARTERS = QUARTERS_PER_FRAME * BLOCK_FRAMES
MAX_BLOCK_PEAKS = (1 << 16) - 1
N_BYTES, START_BYTES, HEADER_BYTES = 2, 4, 4
_LEADING_ZEROS = np.array([8 - byte.bit_length() for byte in range(256)], np.int64)

Bytes: TypeAlias = npt.NDArray[np.uint8]
Counts: TypeAlias = npt.NDArray[np.int64]


def pack(peaks: TrackPeaks) -> bytes:
    """The string of a track; `unpack` is the way back.

    Raises:
        AudioTooLong, InvalidRequest: frames, bins or peaks need more bits than the layout gives them.
    """
    _check(peaks)
    n = np.bincount(peaks.frame // BLOCK_FRAMES, minlength=blocks_of(peaks.n_frames))
    unary_bytes, flag_bytes = _columns(n)
    size = np.where(n > 0, N_BYTES, 0) + unary_bytes + n + 2 * flag_bytes
    rank = np.arange(len(peaks)) - np.repeat(_before(n), n)  # of each peak in its block
    quarter = peaks.frame % BLOCK_FRAMES * QUARTERS_PER_FRAME + (peaks.bin >> QUARTER_BITS)
    unary = _bits(np.repeat(8 * _before(unary_bytes), n) + quarter + rank, n_bytes=int(unary_bytes.sum()))
    flag_at = np.repeat(8 * _before(flag_bytes), n) + rank
    odd, strong = (
        _bits(flag_at[flag], n_bytes=int(flag_bytes.sum())) for flag in (peaks.bin % 2 == 1, peaks.strong)
    )
    low = (peaks.bin >> 1 & 0xFF).astype(np.uint8).tobytes()
    parts = [int(VERSION << 24 | peaks.n_frames).to_bytes(HEADER_BYTES, "big")]
    first = HEADER_BYTES + START_BYTES * (len(n) + 1)
    parts.append((first + np.r_[0, np.cumsum(size)]).astype(">u4").tobytes())
    at_unary = at_low = at_flag = 0
    for n_, u, f in zip(n.tolist(), unary_bytes.tolist(), flag_bytes.tolist(), strict=True):
        if n_:
            parts.append(n_.to_bytes(N_BYTES, "big"))
            parts.append(unary[at_unary : at_unary + u])
            parts.append(low[at_low : at_low + n_])
            parts.append(odd[at_flag : at_flag + f])
            parts.append(strong[at_flag : at_flag + f])
        at_unary, at_low, at_flag = at_unary + u, at_low + n_, at_flag + f
    return b"".join(parts)


def unpack(packed: bytes) -> TrackPeaks:
    """All of a track's peaks.

    Raises:
        ValueError: the bytes are of another layout.
    """
    header = int.from_bytes(packed[:HEADER_BYTES], "big")
    n_frames = header & MAX_FRAMES
    if header >> 24 != VERSION or len(packed) < HEADER_BYTES + START_BYTES * (blocks_of(n_frames) + 1):
        raise ValueError(f"peaks in {len(packed)} bytes, version {header >> 24}: not version {VERSION}")
    start = np.frombuffer(packed, ">u4", blocks_of(n_frames) + 1, offset=HEADER_BYTES).astype(np.int64)
    if start[-1] != len(packed):
        raise ValueError(f"peaks in {len(packed)} bytes, by their header {start[-1]}")
    blocks = _Blocks.in_bytes(packed, start[:-1], np.diff(start))
    frame, bin_ = blocks.places(BLOCK_FRAMES * np.arange(len(start) - 1))
    return TrackPeaks(frame=frame, bin=bin_, n_frames=n_frames, strong=blocks.strong())


def blocks_of(n_frames: int) -> int:
    """Blocks of a track of so many frames."""
    return -(-n_frames // BLOCK_FRAMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Blocks asked of tracks, a window each: first..last, none where last < first."""

    track_id: Counts
    first: Counts
    last: Counts

    def packed(self) -> bytes:
        """| track_id : 32 | first : 32 | last : 32 | for each window."""
        return np.column_stack([self.track_id, self.first, self.last]).astype(">u4").tobytes()


def blocks_asked(first_frame: Counts, last_frame: Counts) -> tuple[Counts, Counts]:
    """First and last block of frames first_frame..last_frame - 1; (1, 0) where there are none."""
    first_frame = np.maximum(first_frame, 0)
    some = (first_frame < last_frame) & (first_frame <= MAX_FRAMES)
    last_frame = np.minimum(last_frame, MAX_FRAMES)
    return np.where(some, first_frame // BLOCK_FRAMES, 1), np.where(some, (last_frame - 1) // BLOCK_FRAMES, 0)


def unpack_windows(questions: Sequence[Question], answers: Sequence[bytes]) -> list[Peaks | None]:
    """Peaks of whole blocks for every window of all questions, in order; None where the index has none.

    An answer is columns over its windows, laid end to end; a header is 0 where the index has none, and a window that
    lies outside its track has no starts:

        | header : 32 × n_windows | start : 32 × Σ (blocks + 1) | block … |

    Raises:
        ValueError: the bytes are of another layout.
    """
    if not questions:
        return []
    n_frames, n_blocks, starts, bodies = [], [], [], []
    for question, answer in zip(questions, answers, strict=True):
        header = np.frombuffer(answer, ">u4", len(question.first)).astype(np.int64)
        if (header[header > 0] >> 24 != VERSION).any():
            raise ValueError(f"peaks of version {header.max() >> 24}: not version {VERSION}")
        length = header & MAX_FRAMES
        last = np.minimum(question.last, -(-length // BLOCK_FRAMES) - 1)
        n = np.maximum(0, last - question.first + 1)
        n_starts = int(n.sum() + np.count_nonzero(n))
        starts.append(np.frombuffer(answer, ">u4", n_starts, offset=4 * len(header)).astype(np.int64))
        bodies.append(answer[4 * (len(header) + n_starts) :])
        n_frames.append(np.where(header > 0, length, -1))
        n_blocks.append(n)
    n, start = np.concatenate(n_blocks), np.concatenate(starts)
    first = np.concatenate([question.first for question in questions])
    is_block = np.ones(len(start), np.bool_)
    is_block[np.cumsum(n[n > 0] + 1) - 1] = False  # the last start of a window is its end
    size = np.diff(start, append=0)[is_block]
    blocks = _Blocks.in_bytes(b"".join(bodies), _before(size), size)
    block = np.arange(len(size)) - np.repeat(_before(n), n) + np.repeat(first, n)
    frame, bin_ = blocks.places(BLOCK_FRAMES * block)
    peaks_before = np.r_[0, np.cumsum(blocks.n)]
    ends = np.cumsum(n)
    bounds = zip(
        peaks_before[ends - n].tolist(),
        peaks_before[ends].tolist(),
        np.concatenate(n_frames).tolist(),
        strict=True,
    )
    return [
        None if length < 0 else Peaks(frame=frame[begin:end], bin=bin_[begin:end], n_frames=length)
        for begin, end, length in bounds
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blocks:
    """Blocks that lie in some bytes, of any tracks."""

    packed: bytes
    start: Counts
    n: Counts  # peaks of each

    @classmethod
    def in_bytes(cls, packed: bytes, start: Counts, size: Counts) -> "_Blocks":
        filled = size > 0
        at, octets = start[filled], np.frombuffer(packed, np.uint8)
        n = np.zeros(len(size), np.int64)
        n[filled] = octets[at].astype(np.int64) << 8 | octets[at + 1]
        unary_bytes, flag_bytes = _columns(n)
        if (np.where(filled, N_BYTES, 0) + unary_bytes + n + 2 * flag_bytes != size).any():
            raise ValueError("a block of peaks is not as long as its number of peaks says")
        return cls(packed=packed, start=start, n=n)

    def places(self, first_frame: Counts) -> tuple[Frames, Bins]:
        """Frame and bin of every peak; `first_frame` is that of each block."""
        total = int(self.n.sum())
        frame, bin_ = np.empty(total, np.int32), np.empty(total, np.int32)
        octets = np.frombuffer(self.packed, np.uint8)
        if not _places(octets, self.start, self.n, first_frame, frame, bin_):
            raise ValueError("a block of peaks does not say where they all lie")
        return frame, bin_

    def strong(self) -> npt.NDArray[np.bool_]:
        """Whether landmarks are made of each peak."""
        n = self.n
        unary_bytes, flag_bytes = _columns(n)
        at = self.start + N_BYTES + unary_bytes + n + flag_bytes
        bits = np.unpackbits(np.frombuffer(self._join(at, flag_bytes), np.uint8)).view(np.bool_)
        return bits[np.arange(int(n.sum())) + np.repeat(8 * _before(flag_bytes) - _before(n), n)]

    def _join(self, at: Counts, n_bytes: Counts) -> bytes:
        """One column of every block, end to end."""
        packed = self.packed
        ends = (at + n_bytes).tolist()
        return b"".join([packed[begin:end] for begin, end in zip(at.tolist(), ends, strict=True)])


def warm_up() -> None:
    """Have all of it compiled, or read from where it was kept, so that no clip waits for it."""
    zero = np.zeros(1, np.int32)
    unpack(pack(TrackPeaks(frame=zero, bin=zero, n_frames=1, strong=np.ones(1, np.bool_))))


@compiled
def _places(octets: Bytes, start: Counts, n: Counts, first_frame: Counts, frame: Frames, bin_: Bins) -> bool:
    """Fill the last two with the peaks of blocks that begin at `start`; False where one tells too few."""
    i = 0
    for block in np.flatnonzero(n):
        begin, end = i, i + n[block]
        at_unary = start[block] + N_BYTES
        at_low = at_unary + (QUARTERS + n[block] + 7) // 8
        at_odd = at_low + n[block]
        for at in range(at_unary, at_low):
            ones = octets[at]
            while ones and i < end:
                zeros = _LEADING_ZEROS[ones]
                ones &= 0x7F >> zeros
                rank = i - begin
                quarter = 8 * (at - at_unary) + zeros - rank  # as many zeros stand before this 1
                frame[i] = first_frame[block] + quarter // QUARTERS_PER_FRAME
                odd = octets[at_odd + (rank >> 3)] >> (7 - (rank & 7)) & 1
                bin_[i] = (quarter % QUARTERS_PER_FRAME) << QUARTER_BITS | octets[at_low + rank] << 1 | odd
                i += 1
        if i < end:
            return False
    return True


def _check(peaks: TrackPeaks) -> None:
    if peaks.n_frames > MAX_FRAMES:
        raise AudioTooLong(
            f"the recording has {peaks.n_frames} frames, peaks are kept of at most {MAX_FRAMES}"
        )
    if not len(peaks):
        return
    if peaks.bin.max() > MAX_BIN:
        raise InvalidRequest(f"a peak lies in bin {peaks.bin.max()}, the index holds bins of 0..{MAX_BIN}")
    if peaks.frame[-1] >= peaks.n_frames:
        raise InvalidRequest(f"a peak lies in frame {peaks.frame[-1]}, the recording has {peaks.n_frames}")
    most = int(np.bincount(peaks.frame // BLOCK_FRAMES).max())
    if most > MAX_BLOCK_PEAKS:
        raise InvalidRequest(f"{most} peaks lie in {BLOCK_FRAMES} frames, the index holds {MAX_BLOCK_PEAKS}")


def _columns(n: Counts) -> tuple[Counts, Counts]:
    """Bytes of the column `unary`, and of `odd` and of `strong` each, of blocks with so many peaks."""
    return np.where(n > 0, (QUARTERS + n + 7) // 8, 0), (n + 7) // 8


def _before(counts: Counts) -> Counts:
    """How much lies before each: a running sum, without the item itself."""
    sums: Counts = np.cumsum(counts) - counts
    return sums


def _bits(place: npt.NDArray[Any], *, n_bytes: int) -> bytes:
    """A column of bits, 1 at these places."""
    bits = np.zeros(8 * n_bytes, np.uint8)
    bits[place] = 1
    return np.packbits(bits).tobytes()
