"""What an abuse costs the server: memory, descriptors and processor time of its processes, before, during and after."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from loadtest.processes import descendants_of, resident_bytes
from loadtest.server import Server

LOOK_S = 0.25
MB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The server at one moment."""

    web_mb: float  # of all web processes
    decoding_mb: float  # of all decoding processes
    descriptors: int  # of all web processes, without connections to the store, which are kept for later
    pids: frozenset[int]  # of what must not die: parent, web, worker, store

    @staticmethod
    def of(server: Server) -> "State":
        """Now."""
        web = server.children("fpserver.child web")
        kept = (*web, *server.children("fpserver.child worker"), *server.children("valkey"), server.pid)
        decoding = set().union(*(descendants_of(pid) for pid in web))
        return State(
            web_mb=sum(map(resident_bytes, web)) / MB,
            decoding_mb=sum(map(resident_bytes, decoding)) / MB,
            descriptors=sum(map(_descriptors, web)),
            pids=frozenset(kept),
        )


def _descriptors(pid: int) -> int:
    """Open descriptors of a process, without sockets of this machine alone."""
    rows = Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()[1:]
    local = {f"socket:[{row.split()[6]}]" for row in rows}
    links = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            links.append(str(descriptor.readlink()))
    return sum(link not in local for link in links)


@dataclass(slots=True, kw_only=True)
class Peak:
    """The most that was seen."""

    web_mb: float = 0.0
    decoding_mb: float = 0.0
    descriptors: int = 0

    async def watch(self, server: Server) -> None:
        """Look until cancelled."""
        while True:
            now = await asyncio.to_thread(State.of, server)
            self.web_mb = max(self.web_mb, now.web_mb)
            self.decoding_mb = max(self.decoding_mb, now.decoding_mb)
            self.descriptors = max(self.descriptors, now.descriptors)
            await asyncio.sleep(LOOK_S)


async def settled(server: Server, fine: Callable[[State], bool], *, within_s: float) -> State:
    """The server once it is as it should be, or after `within_s`."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + within_s
    while not fine(state := State.of(server)) and loop.time() < give_up:  # noqa: ASYNC110 – other processes, no event of ours
        await asyncio.sleep(LOOK_S)
    return state
