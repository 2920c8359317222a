"""The children of `fpserver serve`: started, started again when they die, replaced while they work, and stopped.

A place is kept by one child at a time. While it is replaced there are two: the new one says that it is ready before the
old one is told, so a place that was kept is never empty; a new one that does not become ready changes nothing.
"""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from fpserver.child import FATAL_STATUSES
from fpserver.config import Config
from fpserver.offspring import GRACE_S, Child, start
from fpserver.web.intake import REPLACED

log = structlog.get_logger()

RESTART_BACK_OFF_S = (0.2, 1.0, 3.0, 10.0)  # by how often a child has died lately
LATELY_S = 60.0
READY_LIMIT_S = 300.0  # for a new child to read what it needs: a large catalogue's vectors take a minute
GIVE_WAY = {
    "web": REPLACED,
    "worker": signal.SIGTERM,
}  # what tells a child that there is another in its place


@dataclass(slots=True, kw_only=True, eq=False)
class Place:
    """Where one child is to run."""

    kind: str
    child: Child | None = None
    keeper: asyncio.Task[None] | None = None
    starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    given_up: asyncio.Event = field(default_factory=asyncio.Event)  # nobody is to be started here any more
    was_ready: asyncio.Event = field(default_factory=asyncio.Event)


class Nursery:
    """All children, by kind ("web", "worker")."""

    def __init__(self, config: Config, *, listener: socket.socket, figures: Path) -> None:
        self._config = config
        self._listener = listener
        self._figures = figures
        self._places: dict[str, list[Place]] = {"web": [], "worker": []}
        self._children: dict[str, set[Child]] = {"web": set(), "worker": set()}
        self._fatal: asyncio.Queue[int] = asyncio.Queue()

    def keep(self, kind: str) -> None:
        """Keep one more child of this kind running."""
        place = Place(kind=kind)
        place.keeper = asyncio.create_task(self._keep(place))
        self._places[kind].append(place)

    async def fatal(self) -> int:
        """Wait for a child that says starting it again is no use; returns its exit status."""
        return await self._fatal.get()

    async def ready(self, kind: str) -> None:
        """Wait until every child of a kind has been ready once."""
        for place in self._places[kind]:
            await place.was_ready.wait()

    async def replace(self, config: Config) -> bool:
        """Have children of these settings in the place of all there are, one after the other.

        False when a new one did not become ready: it is gone, and those not replaced so far stay.
        """
        for place in [place for places in self._places.values() for place in places]:
            if not await self._replace(place, config):
                return False
            self._config = config  # who dies from now on is followed by one of these
        web = self._places["web"]
        for _ in range(len(web), config.web.processes):
            self.keep("web")
        for place in web[config.web.processes :]:
            web.remove(place)
            place.given_up.set()
            if place.child:
                await self._retire(place.child, REPLACED)
        return True

    async def stop(self, kind: str) -> None:
        """SIGTERM to the children of a kind; SIGKILL to those that are still there after their time."""
        for place in self._places[kind]:
            place.given_up.set()
        children = self._children[kind]
        _tell(children, signal.SIGTERM)
        limit_s = max((child.limit_s for child in children), default=GRACE_S)
        ends = {child.ended for child in children} | {p.keeper for p in self._places[kind] if p.keeper}
        if not ends:
            return
        _, late = await asyncio.wait(ends, timeout=limit_s)
        if late:
            log.warning("serve.killing", kind=kind, after_s=limit_s)
            _tell(children, signal.SIGKILL)
            await asyncio.wait(late)

    async def _keep(self, place: Place) -> None:
        deaths: list[float] = []
        while not place.given_up.is_set():
            child = await self._child_of(place)
            status = await child.ended
            if place.child is not child:  # another was put in its place
                continue
            place.child = None
            if place.given_up.is_set():
                return
            if status in FATAL_STATUSES:
                self._fatal.put_nowait(status)
                return
            deaths = [at for at in deaths if time.monotonic() - at < LATELY_S] + [time.monotonic()]
            wait_s = RESTART_BACK_OFF_S[min(len(deaths), len(RESTART_BACK_OFF_S)) - 1]
            log.warning(
                "serve.child_died", kind=place.kind, pid=child.process.pid, status=status, again_in_s=wait_s
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(place.given_up.wait(), wait_s)

    async def _child_of(self, place: Place) -> Child:
        """The one that is there, or a new one."""
        async with place.starting:
            if place.child is None:
                child = place.child = await self._start(place.kind, self._config)
                child.ready.add_done_callback(lambda ready: _note(ready, place.was_ready))
                if place.given_up.is_set():  # while it was started
                    child.tell(signal.SIGTERM)
            return place.child

    async def _replace(self, place: Place, config: Config) -> bool:
        new = await self._start(place.kind, config)
        await asyncio.wait([new.ready], timeout=READY_LIMIT_S)
        if not (new.ready.done() and new.ready.result()):
            await self._retire(new, signal.SIGKILL)
            return False
        async with place.starting:
            old, place.child = place.child, new
        place.was_ready.set()
        log.info(
            "serve.child_replaced",
            kind=place.kind,
            pid=new.process.pid,
            instead_of=old.process.pid if old else None,
        )
        if old:
            await self._retire(old, GIVE_WAY[place.kind])
        return True

    async def _retire(self, child: Child, number: signal.Signals) -> None:
        child.tell(number)
        await asyncio.wait([child.ended], timeout=child.limit_s)
        if not child.ended.done():
            log.warning("serve.killing", pid=child.process.pid, after_s=child.limit_s)
            child.tell(signal.SIGKILL)
            await asyncio.wait([child.ended])

    async def _start(self, kind: str, config: Config) -> Child:
        child = await start(kind, config, listener=self._listener, figures=self._figures)
        self._children[kind].add(child)
        child.ended.add_done_callback(lambda _: self._forget(kind, child))
        return child

    def _forget(self, kind: str, child: Child) -> None:
        """Drop a dead process's live gauges: the files that prometheus_client names after its pid."""
        self._children[kind].discard(child)
        for file in self._figures.glob(f"gauge_live*_{child.process.pid}.db"):
            file.unlink(missing_ok=True)


def _note(ready: asyncio.Task[bool], was_ready: asyncio.Event) -> None:
    if not ready.cancelled() and ready.result():
        was_ready.set()


def _tell(children: Iterable[Child], number: signal.Signals) -> None:
    for child in children:
        child.tell(number)
