"""The abuses of HTTP: what each sends, and how many do it at once."""

import gzip
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from loadtest.abuse.line import Script

BOUNDARY = b"------------------------abuse"
MB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server, and what is in it."""

    address: str
    batch_id: str  # of a batch that never ends
    clip: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Abuse:
    """Many connections that do one thing, or take turns at several."""

    name: str
    does: str
    scripts: Callable[[Target], Sequence[Script]]
    at_once: int = 50


def head(method: bytes, path: bytes, *fields: bytes) -> bytes:
    """A request's head."""
    return b"\r\n".join((method + b" " + path + b" HTTP/1.1", b"Host: 127.0.0.1", *fields, b"", b""))


def post(path: bytes, *fields: bytes, length: int | None = None) -> bytes:
    """The head of a POST, of a length or chunked."""
    body = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    return head(b"POST", path, body, *fields)


def form(path: bytes) -> bytes:
    """The head of an endless form."""
    return post(path, b"Content-Type: multipart/form-data; boundary=" + BOUNDARY)


def chunk(data: bytes) -> bytes:
    """A piece of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def one(**script: object) -> Callable[[Target], Sequence[Script]]:
    """The same script for everybody."""
    made = Script(**script)  # type: ignore[arg-type]  # the table below names its fields
    return lambda _target: (made,)


IDENTIFY, TRACKS, INGEST = b"/v1/identify", b"/v1/tracks", b"/v1/ingest"
HEALTH = head(b"GET", b"/healthz")
NDJSON = b"Content-Type: application/x-ndjson"
JSON = b"Content-Type: application/json"
PART = b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="clip"; filename="x"\r\n\r\n'


@cache
def bomb(encoding: str) -> bytes:
    """1 GiB of zeros, or as much as fits: 1 MB of gzip or deflate."""
    plain = bytes(MB)
    if encoding == "deflate":
        packer = zlib.compressobj(9)
        return b"".join(packer.compress(plain) for _ in range(1024)) + packer.flush()
    return b"".join([gzip.compress(plain * 16, 9)] * 64)


def packed(path: bytes, encoding: str, *fields: bytes) -> bytes:
    """A request whose body is such a bomb."""
    body = bomb(encoding)
    return post(path, b"Content-Encoding: " + encoding.encode(), *fields, length=len(body)) + body


def smuggled() -> tuple[Script, ...]:
    """Requests whose end can be read in two ways, each with another request behind it."""
    inner = head(b"GET", b"/metrics")
    forms = (
        head(b"POST", IDENTIFY, b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + inner,
        head(b"POST", IDENTIFY, b"Content-Length: 5", b"Content-Length: 6") + b"12345" + inner,
        head(b"POST", IDENTIFY, b"Content-Length: 5, 6") + b"12345" + inner,
        head(b"POST", IDENTIFY, b"Content-Length: -5") + inner,
        head(b"POST", IDENTIFY, b"Content-Length: +5") + b"12345" + inner,
        head(b"POST", IDENTIFY, b"Content-Length: 0x5") + b"12345" + inner,
        head(b"POST", IDENTIFY, b"Content-Length : 5") + b"12345" + inner,
        head(b"POST", IDENTIFY, b"Transfer-Encoding: xchunked") + b"0\r\n\r\n" + inner,
        head(b"POST", IDENTIFY, b"Transfer-Encoding: chunked, identity") + b"0\r\n\r\n" + inner,
        head(b"POST", IDENTIFY, b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity")
        + b"0\r\n\r\n"
        + inner,
        head(b"POST", IDENTIFY, b" Transfer-Encoding: chunked") + b"0\r\n\r\n" + inner,
        head(b"POST", IDENTIFY, b"Transfer-Encoding:\x0bchunked") + b"0\r\n\r\n" + inner,
        head(b"POST", IDENTIFY, b"Transfer-Encoding: chunked") + b"5\n12345\n0\n\n" + inner,
        head(b"POST", IDENTIFY, b"Transfer-Encoding: chunked") + b"-1\r\n\r\n0\r\n\r\n" + inner,
        head(b"POST", IDENTIFY, b"Transfer-Encoding: chunked") + b"fffffffffffffffff\r\n" + inner,
        b"POST /v1/identify HTTP/1.1\nHost: 127.0.0.1\nContent-Length: 5\n\n12345" + inner,
        b"POST /v1/identify HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\0b\r\nContent-Length: 5\r\n\r\n12345" + inner,
        b"POST /v1/identify HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n" + inner,
    )
    return tuple(Script(first=form, leaves=True) for form in forms)


ABUSES: tuple[Abuse, ...] = (
    Abuse(
        name="slow head",
        does="a head, a byte every 0.2 s, without end",
        scripts=one(first=HEALTH[:-2] + b"X: ", piece=b"x", every_s=0.2),
        at_once=300,
    ),
    Abuse(name="idle, never a byte", does="connects", scripts=one(), at_once=1000),
    Abuse(name="idle, after one request", does="one request", scripts=one(first=HEALTH), at_once=1000),
    Abuse(
        name="slow body, a byte now and then",
        does="a clip of 1 MB, a byte every second",
        scripts=one(first=post(IDENTIFY, length=MB), piece=b"x", every_s=1.0),
        at_once=300,
    ),
    Abuse(
        name="slow body that stands still",
        does="a clip of 1 MB, 1 kB of it",
        scripts=one(first=post(IDENTIFY, length=MB) + bytes(1024)),
        at_once=300,
    ),
    Abuse(
        name="slow upload of tracks",
        does="a track of 1 GB, 64 kB every second",
        scripts=one(first=post(TRACKS, length=1024 * MB), piece=bytes(2**16), every_s=1.0),
        at_once=100,
    ),
    Abuse(
        name="answers not read: metrics",
        does="pipelines `GET /metrics`, never reads",
        scripts=one(first=head(b"GET", b"/metrics") * 200, reads=False),
    ),
    Abuse(
        name="answers not read: a page of tracks",
        does="pipelines `GET /v1/tracks`, never reads",
        scripts=one(first=head(b"GET", b"/v1/tracks?limit=200") * 200, reads=False),
    ),
    Abuse(
        name="answers not read: the API's document",
        does="pipelines `GET /v1/openapi.json`, never reads",
        scripts=one(first=head(b"GET", b"/v1/openapi.json") * 400, reads=False),
    ),
    Abuse(
        name="events not read",
        does="watches a batch, never reads",
        scripts=lambda target: (
            Script(first=head(b"GET", f"/v1/ingest/{target.batch_id}/events".encode()), reads=False),
        ),
        at_once=300,
    ),
    Abuse(
        name="a huge header",
        does="one field without end",
        scripts=one(first=HEALTH[:-2] + b"X: ", piece=b"x" * 16384),
    ),
    Abuse(
        name="headers without end",
        does="small fields, as fast as they go",
        scripts=one(first=HEALTH[:-2], piece=b"X: y\r\n" * 1000),
    ),
    Abuse(name="a very long URL", does="a path without end", scripts=one(first=b"GET /", piece=b"x" * 16384)),
    Abuse(
        name="a body without end, to a clip",
        does="chunks as fast as they go",
        scripts=one(first=post(IDENTIFY), piece=chunk(bytes(2**16))),
        at_once=10,
    ),
    Abuse(
        name="a body without end, where none is wanted",
        does="the same to `GET /healthz` and to nothing",
        scripts=lambda _target: tuple(
            Script(first=head(method, path, b"Transfer-Encoding: chunked"), piece=chunk(bytes(2**16)))
            for method, path in ((b"GET", b"/healthz"), (b"POST", b"/nothing"))
        ),
        at_once=10,
    ),
    Abuse(
        name="a chunk of 2⁶⁰ bytes",
        does="announces it, and begins",
        scripts=one(first=post(IDENTIFY) + b"fffffffffffffff\r\n", piece=bytes(1024), every_s=0.5),
    ),
    Abuse(
        name="tiny chunks",
        does="chunks of one byte, as fast as they go",
        scripts=one(first=post(IDENTIFY), piece=chunk(b"x") * 10_000),
        at_once=10,
    ),
    Abuse(
        name="a chunk extension without end",
        does="as fast as it goes",
        scripts=one(first=post(IDENTIFY) + b"1;", piece=b"x" * 16384),
        at_once=10,
    ),
    Abuse(
        name="trailers without end",
        does="after the last chunk, as fast as they go",
        scripts=one(first=post(IDENTIFY) + chunk(b"x") + b"0\r\n", piece=b"X: y\r\n" * 1000),
        at_once=10,
    ),
    Abuse(
        name="a length that is too long",
        does="half the body, then only waits",
        scripts=lambda target: (Script(first=post(IDENTIFY, length=2 * len(target.clip)) + target.clip),),
        at_once=100,
    ),
    Abuse(
        name="a length that is too short",
        does="the rest of the body where a head should be",
        scripts=lambda target: (Script(first=post(IDENTIFY, length=1000) + target.clip[:9000], leaves=True),),
        at_once=10,
    ),
    Abuse(
        name="request smuggling", does="18 ways to say two lengths", scripts=lambda _: smuggled(), at_once=10
    ),
    Abuse(
        name="half-closed after the head",
        does="shuts its side down",
        scripts=one(first=post(IDENTIFY, length=MB), half_closes=True),
    ),
    Abuse(
        name="half-closed after the body",
        does="a whole clip, shuts its side down",
        scripts=lambda target: (
            Script(first=post(IDENTIFY, length=len(target.clip)) + target.clip, half_closes=True),
        ),
        at_once=2,
    ),
    Abuse(
        name="reset in the middle of a body",
        does="half a clip, then RST",
        scripts=lambda target: (
            Script(first=post(IDENTIFY, length=len(target.clip)) + target.clip[:20_000], resets=True),
        ),
        at_once=10,
    ),
    Abuse(
        name="pipelining",
        does="requests without end, reads all answers",
        scripts=one(piece=HEALTH * 100),
        at_once=2,
    ),
    Abuse(
        name="pipelining, never reads",
        does="requests without end",
        scripts=one(piece=HEALTH * 100, reads=False),
    ),
    Abuse(
        name="open and close",
        does="connects and leaves, as fast as it goes",
        scripts=one(reads=False, leaves=True),
        at_once=20,
    ),
    Abuse(
        name="`Expect: 100-continue` without a body",
        does="waits for ever",
        scripts=one(first=post(IDENTIFY, b"Expect: 100-continue", length=MB)),
        at_once=300,
    ),
    Abuse(
        name="websocket upgrade",
        does="asks for it, then sends frames without end",
        scripts=one(
            first=head(
                b"GET",
                b"/metrics",
                *(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"),
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            ),
            piece=bytes(2**16),
        ),
    ),
    Abuse(
        name="HTTP/2, TLS, noise",
        does="another protocol's first bytes",
        scripts=lambda _: tuple(
            Script(first=first, leaves=True)
            for first in (
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(64),
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
                b"\x00" * 1000,
                b"SSH-2.0-x\r\n",
                b"\r\n" * 30_000,
            )
        ),
        at_once=10,
    ),
    Abuse(
        name="a form of parts without end",
        does="to `/v1/identify` and `/v1/ingest`",
        scripts=lambda _: (
            Script(first=form(IDENTIFY), piece=chunk((PART + b"x\r\n") * 500)),
            Script(first=form(INGEST), piece=chunk((PART.replace(b"clip", b"file") + b"\r\n") * 500)),
        ),
        at_once=10,
    ),
    Abuse(
        name="a form's preamble without end",
        does="line ends, as fast as they go",
        scripts=one(first=form(IDENTIFY), piece=chunk(b"\n" * 60_000)),
        at_once=10,
    ),
    Abuse(
        name="a part's headers without end",
        does="as fast as they go",
        scripts=one(first=form(IDENTIFY) + chunk(PART[:-2]), piece=chunk(b"X: y\r\n" * 1000)),
        at_once=10,
    ),
    Abuse(
        name="a form whose part never ends",
        does="a clip without a boundary after it",
        scripts=one(first=form(IDENTIFY) + chunk(PART), piece=chunk(b"x\n" * 30_000)),
        at_once=10,
    ),
    Abuse(
        name="forms within forms",
        does="each part is multipart again",
        scripts=one(
            first=form(IDENTIFY),
            piece=chunk(
                b"--" + BOUNDARY + b"\r\nContent-Type: multipart/mixed; boundary=" + BOUNDARY + b"\r\n\r\n"
            ),
        ),
        at_once=10,
    ),
    Abuse(
        name="gzip and deflate bombs as clips",
        does="1 GB in 1 MB",
        scripts=lambda _: tuple(
            Script(first=packed(IDENTIFY, each), leaves=True) for each in ("gzip", "deflate", "br", "zstd")
        ),
        at_once=10,
    ),
    Abuse(
        name="gzip and deflate bombs as tracks and documents",
        does="1 GB in 1 MB",
        scripts=lambda _: (
            Script(first=packed(TRACKS, "gzip"), leaves=True),
            Script(first=packed(TRACKS, "deflate"), leaves=True),
            Script(first=packed(INGEST, "gzip", NDJSON), leaves=True),
            Script(first=packed(b"/v1/tracks/known", "gzip", JSON), leaves=True),
            Script(first=packed(b"/nothing", "gzip"), leaves=True),
        ),
        at_once=5,
    ),
    Abuse(
        name="nested documents",
        does="JSON and msgpack a million deep",
        scripts=lambda _: tuple(
            Script(first=post(path, b"Content-Type: " + kind, length=len(body)) + body, leaves=True)
            for path, kind, body in (
                (b"/v1/tracks/known", b"application/json", b"[" * 10**6),
                (b"/v1/tracks/known", b"application/json", b'{"sha256":' * 10**5),
                (b"/v1/tracks/known", b"application/msgpack", b"\x91" * 10**6),
                (INGEST, b"application/vnd.fpserver.fingerprint+msgpack", b"\x91" * 10**6),
                (
                    IDENTIFY,
                    b"application/vnd.fpserver.fingerprint+msgpack",
                    b"\x86\xa6format" + b"\x91" * 10**6,
                ),
            )
        ),
        at_once=10,
    ),
    Abuse(
        name="a line without end",
        does="NDJSON, as fast as it goes",
        scripts=one(first=post(INGEST, NDJSON), piece=chunk(b"x" * 2**16)),
        at_once=10,
    ),
    Abuse(
        name="`Accept` and `Accept-Encoding` tricks",
        does="8 kB of media types and weights",
        scripts=lambda _: tuple(
            Script(first=head(b"GET", b"/v1/tracks", field), leaves=True)
            for field in (
                b"Accept: " + b"a/b;q=1e999," * 900,
                b"Accept: " + b";" * 9000,
                b"Accept-Encoding: " + b"gzip;q=0," * 900,
                b"Accept: application/msgpack;q=nan",
            )
        ),
        at_once=10,
    ),
)
