"""The whole walk of the catalogue on a Cluster: its keys share a slot, and calls go to that slot's node."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import RedisCluster

from fpserver.config import RedisConfig
from fpserver.errors import AudioSilent, InvalidRequest
from fpserver.store.connect import Client, load_functions, open_store
from fpserver.terms import TrackStatus
from fpserver.tracks.backlog import Backlog
from fpserver.tracks.catalogue import FUNCTIONS, TrackFilter, Tracks
from loadtest.cluster import joined
from tests.tracks.offers import CONFIG, IDLE_S, PLACE, sha256, submit


@pytest.fixture
async def cluster_client(tmp_path: Path) -> AsyncIterator[Client]:
    async with joined(tmp_path) as cluster, open_store(RedisConfig(url=cluster.url)) as client:
        yield client


async def test_the_whole_walk_on_a_cluster(cluster_client: Client) -> None:
    await load_functions(cluster_client, FUNCTIONS)
    await load_functions(cluster_client, FUNCTIONS)
    await cluster_client.execute_command("FUNCTION FLUSH", target_nodes=RedisCluster.PRIMARIES)
    tracks, backlog = Tracks(cluster_client, CONFIG), Backlog(cluster_client, CONFIG)

    batch_id = await tracks.create_batch(now=1.0)
    waiting = asyncio.create_task(backlog.claim(PLACE, "dead", block_s=5))
    await asyncio.sleep(0.05)
    assert await submit(tracks, *"abcde", batch_id=batch_id) == [1, 2, 3, 4, 5]
    dead = await waiting
    assert dead is not None
    await asyncio.sleep(IDLE_S)
    claim = await backlog.take_over(PLACE, "alive", now=2.0)
    assert claim is not None and claim.ticket == dead.ticket
    assert await backlog.renew(PLACE, "alive", [claim.ticket]) == {claim.ticket}
    assert await tracks.claim_audio(1, "ff") == 1
    assert await tracks.mark_indexed(1, n_landmarks=1, duration_s=2.0, now=3.0)
    await backlog.finish(PLACE, claim.ticket)

    claim = await backlog.claim(PLACE, "alive", block_s=0)
    assert claim is not None and await backlog.retry(PLACE, claim, now=3.0)
    assert await tracks.mark_duplicate(2, 1, now=3.0)
    assert await tracks.mark_failed(3, AudioSilent("s"), now=3.0)
    await tracks.add_batch_error(batch_id, "x", InvalidRequest("x"), now=3.0)
    assert await tracks.cancel_batch(batch_id, now=4.0) == 2
    assert (await tracks.batch(batch_id)).n_pending == 0
    assert (await tracks.edit(1, {"title": "one"}, now=5.0)).metadata.title == "one"
    page, _ = await tracks.page(filters=TrackFilter(q="ONE"))
    assert [track.track_id for track in page] == [1]
    assert await tracks.known([sha256("a"), sha256("c")]) == {sha256("a"): 1}

    await tracks.mark_deleting(1, now=6.0)
    assert await tracks.deleting() == [1]
    await tracks.forget(1)
    assert await tracks.get([1]) == {}
    assert {status: n for status, n in (await tracks.counts()).items() if n} == {
        TrackStatus.DUPLICATE: 1,
        TrackStatus.FAILED: 1,
        TrackStatus.CANCELLED: 2,
    }
    assert await backlog.depth() == {PLACE: 0}
