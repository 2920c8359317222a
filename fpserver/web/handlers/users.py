"""What is kept of a user: listed, and erased."""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode

import structlog
from aiohttp import web

from fpserver import errors, feedback
from fpserver.errors import InvalidRequest, UserNotFound
from fpserver.terms import FeedbackEvent, FeedbackKind
from fpserver.web.answers import answer
from fpserver.web.contract import Reply, speaks
from fpserver.web.convert import moment
from fpserver.web.door import DOOR
from fpserver.web.feedback_schemas import ErasedAnswer, EventAnswer, UserAnswer, UserQuery
from fpserver.web.reading import no_query, read_query, shown

log = structlog.get_logger()

DIGITS = 6
USER_ERRORS = (errors.InvalidRequest, errors.UserNotFound, errors.StoreUnavailable)
_AT = struct.Struct(">d")


@speaks(
    query=UserQuery,
    replies={200: Reply(text="a page of the user's events, newest first", schema=UserAnswer)},
    errors=USER_ERRORS,
)
async def read(request: web.Request) -> web.StreamResponse:
    """List what a user did, a page at a time: all of it that is kept, which is `recommend.max_user_events`."""
    query = read_query(request, UserQuery)
    user = _user(request)
    events = await request.app[DOOR].services.feedback.events(user)
    if not events:
        raise _unknown(user)
    after = _place(query.cursor)
    rest = events if after is None else [event for event in events if _order(event) > after]
    page = rest[: query.limit]
    document = UserAnswer(
        user=user,
        n_events=len(events),
        events=[_event(event) for event in page],
        next_cursor=_cursor(page[-1]) if len(rest) > len(page) else None,
    )
    return answer(request, document)


@speaks(
    replies={200: Reply(text="how many events were erased", schema=ErasedAnswer)},
    errors=USER_ERRORS,
)
async def erase(request: web.Request) -> web.StreamResponse:
    """Erase what a user did, all of it. The next recommendation for this name is that for somebody new."""
    no_query(request)
    user = _user(request)
    n_events = await request.app[DOOR].services.feedback.forget(user)
    if not n_events:
        raise _unknown(user)
    log.info("web.user_erased", n_events=n_events)
    return answer(request, ErasedAnswer(user=user, n_events=n_events))


def _user(request: web.Request) -> str:
    user = request.match_info["user"]
    if not feedback.is_user(user):
        raise _unknown(user)
    return user


def _unknown(user: str) -> UserNotFound:
    return UserNotFound(f"nothing is known of a user {shown(user)}")


def _event(event: FeedbackEvent) -> EventAnswer:
    heard = event.kind in (FeedbackKind.PLAY, FeedbackKind.SKIP)
    return EventAnswer(
        event_id=event.event_id,
        track_id=event.track_id,
        kind=event.kind,
        fraction=round(event.value, DIGITS) if heard else None,
        rating=round(event.value, DIGITS) if event.kind is FeedbackKind.RATING else None,
        at=moment(event.at),
    )


def _order(event: FeedbackEvent) -> tuple[float, str]:
    """Newest first, those of one moment by their ids."""
    return -event.at, event.event_id


def _cursor(event: FeedbackEvent) -> str:
    return urlsafe_b64encode(_AT.pack(event.at) + event.event_id.encode()).decode().rstrip("=")


def _place(cursor: str | None) -> tuple[float, str] | None:
    """The place after which a page begins."""
    if cursor is None:
        return None
    try:
        packed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        (at,) = _AT.unpack_from(packed)
        return -at, packed[_AT.size :].decode()
    except (ValueError, struct.error) as error:
        raise InvalidRequest(
            f"query parameter cursor is {shown(cursor)}: must be the next_cursor of a page"
        ) from error
