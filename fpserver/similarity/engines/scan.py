"""Vectors lie row after row in runs. Which `k` are nearest to a query? One pass, compiled.

Exact and approximate search are this one loop: exact it goes over all runs, approximate over the likeliest first until
enough vectors were compared. So weights, filters and removed tracks mean the same to both, and whatever is returned
has its true distance.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fpserver.compiling import compiled, compiled_in_any_order
from fpserver.roster import Passes, Slots
from fpserver.terms import TrackIds, Vector, Vectors

Rows: TypeAlias = npt.NDArray[np.int32]  # which of its track's vectors each is
Indices: TypeAlias = npt.NDArray[np.int64]
Stock: TypeAlias = tuple[Vectors, Slots, Rows]
"""Vectors, and of each its slot and its row."""

Best: TypeAlias = tuple[npt.NDArray[np.float32], TrackIds, npt.NDArray[np.int64]]
"""The nearest found so far: squared distance (or 1 less cosine), track, row; in this order, each of length k."""


HEAD = 16  # dimensions that are looked at first, where there are more


def empty_best(k: int) -> Best:
    """Room for `k`."""
    return np.empty(k, np.float32), np.empty(k, np.int64), np.empty(k, np.int64)


@compiled_in_any_order
def distances(vectors: Vectors, query: Vector, weights: Vector, cosine: bool) -> Vector:
    """From a query to each vector: squared Euclidean distance, or 1 − cosine; 1 where a vector is all zeros.

    Args:
        vectors: (n_vectors, n_dimensions).
        query, weights: (n_dimensions,).
        cosine: which of the two.
    """
    told = np.empty(len(vectors), np.float32)
    of_query = np.float32(0)
    for j in range(len(query)):
        of_query += weights[j] * query[j] * query[j]
    for i in range(len(vectors)):
        told[i] = _distance(vectors, i, query, weights, cosine, of_query)
    return told


@compiled_in_any_order
def scan(
    stock: Stock,
    passes: Passes,
    tracks: TrackIds,
    bounds: Indices,
    query: Vector,
    weights: Vector,
    cosine: bool,
    best: Best,
    n_best: int,
) -> int:
    """Put what is near among all of these vectors into `best`; says how many it holds then.

    Args:
        stock: the vectors.
        passes: by slot.
        tracks: id by slot.
        bounds: the first and the last + 1.
        query, weights, cosine: as for `distances`.
        best: sorted by distance, then track, then row.
        n_best: so many of it are filled.
    """
    whole = np.float32(np.inf)
    return _run(stock, passes, tracks, bounds[0], bounds[1], query, weights, cosine, whole, best, n_best)[0]


@compiled_in_any_order
def scan_likely(
    stock: Stock,
    passes: Passes,
    tracks: TrackIds,
    bounds: Indices,
    centroids: Vectors,
    query: Vector,
    weights: Vector,
    cosine: bool,
    enough: int,
    best: Best,
    n_best: int,
) -> int:
    """The same among lists of vectors, the list of the nearest centroid first, until enough were compared.

    Args:
        bounds: list i is bounds[i]..bounds[i + 1] - 1.
        centroids: of the lists.
        enough: no further list is visited when so many vectors that pass were compared.
    """
    away = distances(centroids, query, weights, cosine)
    heap = np.arange(len(centroids))  # lists; none is nearer than the one at half its place
    n_left = len(heap)
    for place in range(n_left // 2 - 1, -1, -1):
        _sink(heap, away, place, n_left)
    n_compared = 0
    while n_left and n_compared < enough:
        nearest = heap[0]
        n_left -= 1
        heap[0] = heap[n_left]
        _sink(heap, away, 0, n_left)
        worst = best[0][-1] if n_best == len(best[0]) else np.float32(np.inf)
        n_best, n_more = _run(
            stock,
            passes,
            tracks,
            bounds[nearest],
            bounds[nearest + 1],
            query,
            weights,
            cosine,
            worst,
            best,
            n_best,
        )
        n_compared += n_more
    return n_best


def warm() -> None:
    """Have the loops compiled before somebody waits for them."""
    one, zero = np.ones(1, np.float32), np.zeros(1, np.int32)
    stock, bounds = (one[:, None], zero, zero), np.array([0, 1])
    of_tracks = np.ones(1, np.bool_), np.ones(1, np.int64)
    distances(one[:, None], one, one, False)
    scan(stock, *of_tracks, bounds, one, one, False, empty_best(1), 0)
    scan_likely(stock, *of_tracks, bounds, one[:, None], one, one, False, 1, empty_best(1), 0)


@compiled_in_any_order
def _run(
    stock: Stock,
    passes: Passes,
    tracks: TrackIds,
    first: int,
    last: int,
    query: Vector,
    weights: Vector,
    cosine: bool,
    worst: np.float32,
    best: Best,
    n_best: int,
) -> tuple[int, int]:
    """One run of vectors; what its first dimensions show to be farther than `worst` is looked at no further."""
    vectors, slots, rows = stock
    told, track_ids, places = best
    k = len(told)
    of_query = np.float32(0)
    for j in range(len(query)):
        of_query += weights[j] * query[j] * query[j]
    n_compared = 0
    for i in range(first, last):
        if not passes[slots[i]]:
            continue
        n_compared += 1
        if not cosine and len(query) > HEAD:
            squares = np.float32(0)
            for j in range(HEAD):
                difference = vectors[i, j] - query[j]
                squares += weights[j] * difference * difference
            if squares > worst:
                continue
        distance = _distance(vectors, i, query, weights, cosine, of_query)
        if n_best == k and distance > told[k - 1]:
            continue
        track, row = tracks[slots[i]], rows[i]
        at = n_best
        while at > 0 and _before(distance, track, row, told[at - 1], track_ids[at - 1], places[at - 1]):
            at -= 1
        if at == k:
            continue
        n_best = min(n_best + 1, k)
        for moved in range(n_best - 1, at, -1):
            told[moved] = told[moved - 1]
            track_ids[moved] = track_ids[moved - 1]
            places[moved] = places[moved - 1]
        told[at], track_ids[at], places[at] = distance, track, row
    return n_best, n_compared


@compiled
def _sink(heap: Indices, away: Vector, place: int, n_left: int) -> None:
    """Let a list sink in the heap until those below it are farther."""
    while True:
        below = 2 * place + 1
        if below >= n_left:
            return
        if below + 1 < n_left and away[heap[below + 1]] < away[heap[below]]:
            below += 1
        if away[heap[place]] <= away[heap[below]]:
            return
        heap[place], heap[below] = heap[below], heap[place]
        place = below


@compiled_in_any_order
def _distance(
    vectors: Vectors, i: int, query: Vector, weights: Vector, cosine: bool, of_query: np.float32
) -> np.float32:
    if not cosine:
        squares = np.float32(0)
        for j in range(len(query)):
            difference = vectors[i, j] - query[j]
            squares += weights[j] * difference * difference
        return squares
    product, of_vector = np.float32(0), np.float32(0)
    for j in range(len(query)):
        weighted = weights[j] * vectors[i, j]
        product += weighted * query[j]
        of_vector += weighted * vectors[i, j]
    if of_vector <= 0 or of_query <= 0:
        return np.float32(1)
    return np.float32(max(0.0, 1.0 - product / np.sqrt(of_vector * of_query)))


@compiled
def _before(
    distance: np.float32, track: int, row: int, of_other: np.float32, other: int, other_row: int
) -> bool:
    if distance != of_other:
        return bool(distance < of_other)
    return track < other or (track == other and row < other_row)
