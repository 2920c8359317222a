"""Factorisation of who liked what: a short vector for each track, and one for a person at the moment of asking.

Tracks are learned by implicit's alternating least squares; people are not kept. A person's vector is solved anew from
what they like now, by the same equation, so that the newest like or dislike counts at once:

    x = (YᵀY + λI + Σ (c - 1) y yᵀ)⁻¹ Σ c p y     p: 1 for a liked track, 0 for a disliked one; c: how sure that is

Hu, Koren, Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008.
"""

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse
from threadpoolctl import threadpool_limits

from fpserver.terms import Vector, Vectors

REGULARIZATION_A_USER, MAX_REGULARIZATION = 0.1, 30.0
ITERATIONS = 15
SURE = 5.0  # how much surer a liking of 1 is than no event at all
MAX_LIKED = 300  # tracks that a person's vector is solved from


def confidence(weight: Vector) -> Vector:
    """How sure a liking of this weight is; likings against a track are below 0."""
    return (np.sign(weight) * (1 + SURE * np.abs(weight))).astype(np.float32)


def learn(likings: sparse.csr_array, *, n_factors: int, seed: int, n_threads: int = 1) -> Vectors:
    """A vector for each track.

    Args:
        likings: (n_users, n_tracks), weights; below 0: disliked.
        n_factors: numbers per track.
        seed: another gives vectors that mean the same.
        n_threads: that are used.

    Returns:
        (n_tracks, n_factors).
    """
    confident = sparse.csr_matrix(
        (confidence(likings.data), likings.indices, likings.indptr), shape=likings.shape
    )
    model = AlternatingLeastSquares(
        factors=n_factors,
        regularization=regularization(likings.shape[0]),
        alpha=1.0,
        iterations=ITERATIONS,
        num_threads=n_threads,
        random_state=seed,
    )
    with threadpool_limits(n_threads, "blas"):
        model.fit(confident, show_progress=False)
    return np.asarray(model.item_factors, np.float32)


def regularization(n_users: int) -> float:
    """λ: the more people there are, the more the events of each track are, against which it stands."""
    return min(REGULARIZATION_A_USER * n_users, MAX_REGULARIZATION)


def gram(vectors: Vectors, *, n_users: int) -> Vectors:
    """YᵀY + λI."""
    return vectors.T @ vectors + np.float32(regularization(n_users)) * np.eye(
        vectors.shape[1], dtype=np.float32
    )


def fold_in(vectors: Vectors, weight: Vector, of_all: Vectors) -> Vector:
    """The vector of who thinks this of these tracks.

    A dislike draws what is expected of its track, and of what lies near it, towards 0, and not below: of a track for
    which less than 0 was expected, it lifts that a little.

    Args:
        vectors: (n, n_factors), of those tracks.
        weight: (n,), how much they are liked; below 0: disliked.
        of_all: `gram` of all tracks.
    """
    sure = confidence(weight)
    left = of_all + (vectors.T * (np.abs(sure) - 1)) @ vectors
    right = vectors.T @ np.maximum(sure, 0)
    return np.linalg.solve(left, right).astype(np.float32)
