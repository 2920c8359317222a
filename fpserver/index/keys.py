"""Every key of the index, so that the store can be read with this page at hand.

    fp:index:stamp          string   JSON of the settings the index was made with
    fp:index:sealed         string   postings that there were when lists were last sealed
    fp:index:sealing        string   there while somebody seals; it expires
    fp:{7}:b:<bucket>       hash     heads of the posting lists of 128 hashes; field = low 7 bits, decimal
    fp:{7}:t:<bucket><low>  string   tail of one posting list that outgrew its head
    fp:{7}:p:<track_id>     string   peaks of a track
    fp:{7}:tracks           string   bitmap: bit track_id is set when its last posting of this shard is written
    fp:{7}:doing            hash     track_id → with whom it is added and chunks written, or "removing"
    fp:{7}:n_postings       string   counter

All keys of shard 7 carry the hash tag {7}, so they share one slot of a Cluster: one function call may touch
them together, and moving, copying and replacing shards is the Cluster's own business. <bucket> and <track_id> are 4
bytes, big endian, and <low> one byte: the functions cut them from what they are sent instead of formatting numbers.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fpserver.terms import Hashes

Indices: TypeAlias = npt.NDArray[np.int64]

STAMP = "fp:index:stamp"
SEALED = "fp:index:sealed"
SEALING = "fp:index:sealing"
TAILS = "fp:{*}:t:*"  # pattern of all tails' keys

# A hash h is in bucket h >> 7. Names of fields to 127 take 2 bytes in a listpack, longer ones 3.
FIELD_BITS = 7
FIELD_MASK = (1 << FIELD_BITS) - 1

# Knuth's multiplicative hashing: 2^32 / golden ratio, odd; neighbouring buckets land in different shards.
MULTIPLIER = np.uint32(2654435769)


def shards_of(hashes: Hashes, *, n_shards: int) -> npt.NDArray[np.int64]:
    """Shard of each hash, 0..n_shards - 1; `n_shards` is a power of two, at most 4096."""
    mixed = (hashes >> np.uint32(FIELD_BITS)) * MULTIPLIER  # modulo 2^32; the upper bits are well mixed
    return (mixed.astype(np.int64) * n_shards) >> 32


def by_shard(hashes: Hashes, *, n_shards: int, max_items: int) -> list[list[Indices]]:
    """For each shard, the indices of its hashes in pieces of at most `max_items`.

    Indices are ordered by hash; those of equal hashes keep their order.
    """
    shards = shards_of(hashes, n_shards=n_shards)
    order = np.argsort((shards << 32) | hashes, kind="stable")
    bounds = np.searchsorted(shards[order], np.arange(n_shards + 1))
    return [
        [order[at : min(at + max_items, last)] for at in range(first, last, max_items)]
        for first, last in pairwise(bounds.tolist())
    ]


def shard_of_track(track_id: int, *, n_shards: int) -> int:
    """Shard that keeps a track's peaks."""
    return track_id % n_shards


def peaks(shard: int, track_id: int) -> bytes:
    """Key of a track's peaks."""
    return peaks_prefix(shard).encode() + track_id.to_bytes(4, "big")


def peaks_prefix(shard: int) -> str:
    """Beginning of the keys of tracks' peaks."""
    return f"fp:{{{shard}}}:p:"


def of_tails(names: Iterable[bytes]) -> dict[int, Hashes]:
    """The hashes, sorted, of these tails' keys, by shard."""
    found: dict[int, set[int]] = {}
    for name in names:
        prefix, _, end = name.partition(b"}:t:")
        hash_ = (int.from_bytes(end[:4], "big") << FIELD_BITS) | end[4]
        found.setdefault(int(prefix.removeprefix(b"fp:{")), set()).add(hash_)
    return {shard: np.array(sorted(hashes), np.uint32) for shard, hashes in found.items()}


def n_postings(shard: int) -> str:
    """Key of a shard's counter of postings."""
    return f"fp:{{{shard}}}:n_postings"


def of_writing(shard: int) -> tuple[str, ...]:
    """What the functions that write may touch: whole keys, then the beginning of buckets' and tails' keys."""
    return (f"fp:{{{shard}}}:tracks", f"fp:{{{shard}}}:doing", *of_reading(shard))


def of_reading(shard: int) -> tuple[str, ...]:
    """What the function that reads may touch: a whole key, then the beginning of buckets' and tails' keys."""
    return (n_postings(shard), f"fp:{{{shard}}}:b:", f"fp:{{{shard}}}:t:")
