"""From one server to a Cluster and back: the keys stay, whatever the shape of the store."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio

from fpserver.backup.restoring import restore
from fpserver.backup.taking import take
from fpserver.config import RedisConfig
from fpserver.identify import IdentifyOptions, identify_file
from fpserver.services import Services, open_services
from fpserver.store.connect import Client, open_store
from loadtest.cluster import Cluster, joined
from tests.backup.contents import N_SONGS, contents, fill, nothing
from tests.opened import config_for, opened

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with joined(tmp_path / "cluster") as cluster:
        yield cluster


@pytest.fixture
async def services(client: Client, store_config: RedisConfig, tmp_path: Path) -> AsyncIterator[Services]:
    async with opened(store_config) as services:
        await fill(services, tmp_path)
        yield services


async def test_a_catalogue_goes_from_one_server_to_a_cluster_and_back_as_it_is(
    services: Services, cluster: Cluster, tmp_path: Path
) -> None:
    before = await contents(services.client)
    await take(services.config.redis, tmp_path / "of one", tell=nothing)
    many = config_for(RedisConfig(url=cluster.url))
    await restore(many, tmp_path / "of one", tell=nothing)
    async with open_store(many.redis) as client:
        assert await contents(client) == before
        assert isinstance(client, redis.asyncio.RedisCluster)
        sizes = await client.dbsize(target_nodes="primaries")
        assert sizes == len(before)
    async with open_services(many, pool_processes=1) as there:
        found = await identify_file(there, tmp_path / "song-1.wav", IdentifyOptions())
        assert [match.track.metadata.title for match in found.matches][:1] == ["song-1"]

    taken = await take(many.redis, tmp_path / "of three", tell=nothing)
    files = json.loads((tmp_path / "of three/manifest.json").read_text())["files"]
    assert sorted(file["slots"] for file in files) == ["0-5460", "10922-16383", "5461-10921"]
    assert sum(file["n_lasting"] for file in files) == sum(end == -1 for end, _ in before.values())
    assert taken.manifest.counts.tracks == {"indexed": N_SONGS}
    one = config_for(RedisConfig(data_dir=str(tmp_path / "one again")))
    await restore(one, tmp_path / "of three", tell=nothing)
    async with open_store(one.redis) as client:
        assert await contents(client) == before
