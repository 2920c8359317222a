"""The clip of a request, received (raw, or in a form's part `clip`), and its turn to be looked at."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from fpserver import metrics
from fpserver.errors import InvalidRequest
from fpserver.web.adding import check_fingerprint
from fpserver.web.door import DOOR
from fpserver.web.forms import part_chunks, parts
from fpserver.web.media import FINGERPRINT, FORM
from fpserver.web.places import Place
from fpserver.web.streams import gone
from fpserver.web.uploads import Upload, too_large

PLACE: web.RequestKey[Place] = web.RequestKey("place", Place)  # of a clip that is being looked at


@asynccontextmanager
async def received_clip(request: web.Request) -> AsyncIterator[Upload]:
    """The clip as a file, and a place, there as long as the context lasts.

    Where there is no place, the clip is refused before it is read: a slow sender takes none.

    Raises:
        Overloaded: there is no place, and no waiting for one.
        InvalidRequest: the form holds something else.
        AudioTooLarge, AudioEmpty, UploadTimeout: it breaks the limits of clips.
        FingerprintInvalid: it says that it is a fingerprint, and is none.
    """
    door = request.app[DOOR]
    door.places.check()
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
        async with door.places.taken() as request[PLACE]:
            if gone(request):
                raise ConnectionResetError("the client left while its clip waited for a place")
            yield upload
