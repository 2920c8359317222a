"""The street door: composition of one web process, and its life from listening to drained.

Everything a handler needs is opened before the first request is taken, and closed after the last is answered.
"""

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import structlog
from aiohttp import web

from fpserver.config import Config
from fpserver.desk import Desk
from fpserver.following import Neighbourhood
from fpserver.ingest import spool_dir
from fpserver.search import prepare
from fpserver.services import open_services
from fpserver.stocking import Stock
from fpserver.trained import Trained
from fpserver.web import docs_page, openapi
from fpserver.web.access import admit, check_keys
from fpserver.web.connection import Connection
from fpserver.web.crowd import Crowd, places
from fpserver.web.door import DOOR, Door
from fpserver.web.handlers.operations import DOCS_PAGE, DOCUMENT
from fpserver.web.middleware import mark_answer, observe, refuse
from fpserver.web.places import Places
from fpserver.web.routes import register
from fpserver.web.uploads import Spool

log = structlog.get_logger()

MEASURE_S = 2.0
PLACES_PER_PROCESS = 2  # that decodes
SHUTDOWN_S = 1.0  # for what the drain has not ended
BACKLOG = 512  # connections that the kernel holds while the loop is busy


def create_app(config: Config) -> web.Application:
    """The app; its rooms are opened when it starts."""
    app = web.Application(middlewares=[observe, refuse, admit])
    register(app)
    document = openapi.document(config)
    app[DOCUMENT] = msgspec.json.encode(document)
    app[DOCS_PAGE] = docs_page.page(document)
    app.on_response_prepare.append(mark_answer)

    async def rooms(app: web.Application) -> AsyncIterator[None]:
        spool = Spool(spool_dir(config))
        n_stale = await asyncio.to_thread(spool.open)
        if n_stale:
            log.info("web.stale_uploads_removed", n=n_stale)
        await prepare()
        async with (
            open_services(config, pool_processes=pool_processes(config)) as services,
            Neighbourhood(services) as neighbourhood,
            Stock(services) as stock,
            Trained(services) as trained,
            Desk(services, stock, trained) as desk,
        ):
            await check_keys(config, services.keys)
            await services.index.prepare()
            app[DOOR] = door = Door(
                config=config,
                services=services,
                spool=spool,
                neighbourhood=neighbourhood,
                desk=desk,
                places=Places(
                    n_at_once=config.web.places or PLACES_PER_PROCESS * pool_processes(config),
                    max_waiting=config.web.max_waiting,
                ),
            )
            door.idle.set()
            measuring = asyncio.create_task(_measure(door))
            yield
            measuring.cancel()

    app.cleanup_ctx.append(rooms)
    return app


def pool_processes(config: Config) -> int:
    """Decoding processes of one web process: all of them together as many as there are cores."""
    return max(1, (os.cpu_count() or 1) // config.web.processes)


async def _measure(door: Door) -> None:
    """Keep this process's pool figures fresh: whichever process is asked for metrics adds up all of them."""
    while True:
        door.measure_pool()
        await asyncio.sleep(MEASURE_S)


def _settle() -> None:
    """Leave what is there for good to itself: to look it through for garbage would hold the event loop up for 0.3 s."""
    gc.collect()
    gc.freeze()


def run(config: Config, *, reuse_port: bool = False) -> None:
    """One web process: serve until SIGTERM or SIGINT, then drain for at most `web.drain_s`.

    Raises:
        FpserverError: the rooms cannot be opened.
        OSError: the address is taken.
    """
    asyncio.run(serve(config, reuse_port=reuse_port))


async def serve(config: Config, *, reuse_port: bool = False) -> None:
    """The same, inside a running loop."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with listening(config, reuse_port=reuse_port) as port:
        log.info("web.listening", host=config.web.host, port=port)
        await stop.wait()
        log.info("web.draining", within_s=config.web.drain_s)
    log.info("web.stopped")


@asynccontextmanager
async def listening(config: Config, *, reuse_port: bool = False) -> AsyncIterator[int]:
    """The app at its address, for as long as the context lasts, and then until it is drained; gives the port."""
    loop = asyncio.get_running_loop()
    runner = web.AppRunner(create_app(config), shutdown_timeout=SHUTDOWN_S)
    try:
        await runner.setup()
        _settle()
        server = runner.server
        assert server is not None  # set up above
        crowd = Crowd(limit=places(config.web.max_connections), max_unread_bytes=config.web.max_unread_bytes)
        watching = asyncio.create_task(crowd.watch())
        listener = await loop.create_server(
            lambda: Connection(server, crowd, config.web, loop=loop),
            config.web.host,
            config.web.port,
            reuse_port=reuse_port or None,
            backlog=BACKLOG,
        )
        try:
            yield listener.sockets[0].getsockname()[1]
        finally:
            watching.cancel()
            listener.close()  # no new connections; those there are finish what they have begun
            await runner.app[DOOR].drained(config.web.drain_s)
    finally:
        await runner.cleanup()  # from here on aiohttp drops what still arrives
