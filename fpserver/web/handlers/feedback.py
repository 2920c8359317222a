"""What people did with tracks."""

import asyncio
import time

from aiohttp import web

from fpserver import errors, feedback
from fpserver.errors import FpserverError, InvalidRequest, MediaTypeUnsupported
from fpserver.feedback import Outcome
from fpserver.services import Services
from fpserver.thinking import think
from fpserver.web import events
from fpserver.web.answers import answer
from fpserver.web.contract import Body, Reply, speaks
from fpserver.web.door import DOOR, REQUEST_ID
from fpserver.web.events import Read
from fpserver.web.feedback_schemas import EventError, FeedbackAnswer, FeedbackBatch, FeedbackIn
from fpserver.web.media import JSON, MSGPACK, NDJSON
from fpserver.web.reading import MAX_DOCUMENT_BYTES, no_query, shown
from fpserver.web.uploads import whole

MAX_ERRORS = 1000  # listed in an answer
MAX_INLINE_BYTES = 4096  # of a document that is read on the event loop


@speaks(
    bodies=(
        Body(media_type=JSON, text="one event, or many", schema=FeedbackIn, instead=FeedbackBatch),
        Body(media_type=NDJSON, text="any number of events, one a line", schema=FeedbackIn),
    ),
    replies={200: Reply(text="taken: those that are not refused are stored", schema=FeedbackAnswer)},
    errors=(
        errors.InvalidRequest,
        errors.MediaTypeUnsupported,
        errors.BodyTooLarge,
        errors.UploadTimeout,
        errors.TrackNotFound,
        errors.StoreUnavailable,
    ),
)
async def take(request: web.Request) -> web.StreamResponse:
    """Take what users did with tracks: played, skipped, liked, disliked or rated them.

    An event counts in the next answer. A single event that is wrong is refused; of many, the good ones are taken
    and the others listed under `errors`. Events that have an `event_id`, or an `at`, can be sent again: they are
    stored once. When a request breaks off, what came before it may be stored: send it again.
    """
    no_query(request)
    taking = _Taking(request.app[DOOR].services)
    if request.content_type == NDJSON:
        await _take_stream(request, taking)
        if not taking.n_items:
            raise InvalidRequest("body holds no events: there is nothing to take")
    else:
        await _take_document(request, taking)
    return answer(
        request,
        FeedbackAnswer(
            request_id=request[REQUEST_ID],
            n_taken=taking.counts[Outcome.TAKEN],
            n_known=taking.counts[Outcome.KNOWN],
            n_refused=taking.counts[Outcome.REFUSED],
            errors=sorted(taking.errors, key=lambda error: error.item),
        ),
    )


class _Taking:
    """The events of one request, on their way into the store."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.counts = dict.fromkeys(Outcome, 0)
        self.errors: list[EventError] = []

    @property
    def n_items(self) -> int:
        """Events so far."""
        return sum(self.counts.values())

    async def take(self, read: Read) -> None:
        """Some more, and those that cannot be.

        Raises:
            StoreUnavailable: not all of them are stored.
        """
        feedback.count_unread(len(read.faults))
        for item, fault in read.faults:
            self._refuse(item, fault)
        outcomes = await feedback.take(self._services, read.events)
        for item, event, outcome in zip(read.items, read.events, outcomes, strict=True):
            if outcome is Outcome.REFUSED:
                self._refuse(item, feedback.no_track(event.track_id))
            else:
                self.counts[outcome] += 1

    def _refuse(self, item: int, error: FpserverError) -> None:
        self.counts[Outcome.REFUSED] += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(EventError(item=item, code=error.code, message=error.message))


async def _take_document(request: web.Request, taking: _Taking) -> None:
    if "Content-Type" in request.headers and request.content_type not in (JSON, MSGPACK):
        kinds = f"{JSON}, {MSGPACK} or {NDJSON}"
        raise MediaTypeUnsupported(f"body is {shown(request.content_type)}, must be {kinds}")
    chunks = request.app[DOOR].patience().chunks(request.content)
    body = await whole(chunks, what="body", max_bytes=MAX_DOCUMENT_BYTES)
    packed, now = request.content_type == MSGPACK, time.time()
    if len(body) <= MAX_INLINE_BYTES:
        read = events.of_document(body, packed=packed, now=now)
    else:
        read = await think(events.of_document, body, packed=packed, now=now)
    await taking.take(read)
    if read.single and taking.errors:
        raise feedback.no_track(read.events[0].track_id) if read.events else read.faults[0][1]


async def _take_stream(request: web.Request, taking: _Taking) -> None:
    """Take events while the next ones are received and read: two blocks are in memory at most."""
    blocks = events.blocks(request.app[DOOR].patience().chunks(request.content))
    storing: asyncio.Task[None] | None = None
    try:
        async for first_line, block in blocks:
            read = await think(events.of_lines, block, first_line=first_line, now=time.time())
            if storing is not None:
                await storing
            storing = asyncio.create_task(taking.take(read))
    finally:
        if storing is not None:
            await storing
