"""What the index sends and is answered, packed and parsed. All numbers are big endian.

Lists by bucket, columns one after the other (question of a lookup):

    | n_buckets : 32 | bucket : 32 × n_buckets | n_lists : 8 × n_buckets | low : 8 × Σ n_lists |

What is added to them, one chunk of some tracks' postings:

    | lists by bucket | n_postings : 16 × Σ n_lists | posting : 48 × Σ n_postings |

The answer to a lookup, lists in the order asked:

    | n_indexed : 64 | length : 32 × n_hashes | list × n_hashes |        length ≥ 2^31: not read, so much longer

Lists put in the place of others, each only if that still begins with what was read of it (so many bytes of its head and
of its tail, of a digest):

    | lists by bucket | n_head : 8 × Σ n_lists | n_tail : 32 × Σ | sha1 : 40 digits × Σ | n_bytes : 32 × Σ | list × Σ |

Lists are laid out in lists.py, tracks' peaks in peaks.py.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fpserver.errors import AudioTooLong, InvalidRequest
from fpserver.index import lists
from fpserver.index.keys import FIELD_BITS, FIELD_MASK
from fpserver.index.lists import MAX_OFFSET, MAX_TRACK_ID
from fpserver.terms import Frames, Hashes, TrackIds

LEFT_OUT = 1 << 31


def check(track_id: int, offsets: Frames) -> None:
    """Whether the index can hold these postings of a track.

    Raises:
        InvalidRequest, AudioTooLong: the track's id or an offset has more bits than a posting gives it.
    """
    if not 0 < track_id <= MAX_TRACK_ID:
        raise InvalidRequest(f"track_id is {track_id}, the index holds ids of 1..{MAX_TRACK_ID}")
    if len(offsets) and (offsets.min() < 0 or offsets.max() > MAX_OFFSET):
        raise AudioTooLong(
            f"track {track_id} has a landmark at frame {offsets.max()}, the index holds frames of 0..{MAX_OFFSET}"
        )


def company(track_ids: Sequence[int]) -> bytes:
    """A name for tracks that are added together."""
    packed = np.array(track_ids, ">u4").tobytes()
    return hashlib.sha1(packed, usedforsecurity=False).hexdigest()[:8].encode() + b":"


def pack_question(hashes: Hashes) -> bytes:
    """Lists by bucket for hashes that are sorted and unique."""
    bucket = hashes >> np.uint32(FIELD_BITS)
    first = np.flatnonzero(np.diff(bucket, prepend=bucket[:1] + np.uint32(1)))
    n_lists = np.diff(first, append=len(hashes)).astype(np.uint8)
    low = (hashes & np.uint32(FIELD_MASK)).astype(np.uint8)
    n_buckets = len(first).to_bytes(4, "big")
    return n_buckets + bucket[first].astype(">u4").tobytes() + n_lists.tobytes() + low.tobytes()


def pack_chunk(hashes: Hashes, track_id: TrackIds, offset: Frames) -> bytes:
    """Postings ordered by hash, at most 65,535, that fit (`check`)."""
    first = np.flatnonzero(np.diff(hashes, prepend=hashes[:1] + np.uint32(1)))
    n_postings = np.diff(first, append=len(hashes)).astype(">u2")
    return pack_question(hashes[first]) + n_postings.tobytes() + lists.plain(track_id, offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """A list to be put in the place of another."""

    read: bytes  # of the other, its head before its tail
    n_head: int  # bytes of it that are head
    new: bytes


def pack_replacements(hashes: Hashes, replacements: Sequence[Replacement]) -> bytes:
    """Replacements of the lists of hashes that are sorted and unique."""
    n_tail = [len(each.read) - each.n_head for each in replacements]
    return b"".join(
        [
            pack_question(hashes),
            bytes(each.n_head for each in replacements),
            np.array(n_tail, ">u4").tobytes(),
            *(hashlib.sha1(each.read, usedforsecurity=False).hexdigest().encode() for each in replacements),
            np.array([len(each.new) for each in replacements], ">u4").tobytes(),
            *(each.new for each in replacements),
        ]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one lookup function call found."""

    n_indexed: int  # postings in the shard
    sizes: npt.NDArray[np.int64]  # postings found for each hash, 0 where its list was not read
    left_out: npt.NDArray[np.int64]  # postings of each hash's list where it was not read, 0 where it was
    lists: bytes  # of all hashes, as stored


def unpack_answer(packed: bytes, n_hashes: int) -> Answer:
    """The answer to a question about `n_hashes` hashes."""
    sizes = np.frombuffer(packed, ">u4", n_hashes, offset=8).astype(np.int64)
    left_out = np.where(sizes >= LEFT_OUT, sizes - LEFT_OUT, 0)
    return Answer(
        n_indexed=int.from_bytes(packed[:8], "big"),
        sizes=np.where(left_out, 0, sizes),
        left_out=left_out,
        lists=packed[8 + 4 * n_hashes :],
    )
