"""Batches: how far they have come, watched as they go, and ended."""

import time

import structlog
from aiohttp import web

from fpserver import errors
from fpserver.errors import (
    StoreUnavailable,
)
from fpserver.web import convert, streams
from fpserver.web.answers import answer
from fpserver.web.contract import Reply, speaks
from fpserver.web.door import DOOR, Door
from fpserver.web.media import EVENTS
from fpserver.web.reading import batch_id, no_query
from fpserver.web.schemas import BatchAnswer

log = structlog.get_logger()

EVENT_EVERY_S = 0.5


@speaks(
    replies={200: Reply(text="how far it has come", schema=BatchAnswer)},
    errors=(errors.InvalidRequest, errors.BatchNotFound, errors.StoreUnavailable),
)
async def read(request: web.Request) -> web.StreamResponse:
    """Read how far a batch has come, and what went wrong in it. Batches are kept for 7 days."""
    no_query(request)
    batch = await request.app[DOOR].services.tracks.batch(batch_id(request))
    return answer(request, convert.batch(batch, now=time.time()))


@speaks(
    replies={200: Reply(text="the batch; what had begun may still end", schema=BatchAnswer)},
    errors=(errors.InvalidRequest, errors.BatchNotFound, errors.StoreUnavailable),
)
async def cancel(request: web.Request) -> web.StreamResponse:
    """Cancel a batch: what is still waiting is not indexed. What is indexed stays."""
    no_query(request)
    tracks = request.app[DOOR].services.tracks
    wanted = batch_id(request)
    n_cancelled = await tracks.cancel_batch(wanted, now=time.time())
    log.info("web.batch_cancelled", batch_id=wanted, n_cancelled=n_cancelled)
    return answer(request, convert.batch(await tracks.batch(wanted), now=time.time()))


@speaks(
    replies={
        200: Reply(text="`progress` events while it goes on, one `done` event at its end", media_type=EVENTS)
    },
    errors=(errors.InvalidRequest, errors.BatchNotFound, errors.StoreUnavailable),
)
async def events(request: web.Request) -> web.StreamResponse:
    """Watch a batch: server-sent events, each with the batch as JSON.

    A `progress` event comes when something has changed, at most every half second, with those errors that no
    event told before. The `done` event comes last and tells all errors; then the stream ends.
    """
    no_query(request)
    door = request.app[DOOR]
    wanted = batch_id(request)
    batch = await door.services.tracks.batch(wanted)  # before the stream begins: an unknown batch is a 404
    response = await streams.begin(request)
    told: object = None
    n_told = 0
    spoke_at = time.monotonic()
    while True:
        now = time.time()
        facts = (batch.counts, batch.n_items, len(batch.errors), batch.audio_s, batch.cancelled)
        if batch.n_pending == 0:
            await streams.say(response, "done", convert.batch(batch, now=now))
            return response
        if facts != told:
            await streams.say(response, "progress", convert.batch(batch, now=now, errors_from=n_told))
            told, n_told, spoke_at = facts, len(batch.errors), time.monotonic()
        elif time.monotonic() - spoke_at > streams.KEEP_ALIVE_S:
            await response.write(streams.KEEP_ALIVE)
            spoke_at = time.monotonic()
        if await _closing(door, request):
            return response
        try:
            batch = await door.services.tracks.batch(wanted)
        except StoreUnavailable:
            log.warning("web.events_waiting", batch_id=wanted)  # it may be back at the next look


async def _closing(door: Door, request: web.Request) -> bool:
    """Wait for the next look; True when there is nobody to look for any more."""
    return await streams.any_time(door.closing, EVENT_EVERY_S) or streams.gone(request)
