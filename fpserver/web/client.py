"""The other half of the wire: what the command line, the demo and the supervisor say to a running server."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import msgspec

from fpserver.errors import FpserverError
from fpserver.terms import Metadata
from fpserver.web.media import FINGERPRINT, FORM, JSON

CHUNK_BYTES = 2**18
CONNECT_S = 5.0
SILENCE_S = 900.0  # longer than the server may take over any one answer


class RemoteError(FpserverError):
    """A server's refusal, or its silence (code `server_unreachable`)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.__dict__["code"] = code  # each refusal has its own, where other errors have their class's

    def __str__(self) -> str:
        return str(self.args[1])


class Client:
    """A running server.

    Every call answers with the document of the API, and raises RemoteError with the server's code and message.
    """

    def __init__(self, base_url: str, *, key: str | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_read=SILENCE_S)
        self._session = aiohttp.ClientSession(timeout=timeout, headers=self._headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def identify(self, path: Path, **params: Any) -> dict[str, Any]:
        """Identify a clip file: audio, or a fingerprint (by its ending `.fingerprint`)."""
        kind = FINGERPRINT if path.suffix == ".fingerprint" else "application/octet-stream"
        headers = {"Content-Type": kind}
        return await self._ask("POST", "/v1/identify", params, data=_bytes_of(path), headers=headers)

    async def add(self, path: Path, metadata: Metadata, *, wait: bool = False) -> dict[str, Any]:
        """Add one recording."""
        return await self._send("/v1/tracks", {"wait": int(wait)}, "audio", [(path, path.name, metadata)])

    async def known(self, sha256s: Sequence[str]) -> dict[str, int]:
        """Contents that the catalogue holds, and their tracks."""
        document = await self._ask("POST", "/v1/tracks/known", {}, json={"sha256": list(sha256s)})
        known: dict[str, int] = document["known"]
        return known

    async def ingest(
        self, files: Sequence[tuple[Path, str, Metadata]], *, batch_id: str | None = None
    ) -> dict[str, Any]:
        """Send (path, name, metadata) in one request, into a new batch or an earlier one.

        Each file is opened when its turn comes.
        """
        return await self._send("/v1/ingest", {"batch_id": batch_id}, "file", files)

    async def batch(self, batch_id: str) -> dict[str, Any]:
        """How far a batch has come."""
        return await self._ask("GET", f"/v1/ingest/{batch_id}", {})

    async def cancel(self, batch_id: str) -> dict[str, Any]:
        """Cancel a batch."""
        return await self._ask("DELETE", f"/v1/ingest/{batch_id}", {})

    async def tracks(self, **filters: Any) -> dict[str, Any]:
        """A page of tracks."""
        return await self._ask("GET", "/v1/tracks", filters)

    async def track(self, track_id: int) -> dict[str, Any]:
        """One track."""
        return await self._ask("GET", f"/v1/tracks/{track_id}", {})

    async def edit(self, track_id: int, changes: dict[str, str | None]) -> dict[str, Any]:
        """Change a track's metadata."""
        return await self._ask("PATCH", f"/v1/tracks/{track_id}", {}, json=changes)

    async def delete(self, track_id: int) -> None:
        """Remove a track."""
        await self._ask("DELETE", f"/v1/tracks/{track_id}", {})

    async def health(self) -> dict[str, Any]:
        """Whether the process is alive."""
        return await self._ask("GET", "/healthz", {})

    async def ready(self) -> bool:
        """Whether the server takes clips; False when there is none."""
        try:
            await self._ask("GET", "/readyz", {})
        except RemoteError:
            return False
        return True

    async def _send(
        self, path: str, params: dict[str, Any], part: str, files: Sequence[tuple[Path, str, Metadata]]
    ) -> dict[str, Any]:
        boundary = uuid.uuid4().hex
        headers = {"Content-Type": f"{FORM}; boundary={boundary}"}
        return await self._ask("POST", path, params, data=_form(boundary, part, files), headers=headers)

    async def _ask(self, method: str, path: str, params: dict[str, Any], **request: Any) -> dict[str, Any]:
        if self._session is None:
            raise RuntimeError("a Client is used inside `async with`")
        query = {name: _plain(value) for name, value in params.items() if value is not None}
        try:
            async with self._session.request(
                method, f"{self._base_url}{path}", params=query, **request
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise RemoteError("server_unreachable", f"no answer from {self._base_url}: {reason}") from error
        if response.ok:
            document: dict[str, Any] = msgspec.json.decode(body) if body else {}
            return document
        raise _refusal(self._base_url, response.status, body)


def _refusal(base_url: str, status: int, body: bytes) -> RemoteError:
    try:
        error = msgspec.json.decode(body)["error"]
        return RemoteError(str(error["code"]), str(error["message"]))
    except (msgspec.DecodeError, KeyError, TypeError):
        return RemoteError("not_fpserver", f"{base_url} answered {status} in a way that fpserver does not")


def _plain(value: Any) -> str | int | float:
    return int(value) if isinstance(value, bool) else value if isinstance(value, int | float) else str(value)


async def _form(
    boundary: str, part: str, files: Sequence[tuple[Path, str, Metadata]]
) -> AsyncIterator[bytes]:
    """A multipart form, as it is sent: before each file a part with its metadata."""
    for path, name, metadata in files:
        given = {field: value for field, value in metadata.items() if value is not None}
        if given:
            yield _part_head(boundary, "metadata", JSON) + msgspec.json.encode(given) + b"\r\n"
        yield _part_head(boundary, part, "application/octet-stream", filename=name)
        async for chunk in _bytes_of(path):
            yield chunk
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _part_head(boundary: str, name: str, kind: str, *, filename: str | None = None) -> bytes:
    shown = "" if filename is None else f"; filename*=utf-8''{quote(filename, safe='')}"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{shown}\r\nContent-Type: {kind}\r\n\r\n'
    return head.encode()


async def _bytes_of(path: Path) -> AsyncIterator[bytes]:
    """A file, read in threads, opened when its turn comes."""
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
    finally:
        file.close()
