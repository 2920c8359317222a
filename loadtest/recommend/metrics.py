"""Figures of one ranked list, and of all lists of a recommender.

Binary relevance: a track is right or it is not. Places count from 0. Järvelin and Kekäläinen, "Cumulated gain-based
evaluation of IR techniques", TOIS 2002; Castells et al., "Novelty and diversity in recommender systems", 2015.
"""

from collections.abc import Iterable

import numpy as np

from fpserver.terms import TrackIds, Vectors
from loadtest.recommend.data import Mask, Places, Reals

N_LISTED = 10  # tracks in a list, for all but recall
N_RECALLED = 20


def best(scores: Reals, may: Mask, tie_break: Places, *, n: int) -> Places:
    """Places of the n highest scores among those that may be; ties by the lowest tie break.

    Fewer where fewer have a score above −∞.

    Raises:
        ValueError: a score is not a number.
    """
    if np.isnan(scores).any():
        raise ValueError("a score is not a number")
    among = np.flatnonzero(may & (scores > -np.inf))
    if len(among) > n:
        nth = np.partition(scores[among], len(among) - n)[len(among) - n]
        among = among[scores[among] >= nth]
    return np.asarray(among[np.lexsort((tie_break[among], -scores[among]))][:n])


def ndcg(listed: TrackIds, right: TrackIds, *, n: int = N_LISTED) -> float:
    """Of the first n: gain of the right ones, discounted by log2(place + 2), over the most there could be."""
    discount = 1 / np.log2(np.arange(n) + 2)
    gain = discount[: len(listed)][np.isin(listed[:n], right)].sum()
    return float(gain / discount[: len(right)].sum())


def recall(listed: TrackIds, right: TrackIds, *, n: int = N_RECALLED) -> float:
    """Share of the right ones that are among the first n."""
    return float(np.isin(right, listed[:n]).mean())


def diversity(listed: TrackIds, space: Vectors) -> float:
    """Mean of 1 − cosine over all pairs of a list; not a number below two tracks."""
    n = len(listed)
    if n < 2:
        return float("nan")
    cosines = space[listed - 1] @ space[listed - 1].T
    return float(1 - (cosines.sum() - np.trace(cosines)) / (n * (n - 1)))


def novelty(listed: TrackIds, n_heard: Places, n_users: int) -> float:
    """Mean of −log2 of the share of users who met a track; one that nobody met counts as met by one."""
    if not len(listed):
        return float("nan")
    return float(-np.log2(np.maximum(n_heard[listed - 1], 1) / n_users).mean())


def coverage(lists: Iterable[TrackIds], n_open: int) -> float:
    """Share of the tracks that could be recommended which are in anybody's list."""
    seen: set[int] = set()
    for each in lists:
        seen.update(each.tolist())
    return len(seen) / n_open
