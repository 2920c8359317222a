"""Turn vectors into a map: points in the plane, near each other where their vectors are.

Same vectors, options and seed: same bytes, on one kind of processor. Neighbours are exact, the start is the principal
axes of the vectors, and nothing is computed in parallel. The points are centred, their widest direction is x, the
point farthest along an axis has 1 there, and of the two ways to look at an axis the one with the longer tail in front
is taken. They are always finite, also of vectors that are all the same.

McInnes, Healy and Melville, "UMAP: Uniform Manifold Approximation and Projection for Dimension Reduction", 2018, as
umap-learn computes it. On the start: Kobak and Linderman, "Initialization is critical for preserving global data
structure in both t-SNE and UMAP", Nature Biotechnology 39, 2021.
"""

import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from fpserver.compiling import compiled
from fpserver.errors import MapFailed
from fpserver.terms import Vectors

Metric: TypeAlias = Literal["euclidean", "cosine"]
Points: TypeAlias = npt.NDArray[np.float32]  # (n_points, 2)
Progress: TypeAlias = Callable[[float], None]  # told 0..1; may raise, to end the work

FEWEST = 4  # points that have neighbourhoods; fewer are shown by their principal axes
BLOCK = 256  # rows of a distance matrix at a time: 10 MB at 10,000 points
N_EPOCHS = 500
MANY = 2000  # points; of more, …
N_EPOCHS_OF_MANY = 200  # … so few lose 0.0003 of 0.990 trustworthiness at 5,000 points
NEIGHBOURS_SHARE = 0.1  # of the time, roughly, at 5,000 points
START_SIZE = 10.0  # the extent that umap-learn lays points out from
START_NOISE = 1e-3  # of it: parts points that lie on each other


def coordinates(
    vectors: Vectors,
    *,
    n_neighbors: int,
    min_dist: float,
    metric: Metric,
    seed: int,
    on_progress: Progress | None = None,
) -> Points:
    """The map of vectors, a point per vector in their order.

    `n_neighbors` counts the vector itself, as in umap-learn; `neighbors_used` says how many there are when vectors are
    few. Larger ones show the whole more, smaller ones the detail. `min_dist` (0..1) is how tightly points may lie.

    Raises:
        MapFailed: a vector holds what is not a number.
    """
    tell = on_progress or _nobody
    n = len(vectors)
    tell(0.0)
    measured = _measured(vectors, metric)
    if n < FEWEST:
        points = _principal(measured)
    else:
        used = neighbors_used(n, n_neighbors)
        near = nearest(
            measured, k=used, metric=metric, on_progress=lambda done: tell(NEIGHBOURS_SHARE * done)
        )
        rest = 1 - NEIGHBOURS_SHARE
        points = _laid_out(
            measured,
            near,
            min_dist=min_dist,
            seed=seed,
            tell=lambda done: tell(NEIGHBOURS_SHARE + rest * done),
        )
    shown = _settled(points)
    tell(1.0)
    return shown


def neighbors_used(n_vectors: int, n_neighbors: int) -> int:
    """Neighbours of each vector, itself among them, that there are to look at."""
    return min(n_neighbors, n_vectors)


