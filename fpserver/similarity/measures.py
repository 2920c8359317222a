"""Say how far apart described tracks are, by any mix of groups: one against many, a pair by group, all against all.

Everything here takes comparable vectors (`scales.Scales.embed`). The squared distance of a mix is the weighted mean of
the squared distances of its groups, or the mix is one vector and its cosine counts. A thing is 0 from itself, and a is
as far from b as b from a, to the last bit. Transposed, tonal vectors are as near as the best of twelve turns.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from fpserver.errors import InvalidRequest, NotDescribed
from fpserver.similarity.chances import cosine_distances
from fpserver.similarity.mix import METRICS, Metric, Mix
from fpserver.similarity.scales import Scales
from fpserver.similarity.transforms import Reals, turn
from fpserver.terms import Group, Vector, Vectors

__all__ = [
    "METRICS",
    "Apart",
    "Comparison",
    "Metric",
    "Mix",
    "compare",
    "compare_all",
    "distances",
    "matrix",
    "transpositions",
]

Semitones: TypeAlias = npt.NDArray[np.int8]

TURNS = (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6)  # of equal ones the smallest is found
ROWS_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """How far two things are apart, and the share of random pairs that are farther."""

    distance: float
    similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A pair of tracks, all in all and by group."""

    whole: Apart
    groups: Mapping[Group, Apart]
    semitones: int | None  # how much higher the second sounds, −5..6; None: tonal was not transposed


def distances(query: Vector, rows: Vectors, *, mix: Mix, scales: Scales) -> Vector:
    """How far each row is from the query.

    Args:
        query: mixed vector, (size,).
        rows: mixed vectors, (n, size).
        mix: what counts.
        scales: that the vectors were made with.

    Returns:
        (n,), at least 0.

    Raises:
        NotDescribed: the catalogue has no such group.
        InvalidRequest: vectors are of another size.
    """
    _check(query[None], rows, mix, scales)
    return np.asarray(_apart(query[None], rows, mix=mix, scales=scales)[0], np.float32)


def transpositions(query: Vector, rows: Vectors) -> tuple[Vector, Semitones]:
    """Least tonal distance of each row over twelve turns, and by how many semitones the row sounds higher (−5..6).

    Args:
        query: comparable tonal vector, (size,).
        rows: the same of others, (n, size).
    """
    squared = np.stack([np.sum((rows - turn(query, each)) ** 2, axis=1) for each in TURNS])
    best = squared.argmin(axis=0)
    return np.sqrt(squared.min(axis=0)), np.array(TURNS, np.int8)[best]


def compare(a: Mapping[Group, Vector], b: Mapping[Group, Vector], *, mix: Mix, scales: Scales) -> Comparison:
    """A pair of tracks by a mix, and by each of its groups alone.

    Args:
        a, b: comparable vectors by group.
        mix: what counts.
        scales: that the vectors were made with.

    Raises:
        NotDescribed: one of them, or the catalogue, lacks a group of the mix.
    """
    return compare_all(a, [b], mix=mix, scales=scales)[0]


def compare_all(
    a: Mapping[Group, Vector], others: Sequence[Mapping[Group, Vector]], *, mix: Mix, scales: Scales
) -> list[Comparison]:
    """A track beside each of several others; as `compare`, in a fraction of the time."""
    for group in mix.shares:
        if group not in a:
            raise NotDescribed(f"the first track is not described by {group.value}")
        if not all(group in other for other in others):
            raise NotDescribed(f"the second track is not described by {group.value}")
    if not others:
        return []
    first = _whole(a, mix, scales)
    rows = np.stack([_whole(other, mix, scales) for other in others])

    def apart(part: Mix) -> list[Apart]:
        told = distances(first, rows, mix=part, scales=scales)
        likenesses = scales.similarities_of(told, part)
        pairs = zip(told.tolist(), likenesses.tolist(), strict=True)
        return [Apart(distance=distance, similarity=similarity) for distance, similarity in pairs]

    whole = apart(mix)
    groups = {group: apart(mix.of(group)) for group in mix.shares}
    semitones: list[int | None] = [None] * len(others)
    if mix.transpose and Group.TONAL in mix.shares:
        place = scales.slices[Group.TONAL]
        semitones = transpositions(first[place], rows[:, place])[1].tolist()
    return [
        Comparison(
            whole=whole[i], groups={group: told[i] for group, told in groups.items()}, semitones=semitones[i]
        )
        for i in range(len(others))
    ]


def matrix(rows: Vectors, *, mix: Mix, scales: Scales) -> Iterator[Vectors]:
    """Distances of all rows to all, a block of rows at a time, (n_of_block, n); symmetric, 0 on the diagonal.

    Args:
        rows: mixed vectors, (n, size).
        mix: what counts.
        scales: that the vectors were made with.

    Raises:
        NotDescribed: the catalogue has no such group.
        InvalidRequest: vectors are of another size.
    """
    _check(rows, rows, mix, scales)
    n = len(rows)
    whole = np.zeros((n, n), np.float32)
    for begin in range(0, n, ROWS_AT_ONCE):
        end = min(begin + ROWS_AT_ONCE, n)
        block = _apart(rows[begin:end], rows[begin:], mix=mix, scales=scales).astype(np.float32)
        corner = np.triu(block[:, : end - begin], 1)
        block[:, : end - begin] = corner + corner.T
        whole[begin:end, begin:], whole[begin:, begin:end] = block, block.T
        yield whole[begin:end].copy()


def _apart(queries: Vectors, rows: Vectors, *, mix: Mix, scales: Scales) -> Reals:
    """(n_queries, n_rows) distances."""
    slices = scales.slices
    squared = np.zeros((len(queries), len(rows)))
    lengths = np.zeros((2, max(len(queries), len(rows))))
    for group, share in mix.shares.items():
        ours, theirs = (side[:, slices[group]].astype(np.float64) for side in (queries, rows))
        nearest = cdist(ours, theirs, "sqeuclidean")
        if mix.transpose and group is Group.TONAL:
            for semitones in TURNS[1:]:
                np.minimum(nearest, cdist(turn(ours, semitones), theirs, "sqeuclidean"), out=nearest)
        squared += share * nearest
        for index, side in enumerate((ours, theirs)):
            lengths[index, : len(side)] += share * np.sum(side**2, axis=1)
    if mix.metric == "euclidean":
        return np.sqrt(squared)
    return cosine_distances(squared, lengths[0, : len(queries), None], lengths[1, None, : len(rows)])


def _whole(vectors: Mapping[Group, Vector], mix: Mix, scales: Scales) -> Vector:
    """A mixed vector, 0 where a group does not count."""
    mixed = np.zeros(len(scales.weights(mix)), np.float32)
    for group, place in scales.slices.items():
        if group in mix.shares:
            mixed[place] = vectors[group]
    return mixed


def _check(queries: Vectors, rows: Vectors, mix: Mix, scales: Scales) -> None:
    size = len(scales.weights(mix))
    for vectors in (queries, rows):
        if vectors.ndim != 2 or vectors.shape[1] != size:
            raise InvalidRequest(
                f"mixed vectors are of shape {vectors.shape}, these scales make {size} numbers"
            )
