"""Neighbours beside plain twins that compare every track with every other."""

import numpy as np
import pytest
from scipy import sparse

from fpserver.recommend.neighbours import HIGH, LENGTH, SATURATION, SHRINK, of_likings, of_meetings


def matrix(seed: int, *, n_users: int = 30, n_tracks: int = 14, share: float = 0.3) -> sparse.csr_array:
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.2, 3, (n_users, n_tracks)) * (rng.random((n_users, n_tracks)) < share)
    return sparse.csr_array(weights.astype(np.float32))


def strongest(whole: np.ndarray, by: np.ndarray, n_neighbors: int) -> np.ndarray:
    """Of each row the `n_neighbors` that are most by another matrix, itself and what is not above 0 left out."""
    by = by.copy()
    np.fill_diagonal(by, -np.inf)
    kept = np.zeros_like(whole)
    for row in range(len(whole)):
        best = np.argsort(-by[row], kind="stable")[:n_neighbors]
        best = best[by[row][best] > 0]
        kept[row, best] = whole[row, best]
    return kept


@pytest.mark.parametrize("n_neighbors", [3, 20])
def test_neighbours_by_likings_are_those_of_the_damped_cosine(n_neighbors: int) -> None:
    liked = matrix(1)
    dense = liked.toarray().astype(np.float64)
    norms = np.linalg.norm(dense, axis=0)
    cosine = dense.T @ dense / np.outer(norms, norms)
    known = (dense > 0).sum(0)
    damping = np.sqrt(known / (known + SHRINK))
    expected = strongest(cosine * np.outer(damping, damping), cosine, n_neighbors)
    found = of_likings(liked, n_neighbors=n_neighbors)
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-4, atol=1e-6)


def test_what_is_disliked_is_nobodys_neighbour() -> None:
    weights = matrix(2).toarray()
    against = weights.copy()
    against[weights == 0] = -1.0
    np.testing.assert_array_equal(
        of_likings(sparse.csr_array(against), n_neighbors=5).toarray(),
        of_likings(sparse.csr_array(weights), n_neighbors=5).toarray(),
    )


@pytest.mark.parametrize("n_neighbors", [3, 20])
def test_neighbours_by_meetings_are_those_of_bm25(n_neighbors: int) -> None:
    met = matrix(3)
    dense = met.toarray().astype(np.float64)  # (people, tracks)
    idf = np.log(dense.shape[1]) - np.log1p((dense > 0).sum(1))
    length = dense.sum(0)
    norm = (1 - LENGTH) + LENGTH * length / length.mean()
    weighted = dense * (SATURATION + 1) / (SATURATION * norm[None] + dense) * idf[:, None]
    alike = weighted.T @ weighted
    kept = strongest(alike, alike, n_neighbors)
    found = of_meetings(met, n_neighbors=n_neighbors)
    expected = kept / np.percentile(kept[kept > 0], HIGH)
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("learn", [of_likings, of_meetings])
@pytest.mark.parametrize("seed", range(5))
def test_rows_are_bounded_and_no_track_is_its_own_neighbour(learn: object, seed: int) -> None:
    assert callable(learn)
    near = learn(matrix(seed, n_users=60, n_tracks=30, share=0.2 + 0.15 * seed), n_neighbors=4)
    assert near.shape == (30, 30) and near.dtype == np.float32
    assert np.diff(near.indptr).max() <= 4
    assert near.diagonal().max() == 0 and near.data.min() > 0 and np.isfinite(near.data).all()
    if learn is of_likings:
        assert near.data.max() <= 1


def test_a_row_is_not_longer_where_another_track_is_nearer_than_the_track_itself() -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        known = (
            rng.random((40, 20)) < rng.random(20) * 0.6
        )  # some are known to nearly everybody, some to nobody
        near = of_meetings(sparse.csr_array(known * rng.uniform(0.05, 1, (40, 20))), n_neighbors=4)
        assert np.diff(near.indptr).max() <= 4


@pytest.mark.parametrize("learn", [of_likings, of_meetings])
def test_tracks_that_nobody_shares_have_no_neighbours(learn: object) -> None:
    assert callable(learn)
    alone = sparse.csr_array(np.eye(4, dtype=np.float32))
    assert learn(alone, n_neighbors=3).nnz == 0
