"""Vectors sorted into lists of near ones, around centroids (an inverted file: Sivic & Zisserman, ICCV 2003).

A query visits the lists in the order of its distance to their centroids. `faiss` finds the centroids (k-means on a
sample) and says which is nearest; the vectors themselves lie here, list after list, so that a list is one run of
memory, whatever weights and filters it is read with.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import faiss
import numpy as np

from fpserver.roster import Slots
from fpserver.similarity.engines.scan import Indices, Rows, Stock
from fpserver.terms import Vectors

faiss.omp_set_num_threads(1)  # the other cores are other processes'

GoOn: TypeAlias = Callable[[], None]

MAX_LISTS = 8192
LISTS_PER_ROOT = 2.5  # lists, by the root of the number of vectors
SAMPLE_PER_LIST = 40  # vectors that k-means learns each centroid from
N_ITERATIONS = 8
SEED = 1234
PIECE = 1 << 14  # vectors that are looked at or moved at a time, so that other threads have their turns


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """Vectors of one space: those of list i are rows bounds[i]..bounds[i + 1] - 1."""

    vectors: Vectors
    slots: Slots
    rows: Rows
    order: (
        Indices  # of dimensions, in vectors and centroids: those that vary most first, to be looked at first
    )
    bounds: Indices  # (n_lists + 1,)
    centroids: Vectors  # (n_lists, n_dimensions); none where there is one list, which needs none
    n_trained: int  # how many vectors there were when the centroids were found
    n_enough: int = 0  # so many of those had to be compared with a query (trying.py)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def stock(self) -> Stock:
        """As `scan` wants them."""
        return self.vectors, self.slots, self.rows


def unsorted(n_dimensions: int) -> Lists:
    """No vectors."""
    return Lists(
        vectors=np.empty((0, n_dimensions), np.float32),
        slots=np.empty(0, np.int32),
        rows=np.empty(0, np.int32),
        order=np.arange(n_dimensions),
        bounds=np.zeros(2, np.int64),
        centroids=np.empty((0, n_dimensions), np.float32),
        n_trained=0,
    )


def n_lists_for(n_vectors: int) -> int:
    """How many lists so many vectors are sorted into."""
    return max(1, min(MAX_LISTS, round(LISTS_PER_ROOT * float(np.sqrt(n_vectors)))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some of the vectors that are sorted."""

    stock: Stock
    order: Indices  # of their dimensions
    chosen: Indices  # rows that are kept

    def vectors(self, which: Indices, order: Indices) -> Vectors:
        """Some rows, their dimensions in another order."""
        taken: Vectors = self.stock[0][which]
        return taken if np.array_equal(order, self.order) else taken[:, np.argsort(self.order)[order]]


class Stopped(Exception):
    """Nobody waits for the result any more."""


def sort(parts: list[Part], *, known: Lists | None, n_lists: int, go_on: GoOn) -> Lists:
    """Sort the chosen vectors of each part into lists.

    Takes seconds for a million vectors; other threads run meanwhile.

    Args:
        parts: vectors, and which of them are kept.
        known: lists whose centroids are taken; None: find new ones.
        n_lists: how many are found; 1: nothing to find.
        go_on: called every second or so; raises `Stopped` when the work is to end.
    """
    n_vectors = sum(len(part.chosen) for part in parts)
    if known is not None:
        order, centroids = known.order, known.centroids
        n_trained, n_enough = known.n_trained, known.n_enough
    elif n_lists > 1:
        order, centroids = _learned(parts, n_vectors, n_lists, go_on)
        n_trained, n_enough = n_vectors, 0
    else:
        order, n_trained, n_enough = np.arange(len(parts[0].order)), 0, 0
        centroids = np.empty((0, len(order)), np.float32)
    listed = [_nearest(part, order, centroids, go_on) for part in parts]
    sizes = np.bincount(np.concatenate(listed), minlength=max(1, len(centroids)))
    bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    sorted_lists = Lists(
        vectors=np.empty((n_vectors, len(order)), np.float32),
        slots=np.empty(n_vectors, np.int32),
        rows=np.empty(n_vectors, np.int32),
        order=order,
        bounds=bounds,
        centroids=centroids,
        n_trained=n_trained,
        n_enough=n_enough,
    )
    free = bounds[:-1].copy()  # by list: where its next vector goes
    for part, lists in zip(parts, listed, strict=True):
        go_on()
        _move(part, lists, sorted_lists, free)
    return sorted_lists


def _learned(parts: list[Part], n_vectors: int, n_lists: int, go_on: GoOn) -> tuple[Indices, Vectors]:
    """Which dimensions vary most, and centroids of vectors like these, dimensions in that order."""
    rng = np.random.default_rng(SEED)
    share = min(1.0, SAMPLE_PER_LIST * n_lists / n_vectors)
    plain = np.arange(len(parts[0].order))
    some = [(part, rng.choice(part.chosen, round(share * len(part.chosen)), replace=False)) for part in parts]
    sample = np.concatenate([part.vectors(np.sort(which), plain) for part, which in some])
    order = np.argsort(-sample.var(axis=0), kind="stable")
    sample = np.ascontiguousarray(sample[:, order])
    centroids = sample[rng.choice(len(sample), min(n_lists, len(sample)), replace=False)]
    for _ in range(N_ITERATIONS):
        go_on()
        kmeans = faiss.Kmeans(
            len(order),
            len(centroids),
            niter=1,
            seed=SEED,
            min_points_per_centroid=1,
            max_points_per_centroid=2 * SAMPLE_PER_LIST,
        )
        kmeans.train(sample, init_centroids=centroids)
        centroids = np.ascontiguousarray(kmeans.centroids, np.float32)
    return order, centroids


def _nearest(part: Part, order: Indices, centroids: Vectors, go_on: GoOn) -> Indices:
    """Which centroid is nearest to each chosen vector."""
    if len(centroids) <= 1 or not len(part.chosen):
        return np.zeros(len(part.chosen), np.int64)
    flat = faiss.IndexFlatL2(centroids.shape[1])
    flat.add(centroids)
    nearest = []
    for at in range(0, len(part.chosen), PIECE):
        go_on()
        piece = np.ascontiguousarray(part.vectors(part.chosen[at : at + PIECE], order))
        nearest.append(flat.search(piece, 1)[1][:, 0])
    return np.concatenate(nearest)


def _move(part: Part, lists: Indices, into: Lists, free: Indices) -> None:
    """Put vectors behind those that their lists hold so far."""
    for at in range(0, len(part.chosen), PIECE):
        by_list = np.argsort(lists[at : at + PIECE], kind="stable")
        which, list_ = part.chosen[at : at + PIECE][by_list], lists[at : at + PIECE][by_list]
        counts = np.bincount(list_, minlength=len(free))
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        place = free[list_] + np.arange(len(list_)) - first[list_]
        into.vectors[place] = part.vectors(which, into.order)
        into.slots[place], into.rows[place] = part.stock[1][which], part.stock[2][which]
        free += counts
