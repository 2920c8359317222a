"""The embedded server's life, seen from several real processes."""

import asyncio
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis.asyncio

from fpserver.config import RedisConfig
from fpserver.errors import EmbeddedStoreMissing, StoreUnavailable
from fpserver.store import binary, embedded, sockets
from fpserver.store.connect import Client, open_store
from fpserver.store.embedded import EmbeddedServer, embedded_server
from fpserver.store.sockets import MAX_SOCKET_PATH_BYTES

LIMIT_S = 15.0


@dataclass
class Opener:
    """A process that has the store open (opener.py)."""

    process: subprocess.Popen[str]
    owned: bool = False
    server_pid: int = 0

    def listen(self) -> None:
        """Wait until it has the store."""
        assert self.process.stdout is not None
        said = json.loads(self.process.stdout.readline())
        self.owned, self.server_pid = said["owned"], said["server_pid"]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        return self.process.wait(LIMIT_S)


@pytest.fixture
def opener(tmp_path: Path) -> Iterator[Callable[..., Opener]]:
    """Start openers on a folder; those that still live are ended after the test."""
    started = []

    def start(data_dir: Path = tmp_path, *, wait: bool = True) -> Opener:
        command = [sys.executable, "-m", "tests.store.opener", str(data_dir)]
        opener = Opener(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        )
        started.append(opener)
        if wait:
            opener.listen()
        return opener

    yield start
    for opener in started:
        if opener.process.poll() is None:
            opener.end()
        assert opener.process.stdout is not None
        opener.process.stdout.close()


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)


async def server_pid(client: Client) -> int:
    return int((await client.info("server"))["process_id"])


async def setting(client: Client, name: str) -> str:
    (_, value) = await client.execute_command("CONFIG", "GET", name)
    return str(value, "utf-8")


def config(data_dir: Path) -> RedisConfig:
    return RedisConfig(data_dir=str(data_dir))


async def test_the_server_is_as_the_index_needs_it_and_closed_to_others(tmp_path: Path) -> None:
    wanted = {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-use-rdb-preamble": "yes",
        "aof-load-truncated": "yes",
        "save": "",
        "port": "0",
        "hash-max-listpack-entries": "512",
        "hash-max-listpack-value": "8192",
        "maxmemory": "0",
    }
    async with open_store(config(tmp_path)) as client:
        assert {name: await setting(client, name) for name in wanted} == wanted


async def test_the_socket_is_for_this_user_only(tmp_path: Path) -> None:
    async with embedded_server(tmp_path) as server:
        assert server.socket == tmp_path / "store" / "valkey.sock"
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700


async def test_what_was_written_is_there_after_closing_and_opening(tmp_path: Path) -> None:
    async with open_store(config(tmp_path)) as client:
        pid = await server_pid(client)
        await client.set("k", "v")
    assert not lives(pid)
    async with open_store(config(tmp_path)) as client:
        assert await client.get("k") == b"v"


async def test_a_second_process_adopts_the_server_and_leaves_it_alone(
    tmp_path: Path, opener: Callable[..., Opener]
) -> None:
    first = opener()
    assert first.owned
    async with open_store(config(tmp_path)) as client:
        assert await server_pid(client) == first.server_pid
    assert lives(first.server_pid)
    assert first.end() == 0
    assert not lives(first.server_pid)


async def test_processes_that_start_at_the_same_moment_get_one_server(opener: Callable[..., Opener]) -> None:
    openers = [opener(wait=False) for _ in range(4)]
    for each in openers:
        each.listen()
    assert len({each.server_pid for each in openers}) == 1
    assert sum(each.owned for each in openers) == 1


async def test_openers_in_one_process_at_the_same_moment_get_one_server(tmp_path: Path) -> None:
    servers = [EmbeddedServer(tmp_path) for _ in range(5)]
    await asyncio.gather(*(server.ensure() for server in servers))
    assert sum(server.owned for server in servers) == 1
    for server in servers:
        await server.stop()


async def test_kill_9_of_its_parent_ends_the_server_in_good_order(
    tmp_path: Path, opener: Callable[..., Opener]
) -> None:
    parent = opener()
    server = EmbeddedServer(tmp_path)
    await server.ensure()
    async with redis.asyncio.Redis(unix_socket_path=str(server.socket)) as client:
        await client.set("k", "v")
    parent.end(signal.SIGKILL)
    await until(lambda: not lives(parent.server_pid))
    assert "User requested shutdown" in server.log_path.read_text()
    async with open_store(config(tmp_path)) as again:
        assert await again.get("k") == b"v"


async def test_kill_9_of_the_server_is_not_noticed_by_its_clients(tmp_path: Path) -> None:
    async with open_store(config(tmp_path)) as client:
        for round_ in range(2):
            pid = await server_pid(client)
            await client.set("k", str(round_))
            os.kill(pid, signal.SIGKILL)
            values = await asyncio.gather(*(client.get("k") for _ in range(20)))  # at once: reconnects, waits
            assert set(values) == {str(round_).encode()}
            assert await server_pid(client) != pid


