"""What engines are asked to hold and to find breaks no rule: said once, for all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fpserver.errors import InvalidRequest
from fpserver.similarity.engines.engine import Entry
from fpserver.terms import Vector, Vectors

METRICS = ("euclidean", "cosine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A checked question."""

    queries: Vectors
    weights: Vector
    cosine: bool

    def of(self, query: Vector) -> "Asked":
        """The same for one query."""
        return replace(self, queries=query[None])


def size_of(space: str, sizes: Mapping[str, int]) -> int:
    """Dimensions of a space.

    Raises:
        InvalidRequest: there is no such space.
    """
    if space not in sizes:
        raise InvalidRequest(
            f'there are no vectors of "{space}"; there are {", ".join(sizes) or "none at all"}'
        )
    return sizes[space]


def checked_entries(entries: Sequence[Entry], sizes: Mapping[str, int]) -> None:
    """Vectors that can be held.

    Raises:
        InvalidRequest: there is no such space, or vectors are of another size or no numbers.
    """
    for entry in entries:
        for space, vectors in entry.vectors.items():
            _checked_vectors(f"{space} of track {entry.track_id}", vectors, size_of(space, sizes))


def checked_query(
    queries: Vectors, *, size: int, space: str, k: int, weights: Vector | None, metric: str
) -> Asked:
    """A question that can be answered, as arrays that compiled loops take.

    Raises:
        InvalidRequest: it breaks a rule.
    """
    _checked_vectors(f"queries in {space}", queries, size)
    if k < 1:
        raise InvalidRequest(f"{k} neighbours are asked for, must be at least 1")
    if metric not in METRICS:
        raise InvalidRequest(f'metric is "{metric}", must be one of {", ".join(METRICS)}')
    each = np.ones(size, np.float32) if weights is None else np.ascontiguousarray(weights, np.float32)
    if each.shape != (size,) or not np.all(np.isfinite(each)) or np.any(each < 0):
        raise InvalidRequest(f"weights in {space}: must be {size} numbers, none below 0, are {each.shape}")
    return Asked(queries=np.ascontiguousarray(queries, np.float32), weights=each, cosine=metric == "cosine")


def _checked_vectors(what: str, vectors: Vectors, size: int) -> None:
    if vectors.ndim != 2 or vectors.shape[1] != size:
        raise InvalidRequest(f"{what}: shape is {vectors.shape}, must be (n, {size})")
    if not np.all(np.isfinite(vectors)):
        raise InvalidRequest(f"{what}: a value is no finite number")
