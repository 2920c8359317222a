"""What kept feedback takes: memory of the store per event, and the time to read all of it, as who trains a model does.

Part of `python -m loadtest.feedback_rate`; an embedded store of its own, filled without HTTP.
"""

import asyncio
import resource
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from fpserver.config import Config
from fpserver.services import Services, open_services
from fpserver.terms import KINDS, FeedbackEvent
from loadtest.accuracy.run import say

AT_ONCE = 5000
MADE, UUIDS = "16 characters, as made for events without one", "UUID, 36 characters"
KINDS_OF_STORE = ((MADE, 100), (UUIDS, 100), (MADE, 1000))  # ids, events of each user


def measure(n_events: int) -> list[dict[str, Any]]:
    """Figures for each kind of store."""
    return [asyncio.run(_measured(n_events, ids, per_user)) for ids, per_user in KINDS_OF_STORE]


async def _measured(n_events: int, ids: str, per_user: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        config = Config().with_values(redis={"data_dir": str(Path(folder) / "data")})
        async with open_services(config, pool_processes=0) as services:
            empty = await _used_bytes(services)
            begin = time.perf_counter()
            for first in range(0, n_events, AT_ONCE):
                await services.feedback.put(_events(first, AT_ONCE, n_events // per_user, ids))
            filled_s = time.perf_counter() - begin
            used = await _used_bytes(services) - empty
            found = {
                "ids": ids,
                "events": n_events,
                "users": n_events // per_user,
                "bytes_per_event": round(used / n_events, 1),
                "put_per_s": round(n_events / filled_s),
            }
            found |= await _read(services, n_events)
    say(str(found))
    return found


async def _read(services: Services, n_events: int) -> dict[str, Any]:
    """Read all pages, while somebody else asks the store something all the time."""
    slowest_s, store_before = 0.0, await _cpu_s(services)
    done = asyncio.Event()

    async def ask() -> None:
        nonlocal slowest_s
        while not done.is_set():
            begin = time.perf_counter()
            await services.client.ping()
            slowest_s = max(slowest_s, time.perf_counter() - begin)
            await asyncio.sleep(0.001)

    asking = asyncio.create_task(ask())
    peak_before = _peak_bytes()
    begin, own_before = time.perf_counter(), time.process_time()
    sizes = [len(page) async for page in services.feedback.pages()]
    seconds, own_s = time.perf_counter() - begin, time.process_time() - own_before
    done.set()
    await asking
    assert sum(sizes) == n_events, (sum(sizes), n_events)
    return {
        "read_s": round(seconds, 2),
        "reader_cpu_s": round(own_s, 2),
        "store_cpu_s": round(await _cpu_s(services) - store_before, 2),
        "largest_page": max(sizes),
        "reader_grew_mb": round((_peak_bytes() - peak_before) / 2**20, 1),
        "slowest_ping_ms": round(1000 * slowest_s, 1),
    }


def _events(first: int, n_events: int, n_users: int, ids: str) -> list[FeedbackEvent]:
    rng = np.random.default_rng(first)
    tracks, kinds = rng.integers(1, 100_000, n_events), rng.integers(len(KINDS), size=n_events)
    return [
        FeedbackEvent(
            user=f"user-{(first + i) % n_users:08d}",
            event_id=f"id-{first + i:013d}" if ids is MADE else str(UUID(int=first + i)),
            track_id=int(tracks[i]),
            kind=KINDS[kinds[i]],
            at=1.7e9 + first + i,
        )
        for i in range(n_events)
    ]


async def _used_bytes(services: Services) -> int:
    return int((await services.client.info("memory"))["used_memory"])


async def _cpu_s(services: Services) -> float:
    cpu = await services.client.info("cpu")
    return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def page(rows: list[dict[str, Any]]) -> list[str]:
    """The figures for people."""
    lines = [
        "## Kept, and read",
        "",
        "A store filled directly (`put_per_s`, the making of the events included); then read whole, page by page, as "
        "who trains a model does. `reader_grew_mb`: how much the reader's peak memory rose; `slowest_ping_ms`: the "
        "longest that another connection of the reader's process waited for the store meanwhile. A user with more "
        "than 512 events has a hash of another encoding (`hash-max-listpack-entries`), which takes more.",
        "",
        f"| {' | '.join(rows[0])} |",
        "|---" * len(rows[0]) + "|",
    ]
    return lines + [
        f"| {' | '.join(f'{each:,}' if isinstance(each, int) else str(each) for each in row.values())} |"
        for row in rows
    ]
