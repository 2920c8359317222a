"""The copy of what can be recommended, on a real store."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest

from fpserver import stocking
from fpserver.config import RedisConfig
from fpserver.errors import Overloaded
from fpserver.learning import learn_if_grown
from fpserver.services import Services
from fpserver.similarity.engines.engine import MIXED
from fpserver.similarity.scales import unpack
from fpserver.stocking import Stock, audio_of
from fpserver.store.connect import Client
from fpserver.terms import Group, Metadata, Sieve, Submission
from tests.described import add_described
from tests.opened import opened
from tests.synth import song

SONGS = {f"song {seed}": song(seed, 8.0) for seed in range(4)}


@pytest.fixture
async def services(client: Client, store_config: RedisConfig) -> AsyncIterator[Services]:
    async with opened(store_config) as services:
        yield services


NEVER_S = 3600.0


@pytest.fixture(autouse=True)
def only_when_told(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Copies look at the catalogue when a test says so, and each look may lay down."""

    async def never(self: Stock) -> float:
        return NEVER_S

    monkeypatch.setattr(stocking, "SHARE", 1e9)
    if "by_itself" not in request.node.name:
        monkeypatch.setattr(Stock, "_look", never)


async def looked(stock: Stock) -> dict[int, str | None]:
    """Title by track, once it has caught up."""
    stock._not_before = 0.0
    await stock.catch_up()
    latest = stock.latest
    return {
        track_id: latest.metadata(slot).title
        for slot, track_id in enumerate(latest.shelf.track_id.tolist())
        if track_id
    }


async def indexed(services: Services, *names: str) -> list[int]:
    """Tracks that are indexed and not described."""
    offers = [
        Submission(
            source=f"file:/{name}",
            place="here",
            content_sha256=name.encode().hex().zfill(64),
            metadata=Metadata(title=name, artist="A", tags="calm"),
        )
        for name in names
    ]
    track_ids = [each.track_id for each in await services.tracks.submit(offers, now=1.0)]
    for track_id in track_ids:
        await services.tracks.mark_indexed(track_id, n_landmarks=1, duration_s=2.0, now=1.0)
    return track_ids


async def test_until_it_is_filled_it_says_so_and_an_empty_catalogue_is_an_empty_shelf(
    services: Services,
) -> None:
    async with Stock(services) as stock:
        with pytest.raises(Overloaded, match="being made ready"):
            _ = stock.latest
        assert await looked(stock) == {}
        assert len(stock.latest.shelf) == 0


async def test_tracks_are_there_as_soon_as_they_are_indexed_and_sound_once_they_are_described(
    services: Services,
) -> None:
    async with Stock(services) as stock:
        (plain,) = await indexed(services, "plain")
        assert await looked(stock) == {plain: "plain"}
        assert not stock.latest.shelf.has_audio.any()
        ids = await add_described(services, SONGS)
        assert await looked(stock) == {plain: "plain"} | {each: title for title, each in ids.items()}
        shelf = stock.latest.shelf
        assert set(shelf.track_id[shelf.has_audio].tolist()) == set(ids.values())
        packed = await services.descriptions.scales()
        assert packed is not None
        scales = unpack(packed)
        assert shelf.scales == scales.version and shelf.audio.shape[1] == scales.sizes()[MIXED]
        vectors = await services.descriptions.vectors(list(ids.values()), list(Group))
        for track_id, slot in zip(ids.values(), shelf.slots_of(np.array([*ids.values()])), strict=True):
            expected = scales.searched(scales.embed(vectors[track_id]))
            np.testing.assert_allclose(shelf.audio[slot], expected, rtol=1e-4, atol=1e-5)


async def test_edited_and_removed_tracks_are_seen_and_what_was_there_stays_one_whole(
    services: Services,
) -> None:
    async with Stock(services) as stock:
        one, two, three = await indexed(services, "one", "two", "three")
        await looked(stock)
        before = stock.latest
        await services.tracks.edit(one, {"title": "new", "tags": "loud"}, now=2.0)
        await services.tracks.mark_deleting(two, now=2.0)
        assert await looked(stock) == {one: "new", three: "three"}
        calm = Sieve(equal={"tag": "calm"})
        latest = stock.latest
        assert latest.shelf.track_id[latest.passing(calm)].tolist() == [three]
        assert before.shelf.track_id[before.passing(calm)].tolist() == [one, two, three]


async def test_other_scales_and_another_catalogue_are_copied_anew(services: Services) -> None:
    async with Stock(services) as stock:
        some = {title: SONGS[title] for title in ("song 0", "song 1")}
        ids = await add_described(services, some)
        await looked(stock)
        first = stock.latest.shelf.scales
        ids |= await add_described(services, {t: SONGS[t] for t in SONGS if t not in some})
        assert len(await looked(stock)) == 4
        shelf = stock.latest.shelf
        assert shelf.scales != first and shelf.has_audio[shelf.slots_of(np.array([*ids.values()]))].all()
        await services.client.flushall()
        assert await looked(stock) == {}
        (again,) = await indexed(services, "again")
        assert await looked(stock) == {again: "again"}


async def test_tracks_that_an_earlier_version_has_indexed_are_there(services: Services) -> None:
    track_ids = await indexed(services, "one", "two")
    await services.client.delete("fp:{tracks}:all_changes")
    async with Stock(services) as stock:
        assert sorted(await looked(stock)) == track_ids


async def test_it_is_laid_down_seldom(services: Services) -> None:
    async with Stock(services) as stock:
        await looked(stock)
        first = stock.latest
        await indexed(services, "one")
        await stock.catch_up()
        assert stock.latest is first, "less than recommend.follow_s ago"
        assert list((await looked(stock)).values()) == ["one"]


async def test_a_description_that_is_none_is_left_out(services: Services) -> None:
    ids = await add_described(services, SONGS)
    await learn_if_grown(services)
    packed = await services.descriptions.scales()
    assert packed is not None
    scales = unpack(packed)
    vectors = await services.descriptions.vectors(list(ids.values()), list(Group))
    good = audio_of(vectors, scales)
    assert set(good) == set(ids.values())
    bad, short, partial, *_ = ids.values()
    vectors[bad][Group.TIMBRE] = np.full_like(vectors[bad][Group.TIMBRE], np.nan)
    vectors[short][Group.RHYTHM] = vectors[short][Group.RHYTHM][:2]
    del vectors[partial][Group.TONAL]
    left = audio_of(vectors, scales)
    assert set(left) == set(good) - {bad, short, partial}
    for track_id, vector in left.items():
        np.testing.assert_allclose(vector, good[track_id], rtol=1e-5)
    assert audio_of({}, scales) == audio_of(vectors, replace(scales, groups={})) == {}


async def test_it_follows_by_itself(services: Services) -> None:
    async with asyncio.timeout(10.0), Stock(services) as stock:
        assert len((await stock.filled()).shelf) == 0
        (track_id,) = await indexed(services, "one")
        while track_id not in stock.latest.shelf.track_id:  # noqa: ASYNC110 – it tells nobody
            await asyncio.sleep(0.02)
