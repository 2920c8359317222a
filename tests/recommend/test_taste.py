"""From events to likings: each kind of event by hand, many of them beside a plain twin."""

from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpserver.recommend.taste import (
    BROKEN_OFF,
    HALF_LIFE_S,
    HEARD_FRACTION,
    MANY,
    MEETING,
    MIDDLE,
    MOST_BROKEN_OFF,
    VERDICT,
    likings,
)
from fpserver.terms import KINDS, FeedbackKind
from tests.recommend.asking import history

PLAY, SKIP, LIKE = FeedbackKind.PLAY, FeedbackKind.SKIP, FeedbackKind.LIKE
DISLIKE, RATING = FeedbackKind.DISLIKE, FeedbackKind.RATING
Event = tuple[FeedbackKind, float]


@pytest.mark.parametrize(
    ("events", "liking"),
    [
        ([(LIKE, 1)], VERDICT),
        ([(DISLIKE, 1)], -VERDICT),
        ([(RATING, 5)], VERDICT),
        ([(RATING, MIDDLE)], 0),
        ([(RATING, (MIDDLE + 5) / 2)], VERDICT / 2),
        ([(RATING, MIDDLE - 0.5)], -0.5 * VERDICT / (5 - MIDDLE)),
        ([(PLAY, 1)], 1),
        ([(PLAY, 1)] * 3, 2),
        ([(PLAY, HEARD_FRACTION)], log2(1 + HEARD_FRACTION)),
        ([(PLAY, 0.01)], -BROKEN_OFF),
        ([(SKIP, 0)], -BROKEN_OFF),
        ([(SKIP, 0), (PLAY, 0.01)] * 20, -MOST_BROKEN_OFF),
        ([(PLAY, 1), (SKIP, 0)], 1 - BROKEN_OFF),
        ([(LIKE, 1), (PLAY, 1)], VERDICT + 1),
        ([(LIKE, 1), (SKIP, 0)], VERDICT - BROKEN_OFF),
        ([(LIKE, 1), (DISLIKE, 1)], -VERDICT),
        ([(DISLIKE, 1), (LIKE, 1)], VERDICT),
        ([(DISLIKE, 1), (RATING, 5), (PLAY, 1)], VERDICT + 1),
        ([(DISLIKE, 1), *[(PLAY, 1.0)] * 7], -VERDICT),
        ([*[(PLAY, 1.0)] * 7, (DISLIKE, 1)], -VERDICT),
    ],
)
def test_each_kind_of_event_says_what_it_says(events: list[Event], liking: float) -> None:
    told = likings(history(*((0, 7, kind, value, float(at)) for at, (kind, value) in enumerate(events))))
    assert (told.user.tolist(), told.track_id.tolist(), told.last_at.tolist()) == (
        [0],
        [7],
        [len(events) - 1],
    )
    assert told.liking[0] == pytest.approx(liking)
    assert told.weight[0] == pytest.approx(max(liking, 0))
    against = events_against(events)
    assert (told.disliked[0], told.met[0]) == (
        against,
        0 if against else min(len(events), MANY),
    )


def events_against(events: list[Event]) -> bool:
    """Whether the last verdict is against the track."""
    said = [(kind, value) for kind, value in events if kind in (LIKE, DISLIKE, RATING)]
    return bool(said) and (said[-1][0] is DISLIKE or (said[-1][0] is RATING and said[-1][1] < MIDDLE))


def test_a_rating_of_one_is_a_dislike_and_five_are_a_like_and_more_is_better() -> None:
    stars = likings(history(*((0, track, RATING, float(track), 0.0) for track in range(1, 6))))
    assert stars.disliked[0] and not stars.disliked[4]
    assert np.all(np.diff(stars.liking) > 0)
    assert stars.liking[2] > 0, "three stars are for it"


