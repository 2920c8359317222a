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


@compiled
def hits(
    found: tuple[Indices, Indices, Frames],
    asking: tuple[Indices, Indices, Indices],
    query_offset: Frames,
    warp_of: Indices,
    speeds: Floats,
    begins: Indices,
) -> Indices:
    """One hit for each posting and each landmark that asked for it; those under the first warp first, and so on.

    Args:
        found: hash, track and offset of each posting.
        asking: landmarks in the order of their hashes; of each hash, the place there of its first landmark, and how
            many of them count.
        query_offset: of each landmark.
        warp_of: under which warp each landmark was made.
        speeds: of each warp.
        begins: where the hits of each warp begin, and their number at the end.

    Returns:
        Hits, those of a warp unsorted.
    """
    hash_index, track_id, offset = found
    landmarks, first, n_asking = asking
    keys, at = np.empty(begins[-1], np.int64), begins.copy()
    for i in range(len(hash_index)):
        hash_ = hash_index[i]
        for k in range(first[hash_], first[hash_] + n_asking[hash_]):
            landmark = landmarks[k]
            warp = warp_of[landmark]
            alignment = int(np.rint(offset[i] - speeds[warp] * query_offset[landmark])) + ALIGNMENT_BIAS
            keys[at[warp]] = (((track_id[i] << ALIGNMENT_BITS) | alignment) << HASH_BITS) | hash_
            at[warp] += 1
    return keys


def summits(hits: Indices, weight: Floats, limit: int) -> tuple[Indices, Floats, Indices, Indices, Indices]:
    """The bins with most votes, those of both neighbours included, without bins beside a better one; best first.

    Args:
        hits: sorted.
        weight: of each hash.
        limit: of the bins to find; of equal votes the first bins.

    Returns:
        Columns: bin, votes, hits in it, in the one before it, in the one after it.
    """
    bins, votes, n_hits = _counted(hits, weight)
    high = _highest(votes, 3 * limit)  # each of the best has two neighbours at most
    best = high[_apart(bins[high], np.argsort(-votes[high], kind="stable"), limit)]
    before, after = best - 1, (best + 1) % max(1, len(bins))
    return (
        bins[best],
        votes[best],
        n_hits[best],
        np.where(bins[before] == bins[best] - 1, n_hits[before], 0),
        np.where(bins[after] == bins[best] + 1, n_hits[after], 0),
    )


def _highest(votes: Floats, n: int) -> Indices:
    """Places of the n bins with most votes, in order; of equal ones the first."""
    if len(votes) <= n:
        return np.arange(len(votes))
    floor = np.partition(votes, len(votes) - n)[len(votes) - n]
    above = np.flatnonzero(votes > floor)
    return np.sort(np.concatenate([above, np.flatnonzero(votes == floor)[: n - len(above)]]))


@compiled
def _counted(hits: Indices, weight: Floats) -> tuple[Indices, Floats, Indices]:
    """Bins that have hits, in order; votes of each and its neighbours; hits in each."""
    bins, own = np.empty(len(hits), np.int64), np.empty(len(hits))
    n_hits = np.empty(len(hits), np.int64)
    n = 0
    for hit in hits:
        bin_ = hit >> HASH_BITS
        if n == 0 or bins[n - 1] != bin_:
            bins[n], own[n], n_hits[n] = bin_, 0.0, 0
            n += 1
        own[n - 1] += weight[hit & HASH_MASK]
        n_hits[n - 1] += 1
    votes = np.empty(n)
    for i in range(n):
        before = own[i - 1] if i > 0 and bins[i - 1] == bins[i] - 1 else 0.0
        after = own[i + 1] if i + 1 < n and bins[i + 1] == bins[i] + 1 else 0.0
        votes[i] = before + own[i] + after
    return bins[:n], votes, n_hits[:n]


@compiled
def _apart(bins: Indices, order: Indices, limit: int) -> Indices:
    """Places of the first bins in `order`, without those beside an earlier one; bins come in order."""
    chosen, n_chosen = np.empty(min(limit, len(bins)), np.int64), 0
    is_chosen = np.zeros(len(bins), np.bool_)
    for i in order:
        if n_chosen == len(chosen):
            break
        below = i > 0 and is_chosen[i - 1] and bins[i - 1] == bins[i] - 1
        above = i + 1 < len(bins) and is_chosen[i + 1] and bins[i + 1] == bins[i] + 1
        if not below and not above:
            is_chosen[i] = True
            chosen[n_chosen] = i
            n_chosen += 1
    return chosen[:n_chosen]


def warm_up() -> None:
    """Have all of it compiled, or read from where it was kept, so that no clip waits for it."""
    columns, frames, weight = np.zeros(1, np.int64), np.zeros(1, np.int32), np.ones(1)
    keys = hits((columns, columns, frames), (columns, columns, columns), frames, columns, weight, columns)
    summits(keys, weight, 1)
