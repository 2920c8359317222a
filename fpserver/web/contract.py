"""What a handler says about itself (query, bodies, answers, errors), so that documentation is made from what runs."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from aiohttp import web
from msgspec import Struct

from fpserver.errors import FpserverError
from fpserver.web.media import FINGERPRINT, FORM

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """One form a request's body may have: a document (`schema`), form parts, or bytes with a meaning."""

    media_type: str
    text: str
    schema: type[Struct] | None = None
    instead: type[Struct] | None = None  # what the document may be as well
    parts: Mapping[str, str] = field(default_factory=dict)  # form: part name → what it holds
    other_parts: bool = False  # form: others are taken too


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One good answer: a document, or bytes of some type."""

    text: str
    schema: type[Struct] | None = None
    media_type: str | None = None  # where there is no schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """All that a handler takes and gives."""

    query: type[Struct] | None = None
    bodies: tuple[Body, ...] = ()
    replies: Mapping[int, Reply] = field(default_factory=dict)
    errors: tuple[type[FpserverError], ...] = ()


_WIRES: dict[Handler, Wire] = {}


def speaks(
    *,
    query: type[Struct] | None = None,
    bodies: tuple[Body, ...] = (),
    replies: Mapping[int, Reply],
    errors: tuple[type[FpserverError], ...] = (),
) -> Callable[[Handler], Handler]:
    """Say what the decorated handler takes and gives."""

    def note(handler: Handler) -> Handler:
        _WIRES[handler] = Wire(query=query, bodies=bodies, replies=replies, errors=errors)
        return handler

    return note


def wire_of(handler: Handler) -> Wire:
    """What a handler said of itself."""
    return _WIRES[handler]


AUDIO_BODY = Body(
    media_type="application/octet-stream",
    text="audio in any container the decoder knows; any other type is read the same way",
)
FINGERPRINT_BODY = Body(
    media_type=FINGERPRINT, text="a fingerprint, as `fpserver fingerprint FILE` writes it"
)


def form(text: str, *, other_parts: bool = False, **parts: str) -> Body:
    """A multipart form."""
    return Body(media_type=FORM, text=text, parts=parts, other_parts=other_parts)
