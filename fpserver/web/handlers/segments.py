"""Moments that sound like a clip, or like a moment of a track."""

from time import perf_counter

from aiohttp import web

from fpserver import errors, segments
from fpserver.segments import Place
from fpserver.web.answers import answer
from fpserver.web.clips import received_clip
from fpserver.web.contract import AUDIO_BODY, Reply, form, speaks
from fpserver.web.convert import metadata_fields
from fpserver.web.door import DOOR, REQUEST_ID
from fpserver.web.handlers.similar import CLIP_ERRORS, DIGITS, TRACK_ERRORS
from fpserver.web.reading import read_query, track_id
from fpserver.web.similar_schemas import SegmentAnswer, SegmentsAnswer, SegmentsQuery, TrackSegmentsQuery


@speaks(
    query=SegmentsQuery,
    bodies=(AUDIO_BODY, form("a form with the clip", clip="the audio")),
    replies={200: Reply(text="the moments, best first", schema=SegmentsAnswer)},
    errors=(errors.InvalidRequest, errors.NotDescribed, errors.StoreUnavailable, *CLIP_ERRORS),
)
async def of_clip(request: web.Request) -> web.StreamResponse:
    """Find the moments of the catalogue that sound most like a clip of at least a second.

    A clip longer than `audio.max_clip_s` is heard to there. Of moments of one track that overlap the best is told.
    """
    door = request.app[DOOR]
    query = read_query(request, SegmentsQuery)
    async with received_clip(request) as clip:
        start = perf_counter()
        found = await segments.like_clip(
            door.neighbourhood, clip.path, limit=query.limit, sieve=query.sieve()
        )
    return answer(request, _answer(request, found, start))


@speaks(
    query=TrackSegmentsQuery,
    replies={200: Reply(text="the moments, best first", schema=SegmentsAnswer)},
    errors=TRACK_ERRORS,
)
async def of_moment(request: web.Request) -> web.StreamResponse:
    """Find the moments of the catalogue that sound most like a moment of a track, elsewhere in it and in others."""
    query = read_query(request, TrackSegmentsQuery)
    wanted, start = track_id(request), perf_counter()
    door = request.app[DOOR]
    async with door.places.taken():
        found = await segments.like_moment(
            door.neighbourhood,
            wanted,
            query.start_s,
            query.end_s,
            limit=query.limit,
            sieve=query.sieve(),
        )
    return answer(request, _answer(request, found, start))


def _answer(request: web.Request, found: list[Place], start: float) -> SegmentsAnswer:
    return SegmentsAnswer(
        request_id=request[REQUEST_ID],
        segments=[
            SegmentAnswer(
                **metadata_fields(place.track),
                start_s=round(place.hit.start_s, 3),
                end_s=round(place.hit.end_s, 3),
                distance=round(place.hit.distance, DIGITS),
                similarity=round(place.hit.similarity, DIGITS),
            )
            for place in found
        ],
        timings_ms={"similarity": round(1000 * (perf_counter() - start), 2)},
    )
