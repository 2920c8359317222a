"""Vector sets rank by the angle. Lifted onto a far plane, vectors that are near by distance are near by angle.

A vector x is held as (x, R), with the same R for all of a space: from far below, the angle between two points of a flat
map grows with their distance. cos = 1 − |x − y|² / 2R² but for a share of (|x| / R)², so R is some times the length of
usual vectors; much more, and 32 bits no longer tell near angles apart. The few that come back are measured exactly.
"""

import numpy as np

from fpserver.terms import Vector, Vectors

RADIUS_RATIO = 8.0  # R, by the root mean square length of the first vectors


def radius_of(vectors: Vectors) -> float:
    """R for vectors like these."""
    mean_square = float(np.mean(np.sum(vectors.astype(np.float64) ** 2, axis=1))) if len(vectors) else 0.0
    return RADIUS_RATIO * float(np.sqrt(mean_square)) if mean_square > 0 else 1.0


def lift(vector: Vector, radius: float) -> bytes:
    """A vector as it is held: 32-bit numbers, little endian."""
    return np.append(vector, radius).astype("<f4").tobytes()


def lowered(raw: bytes, length: float) -> Vector:
    """The vector that was lifted: `raw` is what is held, which has a length of 1, and `length` what it had."""
    return np.frombuffer(raw, "<f4")[:-1].astype(np.float32) * np.float32(length)
