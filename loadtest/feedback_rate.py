"""How fast feedback comes in over HTTP, whether kills lose or double any, and what it takes to keep.

    python -m loadtest.feedback_rate [--events 100000] [--kept 1000000] [--rounds 3]

Events of 10,000 users and 10,000 tracks go to a real `fpserver serve` (one web process, no worker, the embedded store):
as one stream of NDJSON, and as batches of 300 from four clients. Then the same while the web process, the store, or
every process there is is killed (-9) in the middle, and what was not acknowledged is sent again; at the end events are
counted. Then a store is filled with so many events directly, and read as a trainer reads it.
Writes feedback_rate.md and .json to loadtest/results/.
"""

import argparse
import asyncio
import json
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from fpserver.config import Config
from fpserver.services import open_services
from fpserver.terms import Submission
from loadtest import feedback_kept, report
from loadtest.accuracy.run import say
from loadtest.processes import descendants_of
from loadtest.server import Server, serving

N_TRACKS, N_USERS = 10_000, 10_000
BATCH, CLIENTS = 300, 4
SENT_AT_ONCE = 2**17  # bytes of a stream
KINDS = ("play", "play", "play", "skip", "like", "dislike", "rating")
NDJSON = "application/x-ndjson"
PAUSE_S = 0.03  # between two pieces of a stream that is to be found in its middle
VICTIMS = ("web process", "store", "all processes")
BACK_S = 60.0  # by then a killed process is back, or never


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--kept", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    lines = make_lines(args.events)
    found: dict[str, Any] = {"setting": report.machine(), "events": len(lines)}
    found["rates"] = [asyncio.run(_rated(lines, how)) for how in _SENDERS for _ in range(args.rounds)]
    found["kills"] = [
        asyncio.run(_killed(lines, how, victim))
        for how in _SENDERS
        for victim in VICTIMS
        for _ in range(args.rounds)
    ]
    found["kept"] = feedback_kept.measure(args.kept)
    report.write("feedback_rate", found, _page(found))


def make_lines(n_events: int) -> list[bytes]:
    """Events as lines of NDJSON, each with an id and a moment."""
    rng = np.random.default_rng(6)
    users, tracks = rng.integers(N_USERS, size=n_events), rng.integers(1, N_TRACKS + 1, size=n_events)
    kinds = rng.integers(len(KINDS), size=n_events)
    return [
        json.dumps(
            {"user": f"user-{users[i]:06d}", "track_id": int(tracks[i]), "kind": (kind := KINDS[kinds[i]])}
            | ({"rating": 4} if kind == "rating" else {"fraction": 0.83} if kind == "play" else {})
            | {"at": 1.7e9 + i, "event_id": f"event-{i:010d}"}
        ).encode()
        + b"\n"
        for i in range(n_events)
    ]


class Sending:
    """Where events go, and how far they have come; the server may be another at any moment."""

    def __init__(self, server: Server, *, pause_s: float = 0.0) -> None:
        self.server = server
        self._pause_s = pause_s
        self.n_sent = 0
        self.n_acknowledged = 0
        self.n_repeated = 0  # requests that were not answered, or not with 200
        self.n_known = 0

    async def post(self, session: aiohttp.ClientSession, lines: Sequence[bytes], kind: str) -> None:
        """Send some events until they are acknowledged."""
        async with asyncio.timeout(BACK_S + len(lines) / 1000):
            while True:
                data = self._stream(lines) if kind == NDJSON else b'{"events":[' + b",".join(lines) + b"]}"
                url, headers = f"{self.server.address}/v1/feedback", {"Content-Type": kind}
                with suppress(aiohttp.ClientError):
                    async with session.post(url, data=data, headers=headers) as response:
                        if response.status == 200:
                            answer = await response.json()
                            break
                self.n_repeated += 1
                await asyncio.sleep(0.1)
        assert answer["n_taken"] + answer["n_known"] == len(lines), answer
        self.n_acknowledged += len(lines)
        self.n_known += answer["n_known"]

    async def _stream(self, lines: Sequence[bytes]) -> AsyncIterator[bytes]:
        each = max(1, SENT_AT_ONCE // len(lines[0]))
        for first in range(0, len(lines), each):
            yield b"".join(lines[first : first + each])
            self.n_sent = max(self.n_sent, first)
            await asyncio.sleep(self._pause_s)


async def _send_stream(sending: Sending, lines: Sequence[bytes]) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        await sending.post(session, lines, NDJSON)


async def _send_batches(sending: Sending, lines: Sequence[bytes]) -> None:
    waiting = [lines[first : first + BATCH] for first in range(0, len(lines), BATCH)][::-1]

    async def client(session: aiohttp.ClientSession) -> None:
        while waiting:
            batch = waiting.pop()
            await sending.post(session, batch, "application/json")
            sending.n_sent += len(batch)

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))


_SENDERS = {"one stream": _send_stream, f"batches of {BATCH}, {CLIENTS} clients": _send_batches}


