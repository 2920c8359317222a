"""A store that fails gives a degraded answer or StoreUnavailable, never a wrong answer or another exception."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot

from fpserver.config import IndexConfig, RedisConfig
from fpserver.errors import StoreUnavailable
from fpserver.index import keys, rewriting, store
from fpserver.index.store import Index
from fpserver.store.cluster import Node
from fpserver.store.connect import Client, open_store
from fpserver.terms import Fingerprint, Landmarks, Window
from loadtest.cluster import Cluster, go_on, joined, kill, pause
from tests.index.conftest import STAMP, new_index
from tests.index.making import Model, fingerprint, hits, track_peaks

ASKED = np.arange(2000, dtype=np.uint32)


async def filled(client: Client, given: Fingerprint, **settings: int | float) -> tuple[Index, Model]:
    index, model = await new_index(client, **settings), Model()
    for track_id in (1, 2, 3):
        await index.add(track_id, given)
        model.add(track_id, given.landmarks)
    return index, model


def shards_on(node: Node) -> list[int]:
    return [shard for shard in range(16) if key_slot(b"%d" % shard) in node.slots]


@pytest.fixture
def given(rng: np.random.Generator) -> Fingerprint:
    return fingerprint(rng, spread=500)


def everything(index: Index, given: Fingerprint) -> list[Callable[[], Awaitable[object]]]:
    return [
        lambda: index.open(STAMP),
        lambda: index.add(9, given),
        lambda: index.remove(9, given.landmarks),
        lambda: index.lookup(ASKED),
        lambda: index.peaks([1, 2]),
        lambda: index.windows([Window(track_id=1, first_frame=0, last_frame=9)]),
        index.stats,
    ]


async def test_a_shard_that_fails_makes_the_answer_degraded(client: Client, given: Fingerprint) -> None:
    index, model = await filled(client, given)
    bucket = b"fp:{%d}:b:" % keys.shards_of(ASKED[:1], n_shards=16)[0] + bytes(4)
    await client.delete(bucket)
    await client.set(bucket, "no hash")
    found = await index.lookup(ASKED)
    shards = keys.shards_of(ASKED, n_shards=16)
    assert found.degraded
    assert hits(found, ASKED) == model.lookup(ASKED[shards != shards[0]])


async def test_a_store_that_pauses_is_unavailable_then_right_again(
    client: Client, given: Fingerprint
) -> None:
    index, model = await filled(client, given, shard_timeout_s=0.1, write_timeout_s=0.1)
    await client.execute_command("CLIENT PAUSE", 900, "ALL")
    for ask in everything(index, given):
        with pytest.raises(StoreUnavailable, match="no answer in time"):
            await ask()
    await asyncio.sleep(0.5)
    for _ in range(5):  # no late reply is taken for another's
        found = await index.lookup(ASKED)
        assert [hit for hit in hits(found, ASKED) if hit[1] != 9] == model.lookup(ASKED)


async def test_a_lookup_that_is_given_up_leaves_no_reply_behind(client: Client, given: Fingerprint) -> None:
    index, model = await filled(client, given)
    for delay_s in np.linspace(0, 0.004, 30):
        task = asyncio.create_task(index.lookup(ASKED))
        await asyncio.sleep(delay_s)
        task.cancel()
        found = await index.lookup(ASKED[:50])
        assert hits(found, ASKED[:50]) == model.lookup(ASKED[:50])
        await asyncio.wait([task])


async def of_one_moment(index: Index) -> tuple[list[tuple[int, int, int]], int]:
    """What is there, and how much: a call that was given up may have been sent, and be done in between."""
    while True:
        n_postings = (await index.stats()).n_postings
        found = hits(await index.lookup(ASKED), ASKED)
        if (await index.stats()).n_postings == n_postings:
            return found, n_postings


async def test_a_store_killed_in_mid_sealing_or_removal_holds_every_posting_once(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewriting, "MAX_LISTS", 3)
    given = {track_id: fingerprint(rng, n_landmarks=600, spread=100) for track_id in range(1, 40)}
    model = Model()
    async with open_store(RedisConfig(data_dir=str(tmp_path))) as client:
        index = await new_index(client)
        await client.config_set("appendfsync", "always")
        for track_id, each in given.items():
            await index.add(track_id, each)
            model.add(track_id, each.landmarks)
        changes: list[Callable[[], Awaitable[int]]] = [
            index.seal,
            lambda: index.remove(7, given[7].landmarks),
        ]
        for change in changes:
            pid = (await client.info("server"))["process_id"]
            changing = asyncio.ensure_future(change())
            await asyncio.sleep(0.02)
            os.kill(pid, signal.SIGKILL)
            changing.cancel()
            await asyncio.wait([changing])
            assert changing.cancelled()  # it was in the middle
            found, n_postings = await of_one_moment(index)
            assert set(found) <= set(model.lookup(ASKED))
            assert {hit for hit in model.lookup(ASKED) if hit[1] != 7} <= set(found)
            assert len(found) == n_postings
            assert await change() > 0
        model.remove(7)
        assert hits(await index.lookup(ASKED), ASKED) == model.lookup(ASKED)
        assert (await index.stats()).n_postings == model.n_postings


async def test_a_server_that_lost_the_functions_is_given_them_again(
    client: Client, given: Fingerprint
) -> None:
    index, model = await filled(client, given)
    await client.execute_command("FUNCTION FLUSH")
    assert hits(await index.lookup(ASKED), ASKED) == model.lookup(ASKED)
    await client.execute_command("FUNCTION FLUSH")
    await index.add(4, given)
    model.add(4, given.landmarks)
    assert hits(await index.lookup(ASKED), ASKED) == model.lookup(ASKED)


@asynccontextmanager
async def refusing_store(folder: Path, error: bytes) -> AsyncIterator[Client]:
    """A server that answers every command with an error."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**20):
            writer.write(error * len(re.findall(rb"\*\d+\r\n\$", data)))
        writer.close()

    server = await asyncio.start_unix_server(answer, folder / "s")
    no_retries = Retry(NoBackoff(), 0)
    async with server, Redis(unix_socket_path=str(folder / "s"), protocol=2, retry=no_retries) as client:
        yield client


