"""Maps: tracks laid out in the plane, computed for one request and stored nowhere."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import structlog
from aiohttp import web

from fpserver import errors, mapping
from fpserver.errors import FpserverError, InvalidRequest
from fpserver.mapping import Chosen, MapOptions, MapResult
from fpserver.stages import measured
from fpserver.thinking import think
from fpserver.web import streams
from fpserver.web.answers import answer, to_json
from fpserver.web.contract import Body, Reply, speaks
from fpserver.web.door import DOOR, REQUEST_ID, Door
from fpserver.web.errors import body_of
from fpserver.web.likeness import weights_in
from fpserver.web.media import JSON, MSGPACK
from fpserver.web.reading import no_query, read_document
from fpserver.web.similar_schemas import MapAnswer, MapPoint, MapProgress, MapRequest

log = structlog.get_logger()

T = TypeVar("T")

MAP_FACTS = ("tempo_bpm", "loudness_db", "onset_rate_hz", "centroid_hz")  # that points of a map are told with
LOOK_EVERY_S = 0.25  # for progress, and whether the client is still there
USUAL_LIMIT = 1000
WAYS = ("track_ids", "like", "filter")


@speaks(
    bodies=(
        Body(media_type=JSON, text="which tracks, and how to lay them out", schema=MapRequest),
        Body(media_type=MSGPACK, text="the same", schema=MapRequest),
    ),
    replies={
        200: Reply(
            text="the map; with `Accept: text/event-stream` as the last of a stream of events",
            schema=MapAnswer,
        )
    },
    errors=(
        errors.InvalidRequest,
        errors.MediaTypeUnsupported,
        errors.BodyTooLarge,
        errors.UploadTimeout,
        errors.TrackNotFound,
        errors.NotDescribed,
        errors.MapFailed,
        errors.Overloaded,
        errors.StoreUnavailable,
    ),
)
async def draw(request: web.Request) -> web.StreamResponse:
    """Lay tracks out in the plane, so that what sounds alike lies together: UMAP of their descriptors.

    The tracks are those of `track_ids`, or those nearest to the track `like`, or those that pass `filter`, or, with
    none of the three, all; at most `limit` of the last three. It is computed for this request and stored nowhere. The
    same tracks, options and seed give the same map. It ends when the client leaves.

    With `Accept: text/event-stream` there are `progress` events while it is computed, and then one `map` event with
    the answer, or one `error` event with the error body. What is wrong with the request is refused before the
    stream begins.
    """
    no_query(request)
    door = request.app[DOOR]
    asked = await read_document(
        request, MapRequest, door.patience(total_s=door.config.web.clip_upload_timeout_s)
    )
    with measured("map", "choose"):
        chosen = await _while_there(request, _choose(door, asked))
    if not streams.wanted(request):
        drawing = mapping.map_of(door.services, chosen.vectors, _options(asked), on_progress=_unheard)
        return await think(_answer, request, chosen, await _while_there(request, drawing))
    response = await streams.begin(request)
    try:
        await _stream(request, response, chosen, _options(asked))
    except FpserverError as error:
        log.info("web.map_failed", code=error.code, message=error.message)
        await streams.say(response, "error", body_of(error.code, error.message, request[REQUEST_ID]))
    return response


async def _stream(
    request: web.Request, response: web.StreamResponse, chosen: Chosen, options: MapOptions
) -> None:
    """Tell of progress until there is a map, then tell the map."""
    progress, told, spoke_at = MapProgress(stage="starting", fraction=0.0), None, time.monotonic()

    def on_progress(fraction: float) -> None:
        nonlocal progress
        progress = MapProgress(stage="computing", fraction=round(fraction, 3))

    drawing = mapping.map_of(request.app[DOOR].services, chosen.vectors, options, on_progress=on_progress)
    async with _begun(drawing) as task:
        while told is None or not task.done():
            if progress != told:
                told, spoke_at = progress, time.monotonic()
                await streams.say(response, "progress", progress)
            elif time.monotonic() - spoke_at > streams.KEEP_ALIVE_S:
                spoke_at = time.monotonic()
                await response.write(streams.KEEP_ALIVE)
            await _look(request, task)
    document = await think(_document, request, chosen, task.result())
    await streams.say(response, "map", document)


async def _choose(door: Door, asked: MapRequest) -> Chosen:
    given = [name for name in WAYS if getattr(asked, name) is not None]
    if len(given) > 1:
        raise InvalidRequest(
            f"body: {' and '.join(given)} are given, at most one of {', '.join(WAYS)} can be"
        )
    ids = None if asked.track_ids is None else list(dict.fromkeys(asked.track_ids))
    limit = asked.limit or min(USUAL_LIMIT, door.services.config.similarity.max_map_tracks)
    mapping.check_size(door.services, limit if ids is None else len(ids))
    return await mapping.choose_for_map(
        door.neighbourhood,
        ids=ids,
        like=asked.like,
        sieve=None if asked.filter is None else asked.filter.sieve(),
        limit=limit,
        mix=weights_in(asked.features),
    )


def _options(asked: MapRequest) -> MapOptions:
    return MapOptions(
        n_neighbors=asked.n_neighbors, min_dist=asked.min_dist, metric=asked.metric, seed=asked.seed
    )


def _document(request: web.Request, chosen: Chosen, drawn: MapResult) -> bytes:
    return to_json(_map_of(request, chosen, drawn))


def _answer(request: web.Request, chosen: Chosen, drawn: MapResult) -> web.Response:
    return answer(request, _map_of(request, chosen, drawn))


def _map_of(request: web.Request, chosen: Chosen, drawn: MapResult) -> MapAnswer:
    columns = (chosen.track_ids.tolist(), *drawn.points.T.tolist(), chosen.pictured)
    points = [
        MapPoint(
            track_id=track_id,
            x=round(x, 5),
            y=round(y, 5),
            title=shown.metadata.title,
            artist=shown.metadata.artist,
            album=shown.metadata.album,
            genre=shown.metadata.genre,
            key=shown.key,
            **{fact: shown.facts.get(fact) for fact in MAP_FACTS},
        )
        for track_id, x, y, shown in zip(*columns, strict=True)
    ]
    return MapAnswer(
        request_id=request[REQUEST_ID],
        n_tracks=len(points),
        points=points,
        n_neighbors=drawn.n_neighbors,
        left_out=list(chosen.left_out),
        seconds=round(drawn.seconds, 3),
    )


async def _while_there(request: web.Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives; it is ended when the client leaves.

    Raises:
        ConnectionResetError: the client has left.
    """
    async with _begun(work) as task:
        while not task.done():
            await _look(request, task)
    return task.result()


async def _look(request: web.Request, task: asyncio.Task[Any]) -> None:
    """Wait until the task is done, a little at most; it matters only while the client is there."""
    await asyncio.wait({task}, timeout=LOOK_EVERY_S)
    if not task.done() and streams.gone(request):
        raise ConnectionResetError("the client has left")


@asynccontextmanager
async def _begun(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Work that does not outlive the context."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _unheard(_fraction: float) -> None:
    """Nobody asked how far it has come."""
