"""From a request's query, path and small bodies to the Structs of `schemas`, or to one clear sentence.

Every refusal names the field, the value and the rule.
"""

import re
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from fpserver.errors import BatchNotFound, InvalidRequest, MediaTypeUnsupported, TrackNotFound
from fpserver.terms import MAX_TRACK_ID
from fpserver.web.media import JSON, MSGPACK
from fpserver.web.schemas import Request
from fpserver.web.uploads import Patience, whole

MAX_DOCUMENT_BYTES = 2**20  # 10,000 SHA-256 with their quotes are 670 kB
MAX_SHOWN_CHARS = 80

R = TypeVar("R", bound=Request)


def read_query(request: web.Request, kind: type[R]) -> R:
    """The query string as a Struct.

    Raises:
        InvalidRequest: a parameter is unknown, given twice, or breaks its rule.
    """
    known = kind.__struct_fields__
    for name in request.query:
        if name not in known:
            takes = f"takes {', '.join(known)}" if known else "takes no parameters"
            raise InvalidRequest(f"query parameter {shown(name)} is unknown: {request.path} {takes}")
        if len(request.query.getall(name)) > 1:
            raise InvalidRequest(f"query parameter {name} is given more than once")
    values = dict(request.query)
    try:
        found = msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        rule, field = _rule(error)
        where = f"query parameter {field} is {shown(values[field])}" if field in values else "query"
        raise InvalidRequest(f"{where}: {rule}") from error
    for name, value in values.items():
        if getattr(found, name) is None:  # what msgspec makes of the word null
            raise InvalidRequest(f"query parameter {name} is {shown(value)}: what is not wanted is left out")
    return found


def no_query(request: web.Request) -> None:
    """Refuse parameters where there are none.

    Raises:
        InvalidRequest: a parameter is given.
    """
    read_query(request, Request)


async def read_document(request: web.Request, kind: type[R], patience: Patience) -> R:
    """A small JSON or msgpack body as a Struct.

    Raises:
        MediaTypeUnsupported: it is neither.
        InvalidRequest: it is malformed, or a field is unknown or breaks its rule.
        BodyTooLarge, UploadTimeout: it breaks the limits of bodies.
    """
    if "Content-Type" in request.headers and request.content_type not in (JSON, MSGPACK):
        raise MediaTypeUnsupported(f"body is {shown(request.content_type)}, must be {JSON} or {MSGPACK}")
    body = await whole(patience.chunks(request.content), what="body", max_bytes=MAX_DOCUMENT_BYTES)
    if request.content_type == MSGPACK:
        return decode(body, kind, what="body", decoder=msgspec.msgpack.Decoder(kind))
    return decode(body, kind, what="body")


def decode(
    body: bytes,
    kind: type[R],
    *,
    what: str,
    decoder: "msgspec.json.Decoder[R] | msgspec.msgpack.Decoder[R] | None" = None,
) -> R:
    """JSON (or what `decoder` reads) as a Struct; `what` names it in the refusal.

    Raises:
        InvalidRequest: it is malformed, or a field is unknown or breaks its rule.
    """
    reader = decoder or msgspec.json.Decoder(kind)
    try:
        try:
            return reader.decode(body)
        except msgspec.ValidationError as error:
            if "got `float`" not in str(error):
                raise
            library = msgspec.json if isinstance(reader, msgspec.json.Decoder) else msgspec.msgpack
            return msgspec.convert(_whole(library.decode(body)), kind)
    except msgspec.ValidationError as error:
        rule, field = _rule(error)
        raise InvalidRequest(f"{what}: {f'field {field}: ' if field else ''}{rule}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"{what}: malformed, {error}") from error


def track_id(request: web.Request, name: str = "track_id") -> int:
    """The path's track id, or one of two by its name there.

    Raises:
        InvalidRequest: it is not a number.
        TrackNotFound: no track can have it.
    """
    text = request.match_info[name]
    if not (text.isascii() and text.isdigit()):
        raise InvalidRequest(f"track id is {shown(text)}: must be a whole number above 0")
    if len(text) > 20 or not 0 < int(text) <= MAX_TRACK_ID:
        raise TrackNotFound(f"no track {text[:20]}")
    return int(text)


def batch_id(request: web.Request) -> str:
    """The path's batch id.

    Raises:
        BatchNotFound: no batch can have it.
    """
    text = request.match_info["batch_id"]
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise BatchNotFound(f"no batch {shown(text)}")
    return text


def shown(value: str) -> str:
    """A value as it may stand in a sentence: quoted, one line, not too long."""
    return repr(value if len(value) <= MAX_SHOWN_CHARS else value[:MAX_SHOWN_CHARS] + "…")


def _whole(value: Any) -> Any:
    """The same with 5 for 5.0, as JSON means it: some clients have no other numbers."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, list):
        return [_whole(each) for each in value]
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    return value


def _rule(error: msgspec.ValidationError) -> tuple[str, str]:
    """(the rule broken, the field's name) of msgspec's "Expected `int` >= 1 - at `$.limit`".

    What is wrong with the name of a map's entry is said to be "at `key` in `$.features`".
    """
    sentence, _, path = str(error).partition(" - at ")
    field = path.rpartition(" in ")[2].strip("`").removeprefix("$").removeprefix(".")
    return sentence[:1].lower() + sentence[1:], field
