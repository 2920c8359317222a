"""Look again and again until the end: what keeps a copy in this process like what it is a copy of.

A fault ends nothing: it is logged, and the next look comes a little later. An end is seen also where a client that was
connecting has swallowed the cancellation.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

import structlog

from fpserver.errors import FpserverError

log = structlog.get_logger()

AFTER_FAULT_S = 2.0


class Follower:
    """Calls `look` until the context ends; what it returns are the seconds until the next look."""

    def __init__(self, name: str, look: Callable[[], Awaitable[float]]) -> None:
        self._name = name
        self._look = look
        self._ended = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin."""
        self._following = asyncio.create_task(self._follow(), name=self._name)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Break off, and look no more."""
        assert self._following is not None
        self._ended.set()
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)

    async def look(self) -> float:
        """Look once, or log why not; the seconds until the next look."""
        try:
            return await self._look()
        except FpserverError as error:
            log.warning("follower.waits", follower=self._name, reason=error.message)
        except Exception:
            log.exception("follower.fault", follower=self._name)
        return AFTER_FAULT_S

    async def _follow(self) -> None:
        while not self._ended.is_set():
            wait_s = await self.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._ended.wait()
