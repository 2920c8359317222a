"""What happens to every request: a name, a measurement, a line in the log, and one kind of refusal."""

import re
import uuid
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TypeAlias

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from fpserver import metrics
from fpserver.errors import FpserverError, InvalidRequest
from fpserver.stages import collected
from fpserver.web.access import CLAIMED, PASS, mark
from fpserver.web.answers import answer
from fpserver.web.door import DOOR, REQUEST_ID
from fpserver.web.errors import CLIENT_GONE, body_of, headers_of, http_sentence, status_of
from fpserver.web.slow import tell_if_slow

log = structlog.get_logger()

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

QUIET = frozenset({"/healthz", "/readyz", "/metrics"})  # asked every few seconds by machines
SAFE = {  # for answers that a browser is led to open: nothing in them is run, framed, guessed at or kept
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Name the request, time it, count it, and log it."""
    given = request.headers.get("X-Request-Id", "")
    request[REQUEST_ID] = given if _ID.fullmatch(given) else uuid.uuid4().hex
    start, status = perf_counter(), CLIENT_GONE
    named = structlog.contextvars.bound_contextvars(request_id=request[REQUEST_ID])
    door = request.app[DOOR]
    with named, collected() as spent_s, door.request():
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            seconds = perf_counter() - start
            route = route_of(request)
            metrics.REQUEST_SECONDS.labels(route, str(status)).observe(seconds)
            tell_if_slow(route, status, seconds, spent_s, limit_s=door.config.log.slow_request_s)
            say = log.debug if route in QUIET else log.info
            say(
                "web.request",
                method=request.method,
                path=route if "{user}" in route else request.path,  # who people are is not for logs
                status=status,
                ms=round(1000 * seconds, 1),
                peer=request.remote,
                **_key(request),
            )


@web.middleware
async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever goes wrong into the one error body."""
    try:
        return await handler(request)
    except FpserverError as error:
        _not_in_the_middle(request, error)
        return refusal(request, error)
    except web.HTTPException as error:
        code, message = http_sentence(error, request)
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return _refusal(request, code, message, error.status, allow)
    except (HttpProcessingError, web.RequestPayloadError) as error:
        return refusal(request, InvalidRequest(f"body is not well-formed: {_first_line(error)}"))
    except ConnectionError:
        return web.Response(status=CLIENT_GONE)  # for the log: nobody is there to read it
    except Exception as error:
        log.exception("web.unexpected", method=request.method, path=request.path)
        _not_in_the_middle(request, error)
        message = f"unexpected error; the log has it under request id {request[REQUEST_ID]}"
        return _refusal(request, FpserverError.code, message, status_of(FpserverError), {})


def _not_in_the_middle(request: web.Request, error: Exception) -> None:
    """When an answer has begun, all that can be told is that it breaks off: the connection ends."""
    if request.writer.output_size > 0:
        raise ConnectionAbortedError("an answer breaks off") from error


def _first_line(error: Exception) -> str:
    lines = [
        line.strip().rstrip(":") for line in str(error).partition("message:")[2].splitlines() if line.strip()
    ]
    return lines[0] if lines else type(error).__name__


def refusal(request: web.Request, error: FpserverError) -> web.Response:
    """An error of ours as its answer."""
    return _refusal(request, error.code, error.message, status_of(error), headers_of(error))


def _refusal(
    request: web.Request, code: str, message: str, status: int, headers: dict[str, str]
) -> web.Response:
    metrics.ERRORS.labels(code).inc()
    return answer(request, body_of(code, message, request[REQUEST_ID]), status=status, headers=headers)


def _key(request: web.Request) -> dict[str, str]:
    """Which key came, and whether it did."""
    if PASS in request:
        return {"key": request[PASS].key_id}
    return {"key_refused": request[CLAIMED]} if CLAIMED in request else {}


def route_of(request: web.Request) -> str:
    """The route's template, so that ids do not become labels."""
    resource = request.match_info.route.resource
    return "unmatched" if resource is None else resource.canonical


async def mark_answer(request: web.Request, response: web.StreamResponse) -> None:
    """Put on an answer what all carry; runs before any answer's head is sent, streams too."""
    if REQUEST_ID in request:
        response.headers["X-Request-Id"] = request[REQUEST_ID]
    for name, value in SAFE.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "fpserver"
    mark(request, response)
    if request.app[DOOR].parting:  # the process is leaving: every client goes elsewhere with his next request
        response.headers["Connection"] = "close"
        response.force_close()
