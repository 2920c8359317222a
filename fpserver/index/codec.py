"""What the index writes and sends, packed and parsed. All numbers are big endian.

A posting, 6 bytes:

    | track_id : 28 | offset : 20 |

Lists by bucket, columns one after the other (question of a lookup or removal):

    | n_buckets : 32 | bucket : 32 × n_buckets | n_lists : 8 × n_buckets | low : 8 × Σ n_lists |

What is added to them, one chunk of a track:

    | lists by bucket | n_postings : 16 × Σ n_lists | posting : 48 × Σ n_postings |

The answer to a lookup, lists in the order asked:

    | n_indexed : 64 | length : 32 × n_hashes | posting : 48 × Σ length |        length ≥ 2^31: not read, so much longer

Tracks' peaks are laid out in peaks.py.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fpserver.errors import AudioTooLong, InvalidRequest
from fpserver.index.keys import FIELD_BITS, FIELD_MASK
from fpserver.terms import Frames, Hashes, TrackIds

POSTING_BYTES = 6
HEAD_BYTES = 252  # of a list, in its bucket; functions.lua has the same
OFFSET_BITS = 20
MAX_OFFSET = (1 << OFFSET_BITS) - 1
MAX_TRACK_ID = (1 << 28) - 1
LEFT_OUT = 1 << 31


def pack_postings(track_id: int, offsets: Frames) -> bytes:
    """Postings of one track.

    Raises:
        InvalidRequest, AudioTooLong: the track's id or an offset has more bits than a posting gives it.
    """
    if not 0 < track_id <= MAX_TRACK_ID:
        raise InvalidRequest(f"track_id is {track_id}, the index holds ids of 1..{MAX_TRACK_ID}")
    if len(offsets) and (offsets.min() < 0 or offsets.max() > MAX_OFFSET):
        raise AudioTooLong(
            f"track {track_id} has a landmark at frame {offsets.max()}, the index holds frames of 0..{MAX_OFFSET}"
        )
    return pack_columns(np.full(len(offsets), track_id, np.int64), offsets)


def pack_columns(track_ids: TrackIds, offsets: Frames) -> bytes:
    """Postings whose numbers are known to fit."""
    words = np.empty((len(offsets), 3), ">u2")
    words[:, 0] = track_ids >> 12
    words[:, 1] = ((track_ids & 0xFFF) << 4) | (offsets >> 16)
    words[:, 2] = offsets & 0xFFFF
    return words.tobytes()


def unpack_postings(packed: bytes) -> tuple[TrackIds, Frames]:
    """(track_id, offset) of each posting."""
    words = np.frombuffer(packed, ">u2").reshape(-1, 3).astype(np.int32)
    track_id = (words[:, 0].astype(np.int64) << 12) | (words[:, 1] >> 4)
    return track_id, ((words[:, 1] & 0xF) << 16) | words[:, 2]


def pack_question(hashes: Hashes) -> bytes:
    """Lists by bucket for hashes that are sorted and unique."""
    bucket = hashes >> np.uint32(FIELD_BITS)
    first = np.flatnonzero(np.diff(bucket, prepend=bucket[:1] + np.uint32(1)))
    n_lists = np.diff(first, append=len(hashes)).astype(np.uint8)
    low = (hashes & np.uint32(FIELD_MASK)).astype(np.uint8)
    n_buckets = len(first).to_bytes(4, "big")
    return n_buckets + bucket[first].astype(">u4").tobytes() + n_lists.tobytes() + low.tobytes()


def pack_chunk(track_id: int, hashes: Hashes, offsets: Frames) -> bytes:
    """Postings of one track, at most 65,535, ordered by hash."""
    first = np.flatnonzero(np.diff(hashes, prepend=hashes[:1] + np.uint32(1)))
    n_postings = np.diff(first, append=len(hashes)).astype(">u2")
    return pack_question(hashes[first]) + n_postings.tobytes() + pack_postings(track_id, offsets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one lookup function call found."""

    n_indexed: int  # postings in the shard
    sizes: npt.NDArray[np.int64]  # postings found for each hash, 0 where its list was not read
    left_out: npt.NDArray[np.int64]  # postings of each hash's list where it was not read, 0 where it was
    postings: bytes  # of all hashes, packed


def unpack_answer(packed: bytes, n_hashes: int) -> Answer:
    """The answer to a question about `n_hashes` hashes."""
    sizes = np.frombuffer(packed, ">u4", n_hashes, offset=8).astype(np.int64)
    left_out = np.where(sizes >= LEFT_OUT, sizes - LEFT_OUT, 0)
    return Answer(
        n_indexed=int.from_bytes(packed[:8], "big"),
        sizes=np.where(left_out, 0, sizes),
        left_out=left_out,
        postings=packed[8 + 4 * n_hashes :],
    )
