"""From scores to a list: not all alike, not all of one artist.

The next of the list is always the track with the most of

    (1 - diversity) · score - diversity · likeness to the likest of those that are listed already

among the best POOL tracks by score; scores are between 0 and 1 there. Carbonell, Goldstein, "The Use of MMR,
Diversity-Based Reranking", SIGIR 1998.
"""

import numpy as np

from fpserver.recommend.content import among
from fpserver.recommend.shelf import Passes, Shelf, Slots
from fpserver.terms import Vector

POOL = 10  # times as many tracks as are wanted, at least MIN_POOL
MIN_POOL = 200
NOISE = 0.1  # of the spread of the best scores, by which a seed shuffles


def choose(
    shelf: Shelf,
    scores: Vector,
    may: Passes,
    *,
    k: int,
    diversity: float,
    max_per_artist: int,
    seed: int | None = None,
) -> Slots:
    """Slots of at most `k` tracks, best first.

    Args:
        shelf: what is chosen from.
        scores: (n_slots,).
        may: (n_slots,), which tracks may be named.
        k: most tracks.
        diversity: 0: by score alone; 1: as unlike each other as there are.
        max_per_artist: most tracks of one artist; those of whom nobody knows the artist are of none.
        seed: another seed shuffles tracks of nearly the same score another way; None: by score.
    """
    n, left = max(MIN_POOL, POOL * k), may
    chosen: Slots = np.empty(0, np.int64)
    while True:
        more = _best(scores, left, n)
        pool = np.concatenate([chosen, more])
        pool = pool[np.lexsort((pool, -scores[pool]))]
        chosen = _listed(shelf, scores, pool, k, diversity, max_per_artist, seed)
        if len(chosen) >= k or len(more) < n:
            return chosen
        left = may & ~_full(shelf, chosen, max_per_artist)  # all of the pool was of few artists
        left[chosen] = False


def _listed(
    shelf: Shelf,
    scores: Vector,
    pool: Slots,
    k: int,
    diversity: float,
    max_per_artist: int,
    seed: int | None,
) -> Slots:
    """The list from a pool whose best comes first."""
    if not len(pool):
        return pool
    worth = scores[pool].astype(np.float64)
    spread = max(float(worth[0] - worth[-1]), 1e-9)
    if seed is not None:
        worth = worth + NOISE * spread * np.random.default_rng(seed).gumbel(size=len(pool)) / 2
    worth = (worth - worth.min()) / max(float(np.ptp(worth)), 1e-9)
    others = among(shelf, pool) if diversity else None
    likest = np.zeros(len(pool))
    left = np.ones(len(pool), np.bool_)
    artists, n_of_artist = shelf.artist[pool], dict[int, int]()
    chosen: list[int] = []
    while len(chosen) < k and left.any():
        gain = np.where(left, (1 - diversity) * worth - diversity * likest, -np.inf)
        best = int(gain.argmax())
        chosen.append(best)
        left[best] = False
        artist = int(artists[best])
        n_of_artist[artist] = n_of_artist.get(artist, 0) + 1
        if artist and n_of_artist[artist] >= max_per_artist:
            left &= artists != artist
        if others is not None:
            likest = np.maximum(likest, others.to(best))
    return pool[chosen]


def _full(shelf: Shelf, chosen: Slots, max_per_artist: int) -> Passes:
    """By slot: whether no more of its artist can be listed."""
    listed = np.bincount(shelf.artist[chosen], minlength=len(shelf.artists)) >= max_per_artist
    listed[0] = False  # nobody knows whose they are
    full: Passes = listed[shelf.artist]
    return full


def _best(scores: Vector, may: Passes, n: int) -> Slots:
    """The n best slots, best first; equal scores by slot."""
    among = np.flatnonzero(may)
    if len(among) > n:
        least = np.partition(scores[among], len(among) - n)[len(among) - n]
        among = among[scores[among] >= least]
    return among[np.lexsort((among, -scores[among]))][:n]
