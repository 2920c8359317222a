"""For those who run it: alive, ready, metrics; and the documentation."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import structlog
from aiohttp import web

from fpserver import errors, metrics
from fpserver.errors import FpserverError, Stopping, StoreUnavailable
from fpserver.fingerprint.stamp import stamp
from fpserver.terms import TrackStatus
from fpserver.web.answers import answer
from fpserver.web.contract import Reply, speaks
from fpserver.web.docs_page import STYLE_HASH
from fpserver.web.door import DOOR, Door
from fpserver.web.media import JSON
from fpserver.web.schemas import Health, Readiness

log = structlog.get_logger()

DOCUMENT: web.AppKey[bytes] = web.AppKey("openapi_document", bytes)
DOCS_PAGE: web.AppKey[str] = web.AppKey("docs_page", str)
OWN_STYLE = {
    "Content-Security-Policy": f"default-src 'none'; style-src '{STYLE_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
}

T = TypeVar("T")


@speaks(replies={200: Reply(text="the process answers", schema=Health)})
async def healthz(request: web.Request) -> web.StreamResponse:
    """Alive: the process answers. Says nothing of the store."""
    return answer(request, Health())


@speaks(
    replies={200: Reply(text="ready for clips", schema=Readiness)},
    errors=(errors.StoreUnavailable, errors.ForeignIndex, errors.Stopping),
)
async def readyz(request: web.Request) -> web.StreamResponse:
    """Ready: the shards answer, the index was made by these settings, and the server is not about to stop."""
    door = request.app[DOOR]
    if door.stopping:
        raise Stopping("the server is stopping: it answers what it is asked, but ask another one")
    services = door.services
    await _in_time(door, services.index.open(stamp(door.config.fingerprint)))
    stats = await _in_time(door, services.index.stats())
    return answer(request, Readiness(n_shards=door.config.index.n_shards, n_postings=stats.n_postings))


@speaks(replies={200: Reply(text="Prometheus' text format", media_type="text/plain")})
async def prometheus(request: web.Request) -> web.StreamResponse:
    """Metrics of all processes. What the store does not tell in time keeps its last value."""
    door = request.app[DOOR]
    if door.exposing is None or door.exposing.done():
        door.exposing = asyncio.create_task(_exposition(door))
    body = await asyncio.shield(door.exposing)  # who asks meanwhile gets the same
    return web.Response(body=body, headers={"Content-Type": metrics.CONTENT_TYPE})


async def _exposition(door: Door) -> bytes:
    await _refresh(door)
    return await asyncio.to_thread(metrics.exposition)


async def _refresh(door: Door) -> None:
    services = door.services
    door.measure_pool()
    try:
        _, counts, depths, workers, stats = await _in_time(
            door,
            asyncio.gather(
                services.index.open(stamp(door.config.fingerprint)),
                services.tracks.counts(),
                services.backlog.depth(),
                services.backlog.workers(),
                services.index.stats(),
            ),
        )
    except FpserverError as error:
        metrics.READY.set(0)
        log.warning("web.metrics_stale", reason=error.message)
        return
    metrics.READY.set(1)
    for status in TrackStatus:
        metrics.TRACKS.labels(status.value).set(counts.get(status, 0))
    for place, depth in depths.items():
        metrics.BACKLOG_DEPTH.labels(place).set(depth)
    for place, n_workers in workers.items():
        metrics.WORKERS.labels(place).set(n_workers)
    metrics.INDEX_POSTINGS.set(stats.n_postings)
    metrics.STORE_BYTES.set(stats.used_memory_bytes)
    metrics.STORE_MAX_BYTES.set(stats.max_memory_bytes)


async def _in_time(door: Door, question: Awaitable[T]) -> T:
    limit_s = door.config.redis.timeout_s
    try:
        async with asyncio.timeout(limit_s):
            return await question
    except TimeoutError as error:
        raise StoreUnavailable(f"the store did not answer within {limit_s:g} s") from error


@speaks(replies={200: Reply(text="the OpenAPI 3.1 document", media_type=JSON)})
async def openapi(request: web.Request) -> web.StreamResponse:
    """Describe this API for programs."""
    return web.Response(body=request.app[DOCUMENT], content_type=JSON)


@speaks(replies={200: Reply(text="a page", media_type="text/html")})
async def docs(request: web.Request) -> web.StreamResponse:
    """Describe this API for people. Needs no scripts and no other host."""
    return web.Response(text=request.app[DOCS_PAGE], content_type="text/html", headers=OWN_STYLE)


@speaks(replies={302: Reply(text="to `/docs`")})
async def root(_request: web.Request) -> web.StreamResponse:
    """Lead whoever opens the address in a browser to the documentation."""
    return web.Response(status=302, headers={"Location": "/docs"})
