"""What is in the catalogue: list, read, change, remove."""

import time

from aiohttp import web

from fpserver import errors, ingest
from fpserver.errors import InvalidRequest, TrackNotFound
from fpserver.terms import MAX_TRACK_ID
from fpserver.tracks.catalogue import TrackFilter
from fpserver.web import convert
from fpserver.web.answers import answer
from fpserver.web.contract import Body, Reply, speaks
from fpserver.web.door import DOOR
from fpserver.web.media import JSON
from fpserver.web.reading import no_query, read_document, read_query, shown, track_id
from fpserver.web.schemas import (
    MetadataChanges,
    TrackAnswer,
    TrackPage,
    TracksQuery,
)


@speaks(
    query=TracksQuery,
    replies={200: Reply(text="a page of tracks, by id", schema=TrackPage)},
    errors=(errors.InvalidRequest, errors.StoreUnavailable),
)
async def page(request: web.Request) -> web.StreamResponse:
    """List tracks, a page at a time.

    Filters are joined by "and"; letter case makes no difference. A page may be short, or empty, while
    `next_cursor` still leads on: each page examines a bounded number of tracks.
    """
    query = read_query(request, TracksQuery)
    tracks, after = await request.app[DOOR].services.tracks.page(
        after=_cursor(query.cursor),
        limit=query.limit,
        filters=TrackFilter(
            q=query.q,
            status=query.status,
            artist=query.artist,
            genre=query.genre,
            tag=query.tag,
            batch_id=query.batch_id,
            external_id=query.external_id,
            isrc=query.isrc,
            ranges=query.ranges(),
        ),
    )
    document = TrackPage(
        tracks=[convert.track(track) for track in tracks], next_cursor=None if after is None else str(after)
    )
    return answer(request, document)


def _cursor(text: str | None) -> int:
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX_TRACK_ID):
        raise InvalidRequest(f"query parameter cursor is {shown(text)}: must be the next_cursor of a page")
    return int(text)


@speaks(
    replies={200: Reply(text="the track", schema=TrackAnswer)},
    errors=(errors.InvalidRequest, errors.TrackNotFound, errors.StoreUnavailable),
)
async def read(request: web.Request) -> web.StreamResponse:
    """Read a track: its metadata, and how far it has come."""
    no_query(request)
    wanted = track_id(request)
    track = (await request.app[DOOR].services.tracks.get([wanted])).get(wanted)
    if track is None:
        raise TrackNotFound(f"no track {wanted}")
    return answer(request, convert.track(track))


@speaks(
    bodies=(Body(media_type=JSON, text="the fields to change; null clears one", schema=MetadataChanges),),
    replies={200: Reply(text="the track, changed", schema=TrackAnswer)},
    errors=(
        errors.InvalidRequest,
        errors.MediaTypeUnsupported,
        errors.BodyTooLarge,
        errors.UploadTimeout,
        errors.TrackNotFound,
        errors.Conflict,
        errors.StoreUnavailable,
    ),
)
async def edit(request: web.Request) -> web.StreamResponse:
    """Change a track's metadata. What is left out stays as it is."""
    no_query(request)
    door = request.app[DOOR]
    wanted = track_id(request)
    changes = await read_document(request, MetadataChanges, door.patience())
    track = await door.services.tracks.edit(wanted, changes.given(), now=time.time())
    return answer(request, convert.track(track))


@speaks(
    replies={204: Reply(text="it is gone")},
    errors=(errors.InvalidRequest, errors.TrackNotFound, errors.Conflict, errors.StoreUnavailable),
)
async def remove(request: web.Request) -> web.StreamResponse:
    """Remove a track: its postings, its peaks, its record. Needs no audio, and can be repeated."""
    no_query(request)
    await ingest.delete_track(request.app[DOOR].services, track_id(request))
    return web.Response(status=204)
