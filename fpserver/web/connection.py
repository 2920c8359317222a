"""One client's connection: aiohttp's, with an end to every kind of waiting, and the one error body for everybody.

    idle ── first byte ──▶ head ── whole ──▶ request ── answered ──▶ rest of its body ──▶ idle …
     │                      │                 │                       │
     │ idle_timeout_s       │ head_timeout_s  │ an answer that is     │ LINGER_S, LINGER_BYTES:
     ▼                      ▼                 │ not read:             ▼ who still sends can read
    closed                 408                ▼ write_timeout_s      closed
                                             cut off

Always true: no client holds a connection, or the memory of an answer, by doing nothing. A body that does not come is
the handler's to give up (`uploads.Patience`).
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from math import inf
from time import thread_time
from typing import Any

import structlog
from aiohttp import StreamReader, web
from aiohttp.http_exceptions import LineTooLong

from fpserver import metrics
from fpserver.config import WebConfig
from fpserver.errors import Overloaded
from fpserver.web.answers import answer, to_json
from fpserver.web.crowd import Crowd
from fpserver.web.errors import HTTP_CODES, body_of
from fpserver.web.media import JSON

MAX_URL_BYTES = 8192
MAX_FIELD_BYTES = 16384  # of one header: a token or a cookie that has grown
MAX_HEAD_BYTES = 65536
MAX_FIELDS = 100
LINGER_S = 5.0  # for the rest of a body that nobody wants
LINGER_BYTES = 32 * 2**20  # a clip is at most half of that: who sends one can always read what became of it
MIN_READ_BYTES = 2**16  # in `write_timeout_s`: who reads less stands still
READ_BYTES = 2**16  # at once: other clients have their turn in between
DEAR_S = 0.0002  # of the processor, for so many bytes: usually it takes a fifth
AIOHTTP_S = 60.0  # aiohttp's own clock runs out later than ours

log = structlog.get_logger()


class Connection(web.RequestHandler):
    """Reads requests from one client, and hands them to the app."""

    __slots__ = (
        "_crowd",
        "_head_at",
        "_idle_at",
        "_left_at",
        "_limits",
        "_n_head_bytes",
        "_n_unread",
        "_resuming",
        "_socket",
        "read_at",
    )

    def __init__(
        self, server: web.Server, crowd: Crowd, limits: WebConfig, *, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # the middleware logs
            keepalive_timeout=limits.idle_timeout_s + AIOHTTP_S,
            lingering_time=0.0,
            max_line_size=MAX_URL_BYTES,
            max_field_size=MAX_FIELD_BYTES,
            max_headers=MAX_FIELDS,
        )
        self._crowd = crowd
        self._limits = limits
        self._socket: asyncio.Transport | None = (
            None  # kept when aiohttp lets go of it: it may hold an answer
        )
        self._resuming: asyncio.TimerHandle | None = None  # while reading rests
        self._idle_at = self.read_at = loop.time()
        self._head_at = inf  # since when a head is arriving
        self._left_at = inf  # since when it is refused, and may read why
        self._n_head_bytes = self._n_unread = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place; without one, say so and leave."""
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)
        self._socket = transport
        transport.max_size = READ_BYTES  # type: ignore[attr-defined]  # of asyncio's own; others have no such bound
        if not self._crowd.enter(self):
            why = f"all {self._crowd.limit} connections are in use; try again"
            self._leave(HTTPStatus.SERVICE_UNAVAILABLE, why)
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place back."""
        self._crowd.left(self)
        self._socket = None
        if self._resuming is not None:
            self._resuming.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a head or a body; a head has its time and its length."""
        if self._left_at < inf:
            self._n_head_bytes += len(data)
            if self._n_head_bytes > LINGER_BYTES:
                self.cut_off("goes on sending after it was refused")
            return
        begun_s = thread_time()
        super().data_received(data)
        took_s = thread_time() - begun_s
        if took_s > DEAR_S:
            self._pause_until(self._crowd.next_dear(took_s, now=self._loop.time()))
        if self._messages:
            self._crowd.works(self)
            self._head_at, self._n_head_bytes = inf, 0
        if not data or self.transport is None or self not in self._crowd.idle:
            return
        self._head_at = min(self._head_at, self._loop.time())
        self._n_head_bytes += len(data)
        if self._n_head_bytes > MAX_HEAD_BYTES:
            self._leave(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"head has more than {MAX_HEAD_BYTES} bytes"
            )

    def _pause_until(self, moment: float) -> None:
        """Read nothing until then: bytes that are dear to read (chunks of one byte each) take turns."""
        if self._resuming is None and self.transport is not None:
            self._resuming = self._loop.call_at(moment, self._read_again)
            self._pause_transport_reading()

    def _read_again(self) -> None:
        self._resuming = None
        if not self._reading_paused and not self._buffer_paused:
            self._resume_transport_reading()

    def _resume_transport_reading(self) -> None:
        if self._resuming is None:
            super()._resume_transport_reading()

    def resume_writing(self) -> None:
        """The client reads."""
        super().resume_writing()
        self._n_unread, self.read_at = 0, self._loop.time()

    @property
    def n_unread(self) -> int:
        """Bytes of answers that the client has not taken."""
        return 0 if self._socket is None else self._socket.get_write_buffer_size()

    def look(self, now: float) -> None:
        """Bring what has waited too long to its end; asked a few times a second."""
        unread, limits = self.n_unread, self._limits
        if not unread or unread <= self._n_unread - MIN_READ_BYTES:
            self._n_unread, self.read_at = unread, now
        self._n_unread = max(unread, self._n_unread)
        if now - self.read_at > limits.write_timeout_s:
            self.cut_off(f"read nothing of {unread} bytes for {limits.write_timeout_s:g} s")
        elif now - self._left_at > LINGER_S:
            self.cut_off("stays after it was refused")
        elif self._left_at < inf or self.transport is None or self not in self._crowd.idle:
            return
        elif now - self._head_at > limits.head_timeout_s:
            self._leave(
                HTTPStatus.REQUEST_TIMEOUT,
                f"head took longer than {limits.head_timeout_s:g} s, which is the limit",
            )
        elif now - self._idle_at > limits.idle_timeout_s:
            self.force_close()

    def cut_off(self, why: str) -> None:
        """End it at once, with all that the client has not taken."""
        log.info("web.cut_off", peer=self._peer(), reason=why)
        if self._socket is not None:
            self._socket.abort()

    def _leave(self, status: HTTPStatus, why: str) -> None:
        """Answer where there is no request to answer, and close when that can have been read."""
        code = HTTP_CODES.get(status, Overloaded.code)
        request_id = uuid.uuid4().hex
        metrics.ERRORS.labels(code).inc()
        log.debug("web.turned_away", peer=self._peer(), status=status.value, reason=why)
        body = to_json(body_of(code, why, request_id))
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {JSON}\r\nContent-Length: {len(body)}\r\n"
            f"X-Request-Id: {request_id}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
        )
        if self._socket is not None and not self._socket.is_closing():
            self._socket.write(head.encode() + body)
            self._socket.write_eof()
        self._left_at = self._loop.time()
        self.close()

    def _peer(self) -> object:
        return None if self._socket is None else self._socket.get_extra_info("peername")

    async def _handle_request(
        self,
        request: web.BaseRequest,
        start_time: float | None,
        request_handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    ) -> tuple[web.StreamResponse, bool]:
        try:
            response, reset = await super()._handle_request(request, start_time, request_handler)
            if not reset and not request.content.is_eof():
                await _drop(request.content)
            return response, reset
        finally:
            self._idle_at = self._loop.time()
            if (
                request.content.is_eof() and not self._messages
            ):  # else it ends here, or the next was sent ahead
                self._crowd.rests(self)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP, and end the connection; what a handler left unanswered just ends it."""
        log.debug("web.connection_error", peer=request.remote, status=status, error=repr(exc))
        if request.writer.output_size > 0:
            raise ConnectionError("an answer had begun, another cannot be given")
        request_id = uuid.uuid4().hex
        status = _status_of(exc, status)
        code = HTTP_CODES.get(status, "internal")
        reason = (message or "").strip().partition("\n")[0].rstrip(":") or "it ends where it should go on"
        metrics.ERRORS.labels(code).inc()
        body = body_of(code, f"request is not well-formed HTTP: {reason}"[:300], request_id)
        response = answer(request, body, status=status, headers={"X-Request-Id": request_id})
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        """What aiohttp finds worth a traceback is mostly a client's fault; our own faults the middleware logs."""
        log.debug(
            "web.connection_error", detail=str(args[0]) if args else "", error=repr(kwargs.get("exc_info"))
        )


def _status_of(error: BaseException | None, status: int) -> int:
    """What aiohttp calls 400, by its own name."""
    if isinstance(error, LineTooLong):
        of_url = error.args[1] == MAX_URL_BYTES
        return HTTPStatus.REQUEST_URI_TOO_LONG if of_url else HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    if "Too many headers" in str(error):
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    return status


async def _drop(content: StreamReader) -> None:
    """Read a body on, within bounds, so that who is still sending it comes to read the answer."""
    n_left = LINGER_BYTES
    with suppress(TimeoutError, Exception):  # a body that breaks off: there is nobody to tell
        async with asyncio.timeout(LINGER_S):
            while n_left > 0 and not content.at_eof():
                n_left -= len(await content.readany())
