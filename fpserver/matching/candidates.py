"""Turn hits into candidates: a time-offset histogram per track, all tracks at once.

Hashes of a true match agree on one alignment (the track's frame at the clip's first frame); chance hits scatter. A
vote weighs −ln(share of the index under its hash) / 10, so a rare hash says more than a common one, whatever the size
of the index. Votes of neighbouring alignments count together, since both recordings were cut into frames at other
phases. Under a warp the clip's frames count at its speed, and only hits that were asked for under it vote.

Wang, "An Industrial-Strength Audio Search Algorithm", ISMIR 2003, section 2.3.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fpserver.matching import voting
from fpserver.matching.voting import (
    ALIGNMENT_BIAS,
    ALIGNMENT_BITS,
    ALIGNMENT_MASK,
    TRACK_MASK,
    Indices,
)
from fpserver.terms import Candidate, Frames, Lookup, Warp

WEIGHT_SCALE = 10.0  # a hash holding 1/22,000 of all postings weighs 1
AS_PLAYED = Warp()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """Postings found for a clip's landmarks, one for each landmark that asked, warp after warp (voting.py)."""

    packed: Indices
    begins: Indices  # of those under each warp, and the end
    weight: npt.NDArray[np.float64]  # how much a hit of each hash says: more, the rarer it is
    warps: Sequence[Warp]

    def __len__(self) -> int:
        return len(self.packed)


def hits_of(
    found: Lookup,
    hash_of_landmark: npt.NDArray[np.intp],
    query_offset: Frames,
    *,
    max_hits: int,
    warps: Sequence[Warp] = (AS_PLAYED,),
    warp_of: npt.NDArray[np.int64] | None = None,
) -> Hits:
    """One hit for each posting and each landmark of the clip that asked for it.

    A hash gives as many hits as it stands in the clip times as it stands in the index: a steady rhythm gives millions.
    Those with fewest hits are taken first, as long as there are at most `max_hits` together.

    Args:
        found: postings of the distinct hashes asked for, at most 2^15 of these.
        hash_of_landmark: for each landmark of the clip, which of the distinct hashes is its own, (n_landmarks,).
        query_offset: clip frame of each landmark's anchor, (n_landmarks,).
        max_hits: bound of the work that follows.
        warps: under which the clip is laid over the tracks.
        warp_of: for each landmark, under which of them it was made; None: all under the first.
    """
    landmarks = np.argsort(hash_of_landmark, kind="stable")  # those of hash 0, then those of hash 1, …
    n_asking = np.bincount(hash_of_landmark)
    first = np.cumsum(n_asking) - n_asking
    list_length = np.bincount(found.hash_index, minlength=len(n_asking))
    within = _within(list_length * n_asking, max_hits)
    share = np.maximum(list_length, 1) / max(found.n_indexed, len(found), 1)
    if warp_of is None:
        warp_of = np.zeros(len(query_offset), np.int64)
    n_hits = np.where(within, list_length, 0)[hash_of_landmark]  # of each landmark
    begins = np.cumsum(np.append(0, np.bincount(warp_of, n_hits, minlength=len(warps)))).astype(np.int64)
    packed = voting.hits(
        (found.hash_index, found.track_id, found.offset),
        (landmarks, first, np.where(within, n_asking, 0)),
        query_offset,
        warp_of,
        np.array([warp.speed for warp in warps]),
        begins,
    )
    return Hits(packed=packed, begins=begins, weight=-np.log(share) / WEIGHT_SCALE, warps=warps)


def _within(n_hits: npt.NDArray[np.int64], max_hits: int) -> npt.NDArray[np.bool_]:
    """For each distinct hash, whether its hits are among the first `max_hits`, fewest first."""
    fewest_first = np.argsort(n_hits, kind="stable")
    within = np.zeros(len(n_hits), np.bool_)
    within[fewest_first] = np.cumsum(n_hits[fewest_first]) <= max_hits
    return within


def candidates_of(hits: Hits, *, max_candidates: int, warp: int = 0) -> list[Candidate]:
    """The (track, alignment) pairs with most votes, best first; equal votes by track, then alignment.

    Args:
        hits: to be counted.
        max_candidates: at most so many are given.
        warp: which of the warps; hits under the others do not count.
    """
    begin, end = hits.begins[warp : warp + 2]
    columns = voting.summits(np.sort(hits.packed[begin:end]), hits.weight, max_candidates)
    return [
        Candidate(
            track_id=(bin_ >> ALIGNMENT_BITS) & TRACK_MASK,
            alignment=(bin_ & ALIGNMENT_MASK) - ALIGNMENT_BIAS + (after - before) / (own + before + after),
            warp=hits.warps[warp],
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
