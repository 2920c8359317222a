"""Indexes to test: on the session's embedded server, and on a Cluster."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fpserver.config import IndexConfig, RedisConfig
from fpserver.index.store import FUNCTIONS, Index
from fpserver.store.connect import Client, load_functions, open_store
from loadtest.cluster import Cluster, joined

STAMP = {"fingerprint.hop": "256"}


@pytest.fixture(scope="session")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Three masters, for all tests of the index."""
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
async def index(shape: tuple[Client, int]) -> Index:
    """An empty index, in each of the shapes that must behave alike."""
    client, n_shards = shape
    return await new_index(client, n_shards=n_shards)


async def new_index(client: Client, **settings: int | float) -> Index:
    """An empty index on an empty store."""
    await load_functions(client, FUNCTIONS)
    index = Index(client, IndexConfig(**settings))  # type: ignore[arg-type]
    await index.open(STAMP)
    return index