def nearest(
    vectors: Vectors, *, k: int, metric: Metric, on_progress: Progress | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """(index, distance) of the k nearest of each vector, (n, k), itself first, then by distance, then by index.

    Exact, but for which of several at the same distance is the last. Cosine: of unit vectors, 1 − cos.
    """
    n = len(vectors)
    index = np.empty((n, k), np.int64)
    distance = np.empty((n, k), np.float32)
    half_squares = 0.5 * np.einsum("ij,ij->i", vectors, vectors)
    for first in range(0, n, BLOCK):
        rows = vectors[first : first + BLOCK]
        order = half_squares - rows @ vectors.T  # grows with the distance: that is enough to choose by
        order[np.arange(len(rows)), np.arange(first, first + len(rows))] = -np.inf
        chosen = np.argpartition(order, k - 1, axis=1)[:, :k]
        chosen.sort(axis=1)
        apart = vectors[chosen] - rows[:, None, :]
        squares = np.einsum("ijk,ijk->ij", apart, apart)
        itself = chosen == np.arange(first, first + len(rows))[:, None]
        by_distance = np.argsort(np.where(itself, -1, squares), axis=1, kind="stable")
        index[first : first + len(rows)] = np.take_along_axis(chosen, by_distance, 1)
        squares = np.take_along_axis(squares, by_distance, 1)
        distance[first : first + len(rows)] = np.sqrt(squares) if metric == "euclidean" else 0.5 * squares
        if on_progress is not None:
            on_progress((first + len(rows)) / n)
    return index, distance


def prepare() -> None:
    """Load what `coordinates` needs, so that the first map does not wait for it: about 1 s, 10 s the first time ever.

    Lays out a few points, since compiled code is loaded when it is first called.
    """
    few = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    coordinates(few, n_neighbors=4, min_dist=0.1, metric="euclidean", seed=0)


def _measured(vectors: Vectors, metric: Metric) -> Vectors:
    """The vectors as distances are taken between: of size 1 at most, and for cosine of length 1.

    The size of all vectors together makes no difference to a map, but to the sums of their squares.
    """
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise MapFailed(f"vector {row} holds what is not a number: a map needs finite ones")
    exact = vectors.astype(np.float64)
    if metric == "cosine":
        lengths = np.linalg.norm(exact, axis=1, keepdims=True)
        exact = exact / np.where(lengths > 0, lengths, 1)
    elif len(exact):
        exact = exact - exact.mean(axis=0)
        exact = exact / (np.abs(exact).max(initial=0) or 1)
    return np.ascontiguousarray(exact, dtype=np.float32)


def _laid_out(
    vectors: Vectors,
    near: tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]],
    *,
    min_dist: float,
    seed: int,
    tell: Progress,
) -> npt.NDArray[np.float64]:
    umap = _umap()
    chance = np.random.RandomState(seed)  # the kind that umap-learn takes
    start = _principal(vectors)
    start = START_SIZE * start / (np.abs(start).max() or 1)
    start += chance.normal(scale=START_NOISE * START_SIZE, size=start.shape)
    index, distance = near
    k = index.shape[1]
    graph, _, _ = umap.fuzzy_simplicial_set(
        vectors, k, chance, "euclidean", knn_indices=index, knn_dists=distance
    )
    a, b = umap.find_ab_params(1.0, min_dist)
    n_epochs = N_EPOCHS if len(vectors) <= MANY else N_EPOCHS_OF_MANY
    points, _ = umap.simplicial_set_embedding(
        vectors,
        graph,
        n_components=2,
        initial_alpha=1.0,
        a=a,
        b=b,
        gamma=1.0,
        negative_sample_rate=5,
        n_epochs=n_epochs,
        init=start.astype(np.float32),
        random_state=chance,
        metric="euclidean",
        metric_kwds={},
        densmap=False,
        densmap_kwds={},
        output_dens=False,
        parallel=False,
        tqdm_kwds={"tell": tell},
    )
    return np.asarray(points, dtype=np.float64)


@cache
def _umap() -> Any:
    """umap-learn, with its loops that it compiles in every process kept on disk, and its epochs told.

    Not in parallel either: the means that it takes of all distances depend on the number of threads then.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TensorFlow is not installed
        from umap import layouts, umap_  # noqa: PLC0415  (takes a second, and 200 MB)
    for name in ("smooth_knn_dist", "compute_membership_strengths"):
        setattr(umap_, name, compiled(getattr(umap_, name).py_func))
    epoch = compiled(layouts._optimize_layout_euclidean_single_epoch)
    layouts._nb_optimize_layout_euclidean_single_epoch = epoch
    layouts.tqdm = _counted
    return umap_


def _counted(epochs: range, *, tell: Progress | None = None, **_of_a_bar: Any) -> Iterator[int]:
    """In the place of umap-learn's progress bar, whose keywords are `tqdm_kwds`."""
    for epoch in epochs:
        if tell is not None:
            tell(epoch / len(epochs))
        yield epoch


def _principal(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The vectors along the two directions in which they spread most, (n, 2); where there is no second one, 0."""
    centred = vectors.astype(np.float64)
    if len(centred):
        centred = centred - centred.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)  # ascending
    points = np.zeros((len(vectors), 2))
    n_axes = min(2, axes.shape[1])
    points[:, :n_axes] = centred @ axes[:, ::-1][:, :n_axes]
    return points * _front(points)


def _settled(points: npt.NDArray[np.float64]) -> Points:
    """Centred, turned and scaled as this module says."""
    turned = _principal(points)
    largest = np.abs(turned).max(initial=0)
    return (turned / largest if largest > 1e-12 else np.zeros_like(turned)).astype(np.float32)


def _front(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Per axis 1, or −1 where its tail is longer on the other side."""
    return np.where((points**3).sum(axis=0) < 0, -1.0, 1.0)


def _nobody(_fraction: float) -> None:
    """Nobody listens."""
