"""Many recordings in one request."""

import asyncio
import time
from collections.abc import AsyncIterator

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
    UploadTimeout,
)
from fpserver.web import convert
from fpserver.web.adding import check_fingerprint, described, read_metadata
from fpserver.web.answers import answer
from fpserver.web.bulk import MAX_FINGERPRINT_BYTES, REST, Bulk, lines, metadata_of, msgpack_objects
from fpserver.web.contract import Body, Reply, form, speaks
from fpserver.web.door import DOOR, Door
from fpserver.web.forms import part_chunks, parts
from fpserver.web.manifest import file_below
from fpserver.web.media import FINGERPRINT, FORM, NDJSON
from fpserver.web.reading import decode, read_query, shown
from fpserver.web.schemas import BatchAnswer, IngestQuery, ManifestLine, MetadataIn
from fpserver.web.uploads import Patience

log = structlog.get_logger()

ITEM_ERRORS = (AudioEmpty, AudioTooLarge, BodyTooLarge, InvalidRequest, errors.SourceMissing)


@speaks(
    query=IngestQuery,
    bodies=(
        form(
            "any number of files, each a part with a file name; a JSON part `metadata` speaks of the file after it",
            other_parts=True,
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
        errors.BodyTooLarge,
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
    except (
        InvalidRequest,
        UploadTimeout,
        FingerprintInvalid,
        AudioTooLarge,
        BodyTooLarge,
        Conflict,
    ) as error:
        if not bulk.n_items:
            raise
        await bulk.tell(REST, error)  # what came before it is taken all the same
    if not bulk.n_items:
        raise InvalidRequest("body holds no items: there is nothing to take")
    batch = await door.services.tracks.batch(await bulk.batch_id())
    log.info("web.batch_taken", batch_id=batch.batch_id, n_items=bulk.n_items)
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
            await bulk.upload(upload, await described(door, upload.path, part.filename, metadata))
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
            await bulk.file(str(path), sha256, await described(door, path, entry.path, entry))


async def _take_fingerprints(request: web.Request, bulk: Bulk, patience: Patience) -> None:
    spool = request.app[DOOR].spool
    bodies = msgpack_objects(patience.chunks(request.content), max_bytes=MAX_FINGERPRINT_BYTES)
    async for body in bodies:
        item = f"fingerprint {bulk.n_items + 1}"
        try:
            async with spool.receive(_once(body), what=item, max_bytes=MAX_FINGERPRINT_BYTES) as upload:
                metrics.RECEIVED_BYTES.labels("track_fingerprint").inc(upload.n_bytes)
                check_fingerprint(upload)
                await bulk.upload(upload, metadata_of(body))
        except (FingerprintInvalid, InvalidRequest) as error:
            await bulk.refuse(item, error)


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
