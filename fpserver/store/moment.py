"""Copies of all masters that are of one moment.

For as long as it takes every master to fork, none of them takes writes (CLIENT PAUSE … WRITE: whoever writes waits,
whoever reads does not notice). So what is in one copy and was written because of something on another master is
preceded by that in the other's copy: the copies together are a state that the store was in.

A pause ends by itself after PAUSE_S, whatever becomes of this process; copies whose forks took longer are none.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fpserver.errors import StoreUnavailable
from fpserver.store.nodes import Client
from fpserver.store.replica import Master, masters_of

PAUSE_S = 5.0
QUIET_LIMIT_S = 300.0  # for a child that rewrites a master's files to end: only one at a time may be
POLL_S = 0.002
QUIET_POLL_S = 0.1
ATTEMPTS = 5  # a child may be started between the look and the pause
N_SLOTS = 16384
CHILDREN = ("rdb_bgsave_in_progress", "aof_rewrite_in_progress", "module_fork_in_progress")
DELAY = "repl-diskless-sync-delay"  # seconds that a master waits for more replicas before it forks

Told = TypeVar("Told")


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What one master has coming."""

    node: str
    server: str  # its program and version
    slots: str  # "0-5460 5462"; empty where there is no Cluster
    db: int
    n_lasting: int  # keys of that database that do not expire
    pieces: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment(Generic[Told]):
    """All copies, and what was asked while nothing was written."""

    at: float  # Unix time
    paused_s: float
    copies: list[Copy]
    told: Told


@asynccontextmanager
async def one_moment(client: Client, ask: Callable[[], Awaitable[Told]]) -> AsyncIterator[Moment[Told]]:
    """Copies of all masters, begun at one moment, and what `ask` tells of that moment. It must not write.

    Raises:
        StoreUnavailable: a master does not answer, refuses, is busy saving, or did not begin within PAUSE_S.
    """
    masters = await masters_of(client)
    try:
        await together(master.open() for master in masters)
        async with _at_once(masters):
            yield await _begin(masters, ask)
    finally:
        await asyncio.gather(*(master.close() for master in masters))


async def together(asked: Iterable[Coroutine[Any, Any, Told]]) -> list[Told]:
    """All at the same time; when one fails, none goes on."""
    tasks = [asyncio.create_task(each) for each in asked]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _begin(masters: Sequence[Master], ask: Callable[[], Awaitable[Told]]) -> Moment[Told]:
    for _ in range(ATTEMPTS):
        await _until_quiet(masters)
        before = time.monotonic()
        try:
            await _all(masters, "CLIENT", "PAUSE", round(1000 * PAUSE_S), "WRITE")
            infos = await together(master.info() for master in masters)
            if any(map(_is_busy, infos)):
                continue
            slots = await _slots(masters, infos)
            forks = [int(info["total_forks"]) for info in infos]
            await together(master.begin() for master in masters)
            at = time.time()
            async with asyncio.timeout(PAUSE_S):
                await together(m.begun(n_forks=n, poll_s=POLL_S) for m, n in zip(masters, forks, strict=True))
                told = await ask()
            await _check_forks(masters, forks)
            paused_s = time.monotonic() - before
        except TimeoutError:
            paused_s = PAUSE_S
        finally:
            await _go_on(masters)
        if paused_s >= PAUSE_S:
            raise StoreUnavailable(
                f"the store did not begin its copies within {PAUSE_S:.0f} s, for which it can be kept from writing: "
                "try again when it has less to do"
            )
        copies = [_copy(*each) for each in zip(masters, infos, slots, strict=True)]
        return Moment(at=at, paused_s=paused_s, copies=copies, told=told)
    raise StoreUnavailable("the store is always busy rewriting its files: try again later")


