"""A list is as long as it can be, also where the best tracks are all of a few artists."""

import numpy as np
import pytest

from fpserver.recommend.choosing import MIN_POOL, choose
from fpserver.recommend.shelf import Described, Shelf, build


def shelf_of(artists: list[str]) -> Shelf:
    tracks = [
        Described(track_id=i + 1, artist=artist, genre="", tags=(), audio=None)
        for i, artist in enumerate(artists)
    ]
    return build(tracks, n_dimensions=0)


@pytest.mark.parametrize("diversity", [0.0, 0.5])
def test_when_the_best_are_of_one_artist_others_fill_the_list(diversity: float) -> None:
    n = 2 * MIN_POOL
    shelf = shelf_of(["famous"] * n + ["second"] * n + [f"artist {i}" for i in range(n)])
    scores = -np.arange(3 * n, dtype=np.float32)
    may = np.ones(3 * n, np.bool_)
    slots = choose(shelf, scores, may, k=10, diversity=diversity, max_per_artist=2)
    of = [shelf.artists[number] for number in shelf.artist[slots].tolist()]
    assert len(set(slots.tolist())) == 10
    assert of.count("famous") <= 2 and of.count("second") <= 2 and len(set(of)) >= 8


def test_a_list_ends_where_no_more_may_be_named() -> None:
    shelf = shelf_of(["famous"] * (2 * MIN_POOL) + ["other"] * 3)
    scores = -np.arange(len(shelf), dtype=np.float32)
    slots = choose(shelf, scores, np.ones(len(shelf), np.bool_), k=10, diversity=0.1, max_per_artist=2)
    assert slots.tolist()[:2] == [0, 1] and len(slots) == 4
    assert not len(choose(shelf, scores, np.zeros(len(shelf), np.bool_), k=3, diversity=0, max_per_artist=2))


def test_tracks_without_an_artist_are_not_of_one() -> None:
    shelf = shelf_of([""] * (2 * MIN_POOL))
    scores = np.zeros(len(shelf), np.float32)
    slots = choose(shelf, scores, np.ones(len(shelf), np.bool_), k=10, diversity=0, max_per_artist=1)
    assert slots.tolist() == list(range(10))
