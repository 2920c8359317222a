"""kill -9 in the middle of an ingest, of every process there is: each track is indexed once, none is half there."""

import asyncio
import os
import signal
import time
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest

from fpserver.config import Config
from fpserver.fingerprint import wire
from fpserver.hearing import hear_track
from fpserver.terms import TrackStatus
from fpserver.tracks.catalogue import TrackFilter
from fpserver.web.client import Client, RemoteError
from fpserver.web.media import FINGERPRINT
from loadtest.processes import alive, children_of, descendants_of
from tests.opened import song_file, submit_files
from tests.process.running import (
    Running,
    assert_each_is_indexed_once,
    serving,
    started,
    store_of,
    until_indexed,
    wait_until,
)

N_TRACKS = 30
TRACK_S = 40.0  # so that a slow machine still finds an ingest in its middle
pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("songs")
    return [song_file(folder, seed, duration_s=TRACK_S) for seed in range(N_TRACKS)]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


async def queue(data_dir: Path, songs: list[Path]) -> tuple[str, list[int]]:
    """Put the songs into the backlog: a batch, and its tracks."""
    async with store_of(data_dir) as services:
        batch_id = await services.tracks.create_batch(now=time.time())
        submitted = await submit_files(services, songs, batch_id=batch_id)
    return batch_id, [each.track_id for each in submitted]


async def test_sigterm_ends_what_was_begun_and_the_next_server_goes_on(
    data_dir: Path, songs: list[Path]
) -> None:
    with serving(data_dir) as server:
        # not before: a slow server may be up when its worker is done
        batch_id, track_ids = await queue(data_dir, songs)
        await until_indexed(server.address, batch_id, 1)
        children, family = children_of(server.pid), descendants_of(server.pid)
        assert server.stop() == 0
        assert not [pid for pid in children if alive(pid)], "children end before their server does"
        assert wait_until(lambda: not any(map(alive, family)), within_s=5.0), "and theirs a moment later"
    async with store_of(data_dir) as services:
        counts = {status.value: n for status, n in (await services.tracks.counts()).items() if n}
        assert counts["indexed"] < N_TRACKS, "it was stopped in the middle"
        assert "indexing" not in counts, "what was begun has ended, or is back in the backlog"
    with serving(data_dir) as server:
        await until_indexed(server.address, batch_id, N_TRACKS)
    await assert_each_is_indexed_once(data_dir, track_ids)


async def test_each_child_killed_in_turn_while_files_come_in_loses_and_doubles_nothing(
    data_dir: Path, songs: list[Path]
) -> None:
    with serving(data_dir) as server:
        uploading = started("ingest", songs[0].parent, "--server", server.address)
        for kind, n_before in (("worker", 3), ("store", 8), ("web", 14)):
            assert await _counted(server, n_before) < N_TRACKS, f"{kind} is killed in the middle"
            killed = server.child(kind)
            os.kill(killed, signal.SIGKILL)
            assert wait_until(partial(_replaced, server, kind, killed), within_s=20.0)
        told, _ = await asyncio.to_thread(uploading.communicate)
        assert uploading.returncode == 0, told
    await assert_each_is_indexed_once(data_dir, await _all_tracks(data_dir))


async def test_a_stream_of_fingerprints_outlives_worker_and_store(data_dir: Path, songs: list[Path]) -> None:
    config = Config()
    bodies = [
        wire.pack(hear_track(path, config.audio, config.fingerprint)[0], config.fingerprint) for path in songs
    ]
    with serving(data_dir) as server:
        for kind, some in (("worker", bodies[:15]), ("store", bodies[15:])):
            killed = server.child(kind)
            batch = await _streamed(server, b"".join(some))
            os.kill(killed, signal.SIGKILL)  # while they are heard and written together
            assert wait_until(partial(_replaced, server, kind, killed), within_s=20.0)
            await _counted(server, N_TRACKS // 2 if kind == "worker" else N_TRACKS)
            async with Client(server.address) as client:
                assert (await client.batch(batch))["counts"]["indexed"] == len(some)
    await assert_each_is_indexed_once(data_dir, await _all_tracks(data_dir))


async def test_an_ingest_without_a_server_that_is_killed_is_ended_by_the_next(
    data_dir: Path, songs: list[Path]
) -> None:
    begun = started("ingest", songs[0].parent, "--data", str(data_dir))
    async with store_of(data_dir) as services:
        while (await services.tracks.counts())[TrackStatus.INDEXED] < 3:  # noqa: ASYNC110 – another process
            await asyncio.sleep(0.05)
        begun.kill()
        begun.communicate()
        assert (await services.tracks.counts())[TrackStatus.INDEXED] < N_TRACKS
    again = started("ingest", songs[0].parent, "--data", str(data_dir))
    told, _ = await asyncio.to_thread(again.communicate)
    assert again.returncode == 0, told
    await assert_each_is_indexed_once(data_dir, await _all_tracks(data_dir))


async def test_a_server_killed_in_mid_ingest_leaves_no_children_and_the_next_goes_on(
    data_dir: Path, songs: list[Path]
) -> None:
    batch_id, track_ids = await queue(data_dir, songs)
    with serving(data_dir) as server:
        await until_indexed(server.address, batch_id, 3)
        os.kill(server.pid, signal.SIGKILL)
        with serving(data_dir) as successor:  # at once: the children of the first may still be ending
            await until_indexed(successor.address, batch_id, N_TRACKS)
    await assert_each_is_indexed_once(data_dir, track_ids)


async def test_everything_killed_at_once_in_mid_ingest_loses_nothing(
    data_dir: Path, songs: list[Path]
) -> None:
    batch_id, track_ids = await queue(data_dir, songs)
    with serving(data_dir) as server:
        await until_indexed(server.address, batch_id, 3)
        for pid in [server.pid, *descendants_of(server.pid)]:
            with suppress(ProcessLookupError):  # decoding processes end with their owner
                os.kill(pid, signal.SIGKILL)
    with serving(data_dir) as server:
        await until_indexed(server.address, batch_id, N_TRACKS)
    await assert_each_is_indexed_once(data_dir, track_ids)


async def _streamed(server: Running, stream: bytes) -> str:
    """Send fingerprints; their batch."""
    headers = {"Content-Type": FINGERPRINT}
    async with (
        aiohttp.ClientSession(server.address) as session,
        session.post("/v1/ingest", data=BytesIO(stream), headers=headers) as response,
    ):
        assert response.status == 202
        return str((await response.json())["batch_id"])


def _replaced(server: Running, kind: str, killed: int) -> bool:
    return not alive(killed) and any(pid != killed for pid in server.children(kind))


async def _counted(server: Running, at_least: int) -> int:
    """Tracks indexed, as soon as they are so many; a server that is just being restarted is asked again."""
    async with Client(server.address) as client, asyncio.timeout(60):
        while True:
            with suppress(RemoteError):
                n_tracks = len((await client.tracks(status="indexed", limit=200))["tracks"])
                if n_tracks >= at_least:
                    return n_tracks
            await asyncio.sleep(0.05)


async def _all_tracks(data_dir: Path) -> list[int]:
    async with store_of(data_dir) as services:
        tracks, _ = await services.tracks.page(limit=200, filters=TrackFilter())
    assert len(tracks) == N_TRACKS
    return [track.track_id for track in tracks]
