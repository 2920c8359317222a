"""Choose how each group is scaled and shortened, from the vectors of a catalogue: the recipes, and the figures in them.

What was tried beside them is in docs/decisions/0028. Every random choice comes from the generator passed in.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fpserver.similarity import projections, transforms
from fpserver.similarity.chances import Pairs, assumed
from fpserver.similarity.projections import Projection
from fpserver.similarity.transforms import Reals, turn
from fpserver.terms import Group, Vector, Vectors

Indices: TypeAlias = npt.NDArray[np.int64]

SIZES = {Group.TEMPORAL: 6, Group.SPECTRAL: 16, Group.RHYTHM: 24, Group.TONAL: 36, Group.TIMBRE: 48}
SEGMENT_SIZE = 32
N_PAIRS = 1000
MAX_MOMENTS = 50_000  # that axes are learned from
TYPICAL_SQUARED = {  # distance of random tracks, scaled and not yet divided: as measured on real music
    Group.TEMPORAL: 9.0,
    Group.SPECTRAL: 35.0,
    Group.RHYTHM: 80.0,
    Group.TONAL: 147.0,
    Group.TIMBRE: 60.0,
}
TYPICAL_SEGMENT_SQUARED = 64.0  # the same of random moments


def projection(group: Group, vectors: Reals, rng: np.random.Generator) -> Projection:
    """How vectors of a group, (n, n_dimensions), are scaled and shortened; not yet divided."""
    typical = transforms.typical_spread(group, vectors.shape[1])
    if group is Group.TONAL:
        return projections.by_turns(vectors, typical=typical, size=SIZES[group])
    spread = (
        np.ones(vectors.shape[1]) if group is Group.TIMBRE else projections.spreads(vectors, typical=typical)
    )
    return projections.by_axes(vectors, spread=spread, size=SIZES[group], rng=rng)


def divided(group: Group, undivided: Projection, pairs: Reals) -> tuple[Projection, Pairs]:
    """Divided by the typical distance of pairs, (n_pairs, 2, size), and these pairs as they are then."""
    a, b = pairs[:, 0], pairs[:, 1]
    squared = np.sum((a - b) ** 2, axis=1)
    by = _middle(squared[np.isfinite(squared)], typical=TYPICAL_SQUARED[group])
    transposed = squared
    if group is Group.TONAL:
        transposed = np.min([np.sum((turn(a, each) - b) ** 2, axis=1) for each in range(12)], axis=0)
    lengths = np.stack((np.sum(a**2, axis=1), np.sum(b**2, axis=1)), axis=1)
    return undivided.divided(np.sqrt(by)), Pairs(
        squared=(squared / by).astype(np.float32),
        transposed=(transposed / by).astype(np.float32),
        lengths=(lengths / by).astype(np.float32),
    )


def some_moments(moments: Sequence[Vectors], rng: np.random.Generator) -> list[Vector]:
    """A random choice, as many of each track where it has them."""
    n_each = max(1, MAX_MOMENTS // len(moments))
    return [row for each in moments for row in each[np.sort(rng.permutation(len(each))[:n_each])]]


def of_moments(vectors: Reals, rng: np.random.Generator) -> tuple[Projection, Vector]:
    """(projection, distances of random moments, ascending), of moments (n, n_dimensions)."""
    spread = projections.spreads(vectors, typical=np.maximum(np.abs(vectors).mean(0), 1e-3))
    undivided = projections.by_axes(vectors, spread=spread, size=SEGMENT_SIZE, rng=rng)
    pairs = undivided(vectors)[random_pairs(len(vectors), rng)].astype(np.float64)
    squared = np.sum((pairs[:, 0] - pairs[:, 1]) ** 2, axis=1)
    by = _middle(squared, typical=TYPICAL_SEGMENT_SQUARED)
    return undivided.divided(np.sqrt(by)), np.sort(np.sqrt(squared / by)).astype(np.float32)


def random_pairs(n: int, rng: np.random.Generator) -> Indices:
    """(n_pairs, 2): all pairs of n things, or `N_PAIRS` of them by chance."""
    if n * (n - 1) // 2 <= N_PAIRS:
        return np.stack(np.triu_indices(n, 1), axis=1)
    first = rng.integers(n, size=N_PAIRS)
    return np.stack((first, (first + rng.integers(1, n, size=N_PAIRS)) % n), axis=1)


def _middle(squared: Reals, *, typical: float) -> float:
    """Median of what was measured and of a few that are assumed."""
    return float(np.median(np.concatenate((squared, typical * assumed()[::4]))))
