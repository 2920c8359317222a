"""One attacker's connection: what it sends, how it behaves, and how the server put an end to it."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

ESTABLISHED = 1  # first byte of Linux's TCP_INFO
LOOK_S = 0.1
STILL_OPEN, REFUSED, CUT_OFF = "still open", "not let in", "cut off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What one connection does: `first`, then `piece` again and again."""

    first: bytes = b""
    piece: bytes = b""
    every_s: float = 0.0  # between pieces; 0: as fast as the server takes them
    n_pieces: int | None = None  # None: without end
    reads: bool = True
    half_closes: bool = False  # after `first`
    resets: bool = False  # after `first`
    leaves: bool = False  # after the first answer, or `first` if it does not read


async def act(address: str, script: Script, until: float) -> str:
    """Follow a script until the server ends it, or `until`; says how it ended: "408", "cut off" …"""
    loop = asyncio.get_running_loop()
    parts = urlsplit(address)
    with socket.socket() as line:
        line.setblocking(False)
        if not script.reads:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            await loop.sock_connect(line, (parts.hostname, parts.port))
        except OSError:
            return REFUSED
        if script.resets:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sending = asyncio.create_task(_send(line, script))
        try:
            if script.resets or (script.leaves and not script.reads):
                await asyncio.wait([sending], timeout=1.0)
                return "left"
            async with asyncio.timeout_at(until):
                return await (_answer(line, stays=not script.leaves) if script.reads else _end(line))
        except TimeoutError:
            return STILL_OPEN
        except OSError:
            return CUT_OFF
        finally:
            sending.cancel()
            await asyncio.wait([sending])


async def _send(line: socket.socket, script: Script) -> None:
    loop = asyncio.get_running_loop()
    try:
        if script.first:
            await loop.sock_sendall(line, script.first)
        if script.half_closes:
            line.shutdown(socket.SHUT_WR)
        for _ in _times(script.n_pieces) if script.piece else ():
            await asyncio.sleep(script.every_s)
            await loop.sock_sendall(line, script.piece)
    except OSError:
        pass  # the reading half says how it ended


def _times(n: int | None) -> Iterator[int]:
    i = 0
    while n is None or i < n:
        yield i
        i += 1


async def _answer(line: socket.socket, *, stays: bool) -> str:
    """The status of the last answer, and whether it came to an end there."""
    loop = asyncio.get_running_loop()
    status = ""
    try:
        while data := await loop.sock_recv(line, 2**16):
            for one in data.split(b"HTTP/1.")[1:]:
                if one[2:5].isdigit() and one[2:5] != b"100":
                    status = one[2:5].decode()
            if status and not stays:
                return status
    except OSError:
        return status or CUT_OFF
    return status or "closed"


async def _end(line: socket.socket) -> str:
    """Never read; look whether the connection is still there."""
    while line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == ESTABLISHED:  # noqa: ASYNC110 – the kernel's, no event of ours
        await asyncio.sleep(LOOK_S)
    return CUT_OFF
