"""Describe indexed tracks while the machine has nothing better to do.

As many lanes as processes; each holds one track at a time. What is in hand is renewed, and given back on stop: a long
recording takes minutes, and nobody waits for it then.
"""

import asyncio
import time
from contextlib import suppress

import structlog

from fpserver import metrics
from fpserver.descriptions import describe, describing_pool
from fpserver.errors import FpserverError, StoreUnavailable
from fpserver.ingest import place_of
from fpserver.services import Services
from fpserver.terms import DescriptionStatus, Track

log = structlog.get_logger()

AFTER_FAULT_S = 1.0


class Describer:
    """The lanes of one worker process, and the tracks they hold."""

    def __init__(self, services: Services, *, processes: int) -> None:
        self._services = services
        self._place = place_of(services.config)
        self._pool = describing_pool(
            services.config, processes=processes if services.config.features.parts else 0
        )
        self._in_hand: set[int] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Describe until `stop`, then let go of what is in hand."""
        async with self._pool, asyncio.TaskGroup() as group:
            lanes = [group.create_task(self._lane(stop)) for _ in range(self._pool.n_processes)]
            await stop.wait()
            for lane in lanes:
                lane.cancel()
        with suppress(StoreUnavailable):
            await self._services.undescribed.give_back(self._place, sorted(self._in_hand), now=time.time())

    async def renew(self) -> None:
        """Keep others from what is in hand, and tell how many wait."""
        if self._in_hand:
            await self._services.undescribed.renew(self._place, sorted(self._in_hand), now=time.time())
        metrics.UNDESCRIBED.labels(self._place).set(await self._services.undescribed.n_waiting(self._place))

    async def _lane(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            track = None
            try:
                track = await self._services.undescribed.claim(self._place, now=time.time())
                if track is not None:
                    self._in_hand.add(track.track_id)
                    if stop.is_set():
                        return  # it is given back
                    await self._walk(track)
                    continue
                wait_s = self._services.config.worker.poll_s
            except StoreUnavailable as error:
                log.warning("describer.waits_for_store", reason=error.message)
                wait_s = AFTER_FAULT_S
                if track is not None:
                    self._in_hand.discard(track.track_id)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await stop.wait()

    async def _walk(self, track: Track) -> None:
        """Describe a track; one whose description has not ended is taken up by somebody when the claim is old."""
        with structlog.contextvars.bound_contextvars(track_id=track.track_id):
            await self._walk_named(track)

    async def _walk_named(self, track: Track) -> None:
        try:
            status = await describe(self._services, track, pool=self._pool)
            log.info("describer.ended", status=status.value)
        except StoreUnavailable:
            raise
        except FpserverError as error:
            log.warning("describer.puts_back", reason=error.message)
        except Exception as error:  # a fault of ours; it must not take the other lanes with it
            log.exception("describer.fault")
            reason = FpserverError(f"track {track.track_id}: {type(error).__name__}: {error}")
            await self._services.undescribed.mark_undescribable(
                track.track_id, DescriptionStatus.FAILED, reason
            )
        self._in_hand.discard(track.track_id)
