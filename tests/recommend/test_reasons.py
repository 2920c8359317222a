"""Each kind of reason on a made case, and what it names."""

from dataclasses import replace

import numpy as np
import pytest

from fpserver.recommend.blend import STRATEGIES, Signal, Weight, Weights
from fpserver.recommend.model import Model
from fpserver.recommend.ranking import Ranker, Told, ranker, signals
from fpserver.recommend.reasons import MAX_REASONS, MIN_SHARE, SPEAKS, Reason, Why, reasons
from fpserver.recommend.shelf import build
from fpserver.recommend.taste import Likings, likings
from fpserver.recommend.train import train
from fpserver.terms import FeedbackKind
from tests.recommend.asking import history
from tests.recommend.shelves import SIZE, parted_people, parted_shelf, track

LIKE, DISLIKE = FeedbackKind.LIKE, FeedbackKind.DISLIKE
SHELF = parted_shelf()
IDS = SHELF.track_id.tolist()


@pytest.fixture(scope="module")
def model() -> Model:
    found = train(parted_people(SHELF), SHELF, size=SIZE)
    assert found is not None
    return found


def weighing(asked: Ranker, **weights: float) -> Ranker:
    """One for which only some signals count."""
    by_signal = {Signal(name): Weight(always=weight) for name, weight in weights.items()}
    return replace(
        asked, weights=Weights(by_strategy={"hybrid": by_signal}, spreads=dict.fromkeys(Signal, 1.0))
    )


def liking(*slots: int, disliked: tuple[int, ...] = ()) -> Likings:
    return likings(
        history(
            *((0, IDS[slot], LIKE, 1, 0.0) for slot in slots),
            *((0, IDS[slot], DISLIKE, 1, 0.0) for slot in disliked),
        )
    )


def why(
    asked: Ranker, taste: Likings, *slots: int, told: dict[Signal, np.ndarray] | None = None
) -> list[list[Reason]]:
    speaking = signals(asked, taste) if told is None else Told(signals=told, newness=0.5)
    return reasons(asked, speaking, "hybrid", taste, np.array(slots))


@pytest.mark.parametrize("signal", Signal)
def test_every_signal_is_a_reason_of_its_kind(signal: Signal) -> None:
    column = np.zeros(len(SHELF), np.float32)
    column[5] = 1
    asked = weighing(ranker(SHELF, None), **{signal.value: 2.0})
    ((reason,),) = why(asked, liking(0), 5, told={signal: column})
    assert (reason.why, reason.share) == (SPEAKS[signal], 1.0)


def test_what_is_like_a_liked_track_names_it_and_what_both_have() -> None:
    asked = weighing(ranker(SHELF, None), sound=1.0, artist=1.0, genre=1.0, tags=1.0)
    ((reason,), (further,)) = why(asked, liking(0, 20), 1, 5)
    assert (reason.why, reason.share, reason.because_of) == (Why.LIKE, 1.0, IDS[0])
    assert (reason.same_artist, reason.same_genre, reason.tags) == (True, True, ("tag 0",))
    assert (further.because_of, further.same_artist, further.same_genre) == (IDS[0], False, True)


def test_who_plays_one_also_plays_the_other(model: Model) -> None:
    asked = weighing(ranker(SHELF, model), neighbours=1.0, neighbours_met=1.0)
    assert asked.learned is not None
    near, strength = asked.learned.by_likings.of(0)
    best = int(near[strength.argmax()])
    ((reason,),) = why(asked, liking(0, 20), best)
    assert (reason.why, reason.because_of) == (Why.PEOPLE, IDS[0])


def test_taste_popularity_and_newness_name_nobody(model: Model) -> None:
    for signal, kind in (("factors", Why.TASTE), ("popular", Why.POPULAR), ("expected_popular", Why.NEW)):
        asked = weighing(ranker(SHELF, model), **{signal: 1.0})
        told = signals(asked, liking(0, 1))
        best = int(told.signals[Signal(signal)].argmax())
        ((reason,),) = why(asked, liking(0, 1), best)
        assert (reason.why, reason.because_of, reason.share) == (kind, None, 1.0)


def test_where_nothing_speaks_it_is_a_start() -> None:
    asked = ranker(SHELF, None)
    assert why(asked, liking(), 0, 30) == [[Reason(why=Why.START, share=1.0)]] * 2
    for slot in (1, 30):  # like what is disliked, and unlike it
        assert why(asked, liking(disliked=(0,)), slot) == [[Reason(why=Why.START, share=1.0)]]


