"""One recording into the catalogue, and the question whether it is there already."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain, repeat

import structlog
from aiohttp import BodyPartReader, web

from fpserver import errors, metrics
from fpserver.errors import InvalidRequest, TrackNotFound
from fpserver.stages import WAIT, noted
from fpserver.terms import ENDED, Metadata, Submitted, Track, TrackStatus
from fpserver.web.adding import check_fingerprint, described, read_metadata, submit_upload
from fpserver.web.answers import answer
from fpserver.web.bulk import MAX_FINGERPRINT_BYTES, metadata_of
from fpserver.web.contract import AUDIO_BODY, FINGERPRINT_BODY, Body, Reply, form, speaks
from fpserver.web.door import DOOR, Door
from fpserver.web.errors import recorded
from fpserver.web.forms import part_chunks, parts
from fpserver.web.media import FINGERPRINT, FORM, JSON
from fpserver.web.reading import no_query, read_document, read_query, shown
from fpserver.web.schemas import (
    Added,
    AddQuery,
    KnownAnswer,
    KnownRequest,
    MetadataIn,
)
from fpserver.web.uploads import Patience, Upload, too_large

log = structlog.get_logger()

WAIT_STEPS_S = (0.05, 0.1, 0.2, 0.4)  # between two looks at a track that is waited for; then the last again
UPLOAD_ERRORS = (
    errors.InvalidRequest,
    errors.UploadTimeout,
    errors.BodyTooLarge,
    errors.AudioEmpty,
    errors.AudioTooLarge,
    errors.Overloaded,
    errors.StoreUnavailable,
)
HEARING_ERRORS = (
    errors.AudioUnsupported,
    errors.AudioDamaged,
    errors.AudioTooLong,
    errors.AudioTooShort,
    errors.AudioSilent,
    errors.AudioTimeout,
    errors.AudioCrash,
    errors.FingerprintInvalid,
    errors.FingerprintForeign,
)


@speaks(
    query=AddQuery,
    bodies=(
        form(
            "a form with the file",
            audio="the recording",
            metadata="optional: JSON, the fields of `MetadataIn`",
        ),
        AUDIO_BODY,
        FINGERPRINT_BODY,
    ),
    replies={
        202: Reply(text="taken; a worker will index it", schema=Added),
        201: Reply(text="`wait=1`: it is indexed", schema=Added),
        200: Reply(text="the catalogue has this recording", schema=Added),
    },
    errors=UPLOAD_ERRORS + HEARING_ERRORS,
)
async def add(request: web.Request) -> web.StreamResponse:
    """Add one recording.

    What `metadata` does not say is taken from the file's tags; an untitled track is called after its file name.
    With `wait=1` the answer comes when the track is indexed, or says what is wrong with the file; after
    `web.max_wait_s` it is 202, as without. The same recording again, byte for byte or (with `wait=1`) by its
    sound, answers 200 with the track that holds it.
    """
    door = request.app[DOOR]
    query = read_query(request, AddQuery)
    async with _file(request) as (upload, metadata):
        submitted = await submit_upload(door, upload, metadata, batch_id=None)
    log.info("web.track_taken", track_id=submitted.track_id, duplicate=submitted.duplicate)
    track: Track | None = None
    if query.wait and not submitted.duplicate:
        track = await _ended(door, submitted.track_id)
    document, status = _added(submitted, track)
    return answer(request, document, status=status, headers={"Location": f"/v1/tracks/{document.track_id}"})


def _added(submitted: Submitted, track: Track | None) -> tuple[Added, int]:
    """(answer, HTTP status) of an added recording; `track` when it was waited for.

    Raises:
        FpserverError: what the track failed with.
    """
    if track is None or track.status not in ENDED:
        status = 200 if submitted.duplicate else 202
        now = submitted.status if track is None else track.status
        return Added(track_id=submitted.track_id, status=now, duplicate=submitted.duplicate), status
    if track.status is TrackStatus.DUPLICATE:
        existing = track.duplicate_of or track.track_id
        return Added(track_id=existing, status=TrackStatus.INDEXED, duplicate=True), 200
    if track.status is TrackStatus.FAILED:
        raise recorded(track.error_code, track.error_message, track_id=track.track_id)
    return Added(track_id=track.track_id, status=track.status, duplicate=False), 201


async def _ended(door: Door, wanted: int) -> Track:
    """The track once it has ended, or as it is when the wait must end.

    Raises:
        TrackNotFound: it was removed meanwhile.
    """
    give_up = time.monotonic() + door.config.web.max_wait_s
    waits_s = chain(WAIT_STEPS_S, repeat(WAIT_STEPS_S[-1]))
    while True:
        track = (await door.services.tracks.get([wanted])).get(wanted)
        if track is None:
            raise TrackNotFound(f"track {wanted} was removed while it was waited for")
        if track.status in ENDED or door.closing.is_set() or time.monotonic() > give_up:
            return track
        with noted(WAIT):
            await asyncio.sleep(next(waits_s))


@asynccontextmanager
async def _file(request: web.Request) -> AsyncIterator[tuple[Upload, Metadata]]:
    """The file of an add request, received, and its metadata; in a form they come in either order."""
    door = request.app[DOOR]
    patience = door.patience()
    max_bytes = door.config.audio.max_track_bytes
    if request.content_type != FORM:
        if request.content_length is not None and request.content_length > max_bytes:
            raise too_large("audio", max_bytes)
        fingerprint = request.content_type == FINGERPRINT
        limit = min(max_bytes, MAX_FINGERPRINT_BYTES) if fingerprint else max_bytes
        async with door.spool.receive(
            patience.chunks(request.content), what="audio", max_bytes=limit
        ) as upload:
            metrics.RECEIVED_BYTES.labels("track_fingerprint" if fingerprint else "track").inc(upload.n_bytes)
            if fingerprint:
                check_fingerprint(upload)
                yield upload, metadata_of(await asyncio.to_thread(upload.path.read_bytes))
            else:
                yield upload, await described(door, upload.path, None, MetadataIn())
        return
    given: MetadataIn | None = None
    form_parts = parts(request, patience)
    async for part in form_parts:
        if part.name == "metadata" and given is None:
            given = await read_metadata(part_chunks(part, patience))
        elif part.name == "audio":
            break
        else:
            raise InvalidRequest(
                f"form part {shown(str(part.name))}: takes one 'audio' and at most one 'metadata'"
            )
    else:
        raise InvalidRequest("form has no part named 'audio'")
    async with door.spool.receive(part_chunks(part, patience), what="audio", max_bytes=max_bytes) as upload:
        metrics.RECEIVED_BYTES.labels("track").inc(upload.n_bytes)
        given = await _metadata_after(form_parts, patience, given)
        yield upload, await described(door, upload.path, part.filename, given or MetadataIn())


async def _metadata_after(
    form_parts: AsyncIterator[BodyPartReader], patience: Patience, metadata: MetadataIn | None
) -> MetadataIn | None:
    async for part in form_parts:
        if part.name != "metadata" or metadata is not None:
            raise InvalidRequest(
                f"form part {shown(str(part.name))}: takes one 'audio' and at most one 'metadata'"
            )
        metadata = await read_metadata(part_chunks(part, patience))
    return metadata


@speaks(
    bodies=(Body(media_type=JSON, text="SHA-256 of files", schema=KnownRequest),),
    replies={200: Reply(text="those that the catalogue holds", schema=KnownAnswer)},
    errors=(
        errors.InvalidRequest,
        errors.MediaTypeUnsupported,
        errors.BodyTooLarge,
        errors.UploadTimeout,
        errors.StoreUnavailable,
    ),
)
async def known(request: web.Request) -> web.StreamResponse:
    """Ask which files the catalogue holds already, so that a second bulk run need not upload them."""
    no_query(request)
    door = request.app[DOOR]
    asked = await read_document(request, KnownRequest, door.patience())
    return answer(request, KnownAnswer(known=await door.services.tracks.known(asked.sha256)))
