"""How connections spread over the web processes of one server, which take them from one socket."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import aiohttp

SETTLE_S = 0.5


async def spread(
    address: str, pids: Sequence[int], *, n: int, body: bytes, kind: str, gap_s: float
) -> list[int]:
    """Connections that each process has when `n` clients have asked once and keep theirs.

    Args:
        address: of the server.
        pids: its web processes.
        n: clients, a connection each.
        body: what each asks.
        kind: its media type.
        gap_s: between one client and the next; 0: all at once.
    """
    before = [_sockets(pid) for pid in pids]
    counted = asyncio.Event()

    async def ask(i: int) -> None:
        await asyncio.sleep(i * gap_s)
        async with aiohttp.ClientSession(headers={"Content-Type": kind}) as session:
            async with session.post(f"{address}/v1/identify", data=body) as response:
                await response.read()
            await counted.wait()  # the session keeps its connection

    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(ask(i)) for i in range(n)]
        await asyncio.sleep(n * gap_s + SETTLE_S)
        while sum(_sockets(pid) for pid in pids) - sum(before) < n and not any(a.done() for a in asking):  # noqa: ASYNC110
            await asyncio.sleep(SETTLE_S)
        counts = [_sockets(pid) - was for pid, was in zip(pids, before, strict=True)]
        counted.set()
    return counts


def _sockets(pid: int) -> int:
    """Sockets that a process has open."""
    found = 0
    for each in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found += str(each.readlink()).startswith("socket:")
        except OSError:
            continue
    return found
