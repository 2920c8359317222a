"""The child that computes maps: one for all tests here, warmed by the first."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from fpserver import map_pool
from fpserver.config import SimilarityConfig
from fpserver.errors import MapFailed, Overloaded
from fpserver.map_pool import MapPool
from fpserver.similarity.coordinates import Points, coordinates
from fpserver.terms import Vectors
from tests.similarity.clusters import clustered

OPTIONS: dict[str, Any] = {"n_neighbors": 15, "min_dist": 0.1, "metric": "euclidean", "seed": 0}
LONG = 9000  # vectors: some seconds


@pytest.fixture(scope="module")
async def maps() -> AsyncIterator[MapPool]:
    async with MapPool(SimilarityConfig()) as pool:
        yield pool


def drawing(maps: MapPool, vectors: Vectors, told: list[float]) -> asyncio.Task[Points]:
    return asyncio.create_task(maps.coordinates(vectors, **OPTIONS, on_progress=told.append))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  (other processes set no events here)
            await asyncio.sleep(0.01)


async def computing(told: list[float]) -> None:
    """Return when the child is in the middle of it."""
    await until(lambda: told and told[-1] > 0)


def child_pid(maps: MapPool) -> int | None:
    process = maps._pool._children[0]._process
    return None if process is None else process.pid


async def test_the_child_gives_what_the_function_gives(maps: MapPool, rng: np.random.Generator) -> None:
    vectors = clustered(80, rng)[0]
    told: list[float] = []
    assert child_pid(maps) is None  # nobody has asked for a map
    points = await drawing(maps, vectors, told)
    assert points.tobytes() == coordinates(vectors, **OPTIONS).tobytes()
    assert told == sorted(told)
    assert told[-1] == 1


@pytest.mark.alone
async def test_cancelling_ends_the_work_within_a_second_and_keeps_the_child(
    maps: MapPool, rng: np.random.Generator
) -> None:
    told: list[float] = []
    task = drawing(maps, clustered(LONG, rng)[0], told)
    await computing(told)
    before = child_pid(maps)
    task.cancel()
    start = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not maps.n_running)
    assert time.monotonic() - start < 1
    assert told[-1] < 1
    await drawing(maps, clustered(20, rng)[0], told)
    assert child_pid(maps) == before


async def test_who_leaves_while_the_child_prepares_does_not_end_that(rng: np.random.Generator) -> None:
    async with MapPool(SimilarityConfig()) as maps:
        task = drawing(maps, clustered(20, rng)[0], [])
        await until(lambda: maps.n_running)
        task.cancel()
        await asyncio.sleep(0.05)
        assert maps.n_running == 1
        assert len(await drawing(maps, clustered(20, rng)[0], [])) == 20


async def test_a_second_map_waits_for_its_turn_but_not_for_long(
    maps: MapPool, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_pool, "TURN_S", 0.1)
    told: list[float] = []
    first = drawing(maps, clustered(LONG, rng)[0], told)
    await computing(told)
    with pytest.raises(Overloaded, match=r"another map is being computed, and was not done within 0\.1 s"):
        await drawing(maps, clustered(20, rng)[0], [])
    monkeypatch.setattr(map_pool, "TURN_S", 5.0)
    second = drawing(maps, clustered(20, rng)[0], [])
    first.cancel()
    assert len(await second) == 20


async def test_a_child_that_is_killed_fails_its_map_and_no_other(
    maps: MapPool, rng: np.random.Generator
) -> None:
    told: list[float] = []
    task = drawing(maps, clustered(LONG, rng)[0], told)
    await computing(told)
    pid = child_pid(maps)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(MapFailed, match=f"map of {LONG} tracks: computing ended its process: .*SIGKILL"):
        await task
    assert len(await drawing(maps, clustered(20, rng)[0], [])) == 20


async def test_limits_of_time_and_memory_are_named(rng: np.random.Generator) -> None:
    many = clustered(LONG, rng)[0]
    async with MapPool(SimilarityConfig(map_timeout_s=0.2)) as maps:
        with pytest.raises(
            MapFailed, match=f"map of {LONG} tracks: computing took longer than 0.2 s, the limit"
        ):
            await drawing(maps, many, [])
    small = int(1.6 * 2**30)
    async with MapPool(SimilarityConfig(map_memory_bytes=small)) as maps:
        assert len(await drawing(maps, many[:20], [])) == 20
        huge = np.ones((60_000, 2000), np.float32)
        with pytest.raises(
            MapFailed,  # numpy says so; a library below it ends the process
            match=r"map of 60000 tracks: computing (.*1\.6 GiB of memory, the limit|ended its process)",
        ):
            await drawing(maps, huge, [])