@asynccontextmanager
async def _at_once(masters: Sequence[Master]) -> AsyncIterator[None]:
    """Have masters begin at once: without their delay; those whose delay may not be changed, by way of their disk."""
    delays: dict[Master, str] = {}
    for master in masters:
        with suppress(StoreUnavailable):
            said = await master.ask("CONFIG", "GET", DELAY)
            delay = said[1].decode()
            if delay != "0":
                await master.ask("CONFIG", "SET", DELAY, 0)
                delays[master] = delay
            await master.sent_at_once()
    try:
        yield
    finally:
        for master, delay in delays.items():
            with suppress(StoreUnavailable):
                await master.ask("CONFIG", "SET", DELAY, delay)


async def _until_quiet(masters: Sequence[Master]) -> None:
    deadline = time.monotonic() + QUIET_LIMIT_S
    while busy := [master for master in masters if _is_busy(await master.info())]:
        if time.monotonic() > deadline:
            raise StoreUnavailable(f"{busy[0].name} has been rewriting its files for {QUIET_LIMIT_S:.0f} s")
        await asyncio.sleep(QUIET_POLL_S)


def _is_busy(info: dict[str, str]) -> bool:
    return any(info.get(child, "0") != "0" for child in CHILDREN)


async def _slots(masters: Sequence[Master], infos: Sequence[dict[str, str]]) -> list[str]:
    """What slots each says it holds; all of them together, each once.

    Raises:
        StoreUnavailable: one is no master any more, or slots are held by nobody or by another.
    """
    for master, info in zip(masters, infos, strict=True):
        if info["role"] != "master":
            raise StoreUnavailable(
                f"{master.name} is a replica: name a master, or try again after the change"
            )
    if infos[0].get("cluster_enabled") != "1":
        return [""]
    told = await together(master.ask("CLUSTER", "NODES") for master in masters)
    slots = [_own(nodes.decode()) for nodes in told]
    held = sorted(slot for some in slots for slot in _numbers(some))
    if held != list(range(N_SLOTS)):
        raise StoreUnavailable(
            f"the Cluster's masters hold {len(set(held))} of {N_SLOTS} slots, {len(held) - len(set(held))} of them "
            "twice: a copy would not be whole; try again when the Cluster is"
        )
    return slots


def _own(nodes: str) -> str:
    """Slots of the node that says this, without those on their way (in brackets)."""
    fields = next(line.split() for line in nodes.splitlines() if "myself" in line.split()[2])
    return " ".join(field for field in fields[8:] if not field.startswith("["))


def _numbers(slots: str) -> list[int]:
    bounds = [list(map(int, each.split("-"))) for each in slots.split()]
    return [slot for each in bounds for slot in range(each[0], each[-1] + 1)]


async def _check_forks(masters: Sequence[Master], forks: Sequence[int]) -> None:
    """One fork each: a second would be the copy's, and later than the pause may be."""
    for master, n_forks in zip(masters, forks, strict=True):
        if int((await master.info())["total_forks"]) != n_forks + 1:
            raise StoreUnavailable(
                f"{master.name} was told by somebody else to save at the same moment: try again"
            )


async def _all(masters: Sequence[Master], *words: str | int) -> None:
    await together(master.ask(*words) for master in masters)


async def _go_on(masters: Sequence[Master]) -> None:
    told = (master.ask("CLIENT", "UNPAUSE") for master in masters)
    await asyncio.gather(*told, return_exceptions=True)  # a pause ends by itself


def _copy(master: Master, info: dict[str, str], slots: str) -> Copy:
    found = re.match(r"keys=(\d+),expires=(\d+)", info.get(f"db{master.db}", ""))
    name, version = (
        ("Valkey", info["valkey_version"]) if "valkey_version" in info else ("Redis", info["redis_version"])
    )
    return Copy(
        node=master.name,
        server=f"{name} {version}",
        slots=slots,
        db=master.db,
        n_lasting=int(found[1]) - int(found[2]) if found else 0,
        pieces=master.pieces(),
    )
