"""kill -9 while feedback comes in: what was acknowledged is there, and what is sent again is there once."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.process.running import Running, serving, store_of
from tests.tracks.offers import submit

N_TRACKS = 20
N_EVENTS = 40_000
pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


async def test_a_stream_cut_by_the_death_of_its_server_is_whole_when_sent_again(data_dir: Path) -> None:
    lines = [json.dumps(event).encode() + b"\n" for event in events(await tracks_in(data_dir))]
    with serving(data_dir, "--workers", "0") as server:
        half_sent = asyncio.Event()
        sending = asyncio.create_task(sent(server, lines, half_sent))
        await half_sent.wait()
        n_before = await n_kept(data_dir)
        killed = server.child("web")
        os.kill(killed, signal.SIGKILL)
        with pytest.raises(aiohttp.ClientError):
            await sending
        assert 0 < n_before <= await n_kept(data_dir) < N_EVENTS, "it was killed in the middle"
        told = await sent_again(server, lines)
        assert told["n_taken"] + told["n_known"] == N_EVENTS and told["n_known"] >= n_before
    assert await n_kept(data_dir) == N_EVENTS


@pytest.mark.parametrize("victim", ["web", "store", "all"])
async def test_batches_that_were_acknowledged_outlive_every_kill(data_dir: Path, victim: str) -> None:
    given = events(await tracks_in(data_dir))
    batches = [given[first : first + 400] for first in range(0, N_EVENTS, 400)]
    acknowledged: set[str] = set()
    with serving(data_dir, "--workers", "0") as server:
        posting = asyncio.create_task(post(server, batches, acknowledged))
        while len(acknowledged) < N_EVENTS // 10:  # noqa: ASYNC110 – another process
            await asyncio.sleep(0.001)
        assert len(acknowledged) < N_EVENTS // 2, "it is killed in the middle"
        for kind in ("web", "store") if victim == "all" else (victim,):
            os.kill(server.child(kind), signal.SIGKILL)
        await posting
        assert await ids_kept(data_dir) >= acknowledged
        async with asyncio.timeout(40):
            while len(acknowledged) < N_EVENTS:
                await post(server, batches, acknowledged)
                await asyncio.sleep(0.1)
    assert await n_kept(data_dir) == N_EVENTS


async def tracks_in(data_dir: Path) -> list[int]:
    async with store_of(data_dir) as services:
        return await submit(services.tracks, *(f"track {i}" for i in range(N_TRACKS)))


def events(track_ids: list[int]) -> list[dict[str, Any]]:
    kinds = ("play", "like", "skip")
    return [
        {
            "user": f"u{i % 500}",
            "track_id": track_ids[i % N_TRACKS],
            "kind": kinds[i % 3],
            "at": i,
            "event_id": f"e{i}",
        }
        for i in range(N_EVENTS)
    ]


async def sent(server: Running, lines: list[bytes], half_sent: asyncio.Event | None = None) -> dict[str, Any]:
    """Send a stream; once half of it is out, say so and go on after a moment. The answer."""

    async def body() -> AsyncIterator[bytes]:
        for first in range(0, len(lines), 1000):
            yield b"".join(lines[first : first + 1000])
            if half_sent and first == len(lines) // 2:
                await asyncio.sleep(0.5)
                half_sent.set()
                await asyncio.sleep(60)

    headers = {"Content-Type": "application/x-ndjson"}
    async with (
        aiohttp.ClientSession(server.address) as session,
        session.post("/v1/feedback", data=body(), headers=headers) as response,
    ):
        assert response.status == 200
        answer: dict[str, Any] = await response.json()
        return answer


async def sent_again(server: Running, lines: list[bytes]) -> dict[str, Any]:
    """The same, as soon as the server is back."""
    async with asyncio.timeout(40):
        while True:
            with suppress(aiohttp.ClientConnectorError):
                return await sent(server, lines)
            await asyncio.sleep(0.1)


async def post(server: Running, batches: list[list[dict[str, Any]]], acknowledged: set[str]) -> None:
    """Post batches, one after another, until one is not acknowledged; note the ids of those that are."""
    async with aiohttp.ClientSession(server.address) as session:
        for batch in batches:
            try:
                async with session.post("/v1/feedback", json={"events": batch}) as response:
                    if response.status != 200:
                        return
                    answer = await response.json()
            except aiohttp.ClientError:
                return
            assert answer["n_taken"] + answer["n_known"] == len(batch)
            acknowledged.update(event["event_id"] for event in batch)


async def ids_kept(data_dir: Path) -> set[str]:
    async with store_of(data_dir) as services:
        users = [f"u{i}" for i in range(500)]
        return {event.event_id for user in users for event in await services.feedback.events(user)}


async def n_kept(data_dir: Path) -> int:
    async with store_of(data_dir) as services:
        return sum([len(page) async for page in services.feedback.pages()])
