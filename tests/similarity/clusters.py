"""Vectors with a structure that everybody can see, and what a map made of it."""

import numpy as np
import numpy.typing as npt

from fpserver.similarity.coordinates import Points
from fpserver.terms import Vectors


def clustered(
    n: int, rng: np.random.Generator, *, n_clusters: int = 6, n_dimensions: int = 150
) -> tuple[Vectors, npt.NDArray[np.int64]]:
    """(vectors, the cluster of each): centres five times as far apart as their vectors."""
    cluster = rng.integers(n_clusters, size=n)
    centres = 5 * rng.normal(size=(n_clusters, n_dimensions))
    return (centres[cluster] + rng.normal(size=(n, n_dimensions))).astype(np.float32), cluster


def neighbours_kept(vectors: Vectors, points: Points, *, k: int = 10) -> float:
    """Trustworthiness (Venna and Kaski 2001), plainly: 1 when the near on the map are the near; about 0.5 by chance."""
    n = len(vectors)
    ranks = _distances(vectors.astype(np.float64)).argsort(axis=1).argsort(axis=1)  # itself: 0
    near = _distances(points.astype(np.float64)).argsort(axis=1)[:, 1 : k + 1]
    wrong = np.maximum(np.take_along_axis(ranks, near, 1) - k, 0).sum()
    return float(1 - 2 * wrong / (n * k * (2 * n - 3 * k - 1)))


def own_cluster(points: Points, cluster: npt.NDArray[np.int64], *, k: int = 5) -> float:
    """How many of the k nearest points are of a point's own cluster, 0..1."""
    near = _distances(points.astype(np.float64)).argsort(axis=1)[:, 1 : k + 1]
    return float((cluster[near] == cluster[:, None]).mean())


def _distances(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    distances: npt.NDArray[np.float64] = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    np.fill_diagonal(distances, -1)
    return distances