async def _rated(lines: Sequence[bytes], how: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        with serving(data_dir, "--workers", "0") as server:
            await _make_tracks(data_dir)
            sending, before, begin = Sending(server), server.cpu_s_by_kind(), time.perf_counter()
            task = asyncio.create_task(_SENDERS[how](sending, lines))
            slowest_s = await _slowest_answer(server, task)
            await task
            seconds = time.perf_counter() - begin
            cpu_s = {kind: round(each - before[kind], 2) for kind, each in server.cpu_s_by_kind().items()}
            found = {
                "how": how,
                "load": round(os.getloadavg()[0], 1),
                "seconds": round(seconds, 2),
                "events_per_s": round(len(lines) / seconds),
                "web_cpu_s": cpu_s["web"],
                "store_cpu_s": cpu_s["store"],
                "slowest_healthz_ms": round(1000 * slowest_s, 1),
            }
        found["events_there"] = await _count(data_dir)
    say(json.dumps(found))
    return found


async def _slowest_answer(server: Server, task: "asyncio.Task[None]") -> float:
    """The longest that somebody else waits for the web process while events come in, seconds."""
    slowest_s = 0.0
    async with aiohttp.ClientSession(server.address) as session:
        while not task.done():
            begin = time.perf_counter()
            async with session.get("/healthz") as response:
                await response.read()
            slowest_s = max(slowest_s, time.perf_counter() - begin)
            await asyncio.sleep(0.01)
    return slowest_s


async def _killed(lines: Sequence[bytes], how: str, victim: str) -> dict[str, Any]:
    """Send events, kill in the middle, send again what was not acknowledged, and count."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        with serving(data_dir, "--workers", "0") as server:
            await _make_tracks(data_dir)
            sending = Sending(server, pause_s=PAUSE_S)
            task = asyncio.create_task(_SENDERS[how](sending, lines))
            while sending.n_sent < len(lines) // 2:  # noqa: ASYNC110 – looks only
                await asyncio.sleep(0.001)
            n_before = sending.n_acknowledged
            if victim == VICTIMS[-1]:
                _kill(server.pid, *descendants_of(server.pid))
            else:
                _kill(*server.children("valkey" if victim == "store" else "child web"))
                await task
        if victim == VICTIMS[-1]:
            with serving(data_dir, "--workers", "0") as sending.server:
                await task
        n_there = await _count(data_dir)
    found = {
        "how": how,
        "killed": victim,
        "acknowledged_before": n_before,
        "requests_repeated": sending.n_repeated,
        "known_when_repeated": sending.n_known,
        "lost": max(0, len(lines) - n_there),
        "doubled": max(0, n_there - len(lines)),
    }
    say(json.dumps(found))
    return found


def _kill(*pids: int) -> None:
    assert pids, "there is nothing to kill"
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def _make_tracks(data_dir: Path) -> None:
    config = Config().with_values(redis={"data_dir": str(data_dir)})
    async with open_services(config, pool_processes=0) as services:
        tracks = [
            Submission(source=f"file:/{i}", place="nowhere", content_sha256=f"{i:064x}")
            for i in range(N_TRACKS)
        ]
        submitted = await services.tracks.submit(tracks, now=time.time())
        assert [each.track_id for each in submitted] == list(range(1, N_TRACKS + 1))


async def _count(data_dir: Path) -> int:
    """Events in the store, with no server running."""
    config = Config().with_values(redis={"data_dir": str(data_dir)})
    async with open_services(config, pool_processes=0) as services:
        return sum([len(page) async for page in services.feedback.pages()])


def _page(found: dict[str, Any]) -> str:
    lines = [
        "# Feedback",
        "",
        f"{found['events']:,} events of {N_USERS:,} users and {N_TRACKS:,} tracks, over HTTP, into one web process and "
        f"the embedded store, which share the machine with who sends them. {found['setting']}.",
        "",
        *_table(found["rates"]),
        "",
        "`load`: the machine's load average of the last minute, other work included. "
        "`slowest_healthz_ms`: the longest that another client waited for `GET /healthz` meanwhile. `events_there`: "
        "counted afterwards.",
        "",
        "## Killed in the middle",
        "",
        "kill -9 when half of the events were sent; what was not acknowledged was sent again, until all were. `lost` "
        "and `doubled`: events counted in the store afterwards, against those sent. A stream is acknowledged at its "
        "end; a request that finds no store waits for it, a few seconds. `known_when_repeated`: events that were "
        "stored and not acknowledged before they were sent again.",
        "",
        *_table(found["kills"]),
        "",
        *feedback_kept.page(found["kept"]),
        "",
    ]
    return "\n".join(lines)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    head = [f"| {' | '.join(rows[0])} |", "|---" * len(rows[0]) + "|"]
    return head + [
        f"| {' | '.join(f'{each:,}' if isinstance(each, int) else str(each) for each in row.values())} |"
        for row in rows
    ]


if __name__ == "__main__":
    main()
