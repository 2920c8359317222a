"""Tracks that are ready at the same moment, into a real store: none spoils the others, none is there twice."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fpserver.config import RedisConfig
from fpserver.errors import AudioTooLong, StoreUnavailable, TrackNotFound
from fpserver.fingerprint.landmarks import fingerprint_of
from fpserver.index.store import Index
from fpserver.keeping import Keeper
from fpserver.services import Services
from fpserver.store.connect import Client
from fpserver.terms import Fingerprint, Heard, Metadata, Samples, Submission, TrackStatus
from tests.matching.making import CONFIG, dense
from tests.opened import opened
from tests.synth import noise, song

SONG_S = 12.0


@pytest.fixture
async def services(client: Client, store_config: RedisConfig) -> AsyncIterator[Services]:
    async with opened(store_config, pool_processes=0) as services:
        yield services


async def heard(services: Services, sounds: Sequence[Samples]) -> list[Heard]:
    """Sounds as tracks that are queued and heard."""
    offered = [
        Submission(source=f"file:/{i}", place="here", content_sha256=f"{i:064x}", metadata=Metadata())
        for i in range(len(sounds))
    ]
    submitted = await services.tracks.submit(offered, now=time.time())
    tracks = []
    for each, samples in zip(submitted, sounds, strict=True):
        constellation = dense(samples)
        tracks.append(
            Heard(
                track_id=each.track_id,
                fingerprint=fingerprint_of(constellation, CONFIG),
                constellation=constellation,
                duration_s=len(samples) / CONFIG.rate_hz,
            )
        )
    return tracks


def sung(seed: int) -> Samples:
    return song(seed, SONG_S, CONFIG.rate_hz)


async def kept(keeper: Keeper, tracks: Sequence[Heard]) -> list[TrackStatus | BaseException]:
    """How each ends when all are ready at the same moment."""
    return await asyncio.gather(*map(keeper.keep, tracks), return_exceptions=True)


async def assert_each_is_there_once(services: Services, tracks: Sequence[Heard]) -> None:
    n_landmarks = sum(len(each.fingerprint.landmarks) for each in tracks)
    assert (await services.index.stats()).n_postings == n_landmarks
    track_ids = {each.track_id for each in tracks}
    records = await services.tracks.get(sorted(track_ids))
    assert {each.track_id for each in records.values() if each.status is TrackStatus.INDEXED} == track_ids
    assert set(await services.index.peaks(sorted(track_ids))) == track_ids


async def test_tracks_that_are_ready_at_the_same_moment_are_written_together(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, sizes = Index.add_together, []

    async def counted(index: Index, fingerprints: Mapping[int, Fingerprint]) -> None:
        sizes.append(len(fingerprints))
        await real(index, fingerprints)

    monkeypatch.setattr(Index, "add_together", counted)
    songs = [song(seed, SONG_S + 3 * seed, CONFIG.rate_hz) for seed in range(5)]  # none as long as another
    tracks = await heard(services, songs)
    assert await kept(Keeper(services), tracks) == [TrackStatus.INDEXED] * 5
    assert sizes == [1, 4], "the first finds the keeper idle, the others come while it is written"
    await assert_each_is_there_once(services, tracks)


async def test_of_copies_that_are_ready_at_the_same_moment_one_is_kept(services: Services) -> None:
    copy = sung(1) + noise(7, SONG_S, CONFIG.rate_hz, level=0.003)
    first, original, other, again, exact = await heard(services, [sung(0), sung(1), sung(2), copy, sung(1)])
    outcomes = await kept(Keeper(services), [first, original, other, again, exact])
    assert outcomes == [*[TrackStatus.INDEXED] * 3, *[TrackStatus.DUPLICATE] * 2]
    records = await services.tracks.get([again.track_id, exact.track_id])
    assert {record.duplicate_of for record in records.values()} == {original.track_id}
    await assert_each_is_there_once(services, [first, original, other])


async def test_an_exact_copy_of_what_turns_out_to_be_a_duplicate_is_one_of_the_same_track(
    services: Services,
) -> None:
    copy = sung(1) + noise(7, SONG_S, CONFIG.rate_hz, level=0.003)
    original, first, again, exact = await heard(services, [sung(1), sung(0), copy, copy])
    keeper = Keeper(services)
    await keeper.keep(original)
    assert await kept(keeper, [first, again, exact]) == [
        TrackStatus.INDEXED,
        TrackStatus.DUPLICATE,
        TrackStatus.DUPLICATE,
    ]
    records = await services.tracks.get([again.track_id, exact.track_id])
    assert {record.duplicate_of for record in records.values()} == {original.track_id}


async def test_what_the_index_cannot_hold_or_is_no_more_spoils_no_others(services: Services) -> None:
    first, endless, removed, fine = await heard(services, [sung(seed) for seed in range(4)])
    peaks = replace(endless.fingerprint.peaks, n_frames=1 << 24)
    endless = replace(endless, fingerprint=replace(endless.fingerprint, peaks=peaks))
    await services.tracks.mark_deleting(removed.track_id, now=time.time())
    await services.tracks.forget(removed.track_id)
    outcomes = await kept(Keeper(services), [first, endless, removed, fine])
    assert (outcomes[0], outcomes[3]) == (TrackStatus.INDEXED, TrackStatus.INDEXED)
    assert isinstance(outcomes[1], AudioTooLong)
    assert isinstance(outcomes[2], TrackNotFound)
    await assert_each_is_there_once(services, [first, fine])


async def test_one_that_was_cancelled_leaves_nothing_and_the_others_are_kept(services: Services) -> None:
    first, cancelled, fine = await heard(services, [sung(seed) for seed in range(3)])
    await services.tracks.mark_failed(cancelled.track_id, StoreUnavailable("ended"), now=time.time())
    assert await kept(Keeper(services), [first, cancelled, fine]) == [
        TrackStatus.INDEXED,
        TrackStatus.CANCELLED,
        TrackStatus.INDEXED,
    ]
    await assert_each_is_there_once(services, [first, fine])


@pytest.mark.parametrize("n_written", [0, 1, 2])
async def test_a_company_that_broke_off_is_kept_in_other_company(
    services: Services, monkeypatch: pytest.MonkeyPatch, n_written: int
) -> None:
    monkeypatch.setattr("fpserver.index.store.MAX_POSTINGS_PER_ADDITION", 8)
    tracks = await heard(services, [sung(seed) for seed in range(5)])
    real, calls = Index._write, iter(range(1000))

    async def away(index: Index, *arguments: Any) -> Any:
        if next(calls) > n_written:  # the first writes the peaks
            raise StoreUnavailable("away")
        return await real(index, *arguments)

    keeper = Keeper(services)
    assert await keeper.keep(tracks[0]) is TrackStatus.INDEXED
    with monkeypatch.context() as patch:
        patch.setattr(Index, "_write", away)
        outcomes = await kept(keeper, tracks[1:4])
    assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
    assert await kept(Keeper(services), tracks[2:]) == [TrackStatus.INDEXED] * 3
    assert await Keeper(services).keep(tracks[1]) is TrackStatus.INDEXED
    await assert_each_is_there_once(services, tracks)


async def test_whoever_leads_may_be_stopped_and_the_others_are_kept(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracks = await heard(services, [sung(seed) for seed in range(4)])
    real, begun = Index.add_together, asyncio.Event()

    async def endless(index: Index, fingerprints: Mapping[int, Fingerprint]) -> None:
        monkeypatch.setattr(Index, "add_together", real)
        begun.set()
        await asyncio.sleep(3600)

    monkeypatch.setattr(Index, "add_together", endless)
    keeper = Keeper(services)
    tasks = [asyncio.create_task(keeper.keep(each)) for each in tracks]
    await begun.wait()
    tasks[0].cancel()
    assert await asyncio.gather(*tasks[1:]) == [TrackStatus.INDEXED] * 3
    await assert_each_is_there_once(services, tracks[1:])


async def test_more_than_a_company_are_all_kept(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fpserver.keeping.AT_ONCE", 2)
    tracks = await heard(services, [sung(seed) for seed in range(6)])
    assert await kept(Keeper(services), tracks) == [TrackStatus.INDEXED] * 6
    await assert_each_is_there_once(services, tracks)


async def test_a_copy_is_told_from_few_of_its_landmarks(services: Services) -> None:
    long = np.concatenate([sung(seed) for seed in range(30, 40)])
    copy = long + noise(3, len(long) / CONFIG.rate_hz, CONFIG.rate_hz, level=0.003)
    original, again = await heard(services, [long, copy])
    assert len(original.fingerprint.landmarks) > 1000
    keeper = Keeper(services)
    assert await keeper.keep(original) is TrackStatus.INDEXED
    assert await keeper.keep(again) is TrackStatus.DUPLICATE
