"""Choosing, beside a plain twin that looks at every track for every place of the list."""

import numpy as np
import pytest

from fpserver.recommend.choosing import MIN_POOL, POOL, choose
from fpserver.recommend.shelf import Shelf, build
from tests.recommend.shelves import random_shelf, track
from tests.recommend.test_content import alike

N = 40
SHELF = random_shelf(1, N)
SCORES = np.random.default_rng(1).normal(size=N).astype(np.float32)
ALL = np.ones(N, np.bool_)


def plain(
    shelf: Shelf, scores: np.ndarray, may: np.ndarray, *, k: int, diversity: float, max_per_artist: int
) -> list[int]:
    """Maximal marginal relevance, one track after the other."""
    ranked = sorted(np.flatnonzero(may).tolist(), key=lambda slot: (-scores[slot], slot))
    pool = ranked[: max(MIN_POOL, POOL * k)]
    least, most = float(scores[pool[-1]]), float(scores[pool[0]])
    chosen: list[int] = []
    pairs = {(one, other): alike(shelf, one, other) for one in pool for other in pool if one < other}
    while len(chosen) < k:
        artists = [int(shelf.artist[slot]) for slot in chosen]
        left = [
            slot
            for slot in pool
            if slot not in chosen
            and not (shelf.artist[slot] and artists.count(int(shelf.artist[slot])) >= max_per_artist)
        ]
        if not left:
            break
        gains = [
            (1 - diversity) * (float(scores[slot]) - least) / max(most - least, 1e-9)
            - diversity * max((pairs[min(slot, other), max(slot, other)] for other in chosen), default=0.0)
            for slot in left
        ]
        chosen.append(left[int(np.argmax(gains))])
    return chosen


@pytest.mark.parametrize("diversity", [0.0, 0.1, 0.5, 0.97])  # at 1, many add the same
@pytest.mark.parametrize("max_per_artist", [1, 2, 1000])
@pytest.mark.parametrize("k", [1, 12, N])
def test_the_next_is_always_what_adds_most(diversity: float, max_per_artist: int, k: int) -> None:
    may = np.random.default_rng(k).random(N) < 0.8
    how = {"k": k, "diversity": diversity, "max_per_artist": max_per_artist}
    found = choose(SHELF, SCORES, may, **how)  # type: ignore[arg-type]
    assert found.tolist() == plain(SHELF, SCORES, may, **how)  # type: ignore[arg-type]
    assert may[found].all()


def test_without_diversity_the_order_is_that_of_the_scores() -> None:
    found = choose(SHELF, SCORES, ALL, k=N, diversity=0.0, max_per_artist=N)
    assert found.tolist() == np.argsort(-SCORES, kind="stable").tolist()


def test_more_diversity_makes_a_list_less_alike() -> None:
    def likeness(diversity: float) -> float:
        found = choose(SHELF, SCORES, ALL, k=10, diversity=diversity, max_per_artist=10).tolist()
        return float(np.mean([alike(SHELF, one, other) for one in found for other in found if one != other]))

    assert max(likeness(1.0), likeness(0.5)) < likeness(0.0)


def test_no_artist_comes_more_often_than_allowed_but_those_that_nobody_knows() -> None:
    shelf = build(
        [track(i + 1, artist="a" if i < 5 else "b" if i < 8 else "") for i in range(12)], n_dimensions=0
    )
    scores = np.arange(12, 0, -1).astype(np.float32)
    found = choose(shelf, scores, np.ones(12, np.bool_), k=12, diversity=0.0, max_per_artist=2)
    assert found.tolist() == [0, 1, 5, 6, 8, 9, 10, 11]


def test_fewer_than_wanted_are_all_there_are() -> None:
    may = np.zeros(N, np.bool_)
    assert choose(SHELF, SCORES, may, k=5, diversity=0.3, max_per_artist=2).tolist() == []
    may[[3, 30]] = True
    found = choose(SHELF, SCORES, may, k=5, diversity=0.3, max_per_artist=2, seed=1)
    assert set(found.tolist()) == {3, 30}
    empty = build([], n_dimensions=2)
    assert len(choose(empty, SCORES[:0], ALL[:0], k=5, diversity=0.3, max_per_artist=2)) == 0


def test_of_very_many_the_best_are_looked_at_and_equal_ones_by_their_slot() -> None:
    n = 3 * MIN_POOL
    shelf = build([track(i + 1) for i in range(n)], n_dimensions=0)
    scores = np.random.default_rng(2).integers(0, 4, n).astype(np.float32)
    may = np.random.default_rng(3).random(n) < 0.9
    found = choose(shelf, scores, may, k=15, diversity=0.0, max_per_artist=1)
    assert found.tolist() == sorted(np.flatnonzero(may).tolist(), key=lambda slot: (-scores[slot], slot))[:15]
    flat = choose(shelf, np.zeros(n, np.float32), may, k=15, diversity=0.5, max_per_artist=1)
    assert flat.tolist() == np.flatnonzero(may)[:15].tolist()


def test_a_seed_always_gives_the_same_list_and_another_one_another() -> None:
    def of(seed: int | None, scores: np.ndarray = SCORES) -> list[int]:
        found = choose(SHELF, scores, ALL, k=10, diversity=0.1, max_per_artist=2, seed=seed)
        return [int(slot) for slot in found]

    assert of(7) == of(7)
    assert of(None) == of(None)
    near_equals = np.linspace(1, 1.001, N).astype(np.float32)
    assert len({tuple(of(seed, near_equals)) for seed in range(8)}) > 4


def test_a_seed_does_not_lift_what_is_far_behind() -> None:
    scores = (SCORES / 10 + np.where(np.arange(N) < 12, 10, 0)).astype(np.float32)
    shelf = build([track(i + 1) for i in range(N)], n_dimensions=0)
    for seed in range(20):
        found = choose(shelf, scores, ALL, k=5, diversity=0.0, max_per_artist=1, seed=seed)
        assert found.max() < 12
