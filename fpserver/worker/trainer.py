"""Train the models that recommend: by the schedule, and when somebody asks.

Of all workers one does it. On stop a training is broken off: what was asked for is done by whoever looks next.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from fpserver.errors import FpserverError, StoreUnavailable
from fpserver.services import Services
from fpserver.training import Job, train_if_due
from fpserver.training_job import train_model

log = structlog.get_logger()

LOOK_S = 2.0  # whether it is time
AFTER_FAULT_S = 5.0
CANCEL_S = 1.0


class Trainer:
    """Of one worker process."""

    def __init__(
        self,
        services: Services,
        *,
        look_s: float = LOOK_S,
        clock: Callable[[], float] = time.time,
        job: Job = train_model,
    ) -> None:
        self._services = services
        self._look_s = look_s
        self._clock = clock
        self._job = job

    async def run(self, stop: asyncio.Event) -> None:
        """Look, and train when it is time, until `stop`."""
        async with asyncio.TaskGroup() as group:
            following = group.create_task(self._follow(stop))
            await stop.wait()
            while not following.done():  # a client that is connecting may swallow a cancellation
                following.cancel()
                await asyncio.wait([following], timeout=CANCEL_S)

    async def _follow(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            wait_s = await self._look()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await stop.wait()

    async def _look(self) -> float:
        """Train if it is time; seconds until the next look."""
        try:
            await train_if_due(self._services, clock=self._clock, job=self._job)
        except StoreUnavailable as error:
            log.warning("trainer.waits_for_store", reason=error.message)
            return AFTER_FAULT_S
        except FpserverError as error:
            log.warning("trainer.failed", code=error.code, reason=error.message)
        except Exception:
            log.exception("trainer.fault")
            return AFTER_FAULT_S
        return self._look_s
