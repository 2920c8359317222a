"""Posting lists as they are stored: plain, and sealed.

A plain list is its postings in the order in which they were added, 6 bytes each:

    | track_id : 28 | offset : 20 |

A sealed list begins with a marker that stands where a posting would name track 0:

    | 0 : 32 | n_sealed : 32 | n_bytes : 32 |

Its first `n_sealed` postings are n_bytes of code, about 3 bytes each; what was added since is plain. The store keeps
the first HEAD_BYTES of a plain list as its head and the rest, if any, as its tail. A sealed list's head is its marker
and the first plain postings, its tail the code and the plain postings that the head has no room for. So a list grows in
the same way whether sealed or not, and its length is known from its head and the length of its tail.

The code tells postings sorted by track, then offset, by what each has more than the one before: of its track, and of
its offset if the track is the same, else the whole offset.

    | k_track : 8 | k_offset : 8 | track, offset, track, offset, … | zeros up to a byte |

A number n is n >> k ones, a zero, and the lowest k bits of n; MAX_ONES ones and no zero say that 32 bits follow.

Golomb, "Run-length encodings", IEEE Trans. Inf. Theory 1966; Rice and Plaunt, "Adaptive variable-length coding", IEEE
Trans. Commun. 1971; Witten, Moffat and Bell, "Managing Gigabytes", 1999, chapter 3 (gaps of an inverted file).
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fpserver.compiling import compiled
from fpserver.terms import Frames, TrackIds

Bytes: TypeAlias = npt.NDArray[np.uint8]
Sizes: TypeAlias = npt.NDArray[np.int64]

POSTING_BYTES = 6
HEAD_BYTES = 252  # of a list, in its bucket; functions.lua has the same
HEAD_POSTINGS = HEAD_BYTES // POSTING_BYTES
MARKER_BYTES = 12
OFFSET_BITS = 20
MAX_OFFSET = (1 << OFFSET_BITS) - 1
MAX_TRACK_ID = (1 << 28) - 1
MAX_ONES = 16
MAX_K = 28
MOST_BYTES = 12  # of a posting in code: two numbers of MAX_ONES and 32 bits
WINDOW_BYTES = 8  # from any bit on, MAX_ONES, a zero and MAX_K bits stand in so many
SHARE_SEALED = 0.8  # a list of which less is sealed is worth sealing anew
_LEADING_ONES = np.array([f"{byte:08b}0".index("0") for byte in range(256)], np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostingLists:
    """Lists one after the other."""

    size: Sizes  # postings of each list
    n_sealed: Sizes
    n_bytes: Sizes  # as stored
    track_id: TrackIds  # of all postings
    offset: Frames

    @property
    def worth_sealing(self) -> npt.NDArray[np.bool_]:
        """Which are longer than a head, and mostly plain."""
        return (self.size > HEAD_POSTINGS) & (self.n_sealed < SHARE_SEALED * self.size)

    @property
    def head_bytes(self) -> Sizes:
        """How much of each as stored is its head."""
        plain = np.minimum(self.n_bytes, HEAD_BYTES)
        fresh = (self.size - self.n_sealed) * POSTING_BYTES
        return np.where(self.n_sealed > 0, np.minimum(MARKER_BYTES + fresh, HEAD_BYTES), plain)


def unpack(packed: bytes, sizes: Sizes) -> PostingLists:
    """Lists of `sizes` postings, as stored, heads before tails.

    Raises:
        ValueError: the bytes are not such lists.
    """
    data = np.frombuffer(packed + bytes(WINDOW_BYTES), np.uint8)
    sizes = np.ascontiguousarray(sizes, np.int64)
    n_sealed, n_bytes = np.zeros_like(sizes), np.zeros_like(sizes)
    track_id, offset = np.empty(sizes.sum(), np.int64), np.empty(sizes.sum(), np.int32)
    if not _unpack(data, len(packed), sizes, n_sealed, n_bytes, track_id, offset):
        raise ValueError(f"{len(packed)} bytes are not the posting lists of {len(sizes)} hashes")
    return PostingLists(size=sizes, n_sealed=n_sealed, n_bytes=n_bytes, track_id=track_id, offset=offset)


def plain(track_id: TrackIds, offset: Frames) -> bytes:
    """Postings whose numbers are known to fit."""
    words = np.empty((len(offset), 3), ">u2")
    words[:, 0] = track_id >> 12
    words[:, 1] = ((track_id & 0xFFF) << 4) | (offset >> 16)
    words[:, 2] = offset & 0xFFFF
    return words.tobytes()


def in_order(list_of: Sizes, track_id: TrackIds, offset: Frames) -> tuple[TrackIds, Frames]:
    """Postings of at most 2^15 lists, sorted by list, then track, then offset; fast where they nearly are."""
    key = np.sort((list_of << 48) | (track_id << OFFSET_BITS) | offset, kind="stable")
    return (key >> OFFSET_BITS) & MAX_TRACK_ID, (key & MAX_OFFSET).astype(np.int32)


def packed(track_id: TrackIds, offset: Frames, sizes: Sizes) -> list[bytes]:
    """Lists of `sizes` postings, sorted by track, then offset: plain where they fit a head, else sealed."""
    long = sizes > HEAD_POSTINGS
    in_long = np.repeat(long, sizes)
    codes = iter(_sealed(track_id[in_long], offset[in_long], sizes[long]))
    heads, at = plain(track_id[~in_long], offset[~in_long]), 0
    lists = []
    for size in sizes.tolist():
        if size > HEAD_POSTINGS:
            lists.append(next(codes))
        else:
            lists.append(heads[at : at + size * POSTING_BYTES])
            at += size * POSTING_BYTES
    return lists


def _sealed(track_id: TrackIds, offset: Frames, sizes: Sizes) -> list[bytes]:
    """Marker and code of each of the lists, none of which is empty."""
    first = np.append(0, np.cumsum(sizes))
    data = np.zeros(MOST_BYTES * len(track_id) + 2 * len(sizes), np.uint8)
    ends = np.zeros_like(first)
    _seal(track_id, offset, first, data, ends[1:])
    markers = np.zeros((len(sizes), 3), ">u4")
    markers[:, 1], markers[:, 2] = sizes, np.diff(ends)
    marker, code, bounds = markers.tobytes(), data[: ends[-1]].tobytes(), ends.tolist()
    return [
        marker[MARKER_BYTES * i : MARKER_BYTES * (i + 1)] + code[bounds[i] : bounds[i + 1]]
        for i in range(len(sizes))
    ]


def split(packed: bytes) -> tuple[bytes, bytes]:
    """Head and tail of a list that is wholly plain or wholly sealed."""
    end = MARKER_BYTES if packed[:4] == bytes(4) else HEAD_BYTES
    return packed[:end], packed[end:]


def warm_up() -> None:
    """Have all of it compiled, or read from where it was kept, so that no clip waits for it."""
    track_id, offset, one = np.ones(1, np.int64), np.ones(1, np.int32), np.ones(1, np.int64)
    unpack(_sealed(track_id, offset, one)[0], one)


@compiled
def _unpack(
    data: Bytes, end: int, sizes: Sizes, n_sealed: Sizes, n_bytes: Sizes, track_id: TrackIds, offset: Frames
) -> bool:
    """Fill the last four; False where a list does not end where it should."""
    at, n = 0, 0
    for i in range(len(sizes)):
        size, begin = sizes[i], at
        if size and at + 4 <= end and _u32(data, at) == 0:
            if at + MARKER_BYTES > end:
                return False
            n_sealed[i], n_code = _u32(data, at + 4), _u32(data, at + 8)
            n_fresh = size - n_sealed[i]
            at += MARKER_BYTES
            if n_fresh < 0 or at + n_fresh * POSTING_BYTES + n_code > end:
                return False
            in_head = min(n_fresh, HEAD_POSTINGS - MARKER_BYTES // POSTING_BYTES)
            _unpack_plain(data, at, track_id[n : n + in_head], offset[n : n + in_head])
            at, n = at + in_head * POSTING_BYTES, n + in_head
            if not _unpack_code(data, at, n_code, track_id[n : n + n_sealed[i]], offset[n : n + n_sealed[i]]):
                return False
            at, n = at + n_code, n + n_sealed[i]
            size = n_fresh - in_head
        if at + size * POSTING_BYTES > end:
            return False
        _unpack_plain(data, at, track_id[n : n + size], offset[n : n + size])
        at, n = at + size * POSTING_BYTES, n + size
        n_bytes[i] = at - begin
    return at == end


@compiled
def _u32(data: Bytes, at: int) -> int:
    return (int(data[at]) << 24) | (int(data[at + 1]) << 16) | (int(data[at + 2]) << 8) | int(data[at + 3])


@compiled
def _unpack_plain(data: Bytes, at: int, track_id: TrackIds, offset: Frames) -> None:
    for i in range(len(track_id)):
        upper, at_lower = _u32(data, at), at + 4
        track_id[i] = upper >> 4
        offset[i] = ((upper & 0xF) << 16) | (int(data[at_lower]) << 8) | int(data[at_lower + 1])
        at += POSTING_BYTES


@compiled
def _unpack_code(data: Bytes, at: int, n_bytes: int, track_id: TrackIds, offset: Frames) -> bool:
    """False where the code is not that of so many postings. WINDOW_BYTES may be read behind it.

    Numbers without sign: they are shifted, and need no check for negative indices.
    """
    if n_bytes < 2 or max(data[at], data[at + 1]) > MAX_K:
        return False
    k_track, k_offset = np.uint64(data[at]), np.uint64(data[at + 1])
    bit, end = np.uint64(8 * at + 16), np.uint64(8 * (at + n_bytes))
    track, frame = np.uint64(0), np.uint64(0)
    for i in range(len(track_id)):
        if bit > end:
            return False
        gap, bit = _take(data, bit, k_track)
        if bit > end:
            return False
        more, bit = _take(data, bit, k_offset)
        track += gap
        frame = more if gap else frame + more
        track_id[i], offset[i] = track, frame
    return bool(bit <= end and end - bit < np.uint64(8))


@compiled
def _take(data: Bytes, bit: np.uint64, k: np.uint64) -> tuple[np.uint64, np.uint64]:
    """(number, the bit after it)."""
    first, window = bit >> np.uint64(3), np.uint64(0)
    for i in range(WINDOW_BYTES):
        window = (window << np.uint64(8)) | np.uint64(data[first + np.uint64(i)])
    window <<= bit & np.uint64(7)
    ones = np.uint64(_LEADING_ONES[window >> np.uint64(56)])
    if ones == np.uint64(8):
        while ones < np.uint64(MAX_ONES) and (window << ones) >> np.uint64(63):
            ones += np.uint64(1)
        if ones == np.uint64(MAX_ONES):
            return (window << ones) >> np.uint64(32), bit + ones + np.uint64(32)
    rest = (window << (ones + np.uint64(1))) >> np.uint64(1)  # 63 bits: a shift by 64 is none
    return (ones << k) | (rest >> (np.uint64(63) - k)), bit + ones + np.uint64(1) + k


@compiled
def _seal(track_id: TrackIds, offset: Frames, first: Sizes, data: Bytes, ends: Sizes) -> None:
    """Write the code of each list and tell where it ends."""
    begin = 0
    for i in range(len(ends)):
        tracks, offsets = track_id[first[i] : first[i + 1]], offset[first[i] : first[i + 1]]
        n = len(tracks)
        k_track, k_offset = _log2(tracks[n - 1] // n), _log2(int(np.sum(offsets)) // n)
        data[begin], data[begin + 1] = k_track, k_offset
        at, track, frame = 8 * begin + 16, 0, 0
        for j in range(n):
            gap = tracks[j] - track
            at = _put(data, at, gap, k_track)
            at = _put(data, at, offsets[j] if gap else offsets[j] - frame, k_offset)
            track, frame = tracks[j], offsets[j]
        begin = (at + 7) >> 3
        ends[i] = begin


@compiled
def _log2(number: int) -> int:
    """Of a mean, rounded down: numbers of that mean take fewest bits with about so many told as they are."""
    k = 0
    while number > 1:
        number, k = number >> 1, k + 1
    return k


@compiled
def _put(data: Bytes, at: int, number: int, k: int) -> int:
    """The bit after it."""
    ones = number >> k
    if ones < MAX_ONES:
        at = _put_bits(data, at, (1 << (ones + 1)) - 2, ones + 1)
    else:
        at = _put_bits(data, at, (1 << MAX_ONES) - 1, MAX_ONES)
        k = 32
    return _put_bits(data, at, number & ((1 << k) - 1), k)


@compiled
def _put_bits(data: Bytes, at: int, bits: int, n: int) -> int:
    while n > 0:
        room = 8 - (at & 7)
        some = min(room, n)
        n -= some
        data[at >> 3] |= ((bits >> n) & ((1 << some) - 1)) << (room - some)
        at += some
    return at