@pytest.mark.parametrize(
    "word", ["LOADING", "BUSY", "CLUSTERDOWN", "OOM", "READONLY", "MISCONF", "ERR", "MOVED 1 x:1"]
)
async def test_whatever_the_store_refuses_is_store_unavailable(
    tmp_path: Path, given: Fingerprint, word: str
) -> None:
    async with refusing_store(tmp_path, f"-{word} it says\r\n".encode()) as client:
        index = Index(client, IndexConfig(shard_timeout_s=1, write_timeout_s=1))
        for ask in everything(index, given):
            with pytest.raises(StoreUnavailable):
                await ask()


async def test_no_server_is_store_unavailable(tmp_path: Path, given: Fingerprint) -> None:
    async with Redis(unix_socket_path=str(tmp_path / "none"), protocol=2) as client:
        index = Index(client, IndexConfig(shard_timeout_s=0.2, write_timeout_s=0.2))
        for ask in everything(index, given):
            with pytest.raises(StoreUnavailable):
                await ask()


async def test_every_round_trip_is_observed(client: Client, given: Fingerprint) -> None:
    seen: list[tuple[str, bool]] = []
    await filled(client, given)
    index = Index(client, IndexConfig(), observe=lambda node, seconds, ok: seen.append((node, ok)))
    await index.lookup(ASKED)
    assert seen == [("store", True)]
    await client.set("fp:{0}:n_postings", "no number")
    await index.lookup(ASKED)
    await index.peaks([1])
    assert seen[1:] == [("store", False), ("store", True)]


