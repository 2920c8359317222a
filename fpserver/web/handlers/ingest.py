"""Bulk: many files in one request, how far they have come, and an end to it."""

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
import structlog
from aiohttp import BodyPartReader, web

from fpserver import errors, metrics
from fpserver.errors import (
    AudioEmpty,
    AudioTooLarge,
    BodyTooLarge,
    Conflict,
    FingerprintInvalid,
    FpserverError,
    InvalidRequest,
    MediaTypeUnsupported,
    StoreUnavailable,
    UploadTimeout,
)
from fpserver.web import convert
from fpserver.web.adding import check_fingerprint, read_metadata, title_of
from fpserver.web.answers import answer, to_json
from fpserver.web.bulk import MAX_FINGERPRINT_BYTES, REST, Bulk, lines, metadata_of, msgpack_objects
from fpserver.web.contract import Body, Reply, form, speaks
from fpserver.web.door import DOOR, Door
from fpserver.web.forms import part_chunks, parts
from fpserver.web.manifest import file_below
from fpserver.web.media import EVENTS, FINGERPRINT, FORM, NDJSON
from fpserver.web.reading import batch_id, decode, no_query, read_query, shown
from fpserver.web.schemas import BatchAnswer, IngestQuery, ManifestLine, MetadataIn
from fpserver.web.uploads import Patience

log = structlog.get_logger()

EVENT_EVERY_S = 0.5
KEEP_ALIVE_S = 15.0  # below the idle limits of common proxies
ITEM_ERRORS = (AudioEmpty, AudioTooLarge, BodyTooLarge, InvalidRequest, errors.SourceMissing)


@speaks(
    query=IngestQuery,
    bodies=(
        form(
            "any number of files, each a part with a file name; a JSON part `metadata` speaks of the file after it",
            metadata="optional, before a file: JSON, the fields of `MetadataIn`",
            file="a recording; any part name will do, the file name is the item's name",
        ),
        Body(
            media_type=NDJSON,
            text="a manifest: one JSON object a line, its `path` below a folder of `web.manifest_roots`",
            schema=ManifestLine,
        ),
        Body(
            media_type=FINGERPRINT,
            text="fingerprints, one after another, each as `fpserver fingerprint FILE` writes it",
        ),
    ),
    replies={
        202: Reply(text="taken: the batch, with what could not be taken under `errors`", schema=BatchAnswer)
    },
    errors=(
        errors.InvalidRequest,
        errors.MediaTypeUnsupported,
        errors.UploadTimeout,
        errors.BatchNotFound,
        errors.Conflict,
        errors.Overloaded,
        errors.StoreUnavailable,
    ),
)
async def take(request: web.Request) -> web.StreamResponse:
    """Take many recordings at once, as a batch.

    An item that cannot be taken becomes an error of the batch; the others are taken all the same. Workers begin
    while the request still arrives. `batch_id` adds to an earlier batch, so that one batch can span requests.
    """
    door = request.app[DOOR]
    query = read_query(request, IngestQuery)
    take_items = {FORM: _take_form, NDJSON: _take_manifest, FINGERPRINT: _take_fingerprints}.get(
        request.content_type
    )
    if take_items is None:
        raise MediaTypeUnsupported(
            f"body is {shown(request.content_type)}, must be {FORM}, {NDJSON} or {FINGERPRINT}"
        )
    bulk = Bulk(door, query.batch_id)
    await bulk.check()
    try:
        await take_items(request, bulk, door.patience())
    except (InvalidRequest, UploadTimeout, FingerprintInvalid, AudioTooLarge, Conflict) as error:
        if not bulk.n_items:
            raise
        await bulk.tell(REST, error)  # what came before it is taken all the same
    if not bulk.n_items:
        raise InvalidRequest("body holds no items: there is nothing to take")
    batch = await door.services.tracks.batch(await bulk.batch_id())
    location = {"Location": f"/v1/ingest/{batch.batch_id}"}
    return answer(request, convert.batch(batch, now=time.time()), status=202, headers=location)


