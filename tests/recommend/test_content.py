"""What tracks are, for and against others: by hand, and beside plain twins."""

import math
from dataclasses import replace

import numpy as np
import pytest

from fpserver.recommend import content
from fpserver.recommend.content import PRIOR, SAME_ARTIST, SAME_GENRE, WIDTH, likeness, shares, sounds
from fpserver.recommend.shelf import Shelf, build
from tests.recommend.shelves import random_shelf, track


def alike(shelf: Shelf, one: int, other: int) -> float:
    """How alike two tracks are, one thing after the other."""
    text = SAME_ARTIST * (shelf.artist[one] == shelf.artist[other] != 0)
    text += SAME_GENRE * (shelf.genre[one] == shelf.genre[other] != 0)
    tags, others = (set(shelf.tags[[slot]].indices.tolist()) for slot in (one, other))
    text += (1 - SAME_ARTIST - SAME_GENRE) * len(tags & others) / max(len(tags | others), 1)
    if not (shelf.has_audio[one] and shelf.has_audio[other]):
        return float(text)
    square = float(((shelf.audio[one] - shelf.audio[other]) ** 2).sum())
    return float(text + math.exp(-square / (2 * WIDTH**2))) / 2


def to_one(shelf: Shelf, slot: int) -> np.ndarray:
    """How alike all tracks sound to one; of one alone, the nearest is all of them."""
    nearest, mean = sounds(shelf).of_liked(np.array([slot]), np.ones(1, np.float32))
    np.testing.assert_array_equal(nearest, mean)
    return nearest


def test_likeness_is_that_of_pair_after_pair() -> None:
    shelf = random_shelf(1, 40)
    some, others = np.arange(0, 40, 3), np.arange(40)
    expected = [[alike(shelf, one, other) for other in others.tolist()] for one in some.tolist()]
    found = likeness(shelf, some, others)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.min() >= 0 and found.max() <= 1


@pytest.mark.parametrize("n_dimensions", [1, 6, 60])
def test_sounds_are_alike_by_their_distance(n_dimensions: int) -> None:
    shelf = random_shelf(2, 70, n_dimensions=n_dimensions)
    shelf = replace(shelf, audio=shelf.audio / np.float32(np.sqrt(n_dimensions)))
    some = np.arange(0, 70, 5)
    squares = ((shelf.audio[some][:, None] - shelf.audio[None]) ** 2).sum(2)
    expected = np.exp(-squares / (2 * WIDTH**2)) * shelf.has_audio
    there = shelf.has_audio[some]
    found = np.array([to_one(shelf, slot) for slot in some.tolist()])
    close = 1e-4 if n_dimensions <= content.MAX_AXES else 0.1  # the last axes are left out
    np.testing.assert_allclose(found[there], expected[there], atol=close)
    np.testing.assert_allclose(found[there][:, some[there]].diagonal(), 1, atol=1e-3)


@pytest.mark.parametrize("n_dimensions", [0, 3, 60])
@pytest.mark.parametrize("audio", [0, 1])
def test_sounds_of_few_or_no_tracks(n_dimensions: int, audio: int) -> None:
    tracks = [track(i, audio=[1.0] * n_dimensions if i <= audio else None) for i in (1, 2)]
    found = to_one(build(tracks, n_dimensions=n_dimensions), 0)
    assert found.shape == (2,) and np.isfinite(found).all()
    assert found[1] == 0
    assert len(sounds(build([], n_dimensions=n_dimensions)).missing) == 0


def test_an_artist_speaks_by_how_much_more_often_it_is_liked_than_it_is_there() -> None:
    shelf = build(
        [track(i, artist="a" if i < 2 else "b" if i < 6 else "") for i in range(10)], n_dimensions=0
    )
    liking = np.array([2.0], np.float32)
    found = content.artist_scores(shelf, shares(shelf), np.array([0]), liking)
    of_a = math.log((2 + PRIOR * 0.2) / ((2 + PRIOR) * 0.2))
    of_b = math.log(PRIOR * 0.4 / ((2 + PRIOR) * 0.4))
    np.testing.assert_allclose(found, [of_a] * 2 + [of_b] * 4 + [0] * 4, rtol=1e-5)
    against = content.artist_scores(shelf, shares(shelf), np.array([0]), -liking)
    np.testing.assert_allclose(against, -found, rtol=1e-5)
    both = content.artist_scores(shelf, shares(shelf), np.array([0, 1, 2]), np.array([1, -2, 1], np.float32))
    assert both[2] > both[0]


def test_genres_and_tags_speak_the_same_way() -> None:
    shelf = build(
        [
            track(1, genre="jazz", tags=("calm", "piano")),
            track(2, genre="jazz", tags=("calm",)),
            track(3, genre="rock", tags=("loud",)),
            track(4),
        ],
        n_dimensions=0,
    )
    slots, liking = np.array([0]), np.array([1.0], np.float32)
    by_genre = content.genre_scores(shelf, shares(shelf), slots, liking)
    assert by_genre[0] == by_genre[1] > 0 > by_genre[2] and by_genre[3] == 0
    by_tag = content.tag_scores(shelf, shares(shelf), slots, liking)
    assert by_tag[0] > by_tag[1] > 0 > by_tag[2] and by_tag[3] == 0
    np.testing.assert_allclose(content.tag_scores(shelf, shares(shelf), slots, -liking), -by_tag, rtol=1e-5)


def test_the_strongest_likings_are_compared_by_sound() -> None:
    weight = np.arange(20, dtype=np.float32)
    assert content.seeds(weight).tolist() == list(range(19, 19 - content.MAX_SEEDS, -1))
    assert content.seeds(weight[:2]).tolist() == [1, 0]
