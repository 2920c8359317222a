"""Real `fpserver` processes, started and watched as an operator would, and what became of their tracks."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from fpserver.config import Config
from fpserver.services import Services, open_services
from fpserver.terms import TrackStatus
from fpserver.web.client import Client
from loadtest.processes import alive, command_line, descendants_of

READY = re.compile(r"^fpserver is running at (http://\S+)$")
SETTINGS = {
    "FPSERVER_TRACKS__CLAIM_IDLE_S": "1.0",
    "FPSERVER_WORKER__POLL_S": "0.2",
    "FPSERVER_WORKER__PROCESSES": "1",
}


class Running:
    """A `fpserver serve` that has said it is ready."""

    def __init__(self, process: "subprocess.Popen[str]", address: str) -> None:
        self.process = process
        self.address = address

    @property
    def pid(self) -> int:
        return self.process.pid

    def child(self, kind: str) -> int:
        """Pid of one process: "web", "worker" or "store" (which whoever misses it first starts again)."""
        return self.children(kind)[0]

    def children(self, kind: str) -> list[int]:
        mark = {"store": "valkey", "web": "fpserver.child web", "worker": "fpserver.child worker"}[kind]
        return sorted(pid for pid in descendants_of(self.pid) if mark in command_line(pid))

    def stop(self, *, within_s: float = 30.0) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self.process.wait(within_s)


@contextmanager
def serving(data_dir: Path, *arguments: str, settings: Mapping[str, str] | None = None) -> Iterator[Running]:
    """A server on a data folder and a free port; gone with all its children at the end, however it went."""
    log = data_dir.parent / f"{data_dir.name}.log"
    with log.open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "fpserver", "serve", "--data", str(data_dir), "--port", "0", *arguments],
            stdin=subprocess.DEVNULL,  # at a terminal, SIGHUP would end it
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | SETTINGS | dict(settings or {}),
            text=True,
            start_new_session=True,
        )
    family: set[int] = set()
    try:
        assert process.stdout is not None
        found = READY.match(process.stdout.readline())
        assert found, f"not ready: {log.read_text()}"
        family = descendants_of(process.pid)
        yield Running(process, found[1])
    finally:
        family |= descendants_of(process.pid)
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        gone = wait_until(lambda: not any(alive(pid) for pid in family), within_s=20.0)
        for pid in family:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
    assert gone, "children outlived their server"


def started(*arguments: str | Path) -> "subprocess.Popen[str]":
    """A `fpserver` command, running; what it says on either stream comes out of one pipe."""
    return subprocess.Popen(
        [sys.executable, "-m", "fpserver", *map(str, arguments)],
        env=os.environ | SETTINGS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_until(true: Callable[[], bool], *, within_s: float) -> bool:
    give_up = time.monotonic() + within_s
    while not true():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.05)
    return True


@asynccontextmanager
async def store_of(data_dir: Path) -> AsyncIterator[Services]:
    """The rooms on a data folder's store."""
    config = Config().with_values(redis={"data_dir": str(data_dir)})
    async with open_services(config, pool_processes=0) as services:
        yield services


async def n_indexed(client: Client, batch_id: str) -> int:
    counts: dict[str, int] = (await client.batch(batch_id))["counts"]
    return counts.get(TrackStatus.INDEXED.value, 0)


async def until_indexed(address: str, batch_id: str, n_tracks: int, *, within_s: float = 60.0) -> None:
    async with Client(address) as client, asyncio.timeout(within_s):
        while await n_indexed(client, batch_id) < n_tracks:  # noqa: ASYNC110 – another process, no event of ours
            await asyncio.sleep(0.05)


async def assert_each_is_indexed_once(data_dir: Path, track_ids: Sequence[int]) -> None:
    """All tracks indexed, no other track there, every posting written once, every constellation whole."""
    async with store_of(data_dir) as services:
        tracks = await services.tracks.get(track_ids)
        assert {track.status for track in tracks.values()} == {TrackStatus.INDEXED}
        assert len(tracks) == len(track_ids)
        counts = await services.tracks.counts()
        assert {status: n for status, n in counts.items() if n} == {TrackStatus.INDEXED: len(track_ids)}
        n_landmarks = sum(track.n_landmarks or 0 for track in tracks.values())
        assert (await services.index.stats()).n_postings == n_landmarks
        assert set(await services.index.peaks(track_ids)) == set(track_ids)
        assert sum((await services.backlog.depth()).values()) == 0
