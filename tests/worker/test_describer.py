"""Descriptions by a whole worker: after indexing, beside others, and given back on stop."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fpserver import descriptions
from fpserver.config import RedisConfig
from fpserver.errors import StoreUnavailable
from fpserver.ingest import place_of
from fpserver.services import Services
from fpserver.store.connect import Client
from fpserver.terms import DescriptionStatus, Track
from fpserver.worker import describer
from tests.opened import ended, opened, song_file, submit_files, working


@pytest.fixture
async def services(client: Client, store_config: RedisConfig) -> AsyncIterator[Services]:
    async with opened(store_config, described=True) as services:
        yield services


async def described(services: Services, track_ids: list[int], *, within_s: float = 40.0) -> list[Track]:
    async with asyncio.timeout(within_s):
        while True:
            tracks = (await services.tracks.get(track_ids)).values()
            if all(track.description not in (None, DescriptionStatus.WAITING) for track in tracks):
                return list(tracks)
            await asyncio.sleep(0.05)


async def test_everything_that_is_indexed_is_described_and_scales_are_learned(
    services: Services, tmp_path: Path
) -> None:
    paths = [song_file(tmp_path, seed, duration_s=8.0) for seed in range(3)]
    submitted = await submit_files(services, paths)
    async with working(services):
        tracks = await described(services, [each.track_id for each in submitted])
        async with asyncio.timeout(15.0):
            while await services.descriptions.scales_version() is None:  # noqa: ASYNC110 – no event of ours
                await asyncio.sleep(0.1)
    assert {track.description for track in tracks} == {DescriptionStatus.DONE}


async def test_what_a_worker_that_stops_has_in_hand_is_given_back(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def forever(*_: object, **__: object) -> DescriptionStatus:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(describer, "describe", forever)
    (submitted,) = await submit_files(services, [song_file(tmp_path, 1, duration_s=6.0)])
    async with working(services):
        await ended(services, [submitted.track_id])
        await asyncio.wait_for(begun.wait(), 10.0)
    track = (await services.tracks.get([submitted.track_id]))[submitted.track_id]
    assert track.description is DescriptionStatus.WAITING
    again = await services.undescribed.claim(place_of(services.config), now=track.updated_at + 60)
    assert again is not None and again.track_id == submitted.track_id


async def test_a_fault_of_ours_fails_the_track_and_not_the_lane(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = descriptions.describe
    faults = ["a fault"]

    async def faulty(*args: object, **how: object) -> DescriptionStatus:
        if faults:
            raise ValueError(faults.pop())
        return await whole(*args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(describer, "describe", faulty)
    paths = [song_file(tmp_path, seed, duration_s=6.0) for seed in range(2)]
    submitted = await submit_files(services, paths)
    async with working(services):
        tracks = await described(services, [each.track_id for each in submitted])
    assert sorted(str(track.description) for track in tracks) == ["done", "failed"]
    assert "a fault" in next(track.description_message or "" for track in tracks if track.description_message)


async def test_a_track_that_the_store_did_not_take_is_described_again(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, away = descriptions.describe, ["away"]

    async def without_store(*args: object, **how: object) -> DescriptionStatus:
        if away:
            raise StoreUnavailable(away.pop())
        return await whole(*args, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(describer, "describe", without_store)
    monkeypatch.setattr(describer, "AFTER_FAULT_S", 0.1)
    (submitted,) = await submit_files(services, [song_file(tmp_path, 1, duration_s=6.0)])
    async with working(services):
        (track,) = await described(services, [submitted.track_id])
    assert track.description is DescriptionStatus.DONE
