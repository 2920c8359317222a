"""Turn hits into candidates: a time-offset histogram per track, all tracks at once.

Hashes of a true match agree on one alignment (the track's frame at the clip's first frame); chance hits scatter. A
vote weighs −ln(share of the index under its hash) / 10, so a rare hash says more than a common one, whatever the size
of the index. Votes of neighbouring alignments count together, since both recordings were cut into frames at other
phases. Under a warp the clip's frames count at its speed, and only hits that were asked for under it vote.

Wang, "An Industrial-Strength Audio Search Algorithm", ISMIR 2003, section 2.3.
"""

import numpy as np
import numpy.typing as npt

from fpserver.matching import kernels
from fpserver.matching.kernels import ALIGNMENT_BIAS, ALIGNMENT_BITS, Indices
from fpserver.terms import Candidate, Frames, Hits, Lookup, Warp

WEIGHT_SCALE = 10.0  # a hash holding 1/22,000 of all postings weighs 1
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
    list_length = np.bincount(found.hash_index, minlength=len(n_asking))
    within = _within(list_length * n_asking, max_hits)
    share = np.maximum(list_length, 1) / max(found.n_indexed, len(found), 1)
    track_id, track_offset, at, weight, landmark = kernels.hits(
        (found.hash_index, found.track_id, found.offset),
        (landmarks, first, np.where(within, n_asking, 0)),
        query_offset,
        -np.log(share) / WEIGHT_SCALE,
    )
    return Hits(
        track_id=track_id, track_offset=track_offset, query_offset=at, weight=weight, landmark=landmark
    )


def _within(n_hits: npt.NDArray[np.int64], max_hits: int) -> npt.NDArray[np.bool_]:
    """For each distinct hash, whether its hits are among the first `max_hits`, fewest first."""
    fewest_first = np.argsort(n_hits, kind="stable")
    within = np.zeros(len(n_hits), np.bool_)
    within[fewest_first] = np.cumsum(n_hits[fewest_first]) <= max_hits
    return within


def candidates_of(
    hits: Hits, *, max_candidates: int, warp: Warp = AS_PLAYED, some: Indices | None = None
) -> list[Candidate]:
    """The (track, alignment) pairs with most votes, best first; equal votes by track, then alignment.

    Args:
        hits: to be counted.
        max_candidates: at most so many are given.
        warp: under which the clip is laid over the tracks.
        some: which of the hits count; None: all.
    """
    counted = np.arange(len(hits)) if some is None else some
    bins = kernels.bins_of(hits.track_id, hits.track_offset, hits.query_offset, counted, warp.speed)
    columns = kernels.summits(bins, hits.weight[counted], np.argsort(bins), max_candidates)
    return [
        Candidate(
            track_id=bin_ >> ALIGNMENT_BITS,
            alignment=(bin_ & ((1 << ALIGNMENT_BITS) - 1))
            - ALIGNMENT_BIAS
            + (after - before) / (own + before + after),
            warp=warp,
            votes=votes,
            n_votes=own + before + after,
        )
        for bin_, votes, own, before, after in zip(*(column.tolist() for column in columns), strict=True)
    ]


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


def split(hits: Hits, group_of_landmark: Indices, n_groups: int) -> list[Indices]:
    """Which hits are those of each group of the clip's landmarks, in the order of the groups.

    Args:
        hits: of all landmarks.
        group_of_landmark: 0..n_groups - 1, (n_landmarks,).
        n_groups: how many groups there are.
    """
    group = group_of_landmark[hits.landmark].astype(np.min_scalar_type(n_groups))  # few bits are sorted fast
    ends = np.cumsum(np.bincount(group, minlength=n_groups))
    return np.split(np.argsort(group, kind="stable"), ends[:-1])
