"""Descriptions by real processes: killed in the middle, filled in from the command line, asked about over HTTP."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fpserver.web.client import Client
from tests.opened import ended, song_file, submit_files
from tests.process.running import Running, serving, started, store_of

N_TRACKS = 4
pytestmark = pytest.mark.timeout(110)


async def tracks(server: Running) -> list[dict[str, Any]]:
    async with Client(server.address) as client:
        found: list[dict[str, Any]] = (await client.tracks(limit=50))["tracks"]
    return found


async def until_described(server: Running, n_tracks: int, *, within_s: float = 60.0) -> None:
    async with asyncio.timeout(within_s):
        while sum(track["described"] for track in await tracks(server)) < n_tracks:  # noqa: ASYNC110 – another process
            await asyncio.sleep(0.1)


async def neighbours(server: Running, track_id: int) -> list[int]:
    """Of a track, as soon as it has some: the copy follows a moment later."""
    async with aiohttp.ClientSession(server.address) as session, asyncio.timeout(30.0):
        while True:
            async with session.get(f"/v1/tracks/{track_id}/similar") as response:
                body = await response.json()
            if response.status == 200 and len(body["neighbours"]) == N_TRACKS - 1:
                return [each["track_id"] for each in body["neighbours"]]
            await asyncio.sleep(0.2)


async def test_a_worker_killed_while_it_describes_loses_nothing(tmp_path: Path) -> None:
    paths = [song_file(tmp_path, seed, duration_s=60.0) for seed in range(N_TRACKS)]
    data = tmp_path / "data"
    with serving(data) as server:
        async with store_of(data) as services:
            submitted = await submit_files(services, paths)
            await ended(services, [each.track_id for each in submitted])
        await until_described(server, 1)
        os.kill(server.child("worker"), signal.SIGKILL)
        await until_described(server, N_TRACKS)
        ids = [track["track_id"] for track in await tracks(server)]
        assert len(ids) == N_TRACKS
        assert set(await neighbours(server, ids[0])) == set(ids[1:])
        described = started("describe", "--data", data).communicate()[0]
        assert f"{N_TRACKS} tracks lack nothing; 0 wait to be described" in described
        again = started("describe", "--again", "--data", data)
        told = again.communicate()[0]
        assert again.returncode == 0, told
        assert f"described: {N_TRACKS}; failed: 0" in told
    with serving(data, "--workers", "0") as server:  # from the file of the copy
        assert set(await neighbours(server, ids[0])) == set(ids[1:])
