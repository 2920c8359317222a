"""Places for questions that take computing: some are answered at once, some wait, the rest is refused at once.

Twice as many are answered at once as can be computed at once, so that each is at worst half as fast as it would be
alone. Who comes while all places are taken waits for one, unless that is likely to take too long: that bridges what
comes in bursts. Where somebody waits all the time, waiting bridges nothing, it only makes all answers late (CoDel,
Nichols and Jacobson 2012: a queue is good while it empties). Then who finds no place is refused at once, until places
are free often enough again.

A question that turns out to be long moves on to a place among its like: else a few of them would keep everybody else
waiting for seconds.

Always true: nobody waits while a place is free, and who came first gets the next one.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from fpserver.errors import Overloaded
from fpserver.stages import measured

PATIENCE_S = 2.0
REMEMBERED_S = 2.0  # how far back the share of time counts in which all places were taken
LIGHT = 1 / 3  # of what the places can take: with so little to do people wait again

FIRST_HELD_S = 0.1  # how long a place is held, before anybody knows
HELD_WEIGHT = 1 / 16  # of the newest that is known


class Places:
    """`n_at_once` places; who comes later waits for one, as long as that is likely to be at most `max_wait_s`.

    Where somebody waits at every moment for `patience_s`, nobody does from then on.
    """

    def __init__(
        self,
        *,
        n_at_once: int,
        max_wait_s: float,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.n_at_once = n_at_once
        self._max_wait_s = max_wait_s
        self._patience_s = patience_s
        self._often_free = all_taken(n_at_once, load=LIGHT * n_at_once)
        self._clock = clock
        self._held_s = FIRST_HELD_S
        self._n_taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._waited_since = clock()  # when nobody waited, last
        self._crowded = False
        self._full_share = 0.0  # of the time of late
        self._seen_at = clock()

    @property
    def n_inside(self) -> int:
        """Who has a place, or waits for one."""
        return self._n_taken + len(self._waiting)

    @property
    def n_taken(self) -> int:
        """Who has a place."""
        return self._n_taken

    @property
    def n_waiting(self) -> int:
        """Who waits for one."""
        return len(self._waiting)

    def check(self) -> None:
        """Refuse who would be refused now; for before a body is read that nobody would look at.

        Raises:
            Overloaded: there is no place, and no waiting for one.
        """
        self._look()
        if self._n_taken < self.n_at_once:
            return
        if self._crowded or self._wait_s() > self._max_wait_s:
            raise Overloaded(
                f"all {self.n_at_once} places of this process are taken, and {len(self._waiting)} wait for one; "
                "try again"
            )

    @asynccontextmanager
    async def taken(self) -> AsyncIterator["Place"]:
        """A place, as long as the context lasts, or until it is given up for another.

        Raises:
            Overloaded: there is no place, and no waiting for one.
        """
        place = Place()
        await place.move_to(self)
        try:
            yield place
        finally:
            place.give_up()

    async def enter(self) -> float:
        """Take a place, now or soon; the moment, to be told to `leave`.

        Raises:
            Overloaded: there is no place, and no waiting for one.
        """
        with measured("web", "place"):
            self.check()
            if self._n_taken < self.n_at_once:
                self._n_taken += 1
            else:
                await self._turn()
        return self._clock()

    def leave(self, *, since: float) -> None:
        """Give up a place that was taken then."""
        self._held_s += HELD_WEIGHT * (self._clock() - since - self._held_s)
        self._leave()

    def _wait_s(self) -> float:
        """How long somebody who came now would wait, by how long places were held of late."""
        return (len(self._waiting) + 1) * self._held_s / self.n_at_once

    async def _turn(self) -> None:
        """Wait for a place; whoever leaves hands theirs on."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # it was handed over in this very moment
            else:
                with suppress(ValueError):  # who left in this very moment has passed it over
                    self._waiting.remove(turn)
            raise

    def _leave(self) -> None:
        self._look()
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._n_taken -= 1

    def _look(self) -> None:
        """Take note of how things have been since the last look; to be called before anything changes."""
        now = self._clock()
        full = float(self._n_taken >= self.n_at_once)
        self._full_share = full + (self._full_share - full) * math.exp((self._seen_at - now) / REMEMBERED_S)
        self._seen_at = now
        if not self._waiting:
            self._waited_since = now
        self._crowded = (
            self._full_share > self._often_free
            if self._crowded
            else now - self._waited_since > self._patience_s
        )


def all_taken(n_places: int, *, load: float) -> float:
    """Share of time in which all places are taken, where nobody waits and `load` come while one is held (Erlang)."""
    inverse = 1.0
    for n in range(1, n_places + 1):
        inverse = 1 + inverse * n / load
    return 1 / inverse


class Place:
    """Somebody's place, here or there; at first none."""

    def __init__(self) -> None:
        self._held: tuple[Places, float] | None = None

    async def move_to(self, places: Places) -> None:
        """Give up the place, and take one of those.

        Raises:
            Overloaded: there is none, and no waiting for one; then this is none either.
        """
        self.give_up()
        self._held = places, await places.enter()

    def give_up(self) -> None:
        """Leave it to others, if there is one."""
        if self._held is not None:
            places, since = self._held
            self._held = None
            places.leave(since=since)
