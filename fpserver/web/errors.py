"""From what went wrong to what HTTP says: the one table, and the one body.

Every refusal is `{"error": {"code": …, "message": …, "request_id": …}}`. What nobody foresaw is a 500 that tells
the request id and nothing else; the log has the rest.
"""

import math
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web

from fpserver import errors
from fpserver.errors import FpserverError
from fpserver.web.schemas import ErrorAnswer, ErrorBody

STATUS: Mapping[type[FpserverError], int] = {
    errors.InvalidRequest: 422,
    errors.MediaTypeUnsupported: 415,
    errors.BodyTooLarge: 413,
    errors.UploadTimeout: 408,
    errors.AudioError: 422,
    errors.AudioUnsupported: 415,
    errors.AudioTooLarge: 413,
    errors.SourceMissing: 500,  # an upload of ours has gone
    errors.FingerprintInvalid: 422,
    errors.FingerprintForeign: 422,
    errors.NotDescribed: 409,
    errors.LengthsDiffer: 422,
    errors.MapFailed: 422,
    errors.TrainingFailed: 500,  # nobody waits for it over HTTP
    errors.TrackNotFound: 404,
    errors.BatchNotFound: 404,
    errors.UserNotFound: 404,
    errors.KeyNotFound: 404,
    errors.Unauthenticated: 401,
    errors.ScopeMissing: 403,
    errors.OriginRefused: 403,
    errors.RateLimited: 429,
    errors.Conflict: 409,
    errors.Overloaded: 503,
    errors.Stopping: 503,
    errors.StoreUnavailable: 503,
    errors.ForeignIndex: 503,
    errors.EmbeddedStoreMissing: 503,
    errors.ConfigInvalid: 500,
    FpserverError: 500,
}
RETRY_AFTER_S: Mapping[type[FpserverError], int] = {
    errors.Overloaded: 1,  # a clip takes a fraction of that
    errors.Stopping: 1,  # whoever asks for this asks another server by then
    errors.StoreUnavailable: 3,  # an embedded store is back in about a second, a failover takes a few
    errors.ForeignIndex: 60,  # somebody must change a setting
    errors.EmbeddedStoreMissing: 60,
}
HTTP_CODES: Mapping[int, str] = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "body_too_large",
    414: "url_too_long",
    431: "head_too_large",
}
CLIENT_GONE = 499  # for log and metrics only: nobody is there to read it


def status_of(error: FpserverError | type[FpserverError]) -> int:
    """The HTTP status of an error, by its class or the nearest base in the table."""
    kind = error if isinstance(error, type) else type(error)
    return next(STATUS[base] for base in kind.__mro__ if base in STATUS)


def headers_of(error: FpserverError) -> dict[str, str]:
    """`Retry-After` where trying again helps; how to show a key where one is missing."""
    if isinstance(error, errors.Unauthenticated):
        return {"WWW-Authenticate": 'Bearer realm="fpserver"'}
    if isinstance(error, errors.RateLimited):
        return {"Retry-After": str(math.ceil(error.retry_after_s))}
    wait_s = next((RETRY_AFTER_S[base] for base in type(error).__mro__ if base in RETRY_AFTER_S), None)
    return {} if wait_s is None else {"Retry-After": str(wait_s)}


def recorded(code: str | None, message: str | None, *, track_id: int) -> FpserverError:
    """The error that a failed track's record tells of, to be raised to whoever waited for the track."""
    kind = next((kind for kind in _tree(FpserverError) if kind.code == code), errors.AudioError)
    return kind(f"track {track_id}: {message or 'failed without a reason'}")


def body_of(code: str, message: str, request_id: str) -> ErrorAnswer:
    """The one error body; halves of characters, which a header's bytes may have become, are shown as `?`."""
    told = message.encode("utf-8", "replace").decode()
    return ErrorAnswer(error=ErrorBody(code=code, message=told, request_id=request_id))


def http_sentence(error: web.HTTPException, request: web.BaseRequest) -> tuple[str, str]:
    """(code, message) for an error of the HTTP layer itself."""
    code = HTTP_CODES.get(error.status, f"http_{error.status}")
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return code, f"{request.path} does not take {request.method}, only {allowed}"
    if error.status == HTTPStatus.NOT_FOUND:
        return code, f"there is nothing at {request.path}; /docs lists what is here"
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return code, f"body is too large: {error.text}"
    return code, f"{error.status} {error.reason}"


def _tree(kind: type[FpserverError]) -> list[type[FpserverError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _tree(child))]
