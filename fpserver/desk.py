"""What one web process recommends with: its copy of the catalogue and the model in force, made ready to be asked.

Making ready takes some hundred milliseconds for 100,000 tracks, on a thread, whenever one of the two has changed; who
asks meanwhile is answered by what was ready before. What is asked belongs together: one value holds all of it.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from fpserver.errors import Overloaded
from fpserver.follower import Follower
from fpserver.recommend.filling import Stocked
from fpserver.recommend.ranking import Ranker, ranker
from fpserver.services import Services
from fpserver.similarity.scales import Scales
from fpserver.stocking import Stock
from fpserver.trained import Trained

SHARE = 0.1  # of the time that may be spent on making ready
LOOK_S = 0.25  # a look costs nothing


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ready:
    """A copy of the catalogue, and what ranks it by a model."""

    stocked: Stocked
    scales: Scales | None  # by which its sounds are compared
    version: str | None  # of the model; None: there is none
    ranker: Ranker  # the shelf and the model


class Desk:
    """Of one process; `async with` opens it, and keeps it ready until the end."""

    def __init__(self, services: Services, stock: Stock, trained: Trained) -> None:
        self.services = services
        self._stock = stock
        self._trained = trained
        self._ready: Ready | None = None
        self._turn = asyncio.Lock()  # what was taken up later is never replaced by what came before
        self._follower = Follower("desk", self._look)

    async def __aenter__(self) -> Self:
        """Begin."""
        await self._follower.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End."""
        await self._follower.__aexit__()

    @property
    def ready(self) -> Ready:
        """What is asked; ask once for all that must belong together.

        Raises:
            Overloaded: the copy of the catalogue is still being filled for the first time.
        """
        if self._ready is None:
            raise Overloaded(
                "what can be recommended is being made ready from the catalogue; try again in a moment"
            )
        return self._ready

    async def make_ready(self) -> None:
        """Take up what has changed, if anything has.

        Raises:
            Overloaded: the copy of the catalogue is still being filled for the first time.
        """
        async with self._turn:
            stocked, scales, (model, version) = self._stock.latest, self._stock.scales, self._trained.in_force
            ready = self._ready
            if ready is not None and ready.stocked is stocked and ready.version == version:
                return
            asked = await asyncio.to_thread(ranker, stocked.shelf, model)
            self._ready = Ready(stocked=stocked, scales=scales, version=version, ranker=asked)

    async def _look(self) -> float:
        start = time.monotonic()
        with suppress(Overloaded):  # the copy is there soon
            await self.make_ready()
        return max(LOOK_S, (time.monotonic() - start) / SHARE)
