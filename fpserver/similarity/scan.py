"""Vectors lie row after row in runs. Which `k` are nearest to a query? One pass, compiled.

Exact and approximate search are this one loop: exact it goes over all runs, approximate over the likeliest first until
enough vectors were compared. So weights, filters and removed tracks mean the same to both, and whatever is returned
has its true distance.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fpserver.compiling import compiled, compiled_in_any_order
from fpserver.terms import TrackIds, Vector, Vectors

Slots: TypeAlias = npt.NDArray[np.int32]  # where the roster has the track of each vector
Rows: TypeAlias = npt.NDArray[np.int32]  # which of its track's vectors each is
Passes: TypeAlias = npt.NDArray[np.bool_]  # by slot: whether the track may be found
Indices: TypeAlias = npt.NDArray[np.int64]
Stock: TypeAlias = tuple[Vectors, Slots, Rows]
"""Vectors, and of each its slot and its row."""

Best: TypeAlias = tuple[npt.NDArray[np.float32], TrackIds, npt.NDArray[np.int64]]
"""The nearest found so far: squared distance (or 1 less cosine), track, row; in this order, each of length k."""


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
    runs: Indices,
    query: Vector,
    weights: Vector,
    cosine: bool,
    enough: int,
    best: Best,
    n_best: int,
) -> tuple[int, int]:
    """Put what is near among these runs into `best`; says how many it holds then, and how many were compared.

    Args:
        stock: the vectors.
        passes: by slot.
        tracks: id by slot.
        runs: (n_runs, 2), first and last + 1 of each, in the order in which they are visited.
        query, weights, cosine: as for `distances`.
        enough: no further run is visited when so many vectors were compared.
        best: sorted by distance, then track, then row.
        n_best: so many of it are filled.
    """
    vectors, slots, rows = stock
    told, track_ids, places = best
    k = len(told)
    of_query = np.float32(0)
    for j in range(len(query)):
        of_query += weights[j] * query[j] * query[j]
    n_compared = 0
    for run in range(len(runs)):
        if n_compared >= enough:
            break
        for i in range(runs[run, 0], runs[run, 1]):
            if not passes[slots[i]]:
                continue
            n_compared += 1
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


def warm() -> None:
    """Have the loops compiled before somebody waits for them."""
    one, zero = np.ones(1, np.float32), np.zeros(1, np.int32)
    distances(one[:, None], one, one, False)
    stock = (one[:, None], zero, zero)
    passes, tracks, runs = np.ones(1, np.bool_), np.ones(1, np.int64), np.array([[0, 1]])
    scan(stock, passes, tracks, runs, one, one, False, 1, empty_best(1), 0)


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
