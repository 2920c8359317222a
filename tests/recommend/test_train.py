"""Training: the same feedback gives the same model, and little or odd feedback gives one too, or none."""

from dataclasses import replace

import numpy as np
import pytest

from fpserver.recommend import blend
from fpserver.recommend import train as training
from fpserver.recommend.blend import Weights, assumed
from fpserver.recommend.model import unpack
from fpserver.recommend.shelf import build
from fpserver.recommend.train import train
from fpserver.terms import FeedbackKind, History
from tests.recommend.asking import history
from tests.recommend.shelves import SIZE, parted_people, parted_shelf, random_shelf, track

LIKE, DISLIKE, PLAY, SKIP = FeedbackKind.LIKE, FeedbackKind.DISLIKE, FeedbackKind.PLAY, FeedbackKind.SKIP
SHELF = parted_shelf()
PEOPLE = parted_people(SHELF)


def test_the_same_feedback_gives_the_same_bytes() -> None:
    one, same, other = (train(PEOPLE, SHELF, size=SIZE, seed=seed) for seed in (1, 1, 2))
    assert one is not None and same is not None and other is not None
    assert one.pack() == same.pack() != other.pack()
    assert unpack(one.pack()).pack() == one.pack()


def test_weights_are_learned_when_there_is_enough_to_learn_from() -> None:
    model = train(PEOPLE, SHELF, size=SIZE)
    assert model is not None
    assert model.weights.by_strategy != assumed().by_strategy
    assert set(model.weights.by_strategy) == set(blend.STRATEGIES)
    few = train(parted_people(SHELF, n_users=4), SHELF, size=SIZE)
    assert few is not None and few.weights.by_strategy == assumed().by_strategy


def test_what_is_learned_is_of_tracks_that_people_know() -> None:
    model = train(PEOPLE, SHELF, size=SIZE)
    assert model is not None
    assert model.track_id.tolist() == np.unique(PEOPLE.track_id).tolist()
    n_tracks = len(model.track_id)
    assert model.factors.shape == (n_tracks, SIZE.n_factors) and np.isfinite(model.factors).all()
    for near in (model.near, model.met_near):
        assert near.shape == (n_tracks, n_tracks) and np.diff(near.indptr).max() < n_tracks
    liked = PEOPLE.kind != list(FeedbackKind).index(DISLIKE)
    expected = [len(np.unique(PEOPLE.user[liked & (PEOPLE.track_id == each)])) for each in model.track_id]
    assert model.n_users.tolist() == expected
    assert model.n_people == len(np.unique(PEOPLE.user))
    assert np.all(model.n_lately <= model.n_users) and model.n_lately.sum() > 0


@pytest.mark.parametrize(
    ("most", "enough", "n_kept"), [(20, 10**6, 20), (10**6, 20 * len(SHELF), 20), (0, 0, 10), (15, 0, 10)]
)
def test_of_few_tracks_more_neighbours_are_kept(
    monkeypatch: pytest.MonkeyPatch, most: int, enough: int, n_kept: int
) -> None:
    monkeypatch.setattr(training, "MAX_NEIGHBORS", most)
    monkeypatch.setattr(training, "ENOUGH_NEIGHBORS", enough)
    assert SIZE.n_neighbors == 10
    everything = history(*((user, int(each), LIKE, 1, 0.0) for user in range(9) for each in SHELF.track_id))
    model = train(everything, SHELF, size=SIZE)
    assert model is not None and len(model.track_id) == len(SHELF)
    assert np.diff(model.near.indptr).max() == n_kept


def test_tracks_that_are_not_on_the_shelf_are_passed_over() -> None:
    half = build([track(each, artist="a") for each in SHELF.track_id[::2].tolist()], n_dimensions=3)
    model = train(PEOPLE, half, size=SIZE)
    assert model is not None
    assert set(model.track_id.tolist()) <= set(SHELF.track_id[::2].tolist())
    strangers = replace(PEOPLE, track_id=PEOPLE.track_id + 10_000)
    assert train(strangers, SHELF, size=SIZE) is None


@pytest.mark.parametrize(
    "told",
    [
        history(),
        history((0, 100, DISLIKE, 1, 0.0), (1, 101, DISLIKE, 1, 5.0)),
        history((0, 100, SKIP, 0, 0.0), (0, 101, PLAY, 0.1, 1.0)),
        history((0, 100, LIKE, 1, 0.0), (0, 100, DISLIKE, 1, 1.0)),
    ],
)
def test_where_nobody_likes_anything_there_is_no_model(told: History) -> None:
    assert train(told, SHELF, size=SIZE) is None


def test_of_an_empty_shelf_there_is_no_model() -> None:
    assert train(PEOPLE, build([], n_dimensions=3), size=SIZE) is None


@pytest.mark.parametrize(
    "told",
    [
        history((0, 100, LIKE, 1, 0.0)),
        history((0, 100, PLAY, 1, 0.0), (0, 101, DISLIKE, 1, 0.0)),
        history(*((user, 100, LIKE, 1, 7.0) for user in range(50))),
        history(*((0, 100 + i, LIKE, 1, float(i)) for i in range(30))),
        history(*((user, 100 + i, LIKE, 1, 3.0) for user in range(20) for i in range(10))),
        history(*((user, 100, SKIP, 0, 1.0) for user in range(20)), (20, 100, LIKE, 1, 2.0)),
    ],
    ids=[
        "one like",
        "a play and a dislike",
        "one track",
        "one person",
        "all like all at once",
        "one of many",
    ],
)
def test_little_or_odd_feedback_gives_a_model_of_finite_numbers(told: History) -> None:
    model = train(told, SHELF, size=SIZE)
    assert model is not None
    again = unpack(model.pack())
    for numbers in (
        again.factors,
        again.near.data,
        again.met_near.data,
        again.n_users,
        again.expectations.base,
    ):
        assert np.isfinite(numbers).all()


def test_shelves_on_which_little_is_known_can_be_trained_on() -> None:
    for shelf in (
        build([track(each) for each in SHELF.track_id.tolist()], n_dimensions=0),
        replace(random_shelf(1, 40), scales=""),
    ):
        people = replace(PEOPLE, track_id=np.where(shelf.track_id.max() >= 1000, 900, 0) + PEOPLE.track_id)
        model = train(people, shelf, size=SIZE)
        assert model is not None and np.isfinite(model.expectations.of(shelf)).all()


def test_nobody_is_asked_about_what_was_not_there_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[blend.Question] = []

    def learn(questions: list[blend.Question]) -> Weights:
        asked.extend(questions)
        return assumed()

    monkeypatch.setattr(blend, "learn", learn)
    late = float(PEOPLE.at.max())
    shelf = replace(SHELF, added_at=np.where(np.arange(len(SHELF)) < 12, late + 1, 0.0))
    silent = np.isin(PEOPLE.track_id, SHELF.track_id[:12])
    people = PEOPLE.taken(~silent)
    assert train(people, shelf, size=SIZE) is not None
    assert asked and all(len(each.chosen) <= len(SHELF) - 12 for each in asked)
    assert all(each.chosen.any() and np.isfinite(each.signals).all() for each in asked)
