"""From an upload and what is said about it to a queued track."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path, PurePath
from urllib.parse import unquote

from fpserver import ingest
from fpserver.errors import AudioError, FingerprintInvalid
from fpserver.fingerprint import wire
from fpserver.hearing import tags_of
from fpserver.stages import noted
from fpserver.terms import Metadata, Submitted
from fpserver.web.door import Door
from fpserver.web.forms import MAX_METADATA_BYTES
from fpserver.web.reading import decode
from fpserver.web.schemas import MetadataIn
from fpserver.web.uploads import Upload, whole

TAGS_TIMEOUT_S = 10.0


async def submit_upload(door: Door, upload: Upload, metadata: Metadata, *, batch_id: str | None) -> Submitted:
    """Make an upload a queued track: its file stays, unless the catalogue has these bytes already.

    Raises:
        StoreUnavailable: the store did not answer; the file is removed, the caller has to send it again.
    """
    source = await asyncio.to_thread(upload.keep)
    try:
        with noted("tracks"):
            (submitted,) = await ingest.submit(
                door.services, [(source, upload.sha256, metadata)], batch_id=batch_id
            )
    except BaseException:
        await asyncio.to_thread(upload.drop)
        raise
    return submitted


async def read_metadata(chunks: AsyncIterator[bytes]) -> MetadataIn:
    """A JSON part `metadata`.

    Raises:
        InvalidRequest: it is malformed, or a field is unknown or breaks its rule.
        BodyTooLarge: it is no metadata at that size.
    """
    return decode(
        await whole(chunks, what="metadata", max_bytes=MAX_METADATA_BYTES), MetadataIn, what="metadata"
    )


async def described(door: Door, path: Path, name: str | None, given: MetadataIn) -> Metadata:
    """What a recording is called: as given, else as its tags say, else by its file's name."""
    try:
        with noted("tags"):
            tags = await door.services.pool.run(tags_of, path, title_of(name) or "", timeout_s=TAGS_TIMEOUT_S)
    except AudioError:  # tags that hang or kill their reader are none
        tags = Metadata(title=title_of(name))
    return given.as_term(otherwise=tags)


def title_of(filename: str | None) -> str | None:
    """What a file without tags is called: its name without folder and ending."""
    name = PurePath(unquote(filename or "").replace("\\", "/")).stem  # some clients send %20 for a space
    return "".join(character for character in name if character.isprintable())[:200] or None


def check_fingerprint(upload: Upload) -> None:
    """Make sure that what was called a fingerprint begins like one; what begins otherwise is heard as audio.

    Raises:
        FingerprintInvalid: it does not.
    """
    if not wire.begins_as_fingerprint(upload.head):
        raise FingerprintInvalid(
            f"body of {upload.n_bytes} bytes is no fingerprint: must be a msgpack map that begins with format"
        )
