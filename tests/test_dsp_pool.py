"""Real children, really killed. All pools of these tests share one fork server (it is one per process)."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest

from fpserver.audio.decode import decode
from fpserver.audio.encode import encode
from fpserver.dsp_pool import DspPool
from fpserver.errors import AudioCrash, AudioTimeout, AudioTooShort, Overloaded
from loadtest.processes import alive
from tests.audio import jobs
from tests.audio.files import flac_silence, sweep

LIMIT_BYTES = 2**30
PRELOAD = ("numpy", "fpserver.dsp_child")


def new_pool(processes: int = 2) -> DspPool:
    return DspPool(processes=processes, memory_limit_bytes=LIMIT_BYTES, preload=PRELOAD)


@pytest.fixture
async def pool() -> AsyncIterator[DspPool]:
    async with new_pool() as pool:
        yield pool


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  (other processes set no events here)
            await asyncio.sleep(0.01)


async def pids(pool: DspPool) -> set[int]:
    """Of all children, each asked while the others are busy."""
    found: set[int] = set()
    async with asyncio.timeout(20):
        while len(found) < pool.n_processes:
            jobs_ = (pool.run(jobs.pid, timeout_s=5) for _ in range(pool.n_processes))
            found.update(await asyncio.gather(*jobs_))
    return found


async def test_results_come_back_from_another_process(pool: DspPool) -> None:
    assert await pool.run(jobs.add, 2, 3, timeout_s=5) == 5
    assert await pool.run(jobs.pid, timeout_s=5) != os.getpid()
    assert (pool.n_processes, pool.n_running, pool.n_waiting) == (2, 0, 0)


async def test_errors_of_the_function_are_raised_as_they_are(pool: DspPool) -> None:
    with pytest.raises(AudioTooShort, match=r"clip is 0\.3 s, need at least 1 s"):
        await pool.run(jobs.refuse, timeout_s=5)


async def test_a_fault_of_ours_says_where_it_was(pool: DspPool) -> None:
    with pytest.raises(KeyError) as raised:
        await pool.run(jobs.raise_key_error, timeout_s=5)
    assert "in raise_key_error" in raised.value.__notes__[0]


async def test_an_error_that_cannot_be_unpickled_still_comes_back(pool: DspPool) -> None:
    with pytest.raises(RuntimeError, match="OddError: 42"):
        await pool.run(jobs.raise_odd, timeout_s=5)
    assert await pool.run(jobs.add, 1, 1, timeout_s=5) == 2


async def test_a_job_that_cannot_be_pickled_is_refused_and_the_child_goes_on(pool: DspPool) -> None:
    before = await pids(pool)
    with pytest.raises(Exception, match="pickle"):
        await pool.run(lambda: 1, timeout_s=5)
    assert await pids(pool) == before


async def test_a_child_that_dies_fails_its_own_job_only(pool: DspPool) -> None:
    other = asyncio.create_task(pool.run(jobs.doze, 0.3, timeout_s=5))
    with pytest.raises(AudioCrash, match="SIGSEGV"):
        await pool.run(jobs.die, timeout_s=5)
    assert await other == 0.3
    assert len(await pids(pool)) == 2


async def test_children_killed_while_they_are_idle_are_replaced(pool: DspPool) -> None:
    before = await pids(pool)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    await until(lambda: not any(map(alive, before)))
    await asyncio.sleep(0.1)  # the kernel closes a dead child's pipe with the last of its threads
    assert not await pids(pool) & before


async def test_a_hang_ends_at_the_limit(pool: DspPool) -> None:
    start = time.monotonic()
    with pytest.raises(AudioTimeout, match=r"longer than 0\.3 s"):
        await pool.run(jobs.hang, timeout_s=0.3)
    assert time.monotonic() - start < 2
    assert len(await pids(pool)) == 2


async def test_more_memory_than_the_limit_is_a_crash_that_says_so(pool: DspPool) -> None:
    with pytest.raises(AudioCrash, match="more than 1 GiB of memory"):
        await pool.run(jobs.eat, 2 * LIMIT_BYTES, timeout_s=5)
    assert await pool.run(jobs.eat, 1000, timeout_s=5) == 1000


async def test_a_bomb_that_unpacks_beyond_the_memory_limit_leaves_the_pool_as_it_was(tmp_path: Path) -> None:
    bomb, song = tmp_path / "bomb.flac", tmp_path / "song.mp3"
    bomb.write_bytes(flac_silence(hours=5))
    song.write_bytes(encode(sweep(44100), 44100, container="mp3"))
    listen = partial(decode, rate_hz=44100, max_s=36000.0, max_bytes=2**30, cut=False)
    async with new_pool(1) as pool:
        with pytest.raises(AudioCrash, match="more than 1 GiB of memory"):
            await pool.run(listen, bomb, timeout_s=60)
        assert (await pool.run(listen, song, timeout_s=20)).duration_s == 3


async def test_a_child_opens_few_files_and_leaves_no_core(pool: DspPool, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Too many open files"):
        await pool.run(jobs.n_descriptors, tmp_path, 100, timeout_s=5)


async def test_time_spent_waiting_does_not_count() -> None:
    async with new_pool(1) as pool:
        waiting = [asyncio.create_task(pool.run(jobs.doze, 0.25, timeout_s=0.6)) for _ in range(4)]
        await until(lambda: pool.n_waiting == 3 and pool.n_running == 1)
        assert await asyncio.gather(*waiting) == [0.25] * 4


async def test_cancelling_the_caller_ends_the_job(pool: DspPool, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    job = asyncio.create_task(pool.run(jobs.hang, note, timeout_s=60))
    await until(lambda: note.exists() and note.read_text())
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    await until(lambda: not alive(int(note.read_text())))
    await until(lambda: pool.n_running == 0)
    assert len(await pids(pool)) == 2


async def test_cancelling_again_and_again_never_hurts_the_next_job() -> None:
    async with new_pool(1) as pool:
        for i in range(12):
            job = asyncio.create_task(pool.run(jobs.doze, 0.005, timeout_s=5))
            await asyncio.sleep(0.001 * i)
            job.cancel()
            await asyncio.gather(job, return_exceptions=True)
            assert await pool.run(jobs.add, i, 1, timeout_s=5) == i + 1


async def test_a_waiting_job_that_is_cancelled_takes_no_child() -> None:
    async with new_pool(1) as pool:
        first = asyncio.create_task(pool.run(jobs.doze, 0.2, timeout_s=5))
        second = asyncio.create_task(pool.run(jobs.hang, timeout_s=60))
        await until(lambda: pool.n_waiting == 1)
        second.cancel()
        assert await first == 0.2
        assert await pool.run(jobs.add, 1, 1, timeout_s=5) == 2


async def test_closing_the_pool_refuses_what_runs_and_what_waits() -> None:
    async with new_pool(1) as pool:
        pending = [asyncio.create_task(pool.run(jobs.hang, timeout_s=60)) for _ in range(3)]
        await until(lambda: pool.n_running == 1 and pool.n_waiting == 2)
    async with asyncio.timeout(5):
        results = await asyncio.gather(*pending, return_exceptions=True)
    assert [type(result) for result in results] == [Overloaded] * 3
    with pytest.raises(Overloaded):
        await pool.run(jobs.pid, timeout_s=5)


async def test_closing_the_pool_leaves_no_child() -> None:
    async with new_pool(2) as pool:
        children = await pids(pool)
    assert not any(map(alive, children))


async def test_a_pool_of_no_processes_refuses_work() -> None:
    async with new_pool(0) as pool:
        with pytest.raises(RuntimeError, match="pool of 0 processes cannot run <function pid"):
            await pool.run(jobs.pid, timeout_s=5)


async def test_children_use_one_numeric_thread_and_the_owner_keeps_its_own(pool: DspPool) -> None:
    before = os.environ.get("OMP_NUM_THREADS")
    assert await pool.run(jobs.numeric_threads, timeout_s=5) == ["1", "1"]
    assert os.environ.get("OMP_NUM_THREADS") == before


async def test_signals_meant_for_the_owner_pass_children_by(pool: DspPool) -> None:
    children = await pids(pool)
    job = asyncio.create_task(pool.run(jobs.doze, 0.5, timeout_s=5))
    await until(lambda: pool.n_running == 1)
    for pid in children:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    assert await job == 0.5


async def test_the_event_loop_stays_free_while_children_start() -> None:
    longest, last = 0.0, time.monotonic()

    async def tick() -> None:
        nonlocal longest, last
        while True:
            await asyncio.sleep(0.005)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()

    ticking = asyncio.create_task(tick())
    async with new_pool(2) as pool:
        await pool.run(jobs.pid, timeout_s=5)
    ticking.cancel()
    assert longest < 0.25


OWNER = """
import asyncio, os, sys
from pathlib import Path
from fpserver.dsp_pool import DspPool
from tests.audio import jobs

