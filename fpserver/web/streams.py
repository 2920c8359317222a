"""Server-sent events, and whether anybody is there to hear them."""

import asyncio

import msgspec
from aiohttp import web

from fpserver.stages import WAIT, noted
from fpserver.web.answers import to_json
from fpserver.web.media import EVENTS

KEEP_ALIVE_S = 15.0  # below the idle limits of common proxies
KEEP_ALIVE = b": still here\n\n"


async def begin(request: web.Request) -> web.StreamResponse:
    """A stream of events, begun."""
    response = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
    response.content_type = EVENTS
    await response.prepare(request)
    return response


async def say(response: web.StreamResponse, event: str, document: msgspec.Struct | bytes) -> None:
    """One event, with a document as JSON (or its bytes, made before)."""
    data = document if isinstance(document, bytes) else to_json(document)
    await response.write(b"event: " + event.encode() + b"\ndata: " + data + b"\n\n")


def gone(request: web.Request) -> bool:
    """Whether the client has left. aiohttp does not end a handler for that."""
    return request.transport is None or request.transport.is_closing()


def wanted(request: web.Request) -> bool:
    """Whether `Accept` asks for events."""
    kinds = (item.partition(";")[0].strip().lower() for item in request.headers.get("Accept", "").split(","))
    return EVENTS in kinds


async def any_time(event: asyncio.Event, within_s: float) -> bool:
    """Wait for an event; False when it did not come in time."""
    try:
        with noted(WAIT):
            async with asyncio.timeout(within_s):
                return await event.wait()
    except TimeoutError:
        return False
