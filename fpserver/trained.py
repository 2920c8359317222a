"""The model that one web process recommends by: the one in force, within a moment.

Always true: a model is unpacked whole, off the event loop, before it takes the place of the one that answers; who has
begun with that one ends with it. What cannot be read changes nothing.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import structlog

from fpserver import metrics
from fpserver.follower import Follower
from fpserver.recommend.model import Model, unpack
from fpserver.services import Services
from fpserver.training_job import NO_MODEL

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class _InForce:
    """A model that answers."""

    model: Model | None  # None: nobody has liked anything
    version: str


class Trained:
    """The follower of one process; `async with` looks once, and follows until the end."""

    def __init__(self, services: Services, *, unpack: Callable[[bytes], Model] = unpack) -> None:
        self._services = services
        self._unpack = unpack
        self._in_force: _InForce | None = None
        self._refused = ""  # version that cannot be unpacked: it is not fetched again and again
        self._follower = Follower("trained", self._look)

    async def __aenter__(self) -> Self:
        """Read the model in force, if it can be read, and begin to follow."""
        await self._follower.look()
        await self._follower.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Follow no more."""
        await self._follower.__aexit__()

    @property
    def model(self) -> Model | None:
        """The model that answers now; None: there is none yet."""
        return None if self._in_force is None else self._in_force.model

    @property
    def version(self) -> str | None:
        """Its version; None: nothing was ever trained."""
        return None if self._in_force is None else self._in_force.version

    @property
    def in_force(self) -> tuple[Model | None, str | None]:
        """Both of one moment."""
        return self.model, self.version

    async def catch_up(self) -> None:
        """Let the model in force answer, if it is another.

        Raises:
            StoreUnavailable: the store does not answer, or has lost a part of the model; the one before answers.
            InvalidRequest: it is of another version of this program; the same.
        """
        version = await self._services.models.version()
        mine = "" if self._in_force is None else self._in_force.version
        if version is None or version in (mine, self._refused):
            return
        found = await self._services.models.get()
        if found is None:
            return
        version, packed = found
        try:
            model = await asyncio.to_thread(self._unpack, packed) if packed != NO_MODEL else None
        except Exception:
            self._refused = version
            raise
        self._in_force = _InForce(model=model, version=version)
        log.info("trained.another_model", version=version, n_bytes=len(packed))
        await self._measure()

    async def _look(self) -> float:
        await self.catch_up()
        return self._services.config.recommend.follow_s

    async def _measure(self) -> None:
        standing = await self._services.models.standing()
        metrics.MODEL_BYTES.set(standing.n_bytes)
        if standing.figures is not None:
            metrics.MODEL_TRAINED_TIMESTAMP.set(standing.figures.trained_at)
            metrics.MODEL_TRACKS.set(standing.figures.n_tracks)
