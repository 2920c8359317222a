"""The rooms, opened for a test on the session's store; and files to fill them with."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fpserver.audio.encode import encode
from fpserver.config import Config, RedisConfig
from fpserver.files import sha256_of
from fpserver.ingest import submit
from fpserver.services import Services, open_services
from fpserver.store.connect import open_store
from fpserver.terms import ENDED, PARTS, Metadata, Submitted, Track
from fpserver.worker.loop import work
from tests.synth import RATE_HZ, song


def config_for(store: RedisConfig, *, described: bool = False) -> Config:
    """Settings under which a dead worker's claim is taken over within a second, and nobody describes unless asked."""
    return Config(redis=store).with_values(
        tracks={"claim_idle_s": 0.6},
        worker={"poll_s": 0.1, "drain_s": 10.0},
        features=dict.fromkeys(PARTS, described),
        similarity={"follow_s": 0.1},
    )


@asynccontextmanager
async def opened(
    store: RedisConfig, *, pool_processes: int = 1, described: bool = False
) -> AsyncIterator[Services]:
    """The rooms on an emptied store."""
    config = config_for(store, described=described)
    async with open_store(store) as client:
        await client.flushall()
    async with open_services(config, pool_processes=pool_processes) as services:
        yield services


def song_file(folder: Path, seed: int, *, duration_s: float = 12.0, kind: str = "wav") -> Path:
    """A song in a file."""
    path = folder / f"song-{seed}.{kind}"
    path.write_bytes(encode(song(seed, duration_s), RATE_HZ, container=kind))
    return path


async def submit_files(
    services: Services, paths: Sequence[Path], *, scheme: str = "file", batch_id: str | None = None
) -> list[Submitted]:
    """Queue files, each under its name."""
    files = [(f"{scheme}:{path}", sha256_of(path), Metadata(title=path.stem)) for path in paths]
    return await submit(services, files, batch_id=batch_id)


async def ended(services: Services, track_ids: Sequence[int], *, within_s: float = 30.0) -> dict[int, Track]:
    """The tracks, when all have ended."""
    async with asyncio.timeout(within_s):
        while True:
            tracks = await services.tracks.get(track_ids)
            if all(track.status in ENDED for track in tracks.values()):
                return tracks
            await asyncio.sleep(0.05)


@asynccontextmanager
async def working(services: Services) -> AsyncIterator[None]:
    """A worker for as long as the context lasts."""
    stop = asyncio.Event()
    task = asyncio.create_task(work(services, stop=stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def postings_settled(services: Services, n_postings: int, *, within_s: float = 5.0) -> int:
    """Postings in the index, as soon as they are `n_postings`, or after `within_s`."""
    give_up = time.monotonic() + within_s
    while True:
        found = (await services.index.stats()).n_postings
        if found == n_postings or time.monotonic() > give_up:
            return found
        await asyncio.sleep(0.05)
