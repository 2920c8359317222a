"""Clients that do nothing, or too much: every wait of a connection ends, and none takes another's place for good."""

import asyncio
import json
import shutil
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest

from fpserver.config import Config
from fpserver.web import connection
from fpserver.web.crowd import DEAR_SHARE, Crowd, places
from fpserver.web.life import listening

HEAD_S, IDLE_S, WRITE_S = 0.6, 1.0, 1.0
N_PLACES = 8
SOON_S = 0.8  # of a look at the clock, on a busy machine
HELLO = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(scope="module")
async def port(config: Config, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[int]:
    """A server that loses its patience soon."""
    limits = {
        "port": 0,
        "head_timeout_s": HEAD_S,
        "idle_timeout_s": IDLE_S,
        "write_timeout_s": WRITE_S,
        "max_connections": N_PLACES,
    }
    data_dir = str(tmp_path_factory.mktemp("connections"))
    async with listening(config.with_values(redis={"data_dir": data_dir}, web=limits)) as life:
        yield life.port


async def opened(port: int, first: bytes = b"") -> Streams:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(first)
    return reader, writer


async def answered(streams: Streams, *, within_s: float = 5.0) -> tuple[int, str]:
    """(status, error code or "") of the one answer that comes before the end; (0, "") for an end without."""
    async with asyncio.timeout(within_s):
        head, _, body = (await streams[0].read()).partition(b"\r\n\r\n")
    streams[1].close()
    if not head:
        return 0, ""
    return int(head.split()[1]), json.loads(body).get("error", {}).get("code", "")


async def test_a_head_that_arrives_byte_by_byte_is_given_up(port: int) -> None:
    streams = await opened(port)

    async def drip() -> None:
        for byte in HELLO[:-2] + b"X: " + b"y" * 1000:
            streams[1].write(bytes([byte]))
            await asyncio.sleep(0.03)

    dripping, start = asyncio.create_task(drip()), time.monotonic()
    async with asyncio.timeout(5):
        head = await streams[0].readuntil(b"\r\n\r\n")
        dripping.cancel()
    assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert json.loads(await streams[0].read())["error"]["code"] == "request_timeout"
    streams[1].close()
    assert HEAD_S - 0.1 < time.monotonic() - start < HEAD_S + SOON_S


async def test_the_head_of_a_second_request_has_its_time_too(port: int) -> None:
    streams = await opened(port, HELLO)
    async with asyncio.timeout(3):
        assert b"200 OK" in await streams[0].readuntil(b"\r\n\r\n")
        await streams[0].readuntil(b"}")
    streams[1].write(HELLO[:10])
    assert await answered(streams) == (408, "request_timeout")


@pytest.mark.parametrize("first", [b"", HELLO])
async def test_a_connection_that_says_nothing_is_closed(port: int, first: bytes) -> None:
    streams, start = await opened(port, first), time.monotonic()
    assert (await answered(streams))[0] == (200 if first else 0)
    assert IDLE_S - 0.1 < time.monotonic() - start < IDLE_S + SOON_S


async def test_a_request_that_takes_longer_than_all_of_these_is_left_alone(port: int) -> None:
    body = b"0123456789"
    reader, writer = await opened(
        port, b"POST /v1/identify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n"
    )
    for byte in body:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.08)
    async with asyncio.timeout(5):
        assert b" 415 " in await reader.readuntil(b"\r\n\r\n"), "it was heard to its end"
    writer.close()


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 414, "url_too_long"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 17_000 + b"\r\n\r\n", 431, "head_too_large"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431, "head_too_large"),
        (b"GET / HTTP/1.1\r\n" + (b"X: " + b"y" * 16_000 + b"\r\n") * 6, 431, "head_too_large"),
    ],
    ids=["url", "field", "fields", "endless"],
)
async def test_a_head_out_of_bounds_is_told_so(port: int, head: bytes, status: int, code: str) -> None:
    assert await answered(await opened(port, head)) == (status, code)


async def test_a_body_in_one_piece_with_its_head_is_not_taken_for_a_head(port: int) -> None:
    body = b"x" * (2 * connection.MAX_HEAD_BYTES)
    head = f"POST /v1/identify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    assert await answered(await opened(port, head.encode() + body)) == (415, "audio_unsupported")


async def test_the_connection_that_is_idle_longest_makes_room_for_a_new_one(port: int) -> None:
    idle = [await opened(port, HELLO) for _ in range(N_PLACES)]
    async with asyncio.timeout(3):
        for reader, _ in idle:
            await reader.readuntil(b"}")
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/healthz") as response:
                assert response.status == 200
            assert await idle[0][0].read() == b"", "the first one had to go"
        assert not idle[1][0].at_eof()
    for _, writer in idle:
        writer.close()
    await asyncio.sleep(0.1)


async def test_who_comes_when_all_are_busy_is_told_to_come_again(port: int) -> None:
    begun = b"POST /v1/identify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n1"
    busy = [await opened(port, begun) for _ in range(N_PLACES)]
    await asyncio.sleep(0.1)
    assert await answered(await opened(port)) == (503, "overloaded")
    for _, writer in busy:
        writer.close()
    await asyncio.sleep(0.1)
    assert (await answered(await opened(port, HELLO)))[0] == 200