class TestCluster:
    @pytest.mark.parametrize("how", ["pause", "kill"])
    async def test_without_one_node_answers_are_degraded_and_then_whole_again(
        self, cluster: Cluster, cluster_client: Client, given: Fingerprint, how: str
    ) -> None:
        index, model = await filled(cluster_client, given, shard_timeout_s=1.0, write_timeout_s=1.0)
        gone = cluster.nodes[1]
        shards_gone = shards_on(gone)
        {"pause": pause, "kill": kill}[how](gone)
        try:
            for _ in range(3):
                found = await index.lookup(ASKED)
                here = ~np.isin(keys.shards_of(ASKED, n_shards=16), shards_gone)
                assert found.degraded
                assert hits(found, ASKED) == model.lookup(ASKED[here])
                windows = await index.windows(
                    [Window(track_id=i, first_frame=0, last_frame=10_000) for i in (1, 2, 3)]
                )
                for track_id, window in zip((1, 2, 3), windows, strict=True):
                    assert (window is None) == (track_id in shards_gone)
                    assert window is None or len(window) == len(given.peaks)
            with pytest.raises(StoreUnavailable):
                await index.add(4, given)
        finally:
            go_on(gone) if how == "pause" else gone.start()
        await cluster.whole()
        await index.add(4, given)
        model.add(4, given.landmarks)
        found = await index.lookup(ASKED)
        assert not found.degraded
        assert hits(found, ASKED) == model.lookup(ASKED)

    async def test_a_shard_on_the_move_is_left_out_and_takes_nothing_half(
        self, cluster: Cluster, cluster_client: Client, given: Fingerprint
    ) -> None:
        """Key by key migration: keys that have left look empty to a function, unless the node objects."""
        index, model = await filled(cluster_client, given)
        source, target = cluster.nodes[:2]
        shard = shards_on(source)[0]
        slot = key_slot(b"%d" % shard)
        cluster.begin_move(slot, source, target)
        cluster.carry(slot, source, target, n_keys=20)
        found = await index.lookup(ASKED)
        here = keys.shards_of(ASKED, n_shards=16) != shard
        assert found.degraded
        assert hits(found, ASKED) == model.lookup(ASKED[here])
        with pytest.raises(StoreUnavailable):
            await index.add(4, given)

        cluster.end_move(slot, source, target)
        await index.add(4, given)
        model.add(4, given.landmarks)
        found = await index.lookup(ASKED)
        assert not found.degraded
        assert hits(found, ASKED) == model.lookup(ASKED)
        cluster.begin_move(slot, target, source)
        cluster.end_move(slot, target, source)
        found = await index.lookup(ASKED)
        assert hits(found, ASKED) == model.lookup(ASKED)

    @pytest.mark.parametrize("kind", ["tracks", "doing", "n_postings", "b:", "t:"])
    async def test_whichever_keys_of_a_shard_have_moved_nothing_is_written_or_cut_twice(
        self, cluster: Cluster, cluster_client: Client, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        monkeypatch.setattr(store, "MAX_POSTINGS_PER_ADDITION", 100)
        monkeypatch.setattr(rewriting, "MAX_LISTS", 2)
        source, target = cluster.nodes[:2]
        shard = shards_on(source)[0]
        slot = key_slot(b"%d" % shard)
        some = ASKED[keys.shards_of(ASKED, n_shards=16) == shard][[0, 1, -2, -1]]
        landmarks = Landmarks(hash=np.repeat(some, 90), offset=np.tile(np.arange(90, dtype=np.int32), 4))
        given = Fingerprint(landmarks=landmarks, peaks=track_peaks(np.random.default_rng(1), n_peaks=3))
        one, two = shard + 1, shard + 2  # their peaks are in other shards
        index, model = await new_index(cluster_client), Model()
        await index.add(one, given)
        _, calls = index._pack_addition({two: given})
        await index._write(calls[shard][:1])
        for track_id in (one, two):
            model.add(track_id, landmarks)

        async def half_moved(origin: Node, goal: Node, change: Callable[[], Awaitable[object]]) -> None:
            cluster.begin_move(slot, origin, goal)
            assert cluster.carry(slot, origin, goal, beginning=f"fp:{{{shard}}}:{kind}")
            with pytest.raises(StoreUnavailable):
                await change()
            cluster.end_move(slot, origin, goal)
            await change()
            found = await index.lookup(ASKED)
            assert hits(found, ASKED) == model.lookup(ASKED)
            assert found.n_indexed == model.n_postings

        await half_moved(source, target, lambda: index.add(two, given))
        await index._write([index._pack_removal(one, shard, is_done=False)])
        await index._rewrite(shard, some[:2], without=one)
        model.remove(one)
        await half_moved(target, source, lambda: index.remove(one, landmarks))

    async def test_nodes_answer_in_parallel(
        self, cluster: Cluster, cluster_client: Client, given: Fingerprint
    ) -> None:
        seen: list[str] = []
        await filled(cluster_client, given)
        index = Index(cluster_client, IndexConfig(), observe=lambda node, seconds, ok: seen.append(node))
        await index.lookup(ASKED)
        assert sorted(seen) == sorted(f"127.0.0.1:{node.port}" for node in cluster.nodes)

    async def test_a_replica_takes_over_from_a_master_that_is_gone_and_no_answer_is_wrong(
        self, tmp_path: Path, given: Fingerprint
    ) -> None:
        async with (
            joined(tmp_path, n_replicas=3) as cluster,
            open_store(RedisConfig(url=cluster.url)) as client,
        ):
            index, model = await filled(client, given, shard_timeout_s=1.0, write_timeout_s=1.0)
            for node in cluster.masters:
                assert node.redis.wait(1, 2000) == 1
            gone = cluster.masters[1]
            here = ~np.isin(
                keys.shards_of(ASKED, n_shards=16),
                shards_on(gone),
            )
            kill(gone)
            n_degraded = 0
            async with asyncio.timeout(30):
                while (found := await index.lookup(ASKED)).degraded:
                    n_degraded += 1
                    assert hits(found, ASKED) == model.lookup(ASKED[here])
                    await asyncio.sleep(0.05)
            assert n_degraded
            assert hits(found, ASKED) == model.lookup(ASKED)
            await index.add(4, given)
            model.add(4, given.landmarks)
            gone.start()
            await cluster.whole()
            found = await index.lookup(ASKED)
            assert not found.degraded
            assert hits(found, ASKED) == model.lookup(ASKED)
