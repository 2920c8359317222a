"""Copies of masters over the replication protocol: both forms, one moment, and what is left afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from fpserver.config import RedisConfig
from fpserver.errors import StoreUnavailable
from fpserver.store import moment
from fpserver.store.binary import find_server
from fpserver.store.connect import Client, load_functions, open_store
from fpserver.store.loading import NotLoaded, loaded
from fpserver.store.moment import Moment, one_moment
from loadtest.cluster import Cluster, go_on, joined, pause

N_KEYS = 20_000
READER = """#!lua name=t_reader
local function read(keys) return redis.call('GET', keys[1]) end
redis.register_function{function_name='t_read', callback=read, flags={'no-writes'}}
"""


async def nothing() -> None:
    """Tell nothing of the moment."""


async def whole(found: Moment[Any]) -> list[bytes]:
    """All copies, read together."""

    async def read(pieces: AsyncIterator[bytes]) -> bytes:
        return b"".join([piece async for piece in pieces])

    return await asyncio.gather(*(read(copy.pieces) for copy in found.copies))


async def values(rdb: bytes, folder: Path) -> dict[bytes, bytes]:
    """The strings of a copy."""
    (folder / "copy.rdb").write_bytes(rdb)
    async with loaded(folder / "copy.rdb", program=find_server(), db=0) as source:
        names = [name async for name in source.scan_iter(count=1000)]
        held: list[Any] = await source.mget(names) if names else []
        return dict(zip(names, held, strict=True))


async def fill(client: Client) -> dict[bytes, bytes]:
    held = {f"k{i}".encode(): f"{i:0400}".encode() for i in range(N_KEYS)}
    await client.mset(held)
    return held


async def until_it_saves_no_more(client: Client) -> None:
    async with asyncio.timeout(10):
        while (await client.info("persistence"))["rdb_bgsave_in_progress"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("rights", ["+@all", "+@all -config"])
async def test_a_copy_holds_all_that_there_was_whether_its_length_is_told_or_not(
    client: Client, tmp_path: Path, rights: str
) -> None:
    """Without the right to change the master's delay, the copy goes by way of the master's disk, length first."""
    held = await fill(client)
    path = (await client.config_get("unixsocket"))["unixsocket"]
    await client.execute_command("ACL", "SETUSER", "copier", "on", "nopass", "~*", "&*", *rights.split())
    try:
        async with (
            redis.asyncio.Redis(unix_socket_path=path, username="copier", password="x", protocol=2) as copier,
            one_moment(copier, nothing) as found,
        ):
            (copy,) = found.copies
            assert copy.n_lasting == N_KEYS and copy.slots == ""
            await client.set("later", "1")
            (rdb,) = await whole(found)
        assert await values(rdb, tmp_path) == held
    finally:
        await client.execute_command("ACL", "DELUSER", "copier")


async def test_nothing_is_left_at_the_master(client: Client) -> None:
    await client.config_set("repl-diskless-sync-delay", 3)
    async with one_moment(client, nothing) as found:
        await client.set("writes", "are taken again")
        await whole(found)
    async with asyncio.timeout(5):
        while (await client.info("replication"))["connected_slaves"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert await client.config_get("repl-diskless-sync-delay") == {"repl-diskless-sync-delay": "3"}
    await client.config_set("repl-diskless-sync-delay", 5)


async def test_readers_do_not_notice_and_writers_wait_until_all_copies_have_begun(client: Client) -> None:
    written: list[float] = []

    async def write_and_read() -> asyncio.Task[Any]:
        writing: asyncio.Task[Any] = asyncio.ensure_future(client.set("k", "new"))
        writing.add_done_callback(lambda _: written.append(time.monotonic()))
        await asyncio.sleep(0.1)
        begin = time.monotonic()
        assert await client.get("k") == b"old"
        assert await client.execute_command("FCALL", "t_read", 1, "k") == b"old"
        assert time.monotonic() - begin < 0.1 and not written
        return writing

    await client.set("k", "old")
    await load_functions(client, READER)
    async with one_moment(client, write_and_read) as found:
        await found.told
        assert found.paused_s >= 0.1


async def test_a_copy_that_is_read_slowly_or_not_at_all_does_no_harm(client: Client) -> None:
    await fill(client)
    async with one_moment(client, nothing) as found:
        async for _ in found.copies[0].pieces:
            break
    await until_it_saves_no_more(client)
    async with one_moment(client, nothing) as found:
        assert len((await whole(found))[0]) > 1000


async def test_a_master_that_saves_is_waited_for(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(client)
    await until_it_saves_no_more(client)  # the test before may have left it at that
    await client.config_set("rdb-key-save-delay", 50)  # µs a key: the child takes a second
    await client.bgsave()
    await client.config_set("rdb-key-save-delay", 0)
    begin = time.monotonic()
    async with one_moment(client, nothing) as found:
        await whole(found)
    assert time.monotonic() - begin > 0.5
    await until_it_saves_no_more(client)
    monkeypatch.setattr(moment, "QUIET_LIMIT_S", 0.2)
    await client.config_set("rdb-key-save-delay", 50)
    await client.bgsave()
    await client.config_set("rdb-key-save-delay", 0)
    with pytest.raises(StoreUnavailable, match="has been rewriting its files for"):
        async with one_moment(client, nothing):
            pass
    await until_it_saves_no_more(client)


async def test_a_pause_has_an_end_also_when_the_question_has_none(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moment, "PAUSE_S", 0.3)
    with pytest.raises(StoreUnavailable, match="did not begin its copies within 0 s"):
        async with one_moment(client, lambda: asyncio.sleep(5)):
            pass
    begin = time.monotonic()
    await client.set("k", "1")
    assert time.monotonic() - begin < 0.2


async def test_what_is_no_copy_of_a_store_is_not_loaded_and_the_reason_is_told(tmp_path: Path) -> None:
    (tmp_path / "copy.rdb").write_bytes(b"REDIS0099" + bytes(100))
    with pytest.raises(NotLoaded, match=r"version 99|RDB version"):
        async with loaded(tmp_path / "copy.rdb", program=find_server(), db=0):
            pass


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with joined(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
async def cluster_client(cluster: Cluster) -> AsyncIterator[Client]:
    async with open_store(RedisConfig(url=cluster.url)) as client:
        await client.flushall(target_nodes="primaries")
        yield client


async def test_the_copies_of_all_masters_are_of_one_moment(cluster_client: Client, tmp_path: Path) -> None:
    """Who writes on one master after another has written on the next is never found only on the next."""
    names = [f"{{{tag}}}:{i}" for i in range(8) for tag in ("a", "b", "c")]  # on three masters
    assert isinstance(cluster_client, redis.asyncio.RedisCluster)
    assert len(set(map(cluster_client.get_node_from_key, names))) == 3
    n_written, stop = 0, asyncio.Event()

    async def write(lane: int) -> None:
        nonlocal n_written
        while not stop.is_set():
            for tag in ("a", "b", "c"):
                await cluster_client.incr(f"{{{tag}}}:{lane}")
            n_written += 1

    writers = [asyncio.create_task(write(lane)) for lane in range(8)]
    try:
        for round_ in range(3):
            await asyncio.sleep(0.3)
            async with one_moment(cluster_client, nothing) as found:
                copies = await whole(found)
            held: dict[bytes, bytes] = {}
            for rdb in copies:
                held |= await values(rdb, tmp_path)
            for lane in range(8):
                a, b, c = (int(held[f"{{{tag}}}:{lane}".encode()]) for tag in ("a", "b", "c"))
                assert a >= b >= c >= a - 1, f"round {round_}"
    finally:
        stop.set()
        await asyncio.gather(*writers)
    assert n_written > 100


async def test_a_master_that_says_nothing_makes_no_backup_and_leaves_the_others_writing(
    cluster: Cluster, cluster_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moment, "PAUSE_S", 0.5)
    pause(cluster.nodes[1])
    try:
        with pytest.raises(StoreUnavailable, match="does not answer"):
            async with one_moment(cluster_client, nothing):
                pass
    finally:
        go_on(cluster.nodes[1])
    await cluster.whole()
    async with asyncio.timeout(5):
        await asyncio.gather(*(cluster_client.set(f"{{{tag}}}", "1") for tag in "abc"))


async def test_masters_that_do_not_hold_all_slots_make_no_backup(
    cluster: Cluster, cluster_client: Client
) -> None:
    cluster.nodes[0].redis.cluster("DELSLOTS", 17)
    try:
        with pytest.raises(StoreUnavailable, match=r"16383 of 16384 slots"):
            async with one_moment(cluster_client, nothing):
                pass
    finally:
        cluster.nodes[0].redis.cluster("ADDSLOTS", 17)
        await cluster.whole()
