"""From a body of feedback to events, and to what is wrong with those that are none.

What is wrong with one event is never the end of the others.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from fpserver.errors import InvalidRequest
from fpserver.feedback import event_of
from fpserver.terms import FeedbackEvent
from fpserver.web.feedback_schemas import FeedbackIn
from fpserver.web.reading import decode
from fpserver.web.schemas import Request

Decoder: TypeAlias = msgspec.json.Decoder[FeedbackIn] | msgspec.msgpack.Decoder[FeedbackIn]

BLOCK_BYTES = 2**17  # of lines: some thousand events, a few milliseconds of work


class _Form(Struct):
    """Tells a batch from an event."""

    events: Raw | UnsetType = UNSET


class _Batch(Request, frozen=True, kw_only=True):
    """A batch whose events may be anything."""

    events: Annotated[list[Raw], Meta(min_length=1)]


_JSON: Decoder = msgspec.json.Decoder(FeedbackIn)
_MSGPACK: Decoder = msgspec.msgpack.Decoder(FeedbackIn)


@dataclass(slots=True, kw_only=True)
class Read:
    """Events, and the place of each in the request, from 1; and what is wrong at other places."""

    single: bool = False  # the whole body is one event
    items: list[int] = field(default_factory=list)
    events: list[FeedbackEvent] = field(default_factory=list)
    faults: list[tuple[int, InvalidRequest]] = field(default_factory=list)


def of_document(body: bytes, *, packed: bool, now: float) -> Read:
    """The event or events of a JSON body, or of a msgpack one (`packed`); `now` in seconds since 1970.

    Raises:
        InvalidRequest: it is malformed, no object, or an object with `events` and more, or with none in them.
    """
    library = msgspec.msgpack if packed else msgspec.json
    form = decode(body, _Form, what="body", decoder=library.Decoder(_Form))
    single = form.events is UNSET
    raws = [body] if single else decode(body, _Batch, what="body", decoder=library.Decoder(_Batch)).events
    return _read(raws, first=1, single=single, decoder=_MSGPACK if packed else _JSON, now=now)


def of_lines(block: bytes, *, first_line: int, now: float) -> Read:
    """The events of some lines of NDJSON, the first of which has this number; empty lines are none."""
    return _read(block.split(b"\n"), first=first_line, single=False, decoder=_JSON, now=now)


def _read(raws: Sequence[bytes | Raw], *, first: int, single: bool, decoder: Decoder, now: float) -> Read:
    read = Read(single=single)
    for item, raw in enumerate(raws, first):
        if isinstance(raw, bytes) and not raw.strip():
            continue
        try:
            event = _event(decode(raw, FeedbackIn, what="event", decoder=decoder), now)
        except InvalidRequest as error:
            read.faults.append((item, error))
        else:
            read.items.append(item)
            read.events.append(event)
    return read


def _event(given: FeedbackIn, now: float) -> FeedbackEvent:
    return event_of(
        user=given.user,
        track_id=given.track_id,
        kind=given.kind,
        fraction=given.fraction,
        rating=given.rating,
        at=given.at.timestamp() if isinstance(given.at, datetime) else given.at,
        event_id=given.event_id,
        now=now,
    )


async def blocks(chunks: AsyncIterator[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    """Whole lines of a body as it arrives, many at a time, and the number of the first of them.

    Raises:
        InvalidRequest: a line is longer than a block may be; what came before it is out already.
    """
    waiting = bytearray()
    n_lines = 0
    async for chunk in chunks:
        waiting += chunk
        if len(waiting) < BLOCK_BYTES:
            continue
        end = waiting.rfind(b"\n") + 1
        if not end:
            raise InvalidRequest(f"line {n_lines + 1} has more than {BLOCK_BYTES} bytes, which is the limit")
        block = bytes(waiting[:end])
        del waiting[:end]
        yield n_lines + 1, block
        n_lines += block.count(b"\n")
    if waiting.strip():
        yield n_lines + 1, bytes(waiting)
