"""What goes over the wire about what people did with tracks: events, and what is kept of a user."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from fpserver.terms import MAX_EVENT_ID_CHARS, MAX_USER_CHARS, FeedbackKind
from fpserver.web.schemas import MAX_PAGE, Answer, Request

EVENT_CURSOR = {"format": "event-cursor"}  # what only a page before it can have given
PRINTABLE = r"[^\x00-\x1f\x7f-\x9f]+"  # what `feedback.event_of` takes, for readers of the document
USER = {"pattern": rf"^(?!\.{{1,2}}$){PRINTABLE}$"}
Moment = Annotated[float, Meta(ge=0)] | Annotated[datetime, Meta(tz=True)]


class FeedbackIn(Request, frozen=True, kw_only=True, gc=False):  # none in a cycle
    """What one user did with one track."""

    user: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=MAX_USER_CHARS,
            description="your name for somebody: any text without control characters",
            extra_json_schema=USER,
        ),
    ]
    track_id: Annotated[int, Meta(ge=1)]
    kind: FeedbackKind
    fraction: (
        Annotated[
            float,
            Meta(ge=0, le=1, description="how much was heard; left out: all of a play, nothing of a skip"),
        ]
        | None
    ) = None
    rating: Annotated[float, Meta(ge=1, le=5, description="of a rating, which needs it")] | None = None
    at: Annotated[
        Moment | None,
        Meta(description="ISO 8601 with its zone, or seconds since 1970; left out: now; a day ahead at most"),
    ] = None
    event_id: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=MAX_EVENT_ID_CHARS,
                description="of this user, the same id is the same event; left out: made of what else is said, "
                "or, without `at`, a new one",
                extra_json_schema={"pattern": f"^{PRINTABLE}$"},
            ),
        ]
        | None
    ) = None


class FeedbackBatch(Request, frozen=True, kw_only=True):
    """Many events. Those that are none are told in the answer; the others are taken all the same."""

    events: Annotated[list[FeedbackIn], Meta(min_length=1)]


class EventError(Answer, frozen=True, kw_only=True):
    """What was wrong with one event."""

    item: Annotated[int, Meta(description="its place in the request, from 1; in NDJSON its line")]
    code: str
    message: str


class FeedbackAnswer(Answer, frozen=True, kw_only=True):
    """What became of events. Those that were taken are stored."""

    request_id: str
    n_taken: int
    n_known: Annotated[int, Meta(description="their users have events of these ids, which stay as they are")]
    n_refused: int
    errors: Annotated[list[EventError], Meta(description="why, of the first thousand that were refused")]


class UserQuery(Request, frozen=True, kw_only=True):
    """Which of a user's events to list."""

    cursor: (
        Annotated[str, Meta(description="`next_cursor` of the page before", extra_json_schema=EVENT_CURSOR)]
        | None
    ) = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE, description="most events in the answer")] = 50


class EventAnswer(Answer, frozen=True, kw_only=True):
    """An event that is kept."""

    event_id: str
    track_id: int
    kind: FeedbackKind
    fraction: Annotated[float | None, Meta(description="of a play or a skip")]
    rating: Annotated[float | None, Meta(description="of a rating")]
    at: str


class UserAnswer(Answer, frozen=True, kw_only=True):
    """What is kept of a user."""

    user: str
    n_events: Annotated[int, Meta(description="of all pages")]
    events: Annotated[list[EventAnswer], Meta(description="newest first")]
    next_cursor: str | None


class ErasedAnswer(Answer, frozen=True, kw_only=True):
    """A user of whom nothing is kept any more."""

    user: str
    n_events: Annotated[int, Meta(description="that were erased")]
