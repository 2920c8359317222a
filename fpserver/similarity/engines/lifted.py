"""Vector sets rank by the angle. Vectors are lifted so that the angle to a question follows their distance from it.

A vector x is held as (x, s, R): R is the same for all of a space, s_g = 2 |x_g|² / R for each part g of it (the groups
of a mixed vector; else all of it is one). From far below, the angle between two points of a flat map grows with their
distance, so the graph of a set links what is near.

A question q with a weight w_g for each part is asked as (w q, −w R / 4, −Σ w |q|² / 2R). Its product with a lifted x is
−D / 2, where D = Σ w_g |x_g − q_g|², so the cosine is −D / (2 |lifted x| |question|): the order is that of D, but for
the lengths of lifted vectors, which differ little as R is some times the usual length. This is the search for the
largest product turned into one for the smallest angle (Bachrach et al., "Speeding up the Xbox recommender system",
RecSys 2014), with weights that are known only when it is asked. The few that come back are measured exactly.
"""

from collections.abc import Mapping

import numpy as np

from fpserver.similarity.engines.engine import MIXED
from fpserver.terms import SEGMENTS, Vector, Vectors

RADIUS_RATIO = 8.0  # R, by the root mean square length of the first vectors
SQUARES = 2.0  # in s: a quarter of a usual vector's length, so that they bend the map little
LAYOUT = 2  # of what is held; another is filled anew

Parts = tuple[int, ...]  # sizes of the parts of a vector, end to end


def parts_of(space: str, sizes: Mapping[str, int]) -> Parts:
    """The parts of a space's vectors: of mixed ones the groups, where they fill them, else one."""
    groups = tuple(size for name, size in sizes.items() if name not in (MIXED, SEGMENTS))
    return groups if space == MIXED and sum(groups) == sizes[space] else (sizes[space],)


def weights_of_parts(weights: Vector, parts: Parts) -> Vector | None:
    """One weight for each part; None where some part has several, or all are 0."""
    starts = np.cumsum((0, *parts[:-1]))
    if not np.any(weights) or not np.array_equal(np.repeat(weights[starts], parts), weights):
        return None
    each: Vector = weights[starts]
    return each


def radius_of(vectors: Vectors) -> float:
    """R for vectors like these."""
    mean_square = float(np.mean(np.sum(vectors.astype(np.float64) ** 2, axis=1))) if len(vectors) else 0.0
    return RADIUS_RATIO * float(np.sqrt(mean_square)) if mean_square > 0 else 1.0


def lift(vector: Vector, radius: float, parts: Parts) -> bytes:
    """A vector as it is held: 32-bit numbers, little endian."""
    squares = SQUARES / radius * _squares(vector, parts)
    return np.concatenate((vector, squares, (radius,))).astype("<f4").tobytes()


def question(query: Vector, weights: Vector, radius: float, parts: Parts) -> tuple[bytes, float]:
    """What is asked, as `lift` gives it, of length 1; and how long it was.

    Args:
        query: (size,).
        weights: (n_parts,), not all 0.
        radius: R.
        parts: of the space.
    """
    each = weights.astype(np.float64)
    last = -np.sum(each * _squares(query, parts)) / (2 * radius)
    whole = np.concatenate((np.repeat(each, parts) * query, -radius / (2 * SQUARES) * each, (last,)))
    length = float(np.linalg.norm(whole))
    return (whole / length).astype("<f4").tobytes(), length


def least_distance(likeness: float, length: float, radius: float) -> float:
    """What no vector can be nearer than (as D) that seems less alike than this.

    Args:
        likeness: what the set told, (1 + cosine) / 2.
        length: of the question.
        radius: R: no lifted vector is shorter.
    """
    return 2 * (1 - 2 * likeness) * length * radius


def lowered(raw: bytes, lengths: Vector, size: int) -> Vectors:
    """The vectors that were lifted, (n, size): `raw` is what is held, of length 1, and `lengths` what they had."""
    held = np.frombuffer(raw, "<f4").reshape(len(lengths), -1)
    return np.ascontiguousarray(held[:, :size] * lengths.astype(np.float32)[:, None], np.float32)


def _squares(vector: Vector, parts: Parts) -> Vector:
    starts = np.cumsum((0, *parts[:-1]))
    return np.asarray(np.add.reduceat(np.square(vector, dtype=np.float64), starts))
