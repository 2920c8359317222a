"""What is expected of tracks that nobody has heard."""

import numpy as np

from fpserver.recommend import expected
from fpserver.recommend.expected import Expectations
from fpserver.recommend.shelf import Described, Shelf, build
from tests.recommend.shelves import track


def known(n_each: int = 12) -> list[Described]:
    """Two artists of two genres, and how they sound: the first as (1, 0), the second as (0, 1)."""
    rng = np.random.default_rng(1)
    return [
        track(
            10 + i,
            artist=f"artist {i % 2}",
            genre=f"genre {i % 2}",
            tags=(f"tag {i % 2}", f"tag {i % 3}"),
            audio=(np.eye(2)[i % 2] + rng.normal(0, 0.1, 2)).tolist(),
        )
        for i in range(2 * n_each)
    ]


def learned(tracks: list[Described], *, scales: str = "1") -> Expectations:
    """From the tracks of `known`: the first artist's are at (1, 0, 2), the second's at (0, 1, 4)."""
    shelf = build(tracks, n_dimensions=2, scales=scales)
    slots = np.arange(24)
    targets = np.array([[1, 0, 2], [0, 1, 4]], np.float32)[slots % 2]
    return expected.learn(shelf, slots, targets, np.full(24, 100, np.float32))


def of_new(expectations: Expectations, *new: Described, scales: str = "1") -> np.ndarray:
    return expectations.of(build(new, n_dimensions=2, scales=scales))


def test_a_new_track_is_expected_near_those_of_its_artist() -> None:
    found = of_new(
        learned(known()),
        track(1, artist="artist 0"),
        track(2, artist="artist 1"),
        track(3, genre="genre 0"),
        track(4, genre="genre 1"),
        track(5, tags=("tag 0",)),
        track(6, audio=[1, 0]),
        track(7, audio=[0, 1]),
        track(8, artist="artist 0", genre="genre 0", tags=("tag 0",), audio=[1, 0]),
        track(9, artist="artist 1", genre="genre 1", tags=("tag 1",), audio=[0, 1]),
    )
    nearer_to_first = found[:, 0] > found[:, 1]
    assert nearer_to_first.tolist() == [True, False, True, False, True, True, False, True, False]
    np.testing.assert_allclose(found[7:], [[1, 0, 2], [0, 1, 4]], atol=0.15)
    assert found.dtype == np.float32


def test_of_what_nothing_is_known_nothing_but_the_base_is_expected() -> None:
    expectations = learned(known())
    found = of_new(expectations, track(1), track(2, artist="stranger", genre="other", tags=("none",)))
    np.testing.assert_allclose(found, [expectations.base] * 2)
    assert expectations.of(build([], n_dimensions=2, scales="1")).shape == (0, 3)


def test_sound_counts_only_by_the_scales_that_were_learned_from() -> None:
    expectations = learned(known())
    one, other = track(1, audio=[1, 0]), track(2, audio=[0, 1])
    assert not np.allclose(*of_new(expectations, one, other))
    np.testing.assert_allclose(of_new(expectations, one, other, scales="2"), [expectations.base] * 2)
    wider = build([track(1, audio=[1, 0, 0])], n_dimensions=3, scales="1")
    np.testing.assert_allclose(expectations.of(wider), [expectations.base])


def test_texts_are_found_by_name_whatever_their_number() -> None:
    tracks = known()
    expectations = learned(tracks)

    def of(shelf: Shelf) -> dict[int, list[float]]:
        rows = expectations.of(shelf).round(4).tolist()
        return dict(zip(shelf.track_id.tolist(), rows, strict=True))

    there = of(build(tracks, n_dimensions=2, scales="1"))
    assert of(build([*reversed(tracks), track(10_000)], n_dimensions=2, scales="1")).items() >= there.items()


def test_what_few_know_counts_less() -> None:
    shelf = build(
        [track(1, artist="a"), track(2, artist="a"), track(3, artist="b"), track(4, artist="b")],
        n_dimensions=0,
    )
    targets = np.array([[1, 0], [3, 0], [0, 0], [0, 0]], np.float32)
    n_users = np.array([1, 1000, 100, 100], np.float32)
    of_a = expected.learn(shelf, np.arange(4), targets, n_users).of(shelf)[0, 0]
    same = expected.learn(shelf, np.arange(4), targets, np.full(4, 100, np.float32)).of(shelf)[0, 0]
    assert of_a > same


def test_tracks_without_anything_known_of_them_can_be_learned_from() -> None:
    shelf = build([track(1), track(2)], n_dimensions=0)
    found = expected.learn(shelf, np.arange(2), np.ones((2, 3), np.float32), np.ones(2, np.float32))
    np.testing.assert_allclose(found.of(shelf), 1, atol=1e-3)
