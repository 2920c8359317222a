"""Clips in, matches out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from fpserver import errors, metrics
from fpserver.errors import InvalidRequest
from fpserver.identify import IdentifyOptions, identify_file
from fpserver.web import convert
from fpserver.web.adding import check_fingerprint
from fpserver.web.answers import answer
from fpserver.web.contract import AUDIO_BODY, FINGERPRINT_BODY, Reply, form, speaks
from fpserver.web.door import DOOR, REQUEST_ID
from fpserver.web.forms import part_chunks, parts
from fpserver.web.media import FINGERPRINT, FORM
from fpserver.web.reading import read_query
from fpserver.web.schemas import IdentifyAnswer, IdentifyQuery
from fpserver.web.uploads import Upload, too_large


@speaks(
    query=IdentifyQuery,
    bodies=(AUDIO_BODY, form("a form with the clip", clip="the audio"), FINGERPRINT_BODY),
    replies={200: Reply(text="the matches, best first; none: an empty list", schema=IdentifyAnswer)},
    errors=(
        errors.InvalidRequest,
        errors.UploadTimeout,
        errors.AudioEmpty,
        errors.AudioUnsupported,
        errors.AudioDamaged,
        errors.AudioTooLarge,
        errors.AudioTooShort,
        errors.AudioTimeout,
        errors.AudioCrash,
        errors.FingerprintInvalid,
        errors.FingerprintForeign,
        errors.Overloaded,
        errors.StoreUnavailable,
    ),
)
async def identify(request: web.Request) -> web.StreamResponse:
    """Say which track a clip is from, and where in it the clip lies.

    The body is audio, in any container the decoder knows and under any content type, or a fingerprint.
    A clip longer than `audio.max_clip_s` is heard to there. No match is an answer: 200 with an empty list.
    """
    door = request.app[DOOR]
    query = read_query(request, IdentifyQuery)
    options = IdentifyOptions(
        limit=query.limit,
        max_false_accept_rate=query.max_false_accept_rate,
        speed=query.speed,
        explain=query.explain,
    )
    with door.clip_place():
        async with _clip(request) as clip:
            found = await identify_file(door.services, clip.path, options)
    document = convert.identification(found, request_id=request[REQUEST_ID], explain=query.explain)
    return answer(request, document)


@asynccontextmanager
async def _clip(request: web.Request) -> AsyncIterator[Upload]:
    door = request.app[DOOR]
    patience = door.patience(total_s=door.config.web.clip_upload_timeout_s)
    max_bytes = door.config.audio.max_clip_bytes
    if request.content_type == FORM:
        async for part in parts(request, patience):
            if part.name == "clip":
                break
            raise InvalidRequest(f"form part {part.name!r} is unknown: the clip comes in a part named 'clip'")
        else:
            raise InvalidRequest("form has no part named 'clip'")
        chunks = part_chunks(part, patience)
    else:
        if request.content_length is not None and request.content_length > max_bytes:
            raise too_large("clip", max_bytes)
        chunks = patience.chunks(request.content)
    async with door.spool.receive(chunks, what="clip", max_bytes=max_bytes) as upload:
        fingerprint = request.content_type == FINGERPRINT
        metrics.RECEIVED_BYTES.labels("clip_fingerprint" if fingerprint else "clip").inc(upload.n_bytes)
        if fingerprint:
            check_fingerprint(upload)
        yield upload