def test_likings_fade_before_the_newest_event_of_the_same_person() -> None:
    told = likings(
        history(
            (0, 1, LIKE, 1, 0.0),
            (0, 2, LIKE, 1, HALF_LIFE_S),
            (0, 3, DISLIKE, 1, 3 * HALF_LIFE_S),
            (4, 1, LIKE, 1, 0.0),
        )
    )
    np.testing.assert_allclose(told.weight, [VERDICT / 8, VERDICT / 4, 0, VERDICT], rtol=1e-6)
    np.testing.assert_allclose(told.met, [1 / 8, 1 / 4, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(told.liking, [VERDICT, VERDICT, -VERDICT, VERDICT])


def test_who_meets_a_track_is_drawn_to_it_unless_breaking_it_off_or_by_a_verdict_against_it() -> None:
    told = likings(history((0, 1, SKIP, 0, 0.0), (0, 2, DISLIKE, 1, 0.0), (0, 3, LIKE, 1, 0.0)))
    np.testing.assert_allclose(told.drawn, [MEETING - BROKEN_OFF, -VERDICT, VERDICT + MEETING])
    np.testing.assert_allclose(told.signed, [-BROKEN_OFF, -VERDICT, VERDICT])


def test_meeting_a_track_more_than_many_times_says_no_more() -> None:
    told = likings(
        history(
            *((0, track, PLAY, 1, 0.0) for track, n in ((1, 3), (2, MANY), (3, 9 * MANY)) for _ in range(n))
        )
    )
    assert told.met.tolist() == [3, MANY, MANY]


def test_people_do_not_know_of_each_other() -> None:
    told = likings(
        history((0, 1, LIKE, 1, 5.0), (1, 1, DISLIKE, 1, 6.0), (1, 2, PLAY, 1, 6.0), (7, 1, SKIP, 0, 0.0))
    )
    assert list(zip(told.user.tolist(), told.track_id.tolist(), strict=True)) == [
        (0, 1),
        (1, 1),
        (1, 2),
        (7, 1),
    ]
    np.testing.assert_allclose(told.liking, [VERDICT, -VERDICT, 1, -BROKEN_OFF])


def test_of_nothing_there_are_no_likings() -> None:
    told = likings(history())
    assert len(told) == 0 and told.weight.dtype == np.float32 and told.disliked.dtype == np.bool_


def test_some_of_them_are_taken() -> None:
    told = likings(history((0, 1, LIKE, 1, 5.0), (0, 2, DISLIKE, 1, 6.0), (1, 2, PLAY, 1, 6.0)))
    some = told.taken(told.liking > 0)
    assert (some.user.tolist(), some.track_id.tolist()) == ([0, 1], [1, 2])
    assert len(some) == len(some.met) == len(some.last_at) == len(some.disliked) == 2


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(1, 4),
        st.sampled_from(KINDS),
        st.sampled_from([0.0, 0.3, 1.0]),
        st.integers(0, 1000),
    ),
    max_size=40,
    unique_by=lambda event: event[4],  # of one moment, either may be the last
)


@given(EVENTS)
def test_many_events_say_what_each_person_and_track_say_alone(
    events: list[tuple[int, int, FeedbackKind, float, int]],
) -> None:
    scaled = [
        (user, track, kind, 1 + 4 * value if kind is RATING else value, at * HALF_LIFE_S / 100)
        for user, track, kind, value, at in events
    ]
    told = likings(history(*sorted(scaled, key=lambda event: (event[0], event[4]))))
    assert list(zip(told.user.tolist(), told.track_id.tolist(), strict=True)) == sorted(
        {(user, track) for user, track, *_ in events}
    )
    for i, (user, track) in enumerate(zip(told.user.tolist(), told.track_id.tolist(), strict=True)):
        theirs = sorted(
            (at, kind, value) for who, what, kind, value, at in scaled if (who, what) == (user, track)
        )
        liking, against = plain(theirs)
        newest = max(at for who, *_, at in scaled if who == user)
        fresh = 0.5 ** ((newest - theirs[-1][0]) / HALF_LIFE_S)
        assert told.liking[i] == pytest.approx(liking, abs=1e-5)
        assert told.weight[i] == pytest.approx(max(liking, 0) * fresh, abs=1e-5)
        assert told.met[i] == pytest.approx(0 if against else min(len(theirs), MANY) * fresh, abs=1e-5)
        signed = liking * fresh if liking > 0 else liking
        drawn = liking if against else signed + MEETING * min(len(theirs), MANY) * fresh
        assert told.drawn[i] == pytest.approx(drawn, abs=1e-5)
        assert told.signed[i] == pytest.approx(signed, abs=1e-5)
        assert told.disliked[i] == against


def plain(events: list[tuple[float, FeedbackKind, float]]) -> tuple[float, bool]:
    """(liking, whether the last verdict is against it) of one track's events, oldest first."""
    verdict, heard, left = 0.0, 0.0, 0.0
    for _, kind, value in events:
        if kind is LIKE:
            verdict = VERDICT
        elif kind is DISLIKE:
            verdict = -VERDICT
        elif kind is RATING:
            verdict = (value - MIDDLE) * VERDICT / (5 - MIDDLE)
        elif kind is PLAY and value >= HEARD_FRACTION:
            heard += value
        else:
            left += BROKEN_OFF
    if verdict < 0:
        return verdict, True
    return verdict + log2(1 + heard) - min(left, MOST_BROKEN_OFF), False
