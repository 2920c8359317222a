"""From a multipart body to its parts, one after another as they arrive; what is malformed is one clear sentence."""

from collections.abc import AsyncIterator

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from fpserver.errors import InvalidRequest
from fpserver.web.uploads import READ_BYTES, Patience

MAX_METADATA_BYTES = 2**16  # seven fields of 1,000 characters, escaped


async def parts(request: web.Request, patience: Patience) -> AsyncIterator[BodyPartReader]:
    """The parts of a form.

    Raises:
        InvalidRequest: the body is not a well-formed form.
        UploadTimeout: it comes too slowly.
    """
    try:
        reader = await request.multipart()
    except (ValueError, AssertionError) as error:
        raise _malformed(error) from error
    while True:
        try:
            part = await patience.wait(reader.next())
        except (ValueError, AssertionError, RuntimeError, HttpProcessingError) as error:
            raise _malformed(error) from error
        if part is None:
            return
        if not isinstance(part, BodyPartReader):
            raise InvalidRequest("multipart body: a part is itself multipart, must be a file or JSON")
        yield part


async def part_chunks(part: BodyPartReader, patience: Patience) -> AsyncIterator[bytes]:
    """One part's bytes as they arrive.

    Raises:
        InvalidRequest: the body ends in the middle of the part.
        UploadTimeout: they come too slowly.
    """
    while not part.at_eof():
        try:
            chunk = await patience.wait(part.read_chunk(READ_BYTES))
        except (ValueError, AssertionError, RuntimeError, HttpProcessingError) as error:
            raise _malformed(error) from error
        if chunk:
            yield chunk


def _malformed(error: Exception) -> InvalidRequest:
    return InvalidRequest(f"multipart body is malformed: {error or type(error).__name__}")