async def main(folder):
    async with DspPool(processes=2, memory_limit_bytes=2**30, preload=("fpserver.dsp_child",)) as pool:
        idle = await pool.run(jobs.pid, timeout_s=5)
        asyncio.create_task(pool.run(jobs.hang, folder / "busy", timeout_s=600))
        while not (folder / "busy").exists():
            await asyncio.sleep(0.01)
        print("ready", flush=True)
        {then}

if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
"""


def start_owner(folder: Path, then: str) -> subprocess.Popen[str]:
    script = folder / "owner.py"
    script.write_text(OWNER.replace("{then}", then))
    owner = subprocess.Popen(
        [sys.executable, script, folder],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "ready\n"
    return owner


def session_of(pid: int) -> list[int]:
    """All living processes of a session, by its leader."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and alive(int(entry.name)):
            try:
                if os.getsid(int(entry.name)) == pid:
                    found.append(int(entry.name))
            except ProcessLookupError:
                pass
    return found


async def test_a_signal_to_the_whole_group_leaves_the_owner_time_to_drain(tmp_path: Path) -> None:
    drain = """
        import signal
        signal.signal(signal.SIGTERM, lambda *_: None)
        print("deaf", flush=True)
        sys.exit(await pool.run(jobs.doze, 0.5, timeout_s=5) != 0.5)
    """
    with start_owner(tmp_path, drain.strip()) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "deaf\n"
        os.killpg(owner.pid, signal.SIGTERM)
        assert owner.wait(10) == 0
    await until(lambda: not session_of(owner.pid))


async def test_nothing_remains_when_the_owner_is_killed(tmp_path: Path) -> None:
    with start_owner(tmp_path, "await asyncio.sleep(600)") as owner:
        assert len(session_of(owner.pid)) >= 4  # owner, fork server, two children
        owner.kill()
    await until(lambda: not session_of(owner.pid))


async def test_nothing_remains_when_the_owner_ends_without_closing_the_pool(tmp_path: Path) -> None:
    with start_owner(tmp_path, "sys.exit(3)") as owner:
        assert owner.wait(10) == 3
    await until(lambda: not session_of(owner.pid))
