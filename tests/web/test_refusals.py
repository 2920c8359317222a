"""One body for every refusal, whoever refuses; and nothing of the inside in it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from urllib.parse import quote

import msgpack
import pytest
from yarl import URL

from fpserver.config import Config
from fpserver.tracks.catalogue import Tracks
from fpserver.web.contract import wire_of
from fpserver.web.door import Door
from fpserver.web.life import listening
from fpserver.web.routes import ROUTES, Route
from tests.web.conftest import Web
from tests.web.helpers import refused, until


async def test_a_path_that_is_not_there(web: Web) -> None:
    for path in ("/nothing", "/v1/tracks/1/2", "/v1", "/docs/", "/%00"):
        assert "nothing at" in await refused(await web.get(path), 404, "not_found")


async def test_a_method_that_a_path_does_not_take(web: Web) -> None:
    response = await web.put("/v1/tracks")
    message = await refused(response, 405, "method_not_allowed")
    assert message == "/v1/tracks does not take PUT, only GET, HEAD, POST"
    assert set(response.headers["Allow"].split(",")) == {"GET", "HEAD", "POST"}


async def test_a_path_beside_numbered_ones_takes_its_own_methods_only(web: Web) -> None:
    for method in ("GET", "PATCH", "DELETE", "OPTIONS"):
        response = await web.request(method, "/v1/tracks/known")
        await refused(response, 405, "method_not_allowed")
        assert response.headers["Allow"] == "POST"


async def test_parameters_where_there_are_none(web: Web) -> None:
    assert "takes no parameters" in await refused(await web.get("/v1/tracks/1?x=1"), 422, "invalid_request")


async def test_what_nobody_foresaw_is_a_500_that_tells_only_the_request_id(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(*_: object) -> None:
        raise ZeroDivisionError("the secret of the inside")

    monkeypatch.setattr(Tracks, "get", breaks)
    response = await web.get("/v1/tracks/1", headers={"X-Request-Id": "mine-1"})
    message = await refused(response, 500, "internal")
    assert "mine-1" in message and "secret" not in message and "Zero" not in message


async def test_a_refusal_comes_as_msgpack_when_that_is_asked_for(web: Web) -> None:
    response = await web.get("/v1/tracks/999999", headers={"Accept": "application/msgpack"})
    body = msgpack.unpackb(await response.read())
    assert response.status == 404 and body["error"]["code"] == "track_not_found"


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1.2_3", True), ("x" * 65, False), ("a b", False), ("", False)]
)
async def test_a_request_keeps_its_own_id_when_that_is_a_plain_one(web: Web, given: str, kept: bool) -> None:
    response = await web.get("/healthz", headers={"X-Request-Id": given})
    assert (response.headers["X-Request-Id"] == given) is kept
    assert response.headers["X-Request-Id"]


async def test_a_body_that_cannot_be_decompressed_is_refused(web: Web) -> None:
    response = await web.post(
        "/v1/identify", data=b"hello", headers={"Content-Encoding": "gzip"}, skip_auto_headers=()
    )
    assert response.status in (415, 422)


async def test_a_client_that_leaves_in_the_middle_leaves_no_file(web: Web, door: Door) -> None:
    started = asyncio.Event()

    async def leaving() -> AsyncIterator[bytes]:
        yield bytes(2**20 + 2**18)  # more than is kept in memory
        started.set()
        await asyncio.sleep(30)

    sending = asyncio.create_task(web.post("/v1/tracks", data=leaving()))
    await started.wait()
    await until(lambda: bool(list(door.spool.folder.glob("*.part"))))
    sending.cancel()
    await until(lambda: not list(door.spool.folder.glob("*.part")))


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /v1/identify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nhello\r\n",
        b"GET / FOO/9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_is_not_even_http_gets_the_one_body_too(port: int, request_bytes: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_bytes)
    async with asyncio.timeout(5):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    error = json.loads(body)["error"]
    assert b" 400 " in head.splitlines()[0] and error["code"] == "bad_request"
    assert f"X-Request-Id: {error['request_id']}".encode() in head


@pytest.fixture(scope="module")
async def port(config: Config, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[int]:
    """A server on its own connections, as `run` makes it."""
    data_dir = str(tmp_path_factory.mktemp("raw"))
    async with listening(config.with_values(redis={"data_dir": data_dir}, web={"port": 0})) as life:
        yield life.port


ODD_VALUES = (
    "",
    "0",
    "-1",
    "1e400",
    "nan",
    "null",
    "true",
    "[]",
    "\x00",
    "\ud7ff",
    "%",
    "9" * 400,
    "'; --",
    "*",
    "{0}",
    "a" * 3000,
)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_no_odd_value_anywhere_is_a_500(web: Web, route: Route) -> None:
    query = wire_of(route.handler).query
    urls = []
    for value in ODD_VALUES:
        odd = quote(value, safe="")
        urls += [f"{route.path}?{name}={odd}" for name in (query.__struct_fields__ if query else ("x",))]
        if "{" in route.path:
            urls.append(re.sub(r"{\w+}", odd, route.path))
    for url in urls:
        for body in (b"", b"\xff\x00", b"{}"):
            url_as_it_is = URL(str(web.make_url("/")).rstrip("/") + url, encoded=True)
            response = await web.session.request(route.method, url_as_it_is, data=body, allow_redirects=False)
            assert response.status < 500, (url, body, await response.text())
            if response.status >= 400:
                assert (await response.json())["error"]["code"]
            if route.method == "GET":
                break


async def test_bytes_of_a_form_that_are_no_text_are_told_as_well_as_can_be(web: Web) -> None:
    body = (
        b"--X\r\nContent-Type: multipart/mi\xe6\xf7\xf0o boundary=Y\r\n\r\n--Y\r\n\r\nx\r\n--Y--\r\n--X--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=X"}
    for path in ("/v1/identify", "/v1/tracks", "/v1/ingest"):
        response = await web.post(path, data=body, headers=headers)
        await refused(response, 422, "invalid_request")
