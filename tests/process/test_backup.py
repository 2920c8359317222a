"""`fpserver backup` of a running server that indexes and takes feedback, and `fpserver restore` of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from fpserver.audio.encode import encode
from fpserver.web.client import Client
from tests.opened import song_file
from tests.process.running import Running, assert_each_is_indexed_once, serving, started, store_of
from tests.synth import RATE_HZ, song

N_TRACKS = 8
pytestmark = pytest.mark.timeout(120)


async def done(*arguments: str | Path) -> tuple[int, str]:
    """A command's exit status, and what it said."""
    command = started(*arguments)
    told, _ = await asyncio.to_thread(command.communicate)
    return command.returncode, told


@asynccontextmanager
async def feedback_coming_in(server: Running) -> AsyncIterator[list[str]]:
    """Ids of the events that were acknowledged."""
    acknowledged: list[str] = []
    over = asyncio.Event()

    async def post() -> None:
        async with aiohttp.ClientSession(server.address) as session:
            while not over.is_set():
                id_ = f"e{len(acknowledged)}"
                event = {"user": "u", "event_id": id_, "track_id": 1, "kind": "play"}
                async with session.post("/v1/feedback", json=event) as response:
                    assert response.status == 200, await response.text()
                acknowledged.append(id_)

    posting = asyncio.create_task(post())
    try:
        yield acknowledged
    finally:
        over.set()
        await posting


async def test_what_a_working_server_held_is_whole_again_elsewhere(tmp_path: Path) -> None:
    data, restored, backup, music = (tmp_path / name for name in ("data", "restored", "backup", "music"))
    music.mkdir()
    for seed in range(N_TRACKS):
        song_file(music, seed, duration_s=10.0)
    with serving(data, "--workers", "0") as server:
        async with Client(server.address) as client:
            ingest = started("ingest", music, "--data", data)
            while len((await client.tracks(status="indexed"))["tracks"]) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            async with feedback_coming_in(server) as acknowledged:
                await asyncio.sleep(0.2)
                before = list(acknowledged)
                status, told = await done("backup", backup, "--data", data)
            assert status == 0 and before, told
            assert "Not in it: the settings" in told
            status, told = await done("restore", backup, "--data", data)
            assert status == 2 and f"runs at {server.address}" in told, told
            await asyncio.to_thread(ingest.communicate)
    status, told = await done("restore", backup, "--data", restored)
    assert status == 0 and told.startswith("restored: tracks: "), told
    async with store_of(restored) as services:
        n_tracks = sum((await services.tracks.counts()).values())
        assert {event.event_id for event in await services.feedback.events("u")} >= set(before)
    assert n_tracks == N_TRACKS

    with serving(restored) as server:
        async with Client(server.address) as client, asyncio.timeout(60):
            while len((await client.tracks(status="indexed"))["tracks"]) < n_tracks:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            for track in (await client.tracks(status="indexed"))["tracks"]:
                seed = int(track["title"].removeprefix("song-"))
                clip = tmp_path / f"clip-{seed}.mp3"
                clip.write_bytes(
                    encode(song(seed, 10.0)[2 * RATE_HZ : 8 * RATE_HZ], RATE_HZ, container="mp3")
                )
                (match, *_) = (await client.identify(clip))["matches"]
                assert match["track_id"] == track["track_id"]
    await assert_each_is_indexed_once(restored, list(range(1, n_tracks + 1)))
