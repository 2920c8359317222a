"""When a worker trains: by its clock, on demand, and again after whatever went wrong."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpserver.config import RedisConfig
from fpserver.errors import StoreUnavailable
from fpserver.recommend import model_keys as keys
from fpserver.recommend.models import Models, Standing
from fpserver.services import Services
from fpserver.store.connect import Client, shared_url
from fpserver.worker import trainer as trainer_module
from fpserver.worker.trainer import Trainer
from tests.opened import opened
from tests.recommend import jobs
from tests.recommend.people import add_indexed, events

HOUR = 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def services(client: Client, store_config: RedisConfig) -> AsyncIterator[Services]:
    async with opened(store_config, pool_processes=0) as services:
        yield services


@asynccontextmanager
async def training(services: Services, **how: Any) -> AsyncIterator[None]:
    """A trainer that looks often."""
    stop = asyncio.Event()
    task = asyncio.create_task(Trainer(services, look_s=0.02, **how).run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def standing_when(
    services: Services, condition: Callable[[Standing], bool], *, within_s: float = 20.0
) -> Standing:
    async with asyncio.timeout(within_s):
        while True:
            standing = await services.models.standing()
            if condition(standing):
                return standing
            await asyncio.sleep(0.02)


def n_events(standing: Standing) -> int:
    return standing.figures.n_events if standing.figures else -1


async def test_it_trains_by_its_clock_and_only_if_there_is_new_feedback(
    services: Services, rng: np.random.Generator
) -> None:
    ids, clock = await add_indexed(services, 5), Clock()

    async def heard(name: str, n: int) -> None:
        await services.feedback.put(events(ids, n_users=1, n_each=n, rng=rng, name=name))

    async with training(services, clock=clock, job=jobs.told):
        await asyncio.sleep(0.1)
        assert (await services.models.standing()).version is None  # nobody has done anything
        await heard("ann", 10)
        await standing_when(services, lambda each: n_events(each) == 10)
        await heard("bob", 2)
        await asyncio.sleep(0.1)
        assert n_events(await services.models.standing()) == 10
        clock.now += HOUR
        await standing_when(services, lambda each: n_events(each) == 12)
        clock.now += HOUR
        await asyncio.sleep(0.1)
        standing = await services.models.standing()
        assert standing.figures is not None and standing.figures.trained_at == clock.now - HOUR
        await heard("cat", 12)  # twice as much: sooner
        clock.now -= HOUR / 2
        await standing_when(services, lambda each: n_events(each) == 24)


async def test_it_trains_when_asked(services: Services) -> None:
    services = replace(services, config=services.config.with_values(recommend={"train_every_s": 0}))
    async with training(services, job=jobs.told):
        n = await services.models.want()
        standing = await standing_when(services, lambda each: each.n_served >= n)
    assert n_events(standing) == 0


async def test_after_a_training_that_failed_it_waits_for_its_time_or_for_who_asks(
    services: Services, rng: np.random.Generator
) -> None:
    await services.feedback.put(events(await add_indexed(services, 3), n_users=1, n_each=3, rng=rng))
    clock = Clock()

    async with training(services, clock=clock, job=jobs.die):
        await standing_when(services, lambda each: each.failure is not None)
        first = (await services.models.standing()).failure
        await asyncio.sleep(0.1)
        assert (await services.models.standing()).failure == first
        clock.now += 60
        n = await services.models.want()
        standing = await standing_when(services, lambda each: each.n_served >= n)
        assert standing.failure is not None and standing.failure.at == clock.now
        clock.now += HOUR
        await standing_when(services, lambda each: each.failure is not None and each.failure.at == clock.now)


async def test_a_lost_model_is_trained_anew(
    services: Services, rng: np.random.Generator, client: Client
) -> None:
    await services.feedback.put(events(await add_indexed(services, 3), n_users=1, n_each=3, rng=rng))
    async with training(services, clock=Clock(), job=jobs.told):
        version = (await standing_when(services, lambda each: each.version is not None)).version
        assert version is not None
        await client.delete(keys.piece(version, 0))
        async with asyncio.timeout(20):
            while not await services.models.is_whole():  # noqa: ASYNC110 – another task, no event of ours
                await asyncio.sleep(0.02)
    assert await services.models.get() is not None


async def test_on_stop_a_training_is_broken_off_and_another_does_what_was_asked_for(
    services: Services,
) -> None:
    begun = jobs.begun_in(Path(services.config.redis.data_dir))
    n = await services.models.want()
    async with training(services, job=jobs.never):
        pid = await begun
    await _gone(pid)
    standing = await services.models.standing()
    assert standing.is_wanted and not standing.is_training
    async with training(services, job=jobs.told):
        await standing_when(services, lambda each: each.n_served >= n)


@pytest.mark.timeout(60)
async def test_a_worker_that_is_killed_in_mid_training_leaves_no_child_and_another_trains(
    services: Services, client: Client, store_config: RedisConfig
) -> None:
    begun = jobs.begun_in(Path(store_config.data_dir))
    n = await services.models.want()
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.recommend.training_process",
        shared_url(store_config),
        store_config.data_dir,
    )
    pid = await begun
    worker.kill()
    await worker.wait()
    await _gone(pid)
    assert (await services.models.standing()).is_training  # as far as anybody can know
    assert 0 < await client.pttl(keys.TRAINING) <= 30_000
    await client.pexpire(keys.TRAINING, 200)  # instead of half a minute
    async with training(services, job=jobs.told):
        standing = await standing_when(services, lambda each: each.n_served >= n)
    assert standing.figures is not None and standing.failure is None
    (left,) = Path(store_config.data_dir).glob("training-*")  # until it is a day old
    for file in left.iterdir():
        file.unlink()
    left.rmdir()


async def test_a_store_that_is_away_for_a_while_is_waited_for(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer_module, "AFTER_FAULT_S", 0.05)
    whole, away = Models.put, ["away", "away"]

    async def put(*args: Any, **how: Any) -> str:
        if away:
            raise StoreUnavailable(away.pop())
        return await whole(*args, **how)

    monkeypatch.setattr(Models, "put", put)
    n = await services.models.want()
    async with training(services, job=jobs.told):
        standing = await standing_when(services, lambda each: each.n_served >= n)
    assert standing.failure is None and standing.version is not None
    assert not away


async def _gone(pid: int, *, within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while True:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                return
            await asyncio.sleep(0.02)