async def test_an_adopter_starts_the_server_again_when_its_owner_was_killed(
    tmp_path: Path, opener: Callable[..., Opener]
) -> None:
    owner = opener()
    async with open_store(config(tmp_path)) as client:
        await client.set("k", "v")
        owner.end(signal.SIGKILL)
        await until(lambda: not lives(owner.server_pid))
        assert await client.get("k") == b"v"
        pid = await server_pid(client)
        assert pid != owner.server_pid
    assert not lives(pid)  # the adopter has become its owner


async def test_owner_and_server_killed_at_once_leave_the_data_to_the_next(
    tmp_path: Path, opener: Callable[..., Opener]
) -> None:
    owner = opener()
    async with open_store(config(tmp_path)) as client:
        await asyncio.gather(*(client.set(f"k{i}", i) for i in range(500)))
        os.kill(owner.server_pid, signal.SIGKILL)
        owner.end(signal.SIGKILL)
    async with open_store(config(tmp_path)) as client:
        assert await client.dbsize() == 500


async def test_a_truncated_append_only_file_is_read_to_the_cut(tmp_path: Path) -> None:
    async with open_store(config(tmp_path)) as client:
        await client.set("first", 1)
        await client.set("last", 2)
    (increment,) = (tmp_path / "store" / "appendonlydir").glob("*.incr.aof")
    os.truncate(increment, increment.stat().st_size - 5)
    async with open_store(config(tmp_path)) as client:
        assert await client.keys() == [b"first"]


async def test_stale_files_of_a_dead_server_do_not_matter(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "valkey.sock").touch()
    (store / "lock").write_text(str(os.getpid()))
    (store / "socket").write_text("/nonexistent/s")
    async with open_store(config(tmp_path)) as client:
        assert await client.ping()


async def test_a_folder_with_spaces_and_quotes_is_a_folder(tmp_path: Path) -> None:
    data_dir = tmp_path / """my "best" music\\'s döta"""
    async with open_store(config(data_dir)) as client:
        await client.set("k", "v")
    assert (data_dir / "store" / "appendonlydir").is_dir()


async def test_a_folder_whose_path_is_too_long_for_a_socket_has_it_elsewhere(
    tmp_path: Path, opener: Callable[..., Opener], monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / "/".join(["a-rather-long-name-of-a-folder"] * 6)
    async with open_store(config(deep)) as client, embedded_server(deep) as server:
        assert len(os.fsencode(server.socket)) <= MAX_SOCKET_PATH_BYTES < len(os.fsencode(deep))
        assert stat.S_IMODE(server.socket.parent.stat().st_mode) == 0o700
        assert server.socket.is_socket()
        await client.set("k", "v")
        monkeypatch.setenv("TMPDIR", str(tmp_path))  # another process may see other folders
        assert opener(deep).server_pid == await server_pid(client)
        assert not server.owned
        used = server.socket.parent
    shutil.copytree(deep, tmp_path / "copy" / deep.name)
    copied = EmbeddedServer(tmp_path / "copy" / deep.name)
    assert copied.socket.parent != used  # a copy is another store
    for folder in (used, copied.socket.parent):
        shutil.rmtree(folder)


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match=r"file/data/store cannot be used.*redis\.data_dir"):
        async with open_store(config(tmp_path / "file" / "data")):
            pass


@pytest.mark.skipif(os.getuid() == 0, reason="everything is writable for root")
async def test_a_folder_that_is_not_writable_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreUnavailable, match="Permission denied"):
        async with open_store(config(tmp_path / "data")):
            pass


async def test_a_server_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "store" / "appendonlydir"
    folder.mkdir(parents=True)
    (folder / "appendonly.aof.manifest").write_text("this is not a manifest\n")
    with pytest.raises(StoreUnavailable, match=r"(?s)ended with status 1.*last lines of .*manifest"):
        async with open_store(config(tmp_path)):
            pass
    (folder / "appendonly.aof.manifest").unlink()
    async with open_store(config(tmp_path)) as client:  # and nothing is left in the way
        assert await client.ping()


async def test_a_server_that_is_silent_is_given_up_in_time(
    tmp_path: Path, opener: Callable[..., Opener], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = opener()
    monkeypatch.setattr(embedded, "ANSWER_LIMIT_S", 0.3)
    monkeypatch.setattr(sockets, "ANSWER_S", 0.1)
    os.kill(owner.server_pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable, match="has said nothing for"):
            await EmbeddedServer(tmp_path).ensure()
    finally:
        os.kill(owner.server_pid, signal.SIGCONT)


async def test_a_platform_without_a_server_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedStoreMissing, match=r'riscv64.*redis\.url = "redis://'):
        async with open_store(config(tmp_path)):
            pass


def test_a_server_on_path_is_taken_when_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, version in (("valkey-server", "6.2.14"), ("redis-server", "7.0.15")):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho Redis server v={version} sha=00000000:0\n")
        program.chmod(0o755)
    assert binary.find_server() == tmp_path / "redis-server"
    (tmp_path / "redis-server").unlink()
    with pytest.raises(EmbeddedStoreMissing, match="valkey-server is older than version 7"):
        binary.find_server()
