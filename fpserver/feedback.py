"""What somebody did with a track, checked and kept.

An event without an id is named after what it says, so that it can be sent again; without a moment too, it is a new one
each time. What is acknowledged is stored.
"""

import hashlib
import os
import re
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

from fpserver import metrics
from fpserver.errors import InvalidRequest, TrackNotFound
from fpserver.services import Services
from fpserver.terms import MAX_EVENT_ID_CHARS, MAX_USER_CHARS, FeedbackEvent, FeedbackKind

AHEAD_S = 86400.0  # clocks differ, but not by more
ID_BYTES = 12
AT_ONCE = 1000  # events: what they cost the event loop between two waits is below a millisecond
RATINGS = (1.0, 5.0)
UNREAD = "unknown"  # kind of an event that is refused before its kind is known

_NO_NAME = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters, and halves of characters


class Outcome(StrEnum):
    """What became of an event."""

    TAKEN = "taken"
    KNOWN = "known"  # the user has an event of this id; it stays as it is
    REFUSED = "refused"  # there is no such track


def event_of(
    *,
    user: str,
    track_id: int,
    kind: FeedbackKind,
    fraction: float | None = None,
    rating: float | None = None,
    at: float | None = None,
    event_id: str | None = None,
    now: float,
) -> FeedbackEvent:
    """An event, as it is kept.

    Args:
        user: the caller's name for somebody.
        track_id: a track that may be there or not.
        kind: what was done.
        fraction: how much was heard, 0..1; of a play (left out: all) or a skip (left out: nothing).
        rating: 1..5; of a rating, which needs it.
        at: seconds since 1970; left out: now.
        event_id: left out: made of what else is said, or, without `at`, at random.
        now: seconds since 1970.

    Raises:
        InvalidRequest: a value breaks its rule, or is of another kind of event.
    """
    check_user(user)
    value = _value(kind, fraction, rating)
    if at is not None and not 0 <= at <= now + AHEAD_S:
        raise InvalidRequest(
            f"at is {at!r} s after 1970, must be from 0 to a day after now, {now + AHEAD_S:.0f}"
        )
    if event_id is None:
        event_id = _named_by(track_id, kind, value, at)
    else:
        _check_name("event_id", event_id, MAX_EVENT_ID_CHARS)
    return FeedbackEvent(
        user=user,
        event_id=event_id,
        track_id=track_id,
        kind=kind,
        value=value,
        at=now if at is None else at,
    )


def is_user(text: str) -> bool:
    """Whether somebody may be called this."""
    return _fault("user", text, MAX_USER_CHARS) is None


def check_user(text: str) -> None:
    """Nothing, if somebody may be called this.

    Raises:
        InvalidRequest: nobody may, and why.
    """
    _check_name("user", text, MAX_USER_CHARS)


def no_track(track_id: int) -> TrackNotFound:
    """The refusal of an event whose track is not there."""
    return TrackNotFound(f"no track {track_id}")


async def take(services: Services, events: Sequence[FeedbackEvent]) -> list[Outcome]:
    """Keep events whose tracks are there; what became of each. When it returns, they are stored.

    Raises:
        StoreUnavailable: some may be stored; repeat it.
    """
    outcomes: list[Outcome] = []
    for first in range(0, len(events), AT_ONCE):
        outcomes += await _take(services, events[first : first + AT_ONCE])
    return outcomes


async def _take(services: Services, events: Sequence[FeedbackEvent]) -> list[Outcome]:
    missing = await services.tracks.missing({event.track_id for event in events})
    there = [event for event in events if event.track_id not in missing]
    new = iter(await services.feedback.put(there) if there else ())
    outcomes = [
        Outcome.REFUSED if event.track_id in missing else Outcome.TAKEN if next(new) else Outcome.KNOWN
        for event in events
    ]
    counts = Counter((event.kind, outcome) for event, outcome in zip(events, outcomes, strict=True))
    for (kind, outcome), n_events in counts.items():
        metrics.FEEDBACK.labels(kind.value, outcome.value).inc(n_events)
    return outcomes


def count_unread(n_events: int) -> None:
    """Note events that were refused before anything was known of them."""
    if n_events:
        metrics.FEEDBACK.labels(UNREAD, Outcome.REFUSED.value).inc(n_events)


def _value(kind: FeedbackKind, fraction: float | None, rating: float | None) -> float:
    """The one number of an event."""
    heard = kind is FeedbackKind.PLAY or kind is FeedbackKind.SKIP
    if fraction is not None and not heard:
        raise InvalidRequest(f"fraction is given with kind {kind.value}, belongs to play and skip only")
    if rating is not None and kind is not FeedbackKind.RATING:
        raise InvalidRequest(f"rating is given with kind {kind.value}, belongs to rating only")
    if heard:
        if fraction is None:
            return 1.0 if kind is FeedbackKind.PLAY else 0.0
        if not 0 <= fraction <= 1:
            raise InvalidRequest(f"fraction is {fraction}, must be from 0 to 1")
        return fraction
    if kind is not FeedbackKind.RATING:
        return 1.0
    if rating is None:
        raise InvalidRequest("rating is missing, a rating needs it: 1 to 5")
    if not RATINGS[0] <= rating <= RATINGS[1]:
        raise InvalidRequest(f"rating is {rating}, must be from 1 to 5")
    return rating


def _named_by(track_id: int, kind: FeedbackKind, value: float, at: float | None) -> str:
    if at is None:
        digest = os.urandom(ID_BYTES)
    else:
        said = f"{track_id} {kind.value} {float(value)!r} {float(at)!r}"
        digest = hashlib.blake2b(said.encode(), digest_size=ID_BYTES).digest()
    return urlsafe_b64encode(digest).decode()


def _check_name(field: str, text: str, max_chars: int) -> None:
    if fault := _fault(field, text, max_chars):
        raise InvalidRequest(fault)


def _fault(field: str, text: str, max_chars: int) -> str | None:
    if not 0 < len(text) <= max_chars:
        return f"{field} has {len(text)} characters, must have 1 to {max_chars}"
    if _NO_NAME.search(text):
        return f"{field} is {text[:80]!r}, must not hold control characters"
    if field == "user" and text in (".", ".."):
        return f"user is {text!r}, which no path can name; must be another"
    return None
