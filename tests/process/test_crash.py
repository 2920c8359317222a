"""kill -9 in the middle of an ingest, of every process there is: each track is indexed once, none is half there."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from fpserver.web.client import RemoteError
from tests.opened import song_file, submit_files
from tests.process.running import (
    Running,
    alive,
    assert_each_is_indexed_once,
    descendants_of,
    serving,
    store_of,
    until_indexed,
    wait_until,
)

N_TRACKS = 40
TRACK_S = 15.0
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
    batch_id, track_ids = await queue(data_dir, songs)
    with serving(data_dir) as server:
        await until_indexed(server.address, batch_id, 3)
        family = descendants_of(server.pid)
        assert server.stop() == 0
        assert not [pid for pid in family if alive(pid)], "all children end before their server does"
    async with store_of(data_dir) as services:
        counts = {status.value: n for status, n in (await services.tracks.counts()).items() if n}
        assert counts["indexed"] < N_TRACKS, "it was stopped in the middle"
        assert "indexing" not in counts, "what was begun has ended, or is back in the backlog"
    with serving(data_dir) as server:
        await until_indexed(server.address, batch_id, N_TRACKS)
    await assert_each_is_indexed_once(data_dir, track_ids)


@pytest.mark.parametrize("kind", ["worker", "store", "web"])
async def test_a_child_killed_in_mid_ingest_loses_nothing(
    data_dir: Path, songs: list[Path], kind: str
) -> None:
    batch_id, track_ids = await queue(data_dir, songs)
    with serving(data_dir) as server:
        await until_indexed(server.address, batch_id, 3)
        killed = server.child(kind)
        os.kill(killed, signal.SIGKILL)
        assert wait_until(lambda: _replaced(server, kind, killed), within_s=20.0)
        await _until_indexed_again(server, batch_id)
    await assert_each_is_indexed_once(data_dir, track_ids)


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
            os.kill(pid, signal.SIGKILL)
    with serving(data_dir) as server:
        await until_indexed(server.address, batch_id, N_TRACKS)
    await assert_each_is_indexed_once(data_dir, track_ids)


def _replaced(server: Running, kind: str, killed: int) -> bool:
    return not alive(killed) and any(pid != killed for pid in server.children(kind))


async def _until_indexed_again(server: Running, batch_id: str) -> None:
    """A store or a web process that was killed answers again only after a moment."""
    give_up = time.monotonic() + 60
    while True:
        try:
            await until_indexed(server.address, batch_id, N_TRACKS)
            return
        except RemoteError:
            assert time.monotonic() < give_up
            await asyncio.sleep(0.1)
