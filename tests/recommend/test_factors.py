"""Factorisation: tracks as implicit learns them, people as implicit would solve them."""

import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse

from fpserver.recommend import factors
from fpserver.recommend.factors import MAX_REGULARIZATION, confidence, fold_in, gram, learn, regularization

N_USERS = 40


def likings(seed: int = 0, *, n_users: int = N_USERS, n_tracks: int = 24) -> sparse.csr_array:
    """Two kinds of people, each of whom likes tracks of one half and dislikes one of the other."""
    rng = np.random.default_rng(seed)
    matrix = np.zeros((n_users, n_tracks), np.float32)
    half = n_tracks // 2
    for user in range(n_users):
        mine, other = (0, half) if user % 2 else (half, 0)
        matrix[user, mine + rng.permutation(half)[:6]] = rng.uniform(0.5, 3, 6)
        matrix[user, other + rng.integers(half)] = -2
    return sparse.csr_array(matrix)


def test_a_person_is_solved_as_implicit_solves_him() -> None:
    known = likings()
    vectors = learn(known, n_factors=6, seed=1)
    model = AlternatingLeastSquares(factors=6, regularization=regularization(known.shape[0]), alpha=1.0)
    model.item_factors = vectors
    for user in range(5):
        row = known[[user]]
        sure = sparse.csr_matrix((confidence(row.data), row.indices, row.indptr), shape=row.shape)
        expected = model.recalculate_user(0, sure)
        found = fold_in(vectors[row.indices], row.data, gram(vectors, n_users=known.shape[0]))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_tracks_are_held_back_by_the_number_of_people_up_to_a_limit() -> None:
    of = [regularization(n) for n in (1, 10, 100, 10**4, 10**7)]
    assert of[1] == pytest.approx(10 * of[0]) and of[2] == pytest.approx(100 * of[0])
    assert of[3] == of[4] == MAX_REGULARIZATION
    vectors = learn(likings(), n_factors=6, seed=1)
    held = gram(vectors, n_users=100) - gram(vectors, n_users=10)
    np.testing.assert_allclose(held, (of[2] - of[1]) * np.eye(6), atol=1e-4)


def test_what_the_same_people_like_lies_together() -> None:
    vectors = learn(likings(), n_factors=6, seed=1)
    alike = vectors @ vectors.T
    same, other = alike[:12, :12], alike[:12, 12:]
    assert same[~np.eye(12, dtype=bool)].mean() > 20 * abs(other.mean())


def test_a_dislike_of_what_seemed_liked_lowers_it_and_what_is_like_it() -> None:
    vectors = learn(likings(), n_factors=3, seed=1)  # few, so that halves are learned and not tracks
    of_all = gram(vectors, n_users=N_USERS)
    liked = np.array([0, 1, 2])
    before = vectors @ fold_in(vectors[liked], np.array([2, 2, 2], np.float32), of_all)
    likest = int(before[3:].argmax()) + 3
    assert likest < 12, "of the same half"
    some = np.append(liked, likest)
    after = vectors @ fold_in(vectors[some], np.array([2, 2, 2, -2], np.float32), of_all)
    assert after[likest] < before[likest]
    assert after[:12].mean() < before[:12].mean()


def test_of_somebody_without_likings_nothing_is_expected() -> None:
    vectors = learn(likings(), n_factors=6, seed=1)
    nobody = fold_in(vectors[:0], np.empty(0, np.float32), gram(vectors, n_users=N_USERS))
    np.testing.assert_array_equal(nobody, 0)
    only_against = fold_in(vectors[:2], np.array([-2, -1], np.float32), gram(vectors, n_users=N_USERS))
    np.testing.assert_array_equal(only_against, 0)


def test_the_same_seed_gives_the_same_vectors() -> None:
    one, same, other = (learn(likings(), n_factors=4, seed=seed) for seed in (1, 1, 2))
    assert one.tobytes() == same.tobytes() != other.tobytes()
    assert one.shape == (24, 4) and one.dtype == np.float32 and np.isfinite(one).all()


@pytest.mark.parametrize(("weight", "sign"), [(2.0, 1), (0.5, 1), (0.0, 0), (-0.5, -1), (-2.0, -1)])
def test_who_is_surer_counts_more(weight: float, sign: int) -> None:
    (sure,) = confidence(np.array([weight], np.float32))
    assert np.sign(sure) == sign
    assert abs(sure) == pytest.approx((1 + factors.SURE * abs(weight)) * abs(sign))
