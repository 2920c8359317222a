"""What may befall a server, and what it may cost: one function each."""

import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from loadtest.processes import children_of, command_line, descendants_of
from loadtest.server import Server

STOPPED_S = 4.0
FLOOD_S = 8.0
BETWEEN_S = 0.01
RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s
BROKEN = (
    b"POST /v1/identify HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + bytes(10_000),
    b"POST /v1/identify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    b"GET /v1/tracks HTTP/1.1\r\nHo",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that befalls a server, and its error budget, in seconds of arrivals."""

    name: str
    act: Callable[[Server], None]
    bad_s: float  # that may be not served
    failed_s: float  # of these, that may fail without being told to come again
    well_s: float  # until all are served again


def kill(pid: int) -> None:
    """At once (-9), if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def decoding_children(server: Server) -> list[int]:
    """Those of the web processes that decode, without the process that they are forked from."""
    web = server.children("fpserver.child web")
    family = {pid for each in web for pid in descendants_of(each)}
    return sorted(
        pid for pid in family if not children_of(pid) and "resource_tracker" not in command_line(pid)
    )


def _web(server: Server) -> None:
    kill(server.children("fpserver.child web")[0])


def _worker(server: Server) -> None:
    kill(server.children("fpserver.child worker")[0])


def _decoding(server: Server) -> None:
    for pid in decoding_children(server):
        kill(pid)


def _store(server: Server) -> None:
    kill(server.children("valkey")[0])


def _stopped(server: Server) -> None:
    (pid,) = server.children("valkey")
    os.kill(pid, signal.SIGSTOP)
    time.sleep(STOPPED_S)
    os.kill(pid, signal.SIGCONT)


def _flood(server: Server) -> None:
    address = urlsplit(server.address)
    until, i = time.perf_counter() + FLOOD_S, 0
    while time.perf_counter() < until:
        with (
            suppress(OSError),
            socket.create_connection((address.hostname, address.port), timeout=2) as client,
        ):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
            client.sendall(BROKEN[i % len(BROKEN)])
        i += 1
        time.sleep(BETWEEN_S)


EVENTS = (
    Event(name="one of the web processes killed", act=_web, bad_s=2.0, failed_s=2.0, well_s=10.0),
    Event(name="the worker killed", act=_worker, bad_s=0.0, failed_s=0.0, well_s=0.0),
    Event(name="decoding processes killed", act=_decoding, bad_s=1.0, failed_s=1.0, well_s=5.0),
    Event(name="the store killed", act=_store, bad_s=5.0, failed_s=0.0, well_s=10.0),
    Event(
        name=f"the store stopped for {STOPPED_S:g} s",
        act=_stopped,
        bad_s=STOPPED_S + 2.0,
        failed_s=0.0,
        well_s=STOPPED_S + 6.0,
    ),
    Event(
        name=f"{1 / BETWEEN_S:.0f} broken clients a second for {FLOOD_S:g} s",
        act=_flood,
        bad_s=0.0,
        failed_s=0.0,
        well_s=0.0,
    ),
)
