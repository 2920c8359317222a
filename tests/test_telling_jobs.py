"""Jobs that tell how far they have come, and can be ended without ending their child."""

import asyncio
import os
import time
from collections.abc import AsyncIterator

import pytest

from fpserver.dsp_child import Purpose
from fpserver.dsp_pool import DspPool
from fpserver.errors import MapFailed, Overloaded
from loadtest.processes import alive
from tests.audio import jobs as plain
from tests.similarity import jobs
from tests.test_dsp_pool import LIMIT_BYTES, PRELOAD, until

COUNTING = Purpose(name="counting", crash=MapFailed, late=MapFailed)


@pytest.fixture
async def pool() -> AsyncIterator[DspPool]:
    one = DspPool(processes=1, memory_limit_bytes=LIMIT_BYTES, preload=PRELOAD, lazy=True, purpose=COUNTING)
    async with one:
        yield one


async def pid(pool: DspPool) -> int:
    return await pool.run(plain.pid, timeout_s=5)


async def test_what_is_told_comes_in_order_before_the_result(pool: DspPool) -> None:
    told: list[int] = []
    result = await pool.run_telling(jobs.count, 50, 0, timeout_s=5, on_told=told.append)
    assert told == list(range(50))
    assert result == await pid(pool) != os.getpid()


async def test_a_lazy_pool_starts_its_child_with_the_first_job() -> None:
    lazy = DspPool(processes=1, memory_limit_bytes=LIMIT_BYTES, preload=PRELOAD, lazy=True)
    async with lazy:
        assert lazy._children[0]._process is None
        await pid(lazy)
        assert lazy._children[0]._process is not None


@pytest.mark.alone
async def test_cancelling_the_caller_ends_the_job_and_keeps_the_child(pool: DspPool) -> None:
    before = await pid(pool)
    told: list[int] = []
    job = asyncio.create_task(pool.run_telling(jobs.count, 10**6, 0.01, timeout_s=60, on_told=told.append))
    await until(lambda: told)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    start = time.monotonic()
    await until(lambda: pool.n_running == 0)
    assert time.monotonic() - start < 1
    assert await pid(pool) == before


async def test_cancelling_again_and_again_never_hurts_the_next_job(pool: DspPool) -> None:
    for i in range(12):
        job = asyncio.create_task(pool.run_telling(jobs.count, 8, 0.001, timeout_s=5, on_told=bool))
        await asyncio.sleep(0.002 * i)
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
        assert await pool.run(plain.add, i, 1, timeout_s=5) == i + 1


async def test_a_job_that_tells_nothing_more_is_killed_when_its_caller_is_cancelled(pool: DspPool) -> None:
    told: list[int] = []
    job = asyncio.create_task(pool.run_telling(jobs.say_nothing, 60, timeout_s=60, on_told=told.append))
    await until(lambda: told)
    job.cancel()
    await until(lambda: not alive(told[0]), seconds=2)
    with pytest.raises(asyncio.CancelledError):
        await job
    assert await pid(pool) != told[0]


async def test_a_job_over_its_time_ends_and_keeps_the_child(pool: DspPool) -> None:
    before = await pid(pool)
    with pytest.raises(MapFailed, match=r"counting took longer than 0\.3 s, the limit"):
        await pool.run_telling(jobs.count, 10**6, 0.01, timeout_s=0.3, on_told=bool)
    assert await pid(pool) == before


async def test_one_that_tells_nothing_is_killed_at_the_end_of_its_time(pool: DspPool) -> None:
    told: list[int] = []
    with pytest.raises(MapFailed, match=r"counting took longer than 0\.2 s, the limit"):
        await pool.run_telling(jobs.say_nothing, 60, timeout_s=0.2, on_told=told.append)
    assert await pid(pool) != told[0]


async def test_errors_are_of_the_kind_that_the_pool_is_for(pool: DspPool) -> None:
    with pytest.raises(MapFailed, match="counting needed more than 1 GiB of memory"):
        await pool.run_telling(jobs.eat, 2 * LIMIT_BYTES, timeout_s=5, on_told=bool)
    with pytest.raises(MapFailed, match="counting ended its process: killed by SIGKILL"):
        await pool.run_telling(jobs.die, timeout_s=5, on_told=bool)
    assert await pool.run_telling(jobs.count, 2, 0, timeout_s=5, on_told=bool) == await pid(pool)


async def test_closing_the_pool_refuses_what_runs() -> None:
    told: list[int] = []
    pool = DspPool(processes=1, memory_limit_bytes=LIMIT_BYTES, preload=PRELOAD, purpose=COUNTING)
    async with pool:
        job = asyncio.create_task(pool.run_telling(jobs.say_nothing, 60, timeout_s=60, on_told=told.append))
        await until(lambda: told)
    with pytest.raises(Overloaded, match="counting was stopped"):
        await job
    assert not alive(told[0])