async def test_a_client_that_does_not_read_its_answers_is_cut_off(port: int) -> None:
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect(("127.0.0.1", port))
        lazy.settimeout(0.2)
        start = time.monotonic()
        with suppress(TimeoutError):  # the server stops reading, too
            for _ in range(2000):
                lazy.sendall(b"GET /v1/openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 10)
        lazy.settimeout(10)
        with pytest.raises(ConnectionResetError):
            while time.monotonic() - start < 10:
                lazy.sendall(b"G")
                await asyncio.sleep(0.05)
        assert time.monotonic() - start < WRITE_S + 3


@pytest.mark.parametrize("path", ["/v1/identify?limit=0", "/nothing"])
async def test_who_is_refused_while_still_sending_can_read_why(port: int, path: str) -> None:
    body = bytes(16 * 2**20)
    async with aiohttp.ClientSession() as session:
        for _ in range(3):
            async with session.post(f"http://127.0.0.1:{port}{path}", data=BytesIO(body)) as response:
                assert response.status in (404, 422)
                assert (await response.json())["error"]["code"] in ("not_found", "invalid_request")
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.settimeout(10)
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        await asyncio.to_thread(plain.sendall, head + body)  # all of it, before anything is read
        assert b"HTTP/1.1 4" in await asyncio.to_thread(plain.recv, 1000)


async def test_nobody_can_make_the_server_read_without_end(port: int) -> None:
    _, writer = await opened(
        port, b"POST /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000000000\r\n\r\n"
    )
    n_sent, piece = 0, bytes(2**20)
    with suppress(ConnectionError):
        async with asyncio.timeout(20):
            while not writer.is_closing():
                writer.write(piece)
                await writer.drain()
                n_sent += len(piece)
    assert n_sent < connection.LINGER_BYTES + 24 * 2**20, "the rest is what the kernel holds"
    writer.close()


async def test_a_client_that_resets_leaves_its_place(port: int) -> None:
    for _ in range(3 * N_PLACES):
        _, writer = await opened(
            port, b"POST /v1/identify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n1"
        )
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.transport.abort()
        await asyncio.sleep(0.01)
    assert (await answered(await opened(port, HELLO)))[0] == 200


class Reader:
    """A member of a crowd that has not read some bytes since a moment."""

    def __init__(self, n_unread: int, read_at: float) -> None:
        self.n_unread, self.read_at = n_unread, read_at
        self.ended = False

    def look(self, now: float) -> None:
        pass

    def cut_off(self, why: str) -> None:
        self.ended = bool(why)

    def force_close(self) -> None:
        self.ended = True


async def test_answers_that_are_not_read_take_no_more_memory_together_than_they_may() -> None:
    crowd = Crowd(limit=10, max_unread_bytes=100)
    readers = [Reader(60, 3.0), Reader(0, 1.0), Reader(50, 2.0), Reader(40, 4.0)]
    assert all(crowd.enter(reader) for reader in readers)
    watching = asyncio.create_task(crowd.watch())
    await asyncio.sleep(0.01)
    watching.cancel()
    assert [reader.ended for reader in readers] == [False, False, True, False]


def test_there_are_never_more_places_than_descriptors() -> None:
    assert places(3) == 3
    assert 1 <= places(10**9) < 10**5


async def test_an_answer_that_is_read_slowly_but_steadily_is_not_cut_off(port: int) -> None:
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", port))
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(slow, b"GET /v1/openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 20)
        start, n_bytes = loop.time(), 0
        while loop.time() - start < 3 * WRITE_S:
            n_bytes += len(await loop.sock_recv(slow, 2**14))
            await asyncio.sleep(0.02)
        assert n_bytes > 2**18


def test_what_is_dear_to_read_takes_turns() -> None:
    crowd = Crowd(limit=10, max_unread_bytes=100)
    assert crowd.next_dear(0.02, now=1.0) == pytest.approx(1 + 0.02 / DEAR_SHARE)
    assert crowd.next_dear(0.02, now=1.0) == pytest.approx(1 + 0.04 / DEAR_SHARE)
    assert crowd.next_dear(0.02, now=9.0) == pytest.approx(9 + 0.02 / DEAR_SHARE)


async def test_a_body_of_odd_chunks_is_heard_to_its_end_or_its_time(port: int) -> None:
    body = b"0123456789" * 3000
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    head = b"POST /v1/identify HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert (await answered(await opened(port, head + pieces)))[0] in (408, 415)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("expect", ["Expect:", "Expect: 100-continue"])
async def test_curl_can_read_why_its_upload_is_refused(port: int, tmp_path: Path, expect: str) -> None:
    file = tmp_path / "clip"
    file.write_bytes(bytes(16 * 2**20))
    arguments = ("-sS", "-H", expect, "--data-binary", f"@{file}", f"http://127.0.0.1:{port}/nothing")
    curl = await asyncio.create_subprocess_exec("curl", *arguments, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(20):
        said, _ = await curl.communicate()
    assert (curl.returncode, json.loads(said)["error"]["code"]) == (0, "not_found")
