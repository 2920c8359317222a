"""Maps of vectors whose shape is known. umap-learn is loaded once, by the first that needs it."""

import warnings
from functools import partial

import numpy as np
import pytest

from fpserver.errors import MapFailed
from fpserver.similarity.coordinates import Metric, coordinates, nearest, neighbors_used
from fpserver.terms import Vectors
from tests.similarity.clusters import clustered, neighbours_kept, own_cluster

draw = partial(coordinates, n_neighbors=15, min_dist=0.1, metric="euclidean", seed=0)
METRICS: tuple[Metric, ...] = ("euclidean", "cosine")


def continuous(n: int, rng: np.random.Generator) -> Vectors:
    """A curved sheet in 50 dimensions: no clusters, everything has a next."""
    sheet = rng.uniform(-1, 1, size=(n, 2))
    bent = np.column_stack([sheet, sheet**2, np.sin(2 * sheet)])
    return (bent @ rng.normal(size=(6, 50))).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
def test_clusters_stay_apart_and_neighbours_stay_neighbours(metric: Metric, rng: np.random.Generator) -> None:
    vectors, cluster = clustered(400, rng)
    points = draw(vectors, metric=metric)
    assert own_cluster(points, cluster) > 0.98
    assert neighbours_kept(vectors, points) > 0.9
    assert neighbours_kept(vectors, rng.permutation(points)) < 0.6


def test_what_has_no_clusters_keeps_its_neighbours_too(rng: np.random.Generator) -> None:
    vectors = continuous(400, rng)
    assert neighbours_kept(vectors, draw(vectors)) > 0.97


def test_a_map_is_as_good_as_the_library_makes_it_alone(rng: np.random.Generator) -> None:
    vectors = continuous(300, rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import umap  # noqa: PLC0415

        theirs = umap.UMAP(n_neighbors=15, min_dist=0.1, random_state=0, n_jobs=1).fit_transform(vectors)
    assert neighbours_kept(vectors, draw(vectors)) > neighbours_kept(vectors, theirs) - 0.01


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_picture(
    rng: np.random.Generator,
) -> None:
    vectors = continuous(200, rng)
    once = draw(vectors, seed=3)
    assert once.tobytes() == draw(vectors, seed=3).tobytes()
    assert not np.allclose(once, draw(vectors, seed=4), atol=1e-3)


def test_a_map_is_centred_and_fills_its_frame(rng: np.random.Generator) -> None:
    points = draw(clustered(100, rng)[0])
    assert points.shape == (100, 2)
    assert points.dtype == np.float32
    assert np.abs(points).max() == 1
    assert points.mean(axis=0) == pytest.approx([0, 0], abs=1e-6)
    assert points[:, 0].std() >= points[:, 1].std()
    assert (points.astype(np.float64) ** 3).sum(axis=0).min() >= 0


def test_the_size_of_all_vectors_makes_no_difference(rng: np.random.Generator) -> None:
    vectors = clustered(60, rng)[0]
    for scale in (2.0**90, 2.0**-90):  # their squares are no float32
        assert draw(vectors * np.float32(scale)).tobytes() == draw(vectors).tobytes()


def test_options_change_the_picture(rng: np.random.Generator) -> None:
    vectors = continuous(150, rng)
    plain = draw(vectors)
    assert not np.allclose(plain, draw(vectors, n_neighbors=50), atol=1e-3)
    tight, loose = draw(vectors, min_dist=0.0), draw(vectors, min_dist=0.9)
    assert nearest_gap(tight) < nearest_gap(loose)


def nearest_gap(points: Vectors) -> float:
    """Median distance to the nearest point."""
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    return float(np.median(apart.min(axis=1)))


@pytest.mark.parametrize("n", range(9))
@pytest.mark.parametrize("metric", METRICS)
def test_few_vectors_have_a_map_as_well(n: int, metric: Metric, rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(n, 40)).astype(np.float32)
    points = draw(vectors, metric=metric)
    assert points.shape == (n, 2)
    assert np.isfinite(points).all()
    assert len({tuple(point) for point in points.tolist()}) == n
    assert neighbors_used(n, 15) == n


def test_three_vectors_keep_their_triangle() -> None:
    points = draw(np.array([[0, 0, 0], [0, 3, 0], [4, 0, 0]], np.float32))
    a, b, c = (float(np.linalg.norm(points[i] - points[j])) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert (b / a, c / a) == pytest.approx((4 / 3, 5 / 3), rel=1e-4)


@pytest.mark.parametrize("n", [1, 2, 3, 30, 300])
@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("metric", METRICS)
def test_vectors_that_are_all_the_same_have_a_finite_map(n: int, value: float, metric: Metric) -> None:
    points = draw(np.full((n, 20), value, np.float32), metric=metric)
    assert points.shape == (n, 2)
    assert np.isfinite(points).all()


def test_many_copies_of_a_vector_lie_together(rng: np.random.Generator) -> None:
    vectors = clustered(90, rng, n_clusters=3)[0]
    vectors[:40] = vectors[0]
    points = draw(vectors)
    assert np.isfinite(points).all()
    assert np.ptp(points[:40], axis=0).max() < 0.5


def test_a_vector_of_one_number_and_vectors_along_a_line_have_a_map() -> None:
    line = np.arange(30, dtype=np.float32)[:, None]
    assert np.isfinite(draw(line)).all()
    assert np.isfinite(draw(np.repeat(line, 8, axis=1))).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_not_a_number_is_named(wrong: float) -> None:
    vectors = np.ones((8, 3), np.float32)
    vectors[5, 1] = wrong
    with pytest.raises(MapFailed, match="vector 5 holds what is not a number"):
        draw(vectors)


def test_progress_rises_to_one(rng: np.random.Generator) -> None:
    told: list[float] = []
    draw(clustered(700, rng)[0], on_progress=told.append)
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, 1)
    assert len(told) > 100


@pytest.mark.parametrize("fraction", [0.0, 0.03, 0.5])
def test_who_listens_can_end_it_by_raising(fraction: float, rng: np.random.Generator) -> None:
    told: list[float] = []

    def listen(done: float) -> None:
        told.append(done)
        if done >= fraction:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw(clustered(700, rng)[0], on_progress=listen)
    assert told[-1] < fraction + 0.1
    assert np.isfinite(draw(clustered(50, rng)[0])).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n", [5, 300, 700])
def test_nearest_are_those_that_a_plain_search_finds(
    n: int, metric: Metric, rng: np.random.Generator
) -> None:
    vectors = rng.normal(size=(n, 30)).astype(np.float32)
    if metric == "cosine":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[3] = vectors[1]  # a copy
    index, distance = nearest(vectors, k=5, metric=metric)
    exact = vectors.astype(np.float64)
    for i in range(n):
        plain = np.linalg.norm(exact - exact[i], axis=1)
        if metric == "cosine":
            plain = 1 - exact @ exact[i]
        plain[i] = -1
        assert index[i, 0] == i
        assert plain[index[i]] == pytest.approx(np.sort(plain)[:5], abs=1e-6)
        assert distance[i] == pytest.approx(np.maximum(plain, 0)[index[i]], abs=1e-5)


def test_a_vector_is_its_own_nearest_among_more_copies_than_neighbours() -> None:
    index, distance = nearest(np.ones((20, 4), np.float32), k=3, metric="euclidean")
    assert index[:, 0].tolist() == list(range(20))
    assert not distance.any()
