"""What the measurement of similarity counts."""

from pathlib import Path

import numpy as np
import pytest

from loadtest.corpus import RATE_HZ, Recording
from loadtest.similarity import labels, segments
from loadtest.similarity.copies import EXCERPT_S, excerpt
from loadtest.similarity.retrieval import largest, originals
from tests.synth import noise, silence

NAMES = ["a", "a", "a", "b", "b", "", "c"]
ALL = np.ones(len(NAMES), bool)


def test_tracks_are_asked_about_when_another_has_their_label() -> None:
    assert labels.asked(NAMES, ALL).tolist() == [0, 1, 2, 3, 4]
    assert labels.asked(NAMES, np.arange(len(NAMES)) > 2).tolist() == [3, 4]


def test_chance_is_what_random_others_show() -> None:
    share, any_ = labels.by_chance(NAMES, np.array([0, 3]))
    assert share == pytest.approx((2 / 6 + 1 / 6) / 2)
    assert any_ == pytest.approx((1 - (4 / 6) ** 5 + 1 - (5 / 6) ** 5) / 2)


def test_the_nearest_are_counted_without_the_track_itself_and_what_shares_material() -> None:
    place = np.array([0.0, 0.1, 5.0, 0.2, 0.3, 0.4, 0.5])
    distances = np.abs(place[:, None] - place)
    near = np.eye(len(NAMES), dtype=bool)
    found = labels.shown(distances, NAMES, np.array([0]), near)
    assert (found.n, found.share.value, found.any.value) == (1, 1 / 5, 1)
    near[0, 1] = True
    found = labels.shown(distances, NAMES, np.array([0]), near)
    assert found.share.value == 1 / 5  # the one at 5.0 is among the five that are left


def test_an_excerpt_is_as_long_as_said_and_not_silent() -> None:
    samples = np.concatenate([silence(30, RATE_HZ), noise(1, 25, RATE_HZ), silence(30, RATE_HZ)])
    piece = excerpt(samples)
    assert len(piece) == EXCERPT_S * RATE_HZ
    assert np.mean(piece**2) > 10**-2.5 * np.mean(samples**2)
    assert np.array_equal(piece, excerpt(samples))


def test_the_largest_cluster_is_reported_on_and_its_shortest_tracks_are_copied() -> None:
    recordings = [
        Recording(path=Path(f"/{i}"), seconds=100 - i, cluster="ab"[i % 3 == 0], package="p", name=str(i))
        for i in range(9)
    ]
    assert largest(recordings) == "a"
    assert [each.name for each in originals(recordings)] == ["8", "7", "5", "4", "2", "1"]


def test_a_clip_correlates_with_the_place_that_it_was_cut_from() -> None:
    track = noise(3, 2, RATE_HZ)
    found = segments.correlation(track[20_000:50_000], track)
    assert int(found.argmax()) == 20_000
    assert found.max() == pytest.approx(1)
    assert np.median(found) < 0.1
