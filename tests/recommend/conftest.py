"""Stores of feedback to test: on the session's embedded server, and on a Cluster."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fpserver.config import RedisConfig
from fpserver.recommend.store import FUNCTIONS, Feedback
from fpserver.store.connect import Client, load_functions, open_store
from loadtest.cluster import Cluster, joined

MAX_USER_EVENTS = 100


@pytest.fixture(scope="session")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Three masters, for all tests of feedback."""
    async with joined(Path(tmp_path_factory.mktemp("cluster"))) as cluster:
        yield cluster


@pytest.fixture
async def cluster_client(cluster: Cluster) -> AsyncIterator[Client]:
    """A client of the empty Cluster."""
    await cluster.whole()
    async with open_store(RedisConfig(url=cluster.url)) as client:
        await client.flushall()
        yield client


@pytest.fixture(params=["1 shard", "2 shards", "16 shards", "16 shards on a Cluster"])
def shape(request: pytest.FixtureRequest) -> tuple[Client, int]:
    """A store and a number of shards."""
    on_cluster = request.param.endswith("Cluster")
    client = request.getfixturevalue("cluster_client" if on_cluster else "client")
    return client, int(request.param.split()[0])


@pytest.fixture
async def feedback(shape: tuple[Client, int]) -> Feedback:
    """An empty store of feedback, in each of the shapes that must behave alike."""
    client, n_shards = shape
    return await new_feedback(client, n_shards=n_shards)


async def new_feedback(client: Client, *, n_shards: int) -> Feedback:
    """The store of feedback of an empty database."""
    await load_functions(client, FUNCTIONS)
    return Feedback(client, n_shards=n_shards, max_user_events=MAX_USER_EVENTS, timeout_s=5.0)
