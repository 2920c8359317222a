"""What the handlers share: the rooms behind the door, the spool, and the places for who asks."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

from fpserver import metrics, vitals
from fpserver.config import Config
from fpserver.desk import Desk
from fpserver.following import Neighbourhood
from fpserver.services import Services
from fpserver.web.places import Places
from fpserver.web.uploads import Patience, Spool


@dataclass(slots=True, kw_only=True)
class Door:
    """State of one web process."""

    config: Config
    services: Services
    spool: Spool
    neighbourhood: Neighbourhood
    desk: Desk
    stopping: bool = False  # the server is about to stop: nothing new should come
    parting: bool = False  # each answer is the last of its connection
    closing: asyncio.Event = field(default_factory=asyncio.Event)  # set when long answers must come to an end
    exposing: asyncio.Task[bytes] | None = None  # metrics that are being put together
    places: Places
    long_places: Places  # for clips that the first step of a search does not find
    n_requests: int = 0

    @contextmanager
    def request(self) -> Iterator[None]:
        """A request, from its head to the beginning of its answer, or the end of a stream."""
        self.n_requests += 1
        try:
            yield
        finally:
            self.n_requests -= 1

    def measure_pool(self) -> None:
        """Tell this process's share of the figures of pool and places."""
        pool = self.services.pool
        vitals.tell_pool(
            "web", n_processes=pool.n_processes, n_running=pool.n_running, n_waiting=pool.n_waiting
        )
        metrics.OPEN_REQUESTS.set(self.n_requests)
        for lane, places in (("short", self.places), ("long", self.long_places)):
            metrics.PLACES.labels(lane).set(places.n_at_once)
            metrics.PLACES_TAKEN.labels(lane).set(places.n_taken)
            metrics.PLACES_WAITING.labels(lane).set(places.n_waiting)

    def patience(self, *, total_s: float | None = None) -> Patience:
        """The time limits of one upload."""
        web_config = self.config.web
        return Patience(
            idle_s=web_config.upload_idle_timeout_s,
            total_s=web_config.upload_timeout_s if total_s is None else total_s,
        )


DOOR: web.AppKey[Door] = web.AppKey("door", Door)
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
