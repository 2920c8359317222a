"""One worker on a real store: everything it takes ends once, whatever happens to others or to the store."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from fpserver.audio.encode import encode
from fpserver.config import RedisConfig
from fpserver.errors import AudioCrash, StoreUnavailable
from fpserver.ingest import index_track, place_of
from fpserver.keeping import Keeper
from fpserver.services import Services
from fpserver.store.connect import Client
from fpserver.terms import Track, TrackStatus
from fpserver.worker import loop
from fpserver.worker.loop import work
from tests.opened import ended, opened, postings_settled, song_file, submit_files, working
from tests.synth import RATE_HZ, song


@pytest.fixture
async def services(client: Client, store_config: RedisConfig) -> AsyncIterator[Services]:
    async with opened(store_config) as services:
        yield services


def n_landmarks(tracks: dict[int, Track]) -> int:
    return sum(track.n_landmarks or 0 for track in tracks.values())


async def test_everything_in_the_backlog_ends_and_the_backlog_is_empty(
    services: Services, tmp_path: Path
) -> None:
    paths = [song_file(tmp_path, seed, duration_s=6.0) for seed in range(4)]
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(b"not a sound")
    submitted = await submit_files(services, [*paths, bad])
    async with working(services):
        tracks = await ended(services, [each.track_id for each in submitted])
    assert [track.status for track in tracks.values()] == [TrackStatus.INDEXED] * 4 + [TrackStatus.FAILED]
    assert sum((await services.backlog.depth()).values()) == 0
    assert await postings_settled(services, n_landmarks(tracks)) == n_landmarks(tracks)


async def test_every_word_about_a_track_says_which_and_of_what_batch(
    services: Services, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(b"not a sound")
    batch = await services.tracks.create_batch(now=1.0)
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        submitted = await submit_files(
            services, [song_file(tmp_path, 1, duration_s=6.0), bad], batch_id=batch
        )
        async with working(services):
            await ended(services, [each.track_id for each in submitted])
    told = {(line["event"], line["track_id"], line["batch_id"]) for line in lines if "track_id" in line}
    good, damaged = (each.track_id for each in submitted)
    assert told >= {
        ("worker.ended", good, batch),
        ("worker.ended", damaged, batch),
        ("ingest.failed", damaged, batch),
    }


async def test_what_comes_later_is_taken_too(services: Services, tmp_path: Path) -> None:
    async with working(services):
        await asyncio.sleep(0.3)
        (submitted,) = await submit_files(services, [song_file(tmp_path, 1, duration_s=6.0)])
        tracks = await ended(services, [submitted.track_id])
    assert tracks[submitted.track_id].status is TrackStatus.INDEXED


async def test_a_claim_of_a_worker_that_died_is_taken_over(services: Services, tmp_path: Path) -> None:
    (submitted,) = await submit_files(services, [song_file(tmp_path, 1, duration_s=6.0)])
    claim = await services.backlog.claim(place_of(services.config), "died", block_s=1.0)
    assert claim is not None
    async with working(services):
        tracks = await ended(services, [submitted.track_id])
    track = tracks[submitted.track_id]
    assert (track.status, track.attempts) == (TrackStatus.INDEXED, 2)


async def test_a_track_that_takes_long_is_not_taken_over(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = index_track

    async def slow(services: Services, track: Track, *, keeper: Keeper) -> TrackStatus:
        await asyncio.sleep(4 * services.config.tracks.claim_idle_s)
        return await real(services, track, keeper=keeper)

    monkeypatch.setattr(loop, "index_track", slow)
    (submitted,) = await submit_files(services, [song_file(tmp_path, 1, duration_s=6.0)])
    async with working(services), working(services):
        tracks = await ended(services, [submitted.track_id])
    assert tracks[submitted.track_id].attempts == 1


async def test_a_track_goes_back_when_the_store_fails_and_is_ended_when_it_is_back(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, n_calls = index_track, 0

    async def twice_away(services: Services, track: Track, *, keeper: Keeper) -> TrackStatus:
        nonlocal n_calls
        n_calls += 1
        if n_calls <= 2:
            raise StoreUnavailable("away")
        return await real(services, track, keeper=keeper)

    monkeypatch.setattr(loop, "index_track", twice_away)
    (submitted,) = await submit_files(services, [song_file(tmp_path, 1, duration_s=6.0)])
    async with working(services):
        tracks = await ended(services, [submitted.track_id])
    assert tracks[submitted.track_id].status is TrackStatus.INDEXED
    assert n_calls == 3


@pytest.mark.parametrize(("n_crashes", "status"), [(1, TrackStatus.INDEXED), (99, TrackStatus.FAILED)])
async def test_a_track_whose_decoding_was_killed_is_tried_again_and_not_for_ever(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_crashes: int, status: TrackStatus
) -> None:
    run, crashes = services.pool.run, iter(range(n_crashes))

    async def killed(*arguments: Any, timeout_s: float) -> object:
        if next(crashes, None) is not None:
            raise AudioCrash("decoding ended its process: killed by SIGKILL")
        return await run(*arguments, timeout_s=timeout_s)

    monkeypatch.setattr(services.pool, "run", killed)
    (submitted,) = await submit_files(services, [song_file(tmp_path, 1, duration_s=6.0)])
    async with working(services):
        track = (await ended(services, [submitted.track_id]))[submitted.track_id]
    assert track.status is status
    assert track.attempts == min(n_crashes + 1, services.config.tracks.max_attempts)
    assert track.error_code == (None if status is TrackStatus.INDEXED else "audio_crash")


async def test_a_fault_of_ours_is_tried_again_and_then_fails_only_its_own_track(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = index_track

    async def faulty(services: Services, track: Track, *, keeper: Keeper) -> TrackStatus:
        if track.metadata.title == "song-1":
            raise ZeroDivisionError("a fault")
        return await real(services, track, keeper=keeper)

    monkeypatch.setattr(loop, "index_track", faulty)
    submitted = await submit_files(services, [song_file(tmp_path, seed, duration_s=6.0) for seed in (1, 2)])
    async with working(services):
        tracks = await ended(services, [each.track_id for each in submitted])
    faulted, fine = tracks.values()
    assert fine.status is TrackStatus.INDEXED
    assert (faulted.status, faulted.error_code) == (TrackStatus.FAILED, "internal")
    assert faulted.attempts == services.config.tracks.max_attempts
    assert faulted.error_message is not None and "ZeroDivisionError" in faulted.error_message


async def test_a_worker_that_is_stopped_ends_what_it_has_begun(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, real = asyncio.Event(), index_track

    async def told(services: Services, track: Track, *, keeper: Keeper) -> TrackStatus:
        begun.set()
        await asyncio.sleep(0.3)
        return await real(services, track, keeper=keeper)

    monkeypatch.setattr(loop, "index_track", told)
    (submitted,) = await submit_files(services, [song_file(tmp_path, 1, duration_s=6.0)])
    stop = asyncio.Event()
    task = asyncio.create_task(work(services, stop=stop))
    await begun.wait()
    stop.set()
    await task
    tracks = await services.tracks.get([submitted.track_id])
    assert tracks[submitted.track_id].status is TrackStatus.INDEXED


async def test_what_the_drain_does_not_end_goes_back_into_the_backlog(
    client: Client, store_config: RedisConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def endless(services: Services, track: Track, *, keeper: Keeper) -> TrackStatus:
        begun.set()
        await asyncio.sleep(3600)
        raise AssertionError

    async with opened(store_config) as services:
        config = services.config.with_values(worker={"drain_s": 0.2})
        impatient = Services(
            **{name: getattr(services, name) for name in services.__slots__} | {"config": config}
        )
        monkeypatch.setattr(loop, "index_track", endless)
        (submitted,) = await submit_files(services, [song_file(tmp_path, 1, duration_s=6.0)])
        stop = asyncio.Event()
        task = asyncio.create_task(work(impatient, stop=stop))
        await begun.wait()
        stop.set()
        start = time.monotonic()
        await task
        assert time.monotonic() - start < 2.0
        track = (await services.tracks.get([submitted.track_id]))[submitted.track_id]
        assert track.status is TrackStatus.QUEUED
        monkeypatch.undo()
        async with working(services):
            tracks = await ended(services, [submitted.track_id])
        assert tracks[submitted.track_id].status is TrackStatus.INDEXED


async def test_a_worker_that_takes_nothing_stops_at_once(services: Services) -> None:
    stop = asyncio.Event()
    task = asyncio.create_task(work(services, stop=stop))
    await asyncio.sleep(0.3)
    stop.set()
    start = time.monotonic()
    await task
    assert time.monotonic() - start < 1.0


async def test_a_worker_stops_though_a_client_swallows_the_cancellation(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = asyncio.Event()

    async def connecting(_: loop.Worker) -> None:
        stop.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

    monkeypatch.setattr(loop.Worker, "_measure", connecting)
    async with asyncio.timeout(10):
        await work(services, stop=stop)


async def test_a_delete_that_somebody_began_is_ended_by_a_worker(services: Services, tmp_path: Path) -> None:
    (submitted,) = await submit_files(services, [song_file(tmp_path, 1, duration_s=6.0)])
    async with working(services):
        await ended(services, [submitted.track_id])
    await services.tracks.mark_deleting(submitted.track_id, now=time.time())
    async with working(services):
        assert await postings_settled(services, 0) == 0
        async with asyncio.timeout(5):
            while await services.tracks.get([submitted.track_id]):  # noqa: ASYNC110 – a worker's, no event of ours
                await asyncio.sleep(0.05)


async def test_of_copies_that_are_heard_at_the_same_moment_one_is_the_duplicate(
    client: Client, store_config: RedisConfig, tmp_path: Path
) -> None:
    wav, mp3 = tmp_path / "a.wav", tmp_path / "b.mp3"
    wav.write_bytes(encode(song(1, 30.0), RATE_HZ, container="wav"))
    mp3.write_bytes(encode(song(1, 30.0), RATE_HZ, container="mp3", bitrate=96_000))
    async with opened(store_config, pool_processes=2) as services:
        submitted = await submit_files(services, [wav, mp3])
        async with working(services):
            tracks = await ended(services, [each.track_id for each in submitted])
    assert sorted(track.status for track in tracks.values()) == [TrackStatus.DUPLICATE, TrackStatus.INDEXED]


@pytest.mark.parametrize(("ending", "n_together"), [("fingerprint", 8), ("mp3", 2)])
async def test_fingerprints_are_taken_together_and_recordings_as_many_as_can_be_heard(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, n_together: int
) -> None:
    n_inside, most = 0, 0

    async def told(services: Services, track: Track, *, keeper: Keeper) -> TrackStatus:
        nonlocal n_inside, most
        n_inside += 1
        most = max(most, n_inside)
        await asyncio.sleep(0.2)
        n_inside -= 1
        await services.tracks.mark_failed(track.track_id, AudioCrash("none"), now=time.time())
        return TrackStatus.FAILED

    monkeypatch.setattr(loop, "index_track", told)
    paths = [tmp_path / f"{i}.{ending}" for i in range(8)]
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i]))
    submitted = await submit_files(services, paths)
    async with working(services):
        await ended(services, [each.track_id for each in submitted])
    assert most == n_together