def test_the_worst_of_few_tracks_is_told_by_what_speaks_for_it_at_all() -> None:
    shelf = build(
        [track(1, audio=[0, 0]), track(2, audio=[0.3, 0]), track(3, audio=[0.6, 0])], n_dimensions=2
    )
    asked = weighing(ranker(shelf, None), sound=1.0)
    taste = likings(history((0, 1, LIKE, 1, 0.0)))
    told = signals(asked, taste)
    assert told.signals[Signal.SOUND][2] < told.signals[Signal.SOUND].mean()
    ((reason,),) = reasons(asked, told, "hybrid", taste, np.array([2]))
    assert (reason.why, reason.because_of, reason.share) == (Why.LIKE, 1, 1.0)


def test_shares_are_of_all_that_speaks_for_it_and_weak_ones_are_left_out() -> None:
    n = len(SHELF)
    told = {}
    for signal, height in (  # levelled, the square root of this counts
        (Signal.SOUND, 6.0**2),
        (Signal.POPULAR, 3.0**2),
        (Signal.FACTORS, 0.5**2),
        (Signal.UNHEARD, -(5.0**2)),
    ):
        told[signal] = np.zeros(n, np.float32)
        told[signal][7] = height
        told[signal] -= told[signal].mean()
    asked = weighing(ranker(SHELF, None), sound=1, popular=1, factors=1, unheard=1)
    (found,) = why(asked, liking(0), 7, told=told)
    assert [(each.why, each.share) for each in found] == [
        (Why.LIKE, round(6 / 9.5, 3)),
        (Why.POPULAR, round(3 / 9.5, 3)),
    ]
    assert MIN_SHARE > 0.5 / 9.5, "or the third would be told"


def test_what_speaks_together_for_the_same_is_one_reason() -> None:
    told = {
        signal: np.zeros(len(SHELF), np.float32) for signal in (Signal.SOUND, Signal.ARTIST, Signal.FACTORS)
    }
    for column in told.values():
        column[7] = 1
    asked = weighing(ranker(SHELF, None), sound=1, artist=1, factors=1)
    (found,) = why(asked, liking(0), 7, told=told)
    assert [(each.why, each.share) for each in found] == [(Why.LIKE, 0.667), (Why.TASTE, 0.333)]


def test_what_speaks_to_new_people_only_is_no_reason_to_others() -> None:
    told = {signal: np.zeros(len(SHELF), np.float32) for signal in (Signal.SOUND, Signal.POPULAR)}
    for column in told.values():
        column[7] = 1
    weights = {Signal.SOUND: Weight(always=1.0), Signal.POPULAR: Weight(always=0.0, new=3.0)}
    asked = replace(
        ranker(SHELF, None),
        weights=Weights(by_strategy={"hybrid": weights}, spreads=dict.fromkeys(Signal, 1.0)),
    )
    for newness, expected in (
        (0.0, [(Why.LIKE, 1.0)]),
        (1.0, [(Why.POPULAR, 0.75), (Why.LIKE, 0.25)]),
    ):
        (found,) = reasons(asked, Told(signals=told, newness=newness), "hybrid", liking(0), np.array([7]))
        assert [(each.why, each.share) for each in found] == expected


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_reasons_of_every_track_hold_together(model: Model, strategy: str) -> None:
    asked = ranker(SHELF, model)
    taste = liking(0, 13, 26, disliked=(1, 30))
    found = reasons(asked, signals(asked, taste), strategy, taste, np.arange(len(SHELF)))
    assert len(found) == len(SHELF)
    for each in found:
        assert 1 <= len(each) <= MAX_REASONS
        assert len({reason.why for reason in each}) == len(each)
        shares = [reason.share for reason in each]
        assert shares == sorted(shares, reverse=True) and shares[-1] > 0 and sum(shares) < 1.0016, (
            "each is rounded"
        )
        assert {reason.because_of for reason in each} <= {None, IDS[0], IDS[13], IDS[26]}
        kinds = set((strategy == "content" and [Why.LIKE, Why.START]) or Why)
        assert {reason.why for reason in each} <= kinds


def test_tracks_that_are_gone_and_texts_that_are_not_known_are_not_named() -> None:
    shelf = build(
        [track(1), track(2, artist="a", tags=("x",)), track(4, artist="a", tags=("y",))], n_dimensions=0
    )
    asked = weighing(ranker(shelf, None), artist=1.0)
    taste = likings(history((0, 2, LIKE, 1, 0.0), (0, 3, LIKE, 1, 0.0), (0, 99, LIKE, 1, 0.0)))
    (found,) = reasons(asked, signals(asked, taste), "hybrid", taste, np.array([2]))
    assert (found[0].because_of, found[0].same_artist, found[0].same_genre, found[0].tags) == (
        2,
        True,
        False,
        (),
    )
