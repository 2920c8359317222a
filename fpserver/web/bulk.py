"""Many files in one request: each becomes a queued track or an error of its batch, and none spoils the others.

Items are submitted as they arrive, so workers are busy while the upload goes on. The batch is made with the
first item: a request that holds none leaves nothing behind.
"""

import time
from collections.abc import AsyncIterator

import msgpack
import msgspec

from fpserver import ingest
from fpserver.errors import Conflict, FingerprintInvalid, FpserverError, InvalidRequest
from fpserver.terms import Metadata
from fpserver.web.adding import submit_upload
from fpserver.web.door import Door
from fpserver.web.reading import decode
from fpserver.web.schemas import MetadataIn
from fpserver.web.uploads import READ_BYTES, Upload, too_large

MAX_LINE_BYTES = 2**16  # a manifest line: a path and six fields of 1,000 characters, escaped
MAX_FINGERPRINT_BYTES = 2**25  # six hours at 120 peaks a second, 3.5 bytes each, are 9 MB
REST = "request body"  # the item that errors of the request as a whole are told under

_METADATA_KEY = msgpack.packb("metadata")
_METADATA_DECODER = msgspec.msgpack.Decoder(MetadataIn)


class TooManyItems(InvalidRequest):
    """A request holds more items than it may."""


class Bulk:
    """The items of one request, on their way into one batch."""

    def __init__(self, door: Door, batch_id: str | None) -> None:
        self._door = door
        self._tracks = door.services.tracks
        self._batch_id = batch_id
        self.n_items = 0

    async def check(self) -> None:
        """Make sure that a batch to add to is there and goes on.

        Raises:
            BatchNotFound, Conflict: it is not; it was cancelled.
        """
        if self._batch_id is not None and (await self._tracks.batch(self._batch_id)).cancelled:
            raise Conflict(f"batch {self._batch_id} was cancelled and takes no more files")

    async def batch_id(self) -> str:
        """The batch; made when it is first needed."""
        if self._batch_id is None:
            self._batch_id = await self._tracks.create_batch(now=time.time())
        return self._batch_id

    async def upload(self, upload: Upload, metadata: Metadata) -> None:
        """A file that was received."""
        await self._count()
        await submit_upload(self._door, upload, metadata, batch_id=await self.batch_id())

    async def file(self, path: str, sha256: str, metadata: Metadata) -> None:
        """A file that lies on this machine and stays there."""
        await self._count()
        files = [(f"file:{path}", sha256, metadata)]
        await ingest.submit(self._door.services, files, batch_id=await self.batch_id())

    async def refuse(self, item: str, error: FpserverError) -> None:
        """An item that cannot become a track."""
        await self._count()
        await self.tell(item, error)

    async def tell(self, item: str, error: FpserverError) -> None:
        """Put an error into the batch."""
        await self._tracks.add_batch_error(await self.batch_id(), item, error, now=time.time())

    async def _count(self) -> None:
        limit = self._door.config.web.max_batch_files
        if self.n_items >= limit:
            raise TooManyItems(
                f"more than {limit} items, which is the limit of one request: the rest was not read"
            )
        self.n_items += 1


async def lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines of a body as they arrive, without their ends; empty ones are left out.

    Raises:
        InvalidRequest: a line is longer than a line may be.
    """
    waiting = b""
    async for chunk in chunks:
        *whole_lines, waiting = (waiting + chunk).split(b"\n")
        for line in whole_lines:
            if line.strip():
                yield line
        if len(waiting) > MAX_LINE_BYTES:
            raise InvalidRequest(f"a line has more than {MAX_LINE_BYTES} bytes, which is the limit")
    if waiting.strip():
        yield waiting


async def msgpack_objects(chunks: AsyncIterator[bytes], *, max_bytes: int) -> AsyncIterator[bytes]:
    """The bodies of a stream of concatenated msgpack objects, each as its bytes, never unpacked here.

    Raises:
        FingerprintInvalid: the stream is no msgpack, or ends in the middle of an object.
        AudioTooLarge: an object has more than `max_bytes`.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=max_bytes + 2 * READ_BYTES)
    waiting = bytearray()
    n_before = 0  # bytes of the objects that were split off
    async for chunk in chunks:
        waiting += chunk
        unpacker.feed(chunk)
        while True:
            try:
                unpacker.skip()
            except msgpack.OutOfData:
                break
            except (ValueError, msgpack.UnpackException) as error:
                raise FingerprintInvalid(f"stream is not msgpack after byte {n_before}") from error
            n_bytes = unpacker.tell() - n_before
            yield bytes(waiting[:n_bytes])
            del waiting[:n_bytes]
            n_before += n_bytes
        if len(waiting) > max_bytes:
            raise too_large("a fingerprint", max_bytes)
    if waiting:
        raise FingerprintInvalid(f"stream ends in the middle of a fingerprint, after byte {n_before}")


def metadata_of(body: bytes) -> Metadata:
    """What a fingerprint body says its recording is called; nothing else of it is unpacked.

    Raises:
        FingerprintInvalid: it is not one msgpack map.
        InvalidRequest: its metadata has an unknown field, or one that breaks its rule.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=len(body))
    unpacker.feed(body)
    try:
        for _ in range(unpacker.read_map_header()):
            key_at = unpacker.tell()
            unpacker.skip()
            value_at = unpacker.tell()
            unpacker.skip()
            if body[key_at:value_at] == _METADATA_KEY:
                given = body[value_at : unpacker.tell()]
                return decode(given, MetadataIn, what="metadata", decoder=_METADATA_DECODER).as_term()
    except (ValueError, msgpack.UnpackException) as error:
        raise FingerprintInvalid(f"fingerprint of {len(body)} bytes is not one msgpack map") from error
    return Metadata()
