"""Events of feedback: checked, named, kept where there is such a track, and counted."""

import math
from typing import Any

import pytest

from fpserver import metrics
from fpserver.config import RedisConfig
from fpserver.errors import InvalidRequest
from fpserver.feedback import Outcome, event_of, is_user, take
from fpserver.terms import FeedbackEvent, FeedbackKind
from tests.opened import opened
from tests.tracks.offers import submit

NOW = 1_700_000_000.0
DAY_S = 86400.0


def event(**given: Any) -> FeedbackEvent:
    return event_of(**{"user": "ann", "track_id": 7, "kind": FeedbackKind.LIKE, "now": NOW, **given})


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"kind": FeedbackKind.PLAY}, 1.0),
        ({"kind": FeedbackKind.PLAY, "fraction": 0.25}, 0.25),
        ({"kind": FeedbackKind.SKIP}, 0.0),
        ({"kind": FeedbackKind.SKIP, "fraction": 1.0}, 1.0),
        ({"kind": FeedbackKind.LIKE}, 1.0),
        ({"kind": FeedbackKind.DISLIKE}, 1.0),
        ({"kind": FeedbackKind.RATING, "rating": 3.5}, 3.5),
    ],
)
def test_each_kind_has_its_one_number(given: dict[str, Any], value: float) -> None:
    assert event(**given).value == value


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"user": ""}, "user has 0 characters, must have 1 to 200"),
        ({"user": "x" * 201}, "user has 201 characters"),
        ({"user": "a\nb"}, "control characters"),
        ({"user": "a\n"}, "control characters"),
        ({"user": "\ud800"}, "control characters"),
        ({"user": ".."}, "no path can name"),
        ({"event_id": ""}, "event_id has 0 characters"),
        ({"event_id": "\x00"}, "event_id is"),
        ({"kind": FeedbackKind.PLAY, "fraction": 1.01}, "fraction is 1.01, must be from 0 to 1"),
        ({"kind": FeedbackKind.PLAY, "fraction": math.nan}, "fraction is nan"),
        ({"kind": FeedbackKind.LIKE, "fraction": 0.5}, "fraction is given with kind like"),
        ({"kind": FeedbackKind.PLAY, "rating": 3.0}, "rating is given with kind play"),
        ({"kind": FeedbackKind.RATING}, "rating is missing"),
        ({"kind": FeedbackKind.RATING, "rating": 0.0}, "rating is 0.0, must be from 1 to 5"),
        ({"kind": FeedbackKind.RATING, "rating": math.inf}, "rating is inf"),
        ({"at": -1.0}, "at is -1.0 s after 1970"),
        ({"at": NOW + DAY_S + 1}, "a day after now"),
        ({"at": math.nan}, "at is nan"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_the_rule(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        event(**given)


def test_an_event_without_an_id_is_named_after_what_it_says() -> None:
    one = event(at=NOW - 5)
    assert event(at=NOW - 5, now=NOW + 5).event_id == one.event_id
    others = [
        event(at=NOW - 6),
        event(at=NOW - 5, track_id=8),
        event(at=NOW - 5, kind=FeedbackKind.DISLIKE),
        event(at=NOW - 5, kind=FeedbackKind.PLAY, fraction=0.5),
    ]
    assert len({each.event_id for each in (one, *others)}) == 5


def test_without_a_moment_it_is_a_new_one_each_time_and_now() -> None:
    assert event().event_id != event().event_id
    assert event().at == NOW


@pytest.mark.parametrize("name", ["ann", "ann/7", "Ünïcødé ♫", " ", "...", "x" * 200])
def test_a_user_may_be_called_anything(name: str) -> None:
    assert is_user(name)
    assert event(user=name).user == name


async def test_events_are_kept_where_there_is_such_a_track_and_counted(store_config: RedisConfig) -> None:
    async with opened(store_config, pool_processes=0) as services:
        await services.client.flushall()
        (track_id,) = await submit(services.tracks, "a")
        given = [
            event(track_id=track_id, event_id="1"),
            event(track_id=track_id + 1, event_id="2"),
            event(track_id=track_id, event_id="1"),
            event(track_id=2**60, event_id="3"),
        ]
        before = counted()
        assert await take(services, given) == [Outcome.TAKEN, Outcome.REFUSED, Outcome.KNOWN, Outcome.REFUSED]
        assert [each.event_id for each in await services.feedback.events("ann")] == ["1"]
        grown = {outcome: n - before[outcome] for outcome, n in counted().items()}
        assert grown == {"taken": 1, "known": 1, "refused": 2}


def counted() -> dict[str, float]:
    return {name: metrics.FEEDBACK.labels("like", name)._value.get() for name in map(str, Outcome)}
