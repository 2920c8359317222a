"""Strange requests to every route of a running server, over sockets of their own, and what became of it.

Every request has its parts made anew: path parameters, query, headers, media type and body, each good, strange, or a
strange one that in-process runs have found to reach something; and some are no HTTP at all. Of every answer: it comes
in time, it is no 5xx, and a refusal has the one error body.
"""

import asyncio
import json
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from fpserver.web.contract import wire_of
from fpserver.web.media import FINGERPRINT, FORM, JSON, MSGPACK, NDJSON
from fpserver.web.routes import ROUTES, Route
from loadtest.fuzz import seeds
from loadtest.fuzz.mutating import ODD, bytes_mutated, json_mutated, msgpack_mutated
from loadtest.standing import Standing

LIMIT_S = 20.0  # for any answer; a server whose uploads and waits end after 5 s needs no more
RAW_S = 0.15  # for an answer to what may be the beginning of a request
AT_ONCE = 6
RAW = "raw bytes"
WEIGHTS = {  # of routes that cost a hundred times the others, or make work for later
    "/v1/map": 0.05,
    "/v1/recommendations/model": 0.05,
    "/v1/identify": 0.7,
    "/v1/similar": 0.5,
    "/v1/segments/search": 0.5,
    "/metrics": 0.3,
    "/docs": 0.2,
    "/v1/openapi.json": 0.1,
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", "X" * 40)
KINDS = (
    JSON,
    MSGPACK,
    NDJSON,
    FORM,
    FINGERPRINT,
    "application/octet-stream",
    "audio/mpeg",
    "text/html",
    "",
    "/",
    "a" * 300,
)
ACCEPTS = (
    "*/*",
    JSON,
    MSGPACK,
    "text/event-stream",
    "application/msgpack;q=0.5, application/json;q=nan",
    ",;=,",
    "",
)
HEADS = (
    *(
        b"Transfer-Encoding: gzip",
        b"Content-Encoding: gzip",
        b"Content-Encoding: br",
        b"Expect: 100-continue",
    ),
    *(
        b"Range: bytes=0-1",
        b"X-Request-Id: \xff\xfe",
        b"X-Request-Id: mine-1",
        b"Cookie: a=b; c",
        b"Upgrade: websocket",
    ),
    *(
        b"Authorization: Bearer \xc3\xbc",
        b"Authorization: Basic x",
        b"If-None-Match: *",
        b"Forwarded: for=unknown",
    ),
    *(
        b"Content-Type: x",
        b"Content-Length: 3",
        b"X: " + b"y" * 9000,
        b": empty",
        b"No colon",
        b"Folded: a\r\n b",
    ),
)
CORPORA = {
    FINGERPRINT: ("fingerprint", "stream"),
    NDJSON: ("manifest", "feedback"),
    FORM: ("form",),
    JSON: ("documents", "feedback"),
    MSGPACK: ("documents", "feedback"),
}
DOCUMENTS = frozenset({JSON, MSGPACK, NDJSON})
HEADED = frozenset(
    {"stream", "manifest", "form", "documents", "feedback", "queries"}
)  # their first byte chooses


@dataclass(slots=True, kw_only=True)
class Became:
    """What became of the requests."""

    by_entry: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    slowest_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    findings: list[str] = field(default_factory=list)

    def note(self, entry: str, answered: str, seconds: float) -> None:
        """One more answer."""
        self.by_entry[entry][answered] += 1
        self.slowest_s[entry] = max(self.slowest_s[entry], seconds)


class Asker:
    """Makes requests, by chance."""

    def __init__(self, stood: Standing, corpora: Mapping[str, Sequence[bytes]], seed: int) -> None:
        self._stood = stood
        self._corpora = corpora
        self._chance = random.Random(seed)
        self._weights = [WEIGHTS.get(route.path, 1.0) for route in ROUTES]

    def next(self) -> tuple[str, bytes]:
        """(entry point, the bytes of a request)."""
        chance = self._chance
        if chance.random() < 0.06:
            return RAW, self._raw()
        (route,) = chance.choices(ROUTES, self._weights)
        return f"{route.method} {route.path}", self._request(route)

    def _raw(self) -> bytes:
        whole = self._request(self._chance.choice(ROUTES))
        return bytes_mutated(bytes_mutated(whole[:4000], self._chance), self._chance)

    def _request(self, route: Route) -> bytes:
        chance = self._chance
        method = chance.choice(METHODS) if chance.random() < 0.03 else route.method
        body, kind = self._body(route) if method in ("POST", "PATCH", "PUT") else (b"", "")
        target = self._path(route) + self._query(route)
        lines = [
            f"{method} {target} HTTP/1.1".encode("utf-8", "replace"),
            b"Host: 127.0.0.1",
            b"Connection: close",
        ]
        if kind and chance.random() < 0.95:
            lines.append(f"Content-Type: {kind}".encode())
        if chance.random() < 0.4:
            lines.append(f"Accept: {chance.choice(ACCEPTS)}".encode())
        if chance.random() < 0.1:
            lines.append(chance.choice(HEADS))
        if body and chance.random() < 0.15:
            lines.append(b"Transfer-Encoding: chunked")
            body = self._chunked(body)
        elif method != "GET" or chance.random() < 0.05:
            lines.append(f"Content-Length: {len(body)}".encode())
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def _chunked(self, body: bytes) -> bytes:
        size = max(1, len(body) // self._chance.randint(1, 9))
        parts = [body[first : first + size] for first in range(0, len(body), size)]
        return b"".join(f"{len(each):x}\r\n".encode() + each + b"\r\n" for each in parts) + b"0\r\n\r\n"

    def _path(self, route: Route) -> str:
        chance, path = self._chance, route.path
        spares = route.method == "DELETE"  # what others ask about stays
        known = {
            "{track_id}": str(chance.choice((7, 8, 9, 300) if spares else self._stood.track_ids)),
            "{a}": str(chance.choice(self._stood.track_ids)),
            "{b}": str(chance.choice(self._stood.track_ids)),
            "{user}": "nobody" if spares else chance.choice(self._stood.users),
            "{batch_id}": self._stood.batch_id,
        }
        for name, good in known.items():
            if name in path:
                path = path.replace(name, good if chance.random() < 0.6 else self._odd())
        return (
            path
            if chance.random() < 0.97
            else path + chance.choice(("/", "//", "/..", "%2f", "%00", ";x", "#"))
        )

    def _odd(self) -> str:
        chance = self._chance
        text = str(chance.choice(ODD)) if chance.random() < 0.8 else chance.randbytes(6).decode("latin-1")
        return quote(text, safe="") if chance.random() < 0.95 else text.replace(" ", "").replace("\n", "")

    def _query(self, route: Route) -> str:
        chance, kind = self._chance, wire_of(route.handler).query
        if chance.random() < 0.1:
            found = self._grown("queries").decode("latin-1")
            return "?" + quote(found, safe="=&%+,:;/?@!$'()*~")
        names = list(kind.__struct_fields__) if kind else ["x"]
        if chance.random() < (0.5 if kind else 0.95):
            return ""
        chosen = chance.sample(names, min(len(names), chance.randint(1, 4)))
        good = {
            "limit": "3",
            "k": "3",
            "speed": "off",
            "start_s": "1.5",
            "features": "timbre",
            "metric": "cosine",
        }
        pairs = [f"{name}={good.get(name, '1') if chance.random() < 0.5 else self._odd()}" for name in chosen]
        return "?" + "&".join(pairs)

    def _body(self, route: Route) -> tuple[bytes, str]:
        """(body, media type)."""
        chance = self._chance
        kinds = [body.media_type for body in wire_of(route.handler).bodies] or [JSON]
        kind = chance.choice(kinds) if chance.random() < 0.9 else chance.choice(KINDS)
        if kind in DOCUMENTS and chance.random() < 0.6:
            return self._document(route, kind), kind
        names = CORPORA.get(kind, ("sound",) if chance.random() < 0.3 else ("tags", "names"))
        body = self._grown(chance.choice(names))
        if chance.random() < 0.4:
            body = bytes_mutated(body, chance)
        if kind == FORM:
            name = chance.choice((b"clip", b"audio", b"metadata", b"file"))
            if chance.random() < 0.4:
                head = b'--X\r\nContent-Disposition: form-data; name="%s"; filename="a.mp3"\r\n\r\n'
                body = head % name + self._grown("sound") + b"\r\n--X--\r\n"
            kind = f"{FORM}; boundary={'X' if chance.random() < 0.95 else '}{'}"
        return body, kind

    def _document(self, route: Route, kind: str) -> bytes:
        """A document as the route wants it, or not quite."""
        chance = self._chance
        wants = [body.schema.__name__ for body in wire_of(route.handler).bodies if body.schema is not None]
        names = [name for name in wants if name in seeds.DOCUMENTS] or list(seeds.DOCUMENTS)
        wanted = chance.choice(seeds.DOCUMENTS[chance.choice(names)])
        packed = kind == MSGPACK
        body = msgspec.msgpack.encode(wanted) if packed else msgspec.json.encode(wanted)
        return (msgpack_mutated if packed else json_mutated)(body, chance) if chance.random() < 0.6 else body

    def _grown(self, name: str) -> bytes:
        found = self._chance.choice(self._corpora[name])
        return found[1:] if name in HEADED else found


async def ask(stood: Standing, asker: Asker, became: Became, *, n_inputs: int) -> None:
    """Ask so many strange questions, some at once; what must not be is a finding."""
    where = urlsplit(stood.server.address)
    left = iter(range(n_inputs))
    one_map = asyncio.Lock()  # a second at once is refused with 503, as it should be

    async def asking() -> None:
        for _ in left:
            entry, request = asker.next()
            if b"/v1/map" in request[:200]:
                async with one_map:
                    await _asked(where.hostname, where.port, entry, request, became)
            else:
                await _asked(where.hostname, where.port, entry, request, became)

    await asyncio.gather(*(asking() for _ in range(AT_ONCE)))


async def _asked(host: str | None, port: int | None, entry: str, request: bytes, became: Became) -> None:
    begun = time.monotonic()
    try:
        async with asyncio.timeout(LIMIT_S):
            answer = await _answer(host, port, request, patience_s=RAW_S if entry == RAW else None)
    except TimeoutError:
        became.findings.append(f"{entry}: no answer within {LIMIT_S:g} s: {request[:2000]!r}")
        became.note(entry, "late", LIMIT_S)
        return
    except OSError as error:
        became.note(entry, type(error).__name__, time.monotonic() - begun)
        return
    answered, fault = _judged(answer)
    became.note(entry, answered, time.monotonic() - begun)
    if fault:
        became.findings.append(f"{entry}: {fault}: {request[:2000]!r} -> {answer[:400]!r}")


async def _answer(host: str | None, port: int | None, request: bytes, *, patience_s: float | None) -> bytes:
    """What comes back; what may be the beginning of a request is ended when nothing comes for `patience_s`."""
    reader, writer = await asyncio.open_connection(host, port)
    answer = bytearray()
    try:
        with suppress(ConnectionError):  # refused before all was read; the answer may be there all the same
            writer.write(request)
            await writer.drain()
        with suppress(ConnectionError):
            if patience_s is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(patience_s):
                        answer += await reader.read(65536)
                if not answer:
                    writer.write_eof()
            while not _is_whole(answer) and (chunk := await reader.read(65536)):
                answer += chunk
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return bytes(answer)


def _is_whole(answer: bytearray) -> bool:
    """Whether nothing is missing of an answer that says how long it is."""
    head, _, body = answer.partition(b"\r\n\r\n")
    told = re.search(rb"\r\nContent-Length: (\d+)", head)
    return told is not None and len(body) >= int(told[1])


def _judged(answer: bytes) -> tuple[str, str | None]:
    """(status, what is wrong with an answer)."""
    if not answer:
        return "closed", None
    head, _, body = answer.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100 "):  # Continue: the answer comes behind it
        head, _, body = body.partition(b"\r\n\r\n")
    first, *fields = head.split(b"\r\n")
    status = first.split(b" ")[1].decode() if first.startswith(b"HTTP/") and b" " in first else "no HTTP"
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(b":") for each in fields)}
    if not status.isdigit() or status.startswith("5"):
        return status, "a server's fault"
    if b"x-request-id" not in headers:
        return status, "no X-Request-Id"
    if int(status) >= 400 and body and headers.get(b"content-type", b"").startswith(b"application/json"):
        with suppress(ValueError, KeyError, TypeError):
            error: dict[str, Any] = json.loads(body[: int(headers.get(b"content-length", b"0"))])["error"]
            if set(error) == {"code", "message", "request_id"}:
                return status, None
        return status, "not the one error body"
    return status, None