async def _take_form(request: web.Request, bulk: Bulk, patience: Patience) -> None:
    metadata: MetadataIn | FpserverError = MetadataIn()
    async for part in parts(request, patience):
        if part.name == "metadata" and part.filename is None:
            try:
                metadata = await read_metadata(part_chunks(part, patience))
            except (InvalidRequest, BodyTooLarge) as error:
                metadata = error
        else:
            await _take_part(request.app[DOOR], part, metadata, bulk, patience)
            metadata = MetadataIn()
        async for _ in part_chunks(part, patience):  # what a refusal left unread
            pass


async def _take_part(
    door: Door, part: BodyPartReader, metadata: MetadataIn | FpserverError, bulk: Bulk, patience: Patience
) -> None:
    item = (part.filename or part.name or f"part {bulk.n_items + 1}")[:1000]
    if part.filename is None:
        metadata = InvalidRequest(f"form part {shown(item)} has no file name: takes files and 'metadata'")
    if isinstance(metadata, FpserverError):
        await bulk.refuse(item, metadata)
        return
    try:
        async with door.spool.receive(
            part_chunks(part, patience), what="file", max_bytes=door.config.audio.max_track_bytes
        ) as upload:
            metrics.RECEIVED_BYTES.labels("track").inc(upload.n_bytes)
            await bulk.upload(upload, metadata.as_term(title=title_of(part.filename)))
    except (AudioEmpty, AudioTooLarge) as error:
        await bulk.refuse(item, error)


async def _take_manifest(request: web.Request, bulk: Bulk, patience: Patience) -> None:
    door = request.app[DOOR]
    roots = door.config.web.manifest_roots
    if not roots:
        raise InvalidRequest("manifests are not taken here: web.manifest_roots names no folder")
    n_line = 0
    async for line in lines(patience.chunks(request.content)):
        n_line += 1
        item = f"line {n_line}"
        try:
            entry = decode(line, ManifestLine, what=item)
            item = entry.path
            path, sha256 = await asyncio.to_thread(
                file_below, roots, entry.path, max_bytes=door.config.audio.max_track_bytes
            )
        except ITEM_ERRORS as error:
            await bulk.refuse(item, error)
        else:
            await bulk.file(str(path), sha256, entry.as_term(title=title_of(entry.path)))


async def _take_fingerprints(request: web.Request, bulk: Bulk, patience: Patience) -> None:
    spool = request.app[DOOR].spool
    bodies = msgpack_objects(patience.chunks(request.content), max_bytes=MAX_FINGERPRINT_BYTES)
    async for body in bodies:
        item = f"fingerprint {bulk.n_items + 1}"
        try:
            async with spool.receive(_once(body), what=item, max_bytes=MAX_FINGERPRINT_BYTES) as upload:
                metrics.RECEIVED_BYTES.labels("track_fingerprint").inc(upload.n_bytes)
                await check_fingerprint(upload)
                await bulk.upload(upload, metadata_of(body))
        except (FingerprintInvalid, InvalidRequest) as error:
            await bulk.refuse(item, error)


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


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
    response = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
    response.content_type = EVENTS
    await response.prepare(request)
    told: object = None
    n_told = 0
    spoke_at = time.monotonic()
    while True:
        now = time.time()
        facts = (batch.counts, batch.n_items, len(batch.errors), batch.audio_s, batch.cancelled)
        if batch.n_pending == 0:
            await _say(response, "done", convert.batch(batch, now=now))
            return response
        if facts != told:
            await _say(response, "progress", convert.batch(batch, now=now, errors_from=n_told))
            told, n_told, spoke_at = facts, len(batch.errors), time.monotonic()
        elif time.monotonic() - spoke_at > KEEP_ALIVE_S:
            await response.write(b": still here\n\n")
            spoke_at = time.monotonic()
        if await _closing(door, request):
            return response
        try:
            batch = await door.services.tracks.batch(wanted)
        except StoreUnavailable:
            log.warning("web.events_waiting", batch_id=wanted)  # it may be back at the next look


async def _say(response: web.StreamResponse, event: str, document: msgspec.Struct) -> None:
    await response.write(b"event: " + event.encode() + b"\ndata: " + to_json(document) + b"\n\n")


async def _closing(door: Door, request: web.Request) -> bool:
    """Wait for the next look; True when there is nobody to look for any more."""
    try:
        async with asyncio.timeout(EVENT_EVERY_S):
            await door.closing.wait()
    except TimeoutError:
        return request.transport is None or request.transport.is_closing()
    return True
