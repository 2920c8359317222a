"""What is quick for a whole catalogue says the same as what is plain."""

import numpy as np
import pytest

from fpserver.recommend import content
from fpserver.recommend.content import WIDTH, among, likeness, sounds
from fpserver.recommend.ranking import Neighbours
from fpserver.recommend.shelf import NOWHERE, Described, Shelf, build

N, D = 300, 60


@pytest.fixture
def shelf(rng: np.random.Generator) -> Shelf:
    tracks = [
        Described(
            track_id=i + 1,
            artist="" if i % 7 == 0 else f"artist {rng.integers(20)}",
            genre="" if i % 5 == 0 else f"genre {rng.integers(4)}",
            tags=tuple(f"tag {tag}" for tag in rng.choice(12, rng.integers(4), replace=False)),
            audio=None if i % 11 == 0 else rng.normal(0, 0.1, D).astype(np.float32),
        )
        for i in range(N)
    ]
    return build(tracks, n_dimensions=D)


def test_likeness_to_one_at_a_time_is_that_of_all_at_once(shelf: Shelf, rng: np.random.Generator) -> None:
    slots = rng.choice(N, 90, replace=False)
    others, all_at_once = among(shelf, slots), likeness(shelf, slots, slots)
    for place in range(len(slots)):
        np.testing.assert_allclose(others.to(place), all_at_once[place], atol=1e-5)


def test_no_track_is_alike_to_any_where_there_is_none(shelf: Shelf) -> None:
    slots = np.arange(1)
    assert among(shelf, slots).to(0).shape == (1,)


@pytest.mark.parametrize("at_once", [7, 4096])
def test_sounds_some_at_a_time_are_those_of_all_at_once(
    shelf: Shelf, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(content, "AT_ONCE", at_once)
    monkeypatch.setattr(content, "MAX_AXES", D)
    liked = np.flatnonzero(shelf.has_audio)[:5]
    weight = rng.uniform(0.1, 2, 5).astype(np.float32)
    nearest, mean = sounds(shelf).of_liked(liked, weight)
    away = ((shelf.audio[liked][:, None] - shelf.audio[None]) ** 2).sum(2)
    alike = np.exp(-away / (2 * WIDTH**2)) * shelf.has_audio
    np.testing.assert_allclose(nearest, (alike * (weight / weight.max())[:, None]).max(0), atol=1e-4)
    np.testing.assert_allclose(mean, weight / weight.sum() @ alike, atol=1e-4)


def test_neighbours_of_many_are_those_of_each(rng: np.random.Generator) -> None:
    n_slots, lengths = 50, np.array([3, 0, 5, 2])
    row = np.full(n_slots, NOWHERE, np.int64)
    row[[4, 9, 30, 31]] = [0, 1, 2, 3]
    slot = np.array([4, 9, 30, 31, n_slots])  # the last is not on the shelf
    near = rng.integers(len(slot), size=lengths.sum()).astype(np.int32)
    strength = rng.uniform(0, 1, lengths.sum()).astype(np.float32)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    neighbours = Neighbours(row=row, slot=slot, starts=starts, near=near, strength=strength)
    slots, weight = np.array([30, 2, 9, 4, 31]), np.array([1, 2, 3, -0.5, 4], np.float32)
    found, how, which = neighbours.of_each(slots)
    total = np.zeros(n_slots + 1)
    for place, slot in enumerate(slots.tolist()):
        theirs, strengths = neighbours.of(slot)
        np.testing.assert_array_equal(found[which == place], theirs)
        np.testing.assert_array_equal(how[which == place], strengths)
        np.add.at(total, theirs, strengths * weight[place])
    expected = np.maximum(total[:-1], 0)
    np.testing.assert_allclose(neighbours.of_all(slots, weight), expected, atol=1e-5)
    assert not neighbours.of_all(slots[:0], weight[:0]).any()
