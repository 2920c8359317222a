"""Turn hits into candidates: a time-offset histogram per track, all tracks at once.

Hashes of a true match agree on one alignment (the track's frame at the clip's first frame); chance hits scatter. A
vote weighs −ln(share of the index under its hash) / 10, so a rare hash says more than a common one, whatever the size
of the index. Votes of neighbouring alignments count together, since both recordings were cut into frames at other
phases. Under a warp the clip's frames count at its speed, and only hits that were asked for under it vote.

Wang, "An Industrial-Strength Audio Search Algorithm", ISMIR 2003, section 2.3.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from fpserver.terms import Candidate, Frames, Hits, Lookup, Warp

Votes: TypeAlias = npt.NDArray[Any]  # per bin of the histogram: weights, or counts

WEIGHT_SCALE = 10.0  # a hash holding 1/22,000 of all postings weighs 1
ALIGNMENT_BITS = 32
ALIGNMENT_BIAS = 1 << 30  # alignments are negative where a clip begins before its track
AS_PLAYED = Warp()


def hits_of(
    found: Lookup, hash_of_landmark: npt.NDArray[np.intp], query_offset: Frames, *, max_hits: int
) -> Hits:
    """One hit for each posting and each landmark of the clip that asked for it.

    A hash gives as many hits as it stands in the clip times as it stands in the index: a steady rhythm gives millions.
    Those with fewest hits are taken first, as long as there are at most `max_hits` together.

    Args:
        found: postings of the distinct hashes asked for.
        hash_of_landmark: for each landmark of the clip, which of the distinct hashes is its own, (n_landmarks,).
        query_offset: clip frame of each landmark's anchor, (n_landmarks,).
        max_hits: bound of the work that follows.
    """
    landmarks = np.argsort(hash_of_landmark, kind="stable")  # those of hash 0, then those of hash 1, …
    n_asking = np.bincount(hash_of_landmark)
    first = np.cumsum(n_asking) - n_asking
    repeats = np.where(_within(found, n_asking, max_hits), n_asking, 0)[found.hash_index]
    posting = np.repeat(np.arange(len(found)), repeats)
    nth = np.arange(len(posting)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    asking = landmarks[first[found.hash_index[posting]] + nth]
    return Hits(
        track_id=found.track_id[posting],
        track_offset=found.offset[posting],
        query_offset=query_offset[asking],
        weight=_weight(found)[posting],
        landmark=asking,
    )


def _within(found: Lookup, n_asking: npt.NDArray[np.intp], max_hits: int) -> npt.NDArray[np.bool_]:
    """For each distinct hash, whether its hits are among the first `max_hits`, fewest first."""
    n_hits = np.bincount(found.hash_index, minlength=len(n_asking)) * n_asking
    fewest_first = np.argsort(n_hits, kind="stable")
    within = np.zeros(len(n_asking), np.bool_)
    within[fewest_first] = np.cumsum(n_hits[fewest_first]) <= max_hits
    return within


def candidates_of(hits: Hits, *, max_candidates: int, warp: Warp = AS_PLAYED) -> list[Candidate]:
    """The (track, alignment) pairs with most votes, best first; equal votes by track, then alignment."""
    if not len(hits):
        return []
    begins = hits.track_offset - warp.speed * hits.query_offset
    key = (hits.track_id << ALIGNMENT_BITS) | (np.rint(begins).astype(np.int64) + ALIGNMENT_BIAS)
    bins, bin_of_hit = np.unique(key, return_inverse=True)
    own, before, after = _beside(bins, np.bincount(bin_of_hit, weights=hits.weight))
    votes = own + before + after
    n_own, n_before, n_after = _beside(bins, np.bincount(bin_of_hit))
    n_votes = n_own + n_before + n_after
    candidates = []
    for i in _summits(bins, votes, max_candidates):
        alignment = int(bins[i] & ((1 << ALIGNMENT_BITS) - 1)) - ALIGNMENT_BIAS
        candidates.append(
            Candidate(
                track_id=int(bins[i] >> ALIGNMENT_BITS),
                alignment=alignment + float((n_after[i] - n_before[i]) / n_votes[i]),
                warp=warp,
                votes=float(votes[i]),
                n_votes=int(n_votes[i]),
            )
        )
    return candidates


def commonness(
    found: Lookup,
    hash_of_landmark: npt.NDArray[np.intp],
    group_of_landmark: npt.NDArray[np.int64],
    n_groups: int,
) -> npt.NDArray[np.float64]:
    """How common the hashes of each group of the clip's landmarks are in the index: mean ln(1 + length of the list).

    Under the warp that a clip was played with, its hashes are those of music as it is catalogued, at the pitches that
    most music is tuned to; under others they lie between these and are rare. docs/decisions/0017.

    Args:
        found: of a look-up; the lists that it left out count as long as they are.
        hash_of_landmark: for each landmark, which of the hashes is its own, (n_landmarks,).
        group_of_landmark: 0..n_groups - 1, (n_landmarks,).
        n_groups: how many groups there are.

    Returns:
        (n_groups,), 0 for a group without landmarks.
    """
    length = np.bincount(found.hash_index, minlength=len(found.left_out)) + found.left_out
    said = np.bincount(group_of_landmark, np.log1p(length)[hash_of_landmark], minlength=n_groups)
    mean: npt.NDArray[np.float64] = said / np.maximum(np.bincount(group_of_landmark, minlength=n_groups), 1)
    return mean


def split(hits: Hits, group_of_landmark: npt.NDArray[np.int64], n_groups: int) -> Iterator[Hits]:
    """The hits of each group of the clip's landmarks, in the order of the groups.

    Args:
        hits: of all landmarks.
        group_of_landmark: 0..n_groups - 1, (n_landmarks,).
        n_groups: how many groups there are.
    """
    group = group_of_landmark[hits.landmark]
    order = np.argsort(group, kind="stable")
    for first, last in pairwise(np.searchsorted(group[order], np.arange(n_groups + 1)).tolist()):
        some = order[first:last]
        yield Hits(
            track_id=hits.track_id[some],
            track_offset=hits.track_offset[some],
            query_offset=hits.query_offset[some],
            weight=hits.weight[some],
            landmark=hits.landmark[some],
        )


def _weight(found: Lookup) -> npt.NDArray[np.float64]:
    """What each posting's hash says: −ln of its share of the index, scaled."""
    list_length = np.bincount(found.hash_index)[found.hash_index]
    weight: npt.NDArray[np.float64] = -np.log(list_length / max(found.n_indexed, len(found))) / WEIGHT_SCALE
    return weight


def _beside(bins: npt.NDArray[np.int64], votes: Votes) -> tuple[Votes, Votes, Votes]:
    """Votes of each bin, of the bin one before it, and of the one after it, 0 where there is none."""
    before, after = np.zeros_like(votes), np.zeros_like(votes)
    first = np.flatnonzero(np.diff(bins) == 1)  # of two bins side by side
    before[first + 1] = votes[first]
    after[first] = votes[first + 1]
    return votes, before, after


def _summits(bins: npt.NDArray[np.int64], votes: Votes, limit: int) -> list[int]:
    """Indices of the best bins, skipping those beside a better one."""
    n_best = min(3 * limit, len(votes))
    best = np.argpartition(-votes, n_best - 1)[:n_best]
    best = best[np.lexsort((bins[best], -votes[best]))]
    chosen: list[int] = []
    taken: set[int] = set()
    for i in best.tolist():
        if len(chosen) == limit:
            break
        key = int(bins[i])
        if key - 1 not in taken and key + 1 not in taken:
            chosen.append(i)
            taken.add(key)
    return chosen
