"""The life of one web process: from a listening socket to the last answer.

    taking      connections and requests
    leaving     the same, for `web.leave_s`, but /readyz says no, and every answer is the last of its connection: load
                balancers and clients that keep connections go elsewhere
    draining    no new connections; those there may send what they have begun, and get their answers, for `web.drain_s`

A process that another has already replaced on the same socket (REPLACED) skips leaving, since the server stays, and
gives clients time to notice instead: it ends when their connections have. No request that was sent before a
connection's last answer is lost.
"""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import structlog
from aiohttp import web

from fpserver.config import Config
from fpserver.web.app import create_app
from fpserver.web.connection import Connection
from fpserver.web.crowd import Crowd, places
from fpserver.web.door import DOOR
from fpserver.web.intake import HANDOVER_S, REPLACED, Intake, bind

log = structlog.get_logger()

LINGER_S = 0.5  # for requests that are on their way when the last connection is taken
POLL_S = 0.02
SHUTDOWN_S = 1.0  # for what the drain has not ended


class Life:
    """A process that takes connections."""

    def __init__(self, runner: web.AppRunner, intake: Intake, config: Config) -> None:
        assert runner.server is not None  # it is set up
        self._server = runner.server
        self._intake = intake
        self._config = config
        self._door = runner.app[DOOR]

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._intake.port

    async def leave(self, *, for_s: float) -> None:
        """Have everybody go elsewhere, and answer who comes nevertheless."""
        self._door.stopping = self._door.parting = True
        log.info("web.leaving", for_s=for_s)
        await asyncio.sleep(for_s)

    async def hand_over(self, *, until: asyncio.Event) -> None:
        """Leave new connections to the successor, and have those there move to him, in their time."""
        self._door.parting = True
        self._intake.stop()
        within_s = max(self._config.web.leave_s, HANDOVER_S)
        log.info("web.handing_over", within_s=within_s)
        await _until(lambda: not self._server.connections or until.is_set(), within_s=within_s)

    async def drain(self) -> None:
        """Take nothing more, and wait until every request is answered, or for `web.drain_s`."""
        self._door.parting = True
        self._intake.stop_as_last()
        within_s = self._config.web.drain_s
        log.info("web.draining", within_s=within_s)
        self._door.closing.set()  # long answers come to an end
        await _until(lambda: not self._server.connections, within_s=LINGER_S)
        await _until(lambda: not self._door.n_requests, within_s=within_s)
        self._server.pre_shutdown()  # takes nothing more, not even the rest of an upload; what is answered is sent
        await _until(lambda: not self._server.connections, within_s=LINGER_S)


async def _until(done: Callable[[], bool], *, within_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while not done():  # noqa: ASYNC110 – aiohttp tells nobody of it
                await asyncio.sleep(POLL_S)


def run(
    config: Config, *, listener: socket.socket | None = None, ready: Callable[[], None] = lambda: None
) -> None:
    """One web process, until SIGTERM, SIGINT or REPLACED, and its answers after that.

    Args:
        config: settings.
        listener: where to take connections from; None: a socket of its own, at the configured address.
        ready: called when it takes connections.

    Raises:
        FpserverError: the rooms cannot be opened.
        OSError: the address is taken.
    """
    asyncio.run(_serve(config, listener, ready))


async def _serve(config: Config, listener: socket.socket | None, ready: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    stop, replaced, either = asyncio.Event(), asyncio.Event(), asyncio.Event()
    for event, *numbers in ((stop, signal.SIGTERM, signal.SIGINT), (replaced, REPLACED)):
        for number in numbers:
            loop.add_signal_handler(number, _set, event, either)
    parent = os.getppid()
    async with listening(config, listener=listener) as life:
        log.info("web.listening", host=config.web.host, port=life.port)
        ready()
        await either.wait()
        if not stop.is_set():
            await life.hand_over(until=stop)
        elif config.web.leave_s and os.getppid() == parent:  # an orphan is in the way of the next server
            await life.leave(for_s=config.web.leave_s)
    log.info("web.stopped")


def _set(*events: asyncio.Event) -> None:
    for event in events:
        event.set()


@asynccontextmanager
async def listening(config: Config, *, listener: socket.socket | None = None) -> AsyncIterator[Life]:
    """The app on a socket, or at its address, for as long as the context lasts, and then until it is drained."""
    loop = asyncio.get_running_loop()
    runner = web.AppRunner(create_app(config), shutdown_timeout=SHUTDOWN_S)
    try:
        await runner.setup()
        _settle()
        server = runner.server
        assert server is not None  # set up above
        crowd = Crowd(limit=places(config.web.max_connections), max_unread_bytes=config.web.max_unread_bytes)
        watching = asyncio.create_task(crowd.watch())
        intake = Intake(
            listener or bind(config.web.host, config.web.port),
            lambda: Connection(server, crowd, config.web, loop=loop),
        )
        life = Life(runner, intake, config)
        intake.start()
        try:
            yield life
        finally:
            watching.cancel()
            await life.drain()
    finally:
        await runner.cleanup()  # from here on aiohttp drops what still arrives


def _settle() -> None:
    """Leave what is there for good to itself: to look it through for garbage would hold the event loop up for 0.3 s."""
    gc.collect()
    gc.freeze()
