"""One client's connection: aiohttp's, except for what it says when a request cannot even be read.

Then there is no route, no handler and no middleware, but still the one error body.
"""

import asyncio
import uuid
from typing import Any

import structlog
from aiohttp import web

from fpserver import metrics
from fpserver.web.answers import answer
from fpserver.web.errors import HTTP_CODES, body_of

log = structlog.get_logger()


class Connection(web.RequestHandler):
    """Reads requests from one client, and hands them to the app."""

    __slots__ = ()

    def __init__(self, server: web.Server, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server, loop=loop, access_log=None)  # type: ignore[arg-type]  # the middleware logs

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
