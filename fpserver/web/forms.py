"""From a multipart body to its parts, one after another as they arrive; what is malformed is one clear sentence."""

import warnings
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import (
    BadContentDispositionHeader,
    BadContentDispositionParam,
    BodyPartReader,
    MultipartReader,
    StreamReader,
    web,
)
from aiohttp.http_exceptions import HttpProcessingError

from fpserver.errors import InvalidRequest
from fpserver.web.uploads import READ_BYTES, Patience, check_unpacked

MAX_LINES = (
    100  # outside of contents, from one part to the next: boundaries, headers, what stands before the first
)
MAX_METADATA_BYTES = 2**16  # seven fields of 1,000 characters, escaped

for _kind in (
    BadContentDispositionHeader,
    BadContentDispositionParam,
):  # or each would be printed, and kept for good
    warnings.filterwarnings("ignore", category=_kind)


async def parts(request: web.Request, patience: Patience) -> AsyncIterator[BodyPartReader]:
    """The parts of a form.

    Raises:
        InvalidRequest: the body is not a well-formed form.
        UploadTimeout: it comes too slowly.
    """
    content = _Content(request.content)
    try:
        reader = MultipartReader(request.headers, content)  # type: ignore[arg-type]  # it reads as a StreamReader does
    except (ValueError, AssertionError) as error:
        raise _malformed(error) from error
    while True:
        content.n_lines = 0
        try:
            part = await patience.wait(reader.next())
        except (ValueError, AssertionError, RuntimeError, HttpProcessingError) as error:
            raise _malformed(error) from error
        if part is None:
            return
        if not isinstance(part, BodyPartReader):
            raise InvalidRequest("multipart body: a part is itself multipart, must be a file or JSON")
        yield part


class _Content:
    """A body, of which few lines are read one by one: a million of them would keep the event loop for seconds."""

    def __init__(self, content: StreamReader) -> None:
        self._content = content
        self.n_lines = 0

    async def readline(self, **limits: int) -> bytes:
        self.n_lines += 1
        if self.n_lines > MAX_LINES:
            raise ValueError(f"more than {MAX_LINES} lines between two parts")
        return await self._content.readline(**limits)

    async def read(self, n: int = -1) -> bytes:
        check_unpacked(self._content)
        return await self._content.read(n)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)


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
