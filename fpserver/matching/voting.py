"""Inner loops of the voting, compiled: hits as numbers that are sorted as they are, and the summits among them.

A hit is one number: where it says the clip lies, and the hash that says so.

    | track_id : 28 | alignment + 2^20 : 21 | hash : 15 |

Its upper part is a bin of the time-offset histogram, so hits that agree lie side by side once the numbers are sorted,
and sorting plain numbers takes a tenth of the time of sorting places by them.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fpserver.compiling import compiled
from fpserver.terms import Frames

Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.int64]

TRACK_MASK = (1 << 28) - 1
ALIGNMENT_BITS = 21
ALIGNMENT_MASK = (1 << ALIGNMENT_BITS) - 1
ALIGNMENT_BIAS = 1 << 20  # a clip may begin before its track; an offset has 20 bits
HASH_BITS = 15  # of the place of a hash among those that a clip asks for
HASH_MASK = (1 << HASH_BITS) - 1
_NONE = -(1 << 62)  # no bin: one has 49 bits


@compiled
def hits(
    found: tuple[Indices, Indices, Frames],
    asking: tuple[Indices, Indices, Indices],
    query_offset: Frames,
    warp_of: Indices,
    speeds: Floats,
) -> tuple[Indices, Indices]:
    """One hit for each posting and each landmark that asked for it; those under the first warp first, and so on.

    Args:
        found: hash, track and offset of each posting.
        asking: landmarks in the order of their hashes; of each hash, the place there of its first landmark, and how
            many of them count.
        query_offset: of each landmark.
        warp_of: under which warp each landmark was made.
        speeds: of each warp.

    Returns:
        Hits, unsorted, and where those of each warp begin, with their number at the end.
    """
    hash_index, track_id, offset = found
    landmarks, first, n_asking = asking
    length = np.zeros(len(first), np.int64)
    for i in range(len(hash_index)):
        length[hash_index[i]] += 1
    begins = np.zeros(len(speeds) + 1, np.int64)
    for hash_ in range(len(first)):
        for k in range(first[hash_], first[hash_] + n_asking[hash_]):
            begins[warp_of[landmarks[k]] + 1] += length[hash_]
    begins = np.cumsum(begins)
    keys, at = np.empty(begins[-1], np.int64), begins.copy()
    for i in range(len(hash_index)):
        hash_ = hash_index[i]
        for k in range(first[hash_], first[hash_] + n_asking[hash_]):
            landmark = landmarks[k]
            warp = warp_of[landmark]
            alignment = int(np.rint(offset[i] - speeds[warp] * query_offset[landmark])) + ALIGNMENT_BIAS
            keys[at[warp]] = (((track_id[i] << ALIGNMENT_BITS) | alignment) << HASH_BITS) | hash_
            at[warp] += 1
    return keys, begins


@compiled
def summits(hits: Indices, weight: Floats, limit: int) -> tuple[Indices, Floats, Indices, Indices, Indices]:
    """The bins with most votes, those of both neighbours included, without bins beside a better one; best first.

    Args:
        hits: sorted.
        weight: of each hash.
        limit: of the bins to find; of equal votes the first bins.

    Returns:
        Columns: bin, votes, hits in it, in the one before it, in the one after it.
    """
    n_kept = 3 * limit  # each of the best has two neighbours at most
    high, votes = np.empty(4 * n_kept, np.int64), np.empty(4 * n_kept)
    n_hits = np.empty((4 * n_kept, 3), np.int64)
    n, floor, i = 0, -1.0, 0
    before, own_before, n_before = _NONE, 0.0, 0
    this, own, n_own = _NONE, 0.0, 0
    while this != _NONE or i < len(hits):
        after, own_after, n_after = _NONE, 0.0, 0
        if i < len(hits):
            after = hits[i] >> HASH_BITS
        while i < len(hits) and hits[i] >> HASH_BITS == after:
            own_after += weight[hits[i] & HASH_MASK]
            n_after += 1
            i += 1
        if before != this - 1:
            own_before, n_before = 0.0, 0
        follows = after == this + 1
        all_votes = own + own_before + (own_after if follows else 0.0)
        if this != _NONE and all_votes > floor:
            if n == len(votes):
                n, floor = _kept(high, votes, n_hits, n_kept)
            high[n], votes[n] = this, all_votes
            n_hits[n, 0], n_hits[n, 1], n_hits[n, 2] = n_own, n_before, n_after if follows else 0
            n += 1
        before, own_before, n_before = this, own, n_own
        this, own, n_own = after, own_after, n_after
    best = _apart(high[:n], votes[:n], limit)
    return high[best], votes[best], n_hits[best, 0], n_hits[best, 1], n_hits[best, 2]


@compiled
def _apart(bins: Indices, votes: Floats, limit: int) -> Indices:
    """Places of the bins with most votes, without those beside a better one, best first; bins come in order."""
    chosen, n_chosen = np.empty(min(limit, len(bins)), np.int64), 0
    is_chosen = np.zeros(len(bins), np.bool_)
    for i in np.argsort(-votes, kind="mergesort"):
        if n_chosen == len(chosen):
            break
        below = i > 0 and is_chosen[i - 1] and bins[i - 1] == bins[i] - 1
        above = i + 1 < len(bins) and is_chosen[i + 1] and bins[i + 1] == bins[i] + 1
        if not below and not above:
            is_chosen[i] = True
            chosen[n_chosen] = i
            n_chosen += 1
    return chosen[:n_chosen]


@compiled
def _kept(high: Indices, votes: Floats, n_hits: Indices, n_kept: int) -> tuple[int, float]:
    """Move the bins with most votes, of equal ones the first, to the front in the order they have.

    Returns:
        How many there are, and what a later bin must surpass.
    """
    floor = np.partition(votes, len(votes) - n_kept)[len(votes) - n_kept]
    n_equal = n_kept - np.sum(votes > floor)
    n = 0
    for i in range(len(votes)):
        if votes[i] == floor:
            n_equal -= 1
        if votes[i] > floor or (votes[i] == floor and n_equal >= 0):
            high[n], votes[n] = high[i], votes[i]
            n_hits[n] = n_hits[i]
            n += 1
    return n, floor


def warm_up() -> None:
    """Have all of it compiled, or read from where it was kept, so that no clip waits for it."""
    columns, frames, weight = np.zeros(1, np.int64), np.zeros(1, np.int32), np.ones(1)
    keys, _ = hits((columns, columns, frames), (columns, columns, columns), frames, columns, weight)
    summits(keys, weight, 1)
