"""Signals and scores: what speaks for each track, beside plain sums."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from fpserver.recommend import factors
from fpserver.recommend.blend import CONTENT, STRATEGIES, Signal, Weight, Weights, assumed
from fpserver.recommend.model import Model
from fpserver.recommend.ranking import KNOWN, Ranker, ranker, score, signals
from fpserver.recommend.shelf import build
from fpserver.recommend.taste import likings
from fpserver.recommend.train import train
from fpserver.terms import FeedbackKind
from tests.recommend.asking import history
from tests.recommend.shelves import SIZE, part_of, parted_people, parted_shelf, random_shelf, track

LIKE, DISLIKE, PLAY = FeedbackKind.LIKE, FeedbackKind.DISLIKE, FeedbackKind.PLAY
SHELF = parted_shelf()
FIRST = int(SHELF.track_id[0])


@pytest.fixture(scope="module")
def model() -> Model:
    found = train(parted_people(SHELF), SHELF, size=SIZE)
    assert found is not None
    return replace(found, weights=assumed())


@pytest.fixture(scope="module")
def known(model: Model) -> Ranker:
    return ranker(SHELF, model)


def scores(asked: Ranker, strategy: str, *events: tuple[int, FeedbackKind]) -> np.ndarray:
    told = likings(history(*((0, each, kind, 1, float(at)) for at, (each, kind) in enumerate(events))))
    return score(asked, signals(asked, told), strategy)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_of_the_same_part_is_best(known: Ranker, strategy: str) -> None:
    for part in range(3):
        mine = np.flatnonzero(part_of(SHELF) == part)
        liked = [(int(each), LIKE) for each in SHELF.track_id[mine[:4]]]
        found = scores(known, strategy, *liked)
        others = np.flatnonzero(part_of(SHELF) != part)
        assert found[mine[4:]].mean() > found[others].mean() + found.std() / 2
        assert np.isfinite(found).all() and found.dtype == np.float32


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_dislike_lowers_what_is_like_it(known: Ranker, strategy: str) -> None:
    liked = [(int(SHELF.track_id[slot]), LIKE) for slot in (0, 4, 12, 16)]
    disliked = (int(SHELF.track_id[13]), DISLIKE)
    like_it = [slot for slot in range(12, 24) if slot not in (12, 13, 16)]

    def above(found: np.ndarray) -> float:
        return float((found[like_it].mean() - found.mean()) / found.std())

    assert above(scores(known, strategy, *liked, disliked)) < above(scores(known, strategy, *liked))


def test_without_a_model_what_tracks_are_is_all_that_speaks() -> None:
    asked = ranker(SHELF, None)
    told = signals(asked, likings(history((0, FIRST, LIKE, 1, 0.0))))
    assert set(told.signals) == set(CONTENT)
    assert scores(asked, "hybrid", (FIRST, LIKE))[1] > scores(asked, "hybrid", (FIRST, LIKE))[20]
    np.testing.assert_array_equal(scores(asked, "collaborative", (FIRST, LIKE)), 0)


def test_of_somebody_unknown_only_what_others_do_speaks(known: Ranker) -> None:
    told = signals(known, likings(history()))
    assert not set(told.signals) & set(CONTENT) and told.newness == 1
    assert Signal.POPULAR in told.signals and Signal.FACTORS not in told.signals
    nobody = signals(known, likings(history((0, 99_999, LIKE, 1, 0.0))))  # likes what is not on the shelf
    assert set(nobody.signals) == set(told.signals) and nobody.newness == 1
    assert signals(ranker(SHELF, None), likings(history())).signals == {}


def test_every_signal_is_told_of_somebody_known(known: Ranker) -> None:
    told = signals(known, likings(history((0, FIRST, LIKE, 1, 0.0), (0, FIRST + 1, PLAY, 1, 1.0))))
    assert set(told.signals) == set(Signal)
    for signal, column in told.signals.items():
        assert column.shape == (len(SHELF),) and np.isfinite(column).all(), signal


def test_a_new_track_is_spoken_for_by_what_is_known_of_it(model: Model) -> None:
    new = track(9000, artist="artist 1.0", genre="genre 1", tags=("tag 1",), audio=[0, 1, 0])
    stranger = track(9001)
    there = [
        track(
            int(SHELF.track_id[slot]),
            artist=SHELF.artists[SHELF.artist[slot]],
            genre=SHELF.genres[SHELF.genre[slot]],
            tags=(f"tag {part_of(SHELF)[slot]}",),
            audio=SHELF.audio[slot].tolist(),
        )
        for slot in range(len(SHELF))
    ]
    asked = ranker(build([*there, new, stranger], n_dimensions=3, scales="1"), model)
    liked = likings(history(*((0, int(SHELF.track_id[slot]), LIKE, 1, 0.0) for slot in (12, 13, 14))))
    speaks = signals(asked, liked)
    told = speaks.signals
    for signal in (Signal.FACTORS, Signal.POPULAR, Signal.NEIGHBOURS, Signal.LATELY):
        assert np.all(told[signal][-2:] == 0), signal
    assert told[Signal.UNHEARD][-1] == told[Signal.UNHEARD][-2] == 1 == told[Signal.UNHEARD].max()
    for signal in (Signal.EXPECTED, Signal.SOUND, Signal.ARTIST, Signal.TAGS):
        assert told[signal][-2] > told[signal][-1] and told[signal][-2] > told[signal].mean(), signal
    assert told[Signal.EXPECTED_POPULAR][-2] > 0
    found = score(asked, speaks, "hybrid")
    others = np.append(found[:-2][part_of(SHELF) != 1], found[-1])
    assert found[-2] > others.max()


def test_tracks_that_are_gone_are_nobodys_neighbours(model: Model) -> None:
    gone = [0, 1, 2, 20]
    there = np.delete(SHELF.track_id, gone)
    asked = ranker(build([track(int(each)) for each in there], n_dimensions=3, scales="1"), model)
    before = ranker(SHELF, model)
    assert asked.learned is not None and before.learned is not None
    n_lost = 0
    for slot, track_id in enumerate(there.tolist()):
        near = asked.learned.by_likings.of(slot)[0]
        once = SHELF.track_id[before.learned.by_likings.of(int(SHELF.slots_of(np.array([track_id]))[0]))[0]]
        left = once[~np.isin(once, SHELF.track_id[gone])]
        assert there[near[near < len(there)]].tolist() == left.tolist()
        n_lost += int((near == len(there)).sum())
    assert n_lost > 0
    told = [
        signals(asked, likings(history(*((0, int(each), LIKE, 1, 0.0) for each in liked)))).signals
        for liked in (SHELF.track_id[[0, 3, 4]], SHELF.track_id[[3, 4]])  # the first is gone
    ]
    for signal in (Signal.NEIGHBOURS, Signal.NEIGHBOURS_MET, Signal.FACTORS):
        assert told[0][signal].any() and told[0][signal].tolist() == told[1][signal].tolist(), signal


def test_an_empty_shelf_can_be_asked(model: Model) -> None:
    for each in (model, None):
        asked = ranker(build([], n_dimensions=3), each)
        for strategy in STRATEGIES:
            assert len(scores(asked, strategy, (FIRST, LIKE))) == 0


def test_neighbours_of_several_are_those_of_each_together(known: Ranker) -> None:
    assert known.learned is not None
    for neighbours in (known.learned.by_likings, known.learned.by_meetings):
        n = len(SHELF)
        dense = sparse.lil_array((n, n))
        for slot in range(n):
            near, strength = neighbours.of(slot)
            dense[[slot] * len(near), near] = strength
        slots, weight = np.array([0, 5, 13]), np.array([2.0, -0.5, 1.0], np.float32)
        expected = np.maximum(weight @ dense.toarray()[slots], 0)
        np.testing.assert_allclose(neighbours.of_all(slots, weight), expected, rtol=1e-4, atol=1e-6)
        assert not neighbours.of_all(slots[:0], weight[:0]).any()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_score_is_the_sum_of_what_speaks_by_its_weight(known: Ranker, strategy: str) -> None:
    rng = np.random.default_rng(1)
    weights = Weights(
        by_strategy={
            strategy: {each: Weight(always=rng.normal(), new=rng.normal()) for each in STRATEGIES[strategy]}
        },
        spreads={each: rng.uniform(0.1, 2) for each in Signal},
    )
    told = signals(known, likings(history((0, FIRST, LIKE, 1, 0.0), (0, FIRST + 20, DISLIKE, 1, 1.0))))
    assert told.newness == KNOWN / (KNOWN + 1)
    expected = np.zeros(len(SHELF))
    for signal, weight in weights.by_strategy[strategy].items():
        column = told.signals[signal].astype(np.float64)
        above = (column - column.mean()) / np.sqrt(max(column.std(), 1e-12) * weights.spreads[signal])
        expected += (weight.always + told.newness * weight.new) * above
    found = score(replace(known, weights=weights), told, strategy)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_saves_work_and_changes_no_score(known: Ranker, strategy: str) -> None:
    for taste in (
        likings(history()),
        likings(
            history((0, FIRST, LIKE, 1, 0.0), (0, FIRST + 20, DISLIKE, 1, 1.0), (0, FIRST + 5, PLAY, 1, 2.0))
        ),
    ):
        everything, needed = signals(known, taste), signals(known, taste, strategy)
        assert needed.newness == everything.newness
        assert set(needed.signals) >= set(everything.signals) & set(STRATEGIES[strategy])
        left_out = {"content": set(Signal) - set(CONTENT), "collaborative": set(CONTENT), "hybrid": set()}
        assert not set(needed.signals) & left_out[strategy]
        np.testing.assert_array_equal(score(known, needed, strategy), score(known, everything, strategy))


def test_the_more_is_known_of_somebody_the_less_new_he_is(known: Ranker) -> None:
    def newness(n: int) -> float:
        events = [(0, int(each), LIKE, 1, 0.0) for each in SHELF.track_id[:n]]
        return signals(known, likings(history(*events, (0, FIRST + 35, DISLIKE, 1, 0.0)))).newness

    assert [newness(n) for n in (0, 5, 15)] == [1, 0.5, 0.25]


def test_the_model_is_found_whatever_the_order_of_the_shelf(model: Model, known: Ranker) -> None:
    order = np.random.default_rng(2).permutation(len(SHELF))
    turned = build([track(int(each)) for each in SHELF.track_id[order]], n_dimensions=3)
    plain = build([track(int(each)) for each in SHELF.track_id], n_dimensions=3)
    assert turned.track_id.tolist() == plain.track_id.tolist()
    events = [(FIRST, LIKE), (FIRST + 5, LIKE)]
    one = scores(ranker(plain, model), "collaborative", *events)
    other = scores(ranker(turned, model), "collaborative", *events)
    assert other.tolist() == one.tolist()


def test_very_many_likings_are_bounded_by_the_strongest(
    known: Ranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    liked = [(int(each), LIKE) for each in SHELF.track_id[:4]]
    plays = [(int(each), PLAY) for each in SHELF.track_id[24:30]]
    monkeypatch.setattr(factors, "MAX_LIKED", 4)
    told = signals(known, likings(history(*((0, each, kind, 1, 0.0) for each, kind in [*liked, *plays]))))
    only = signals(known, likings(history(*((0, each, kind, 1, 0.0) for each, kind in liked))))
    np.testing.assert_allclose(told.signals[Signal.FACTORS], only.signals[Signal.FACTORS], rtol=1e-5)


def test_shelves_of_which_little_is_known_give_finite_scores() -> None:
    shelf = random_shelf(4, 50)
    people = replace(parted_people(SHELF), track_id=parted_people(SHELF).track_id + 900)
    model = train(people, shelf, size=SIZE)
    for each in (model, None):
        for strategy in STRATEGIES:
            found = scores(ranker(shelf, each), strategy, (1001, LIKE), (1002, DISLIKE), (1003, PLAY))
            assert np.isfinite(found).all()
