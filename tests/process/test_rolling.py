"""A server that is to stop says so first; one that is to reload replaces its processes. No request fails by it."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.process.running import Running, serving, wait_until

pytestmark = pytest.mark.timeout(120)


def ask(connection: http.client.HTTPConnection, path: str) -> tuple[int, str | None, dict[str, object]]:
    """Status, what is said of the connection, and the document."""
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.headers["Connection"], json.loads(response.read())


@contextmanager
def connected(server: Running) -> Iterator[http.client.HTTPConnection]:
    """A client's connection, which it keeps, and makes anew where it was ended."""
    connection = http.client.HTTPConnection(urlsplit(server.address).netloc, timeout=30)
    try:
        yield connection
    finally:
        connection.close()


def status_of(server: Running, path: str) -> int:
    with connected(server) as connection:
        return ask(connection, path)[0]


def log_of(data_dir: Path) -> str:
    return (data_dir.parent / f"{data_dir.name}.log").read_text()


@contextmanager
def asking_all_the_time(server: Running, *, n_clients: int = 4) -> Iterator[list[str]]:
    """Clients that keep their connections for as long as they may; what failed is there at the end."""
    failures: list[str] = []
    ended = threading.Event()

    def ask_on() -> None:
        with connected(server) as connection:
            while not ended.is_set():
                try:
                    status, _, _ = ask(connection, "/v1/tracks?limit=1")
                    if status != 200:
                        failures.append(str(status))
                except (OSError, http.client.HTTPException) as error:
                    failures.append(repr(error))
                    connection.close()
                time.sleep(0.02)

    clients = [threading.Thread(target=ask_on) for _ in range(n_clients)]
    for client in clients:
        client.start()
    try:
        yield failures
    finally:
        ended.set()
        for client in clients:
            client.join()


@contextmanager
def notified(folder: Path) -> Iterator[tuple[Path, Callable[[], list[str]]]]:
    """A socket that systemd would listen at, and what was said there since."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        path = folder / "notify"
        listener.bind(str(path))
        listener.setblocking(False)

        def said() -> list[str]:
            found = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    found.append(listener.recv(4096).decode().partition("\n")[0])
            return found

        yield path, said


def test_on_sigterm_readiness_goes_first_and_requests_are_still_taken(tmp_path: Path) -> None:
    settings = {"FPSERVER_WEB__LEAVE_S": "2.0"}
    with (
        serving(tmp_path / "data", "--workers", "0", settings=settings) as server,
        connected(server) as kept,
        connected(server) as prober,
    ):
        assert ask(kept, "/v1/tracks")[:2] == (200, None)
        assert ask(prober, "/readyz")[0] == 200
        server.process.send_signal(signal.SIGTERM)
        assert wait_until(lambda: ask(prober, "/readyz")[0] == 503, within_s=1.5)
        status, connection, document = ask(prober, "/readyz")
        assert (status, connection) == (503, "close")
        error = document["error"]
        assert isinstance(error, dict) and error["code"] == "stopping" and "stopping" in error["message"]
        assert ask(kept, "/v1/tracks")[:2] == (200, "close"), "a kept connection gets its answer, and ends"
        assert ask(kept, "/healthz")[:2] == (200, "close"), "so does a new one"
        assert server.process.wait(20) == 0
        with pytest.raises(ConnectionRefusedError):
            status_of(server, "/healthz")


def test_sighup_replaces_every_process_and_no_request_fails(tmp_path: Path) -> None:
    with notified(tmp_path) as (path, said):
        settings = {"NOTIFY_SOCKET": str(path)}
        with serving(tmp_path / "data", settings=settings) as server:
            assert wait_until(lambda: len(server.children("worker")) == 1, within_s=20)
            before = {*server.children("web"), *server.children("worker")}
            with asking_all_the_time(server) as failures:
                server.process.send_signal(signal.SIGHUP)
                assert wait_until(lambda: "serve.reloaded" in log_of(tmp_path / "data"), within_s=60)
            assert failures == []
            after = {*server.children("web"), *server.children("worker")}
            assert len(after) == 2 and not after & before
            assert server.stop() == 0
            assert said() == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]


def test_sighup_takes_in_what_may_change_and_refuses_what_may_not(tmp_path: Path) -> None:
    data_dir, file = tmp_path / "data", tmp_path / "fpserver.toml"
    file.write_text("")
    with serving(data_dir, "--workers", "0", "--config", str(file)) as server:

        def reload(text: str, event: str) -> str:
            """What the log says of it."""
            seen = len(log_of(data_dir))
            file.write_text(text)
            server.process.send_signal(signal.SIGHUP)
            assert wait_until(lambda: f"serve.{event}" in log_of(data_dir)[seen:], within_s=60)
            return log_of(data_dir)[seen:]

        first = server.children("web")
        assert "redis.url cannot change" in reload('[redis]\nurl = "redis://x"\n', "reload_refused")
        assert "prot" in reload("[web]\nprot = 1\n", "reload_refused")
        assert "n_shards" in reload("[index]\nn_shards = 4\n", "reload_failed")
        assert server.children("web") == first, "those that serve are left alone"
        reload("[web]\nprocesses = 2\n", "reloaded")
        assert wait_until(lambda: len(set(server.children("web")) - set(first)) == 2, within_s=20)
        assert status_of(server, "/readyz") == 200
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert server.stop() == 0, "in the middle of a reload, too"


def test_who_comes_while_a_process_is_dead_is_answered_by_the_next(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--workers", "0") as server:
        os.kill(server.child("web"), signal.SIGKILL)
        assert status_of(server, "/healthz") == 200


def test_a_server_whose_terminal_is_closed_ends(tmp_path: Path) -> None:
    """It is no daemon then; SIGHUP means what it means to every program of a terminal."""
    command = """
import asyncio, os, signal
from fpserver.supervisor import _signals
async def main():
    stop, _ = _signals()
    os.kill(os.getpid(), signal.SIGHUP)
    await asyncio.wait_for(stop.wait(), 5)
asyncio.run(main())
"""
    ours, its = os.openpty()
    try:
        ran = subprocess.run([sys.executable, "-c", command], stdin=its, timeout=30, check=False)
    finally:
        os.close(ours)
        os.close(its)
    assert ran.returncode == 0
