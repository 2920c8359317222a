"""Vectors sorted into lists of near ones, around centroids (an inverted file: Sivic & Zisserman, ICCV 2003).

A query visits the lists in the order of its distance to their centroids. `faiss` finds the centroids (k-means on a
sample) and says which is nearest; the vectors themselves lie here, list after list, so that a list is one run of
memory, whatever weights and filters it is read with.
"""

from dataclasses import dataclass

import faiss
import numpy as np

from fpserver.similarity.scan import Indices, Rows, Slots, Stock
from fpserver.terms import Vectors

faiss.omp_set_num_threads(1)  # the other cores are other processes'

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
    bounds: Indices  # (n_lists + 1,)
    centroids: Vectors  # (n_lists, n_dimensions); none where there is one list, which needs none
    n_trained: int  # how many vectors there were when the centroids were found

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
        bounds=np.zeros(2, np.int64),
        centroids=np.empty((0, n_dimensions), np.float32),
        n_trained=0,
    )


def n_lists_for(n_vectors: int) -> int:
    """How many lists so many vectors are sorted into."""
    return max(1, min(MAX_LISTS, round(LISTS_PER_ROOT * float(np.sqrt(n_vectors)))))


def sort(parts: list[tuple[Stock, Indices]], *, known: Lists | None, n_lists: int) -> Lists:
    """Sort the chosen vectors of each part into lists.

    Takes seconds for a million vectors; other threads run meanwhile.

    Args:
        parts: vectors, and indices of those that are kept.
        known: lists whose centroids are taken; None: find new ones.
        n_lists: how many are found; 1: nothing to find.
    """
    kept = [(stock, chosen) for stock, chosen in parts if len(chosen)]
    n_vectors = sum(len(chosen) for _, chosen in kept)
    n_dimensions = parts[0][0][0].shape[1]
    if known is not None:
        centroids, n_trained = known.centroids, known.n_trained
    elif n_lists > 1:
        centroids, n_trained = _centroids(kept, n_vectors, min(n_lists, n_vectors)), n_vectors
    else:
        centroids, n_trained = np.empty((0, n_dimensions), np.float32), 0
    n_lists = max(1, len(centroids))
    listed = [_nearest(stock[0], chosen, centroids) for stock, chosen in kept]
    sizes = np.bincount(np.concatenate([*listed, np.empty(0, np.int64)]), minlength=n_lists)
    bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    sorted_lists = Lists(
        vectors=np.empty((n_vectors, n_dimensions), np.float32),
        slots=np.empty(n_vectors, np.int32),
        rows=np.empty(n_vectors, np.int32),
        bounds=bounds,
        centroids=centroids,
        n_trained=n_trained,
    )
    free = bounds[:-1].copy()  # by list: where its next vector goes
    for (stock, chosen), lists in zip(kept, listed, strict=True):
        _move(stock, chosen, lists, sorted_lists, free)
    return sorted_lists


def _centroids(parts: list[tuple[Stock, Indices]], n_vectors: int, n_lists: int) -> Vectors:
    rng = np.random.default_rng(SEED)
    share = min(1.0, SAMPLE_PER_LIST * n_lists / n_vectors)
    sample = np.concatenate(
        [
            stock[0][np.sort(rng.choice(chosen, max(1, round(share * len(chosen))), replace=False))]
            for stock, chosen in parts
        ]
    )
    kmeans = faiss.Kmeans(
        sample.shape[1],
        min(n_lists, len(sample)),
        niter=N_ITERATIONS,
        seed=SEED,
        min_points_per_centroid=1,
        max_points_per_centroid=SAMPLE_PER_LIST,
    )
    kmeans.train(sample)
    centroids: Vectors = np.ascontiguousarray(kmeans.centroids, np.float32)
    return centroids


def _nearest(vectors: Vectors, chosen: Indices, centroids: Vectors) -> Indices:
    """Which centroid is nearest to each chosen vector."""
    if len(centroids) <= 1:
        return np.zeros(len(chosen), np.int64)
    flat = faiss.IndexFlatL2(centroids.shape[1])
    flat.add(centroids)
    pieces = range(0, len(chosen), PIECE)
    return np.concatenate([flat.search(vectors[chosen[at : at + PIECE]], 1)[1][:, 0] for at in pieces])


def _move(stock: Stock, chosen: Indices, lists: Indices, into: Lists, free: Indices) -> None:
    """Put vectors behind those that their lists hold so far."""
    for at in range(0, len(chosen), PIECE):
        order = np.argsort(lists[at : at + PIECE], kind="stable")
        indices, list_ = chosen[at : at + PIECE][order], lists[at : at + PIECE][order]
        counts = np.bincount(list_, minlength=len(free))
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        place = free[list_] + np.arange(len(list_)) - first[list_]
        for target, source in zip((into.vectors, into.slots, into.rows), stock, strict=True):
            target[place] = source[indices]
        free += counts
