"""A store with so many tracks in it, and clips asked of it as the server asks.

What is asked runs the server's own walk (`fpserver.identify`), steps and stop rule included; only the sound is heard
beforehand, and the catalogue is one that takes every track that is asked for as indexed.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

from fpserver.config import Config
from fpserver.dsp_pool import DspPool
from fpserver.fingerprint.constellation import frames_per_s
from fpserver.fingerprint.stamp import stamp
from fpserver.identify import IdentifyOptions, identify_hearing
from fpserver.index.store import FUNCTIONS, Index
from fpserver.map_pool import MapPool
from fpserver.search import Clock, search
from fpserver.services import Services
from fpserver.store.connect import Client, load_functions, open_store
from fpserver.terms import Hearing, Metadata, Track, TrackStatus
from fpserver.tracks.backlog import Backlog
from fpserver.tracks.catalogue import Tracks
from loadtest.bulk_index import load
from loadtest.scale import stock

LIMIT = 1000  # matches told: all
CLIPS_A_JOB = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a store holds, and takes for it."""

    tracks: int
    hours: float
    postings: int
    bytes: int  # used_memory more than when it was empty

    @property
    def bytes_per_hour(self) -> float:
        """As stored, all included."""
        return self.bytes / self.hours


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What came of one clip."""

    document: dict[str, Any]  # matches and explanation, as over HTTP
    timings_s: dict[str, float]
    degraded: bool

    @property
    def steps(self) -> list[dict[str, Any]]:
        """What each step asked and read."""
        return list(self.document["explanation"]["steps"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Among:
    """An open index, and what it holds."""

    index: Index
    held: Held


@asynccontextmanager
async def among(chunks: Sequence[stock.Chunk], config: Config, folder: Path) -> AsyncIterator[Among]:
    """An index of these tracks on a server of its own, which keeps nothing on disk and ends with it."""
    async with open_in(folder, config) as client:
        await client.config_set("appendonly", "no")
        yield await fill(client, chunks, config)


def open_in(folder: Path, config: Config) -> AbstractAsyncContextManager[Client]:
    """The store of this folder, which ends with whoever opened it first."""
    return open_store(config.with_values(redis={"url": "embedded", "data_dir": str(folder)}).redis)


async def fill(client: Client, chunks: Sequence[stock.Chunk], config: Config) -> Among:
    """Write the index of these tracks into an empty store, and open it."""
    await load_functions(client, FUNCTIONS)
    index = Index(client, config.index)
    await index.open(stamp(config.fingerprint))
    empty = await index.stats()
    await load(client, config.index, stock.postings_of(chunks), peaks=stock.peaks_of(chunks))
    stats = await index.stats()
    held = Held(
        tracks=sum(each.n_tracks for each in chunks),
        hours=sum(each.n_frames for each in chunks) / frames_per_s(config.fingerprint) / 3600,
        postings=stats.n_postings,
        bytes=stats.used_memory_bytes - empty.used_memory_bytes,
    )
    return Among(index=index, held=held)


async def ask(index: Index, hearing: Hearing, config: Config) -> Said:
    """One clip, as the server answers it."""
    nobody: Any = None
    services = Services(
        config=config,
        client=cast(Client, nobody),
        index=index,
        tracks=cast(Tracks, _AllIndexed()),
        backlog=cast(Backlog, nobody),
        undescribed=nobody,
        descriptions=nobody,
        feedback=nobody,
        models=nobody,
        keys=nobody,
        pool=cast(DspPool, nobody),
        maps=cast(MapPool, nobody),
    )
    options = IdentifyOptions(limit=LIMIT, explain=True)
    found = await identify_hearing(services, hearing, options, Clock({}))
    matches = [
        {
            "track_id": each.match.track_id,
            "false_accept_rate": each.match.false_accept_rate,
            "score": each.match.score,
            "track_offset_s": each.track_offset_s,
            "speed": each.match.warp.speed,
            "pitch": each.match.warp.pitch,
        }
        for each in found.matches
    ]
    return Said(
        document={"matches": matches, "explanation": found.explanation},
        timings_s=found.timings_s,
        degraded=found.degraded,
    )


async def ask_all(
    chunks: Sequence[stock.Chunk],
    todo: Sequence[tuple[int, Hearing | None]],
    answers: Callable[[int, Said | None], None],
    config: Config,
    folder: Path,
    *,
    processes: int,
) -> tuple[Held, float]:
    """Ask numbered clips of a store with these tracks; what it holds, and seconds to load it."""
    begin = time.perf_counter()
    async with among(chunks, config, folder) as opened:
        load_s = time.perf_counter() - begin
        loop = asyncio.get_running_loop()
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            jobs = [todo[i : i + CLIPS_A_JOB] for i in range(0, len(todo), CLIPS_A_JOB)]
            for job in asyncio.as_completed(
                [loop.run_in_executor(pool, ask_in, folder, job, config) for job in jobs]
            ):
                for i, said in await job:
                    answers(i, said)
        return opened.held, load_s


def ask_in(
    folder: Path, hearings: Sequence[tuple[int, Hearing | None]], config: Config
) -> list[tuple[int, Said | None]]:
    """An answer a clip, one after the other, of the store that another process has opened `among` a folder."""

    async def one_by_one() -> list[tuple[int, Said | None]]:
        async with open_in(folder, config) as client:
            index = Index(client, config.index)
            await index.open(stamp(config.fingerprint))
            return [(i, await ask(index, hearing, config) if hearing else None) for i, hearing in hearings]

    return asyncio.run(one_by_one())


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """What one step finds where nothing is to be found."""

    step: str
    hits_per_lookup: float
    score: float  # the best


async def ask_all_steps(index: Index, hearing: Hearing, config: Config) -> list[Chance]:
    """All steps of a search among tracks that the clip is not of."""
    return [
        Chance(
            step=step.name,
            hits_per_lookup=step.n_postings / max(1, step.n_lookups),
            score=max((match.score for match in step.ranked), default=0.0),
        )
        async for step in search(index, hearing, config, Clock({}), warped=True)
    ]


class _AllIndexed:
    """A catalogue that knows every track."""

    async def get(self, track_ids: Sequence[int]) -> dict[int, Track]:
        """A record of each."""
        return {
            track_id: Track(
                track_id=track_id,
                status=TrackStatus.INDEXED,
                metadata=Metadata(),
                source="",
                place="",
                content_sha256="",
                created_at=0.0,
                updated_at=0.0,
            )
            for track_id in track_ids
        }
