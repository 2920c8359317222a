"""From a body that arrives in pieces to a file on disk, bounded in bytes and in time.

An upload is a file `<random>.part` in the spool for as long as its request runs, and is removed with it, however
the request ends. Only `keep()` makes it stay, under its name without `.part`, as the source of a track.
Writing and hashing happen in threads: the event loop never waits for a disk.
"""

import asyncio
import errno
import hashlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from aiohttp import StreamReader

from fpserver.errors import AudioEmpty, AudioTooLarge, BodyTooLarge, Overloaded, UploadTimeout
from fpserver.fingerprint.wire import HEAD_BYTES
from fpserver.stages import UPLOAD, noted

READ_BYTES = 2**16
WRITE_BYTES = 2**20  # one hop into a thread per MiB, and none while a clip arrives
MAX_WAITING_BYTES = (
    64 * 2**20
)  # of all uploads that are not written yet; beyond, every piece is written at once
MAX_UNPACKED_RATIO = 100  # of what comes out of a compressed body to what went in, beyond
FREE_UNPACKED_BYTES = 16 * 2**20
STALE_S = 86400.0
PART = ".part"

T = TypeVar("T")


class Patience:
    """How long one request's body may take: in all, and between two pieces."""

    def __init__(self, *, idle_s: float, total_s: float) -> None:
        self._idle_s = idle_s
        self._total_s = total_s
        self._deadline = asyncio.get_running_loop().time() + total_s

    async def wait(self, piece: Awaitable[T]) -> T:
        """The next piece.

        Raises:
            UploadTimeout: it did not come in time.
        """
        idle_until = asyncio.get_running_loop().time() + self._idle_s
        try:
            with noted(UPLOAD):
                async with asyncio.timeout_at(min(idle_until, self._deadline)):
                    return await piece
        except TimeoutError as error:
            if idle_until < self._deadline:
                raise UploadTimeout(
                    f"upload stood still for {self._idle_s:g} s, which is the limit"
                ) from error
            raise UploadTimeout(f"upload took longer than {self._total_s:g} s, which is the limit") from error

    async def chunks(self, content: StreamReader) -> AsyncIterator[bytes]:
        """A raw body, as it arrives."""
        while chunk := await self.wait(content.read(READ_BYTES)):
            check_unpacked(content)
            yield chunk


def check_unpacked(content: StreamReader) -> None:
    """Refuse a compressed body that is nothing but air.

    Raises:
        BodyTooLarge: what came out is far more than went in.
    """
    packed = content.total_compressed_bytes
    if packed and content.total_bytes > max(FREE_UNPACKED_BYTES, MAX_UNPACKED_RATIO * packed):
        raise BodyTooLarge(
            f"body unpacks to more than {MAX_UNPACKED_RATIO} times its {packed} bytes, which is the limit"
        )


class Upload:
    """A body on disk, whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.n_bytes = 0
        self.head = b""  # its first HEAD_BYTES
        self.whole_at = 0.0  # moment of its last byte, by time.perf_counter
        self._digest = hashlib.sha256()
        self._file: BinaryIO | None = None

    @property
    def sha256(self) -> str:
        """Of all its bytes, hex."""
        return self._digest.hexdigest()

    def write(self, data: bytes) -> None:
        """Append; runs in a thread."""
        if self._file is None:
            self._file = self.path.open("xb")
            self.head = data[:HEAD_BYTES]
        self._file.write(data)
        self._digest.update(data)

    def close(self) -> None:
        """No more will be written."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def keep(self) -> str:
        """Let the file stay after its request; returns the source to submit it under."""
        kept = self.path.with_suffix("")
        self.path.rename(kept)
        self.path = kept
        return f"spool:{kept}"

    def drop(self) -> None:
        """Remove the file, kept or not."""
        self.close()
        self.path.unlink(missing_ok=True)


class Spool:
    """The folder that uploads are received in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._n_waiting = 0  # bytes of all uploads that are not written yet

    def open(self, *, now: float | None = None) -> int:
        """Make the folder, remove partial uploads that a killed process left; returns how many."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        before = (time.time() if now is None else now) - STALE_S
        stale = [path for path in self.folder.glob(f"*{PART}") if path.stat().st_mtime < before]
        for path in stale:
            path.unlink(missing_ok=True)
        return len(stale)

    @asynccontextmanager
    async def receive(
        self, chunks: AsyncIterator[bytes], *, what: str, max_bytes: int
    ) -> AsyncIterator[Upload]:
        """Write a body to disk; the file is there inside the context, and after it only when it was kept.

        Args:
            chunks: the body, as it arrives.
            what: names it in a refusal.
            max_bytes: its limit.

        Raises:
            AudioEmpty: there are no bytes.
            AudioTooLarge: there are more than `max_bytes`.
            UploadTimeout: they come too slowly.
            Overloaded: the disk is full.
        """
        upload = Upload(self.folder / f"{uuid.uuid4().hex}{PART}")
        try:
            await self._fill(upload, chunks, what=what, max_bytes=max_bytes)
            yield upload
        finally:
            if upload.path.suffix == PART:
                await asyncio.to_thread(upload.drop)

    async def _fill(self, upload: Upload, chunks: AsyncIterator[bytes], *, what: str, max_bytes: int) -> None:
        waiting = bytearray()
        try:
            async for chunk in chunks:
                waiting += chunk
                self._n_waiting += len(chunk)
                upload.n_bytes += len(chunk)
                if upload.n_bytes > max_bytes:
                    raise too_large(what, max_bytes)
                if len(waiting) >= WRITE_BYTES or self._n_waiting > MAX_WAITING_BYTES:
                    await _write(upload, bytes(waiting))
                    self._n_waiting -= len(waiting)
                    waiting.clear()
            if not upload.n_bytes:
                raise AudioEmpty(f"{what} is empty: 0 bytes")
            upload.whole_at = time.perf_counter()
            await _write(upload, bytes(waiting), last=True)
        finally:
            self._n_waiting -= len(waiting)


def too_large(what: str, max_bytes: int) -> AudioTooLarge:
    """The refusal of a file over its limit."""
    return AudioTooLarge(f"{what} has more than {max_bytes} bytes, which is the limit")


async def whole(chunks: AsyncIterator[bytes], *, what: str, max_bytes: int) -> bytes:
    """A small body in memory.

    Raises:
        BodyTooLarge: it has more than `max_bytes`.
        UploadTimeout: it comes too slowly.
    """
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            raise BodyTooLarge(f"{what} has more than {max_bytes} bytes, which is the limit")
    return bytes(body)


async def _write(upload: Upload, data: bytes, *, last: bool = False) -> None:
    def write() -> None:
        upload.write(data)
        if last:
            upload.close()

    try:
        with noted("spool"):
            await asyncio.to_thread(write)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE):
            raise Overloaded(f"spool {upload.path.parent} takes no more: {error.strerror}") from error
        raise
