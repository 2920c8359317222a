"""All connections of one web process: never more than there is room for, and looked at a few times a second.

When a client comes and all places are taken, the connection that has been idle for longest makes room; when every
one is busy, the newcomer is told to come again. Answers that clients do not read take so much memory together and
no more: of those, the ones that were read last longest ago are cut off.
"""

import asyncio
import resource
from typing import Protocol

import structlog

LOOK_S = 0.25
DEAR_SHARE = 0.1  # of the event loop, for reading what takes long to read
MAX_DESCRIPTORS = 65536  # as many as are asked of the system
OWN_DESCRIPTORS = 256  # the store's connections, pipes of decoding processes, log and figures
DESCRIPTORS_EACH = 2  # a connection, and its upload

log = structlog.get_logger()


class Member(Protocol):
    """What a crowd is made of: a connection."""

    @property
    def n_unread(self) -> int:
        """Bytes of answers that the client has not taken."""

    @property
    def read_at(self) -> float:
        """When the client last took some, on the loop's clock."""

    def look(self, now: float) -> None:
        """Bring what has waited too long to its end."""

    def cut_off(self, why: str) -> None:
        """End at once."""

    def force_close(self) -> None:
        """End after what is written."""


class Crowd:
    """The connections, and which of them wait for a request (the one that has waited longest first)."""

    def __init__(self, *, limit: int, max_unread_bytes: int) -> None:
        self.limit = limit
        self._max_unread_bytes = max_unread_bytes
        self._there: dict[Member, None] = {}
        self.idle: dict[Member, None] = {}
        self._dear_until = 0.0

    def __len__(self) -> int:
        return len(self._there)

    def enter(self, member: Member) -> bool:
        """A place for a newcomer, who is idle at first; False when all are busy."""
        if len(self) >= self.limit:
            oldest = next(iter(self.idle), None)
            if oldest is None:
                return False
            self.left(oldest)
            oldest.force_close()
        self._there[member] = self.idle[member] = None
        return True

    def works(self, member: Member) -> None:
        """It has a request."""
        self.idle.pop(member, None)

    def rests(self, member: Member) -> None:
        """Its request is answered."""
        if member in self._there:
            self.idle[member] = None

    def next_dear(self, took_s: float, *, now: float) -> float:
        """When the next bytes may be read that are as dear as those that took so long: all of them share a part."""
        self._dear_until = max(now, self._dear_until) + took_s / DEAR_SHARE
        return self._dear_until

    def left(self, member: Member) -> None:
        """It is gone."""
        self._there.pop(member, None)
        self.idle.pop(member, None)

    async def watch(self) -> None:
        """Look at all of them, again and again."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            for member in list(self._there):
                member.look(now)
            self._bound_unread()
            await asyncio.sleep(LOOK_S)

    def _bound_unread(self) -> None:
        unread = {member: n_bytes for member in self._there if (n_bytes := member.n_unread)}
        too_many = sum(unread.values()) - self._max_unread_bytes
        for member in sorted(unread, key=lambda member: member.read_at) if too_many > 0 else ():
            member.cut_off(
                f"{unread[member]} unread bytes, with all others more than {self._max_unread_bytes}"
            )
            too_many -= unread[member]
            if too_many <= 0:
                return


def places(wanted: int) -> int:
    """How many connections there is room for: as many as wanted, or as descriptors allow.

    Raises the process's own limit of descriptors as far as the system lets it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    n_descriptors = MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    room = max(1, (n_descriptors - OWN_DESCRIPTORS) // DESCRIPTORS_EACH)
    if room < wanted:
        log.warning("web.few_descriptors", n_descriptors=n_descriptors, connections=room, wanted=wanted)
    return min(wanted, room)
