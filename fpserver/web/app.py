"""The street door: composition of one web process, and its life from listening to drained.

Everything a handler needs is opened before the first request is taken, and closed after the last is answered.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from importlib.metadata import version

import msgspec
import structlog
from aiohttp import web

from fpserver.config import Config
from fpserver.ingest import spool_dir
from fpserver.services import open_services
from fpserver.web import docs_page, openapi
from fpserver.web.door import DOOR, Door
from fpserver.web.handlers.operations import DOCS_PAGE, DOCUMENT
from fpserver.web.middleware import name_answer, observe, refuse
from fpserver.web.routes import register
from fpserver.web.uploads import Spool

log = structlog.get_logger()

SERVER = f"fpserver/{version('fpserver')}"


def create_app(config: Config) -> web.Application:
    """The app; its rooms are opened when it starts."""
    app = web.Application(middlewares=[observe, refuse])
    register(app)
    document = openapi.document()
    app[DOCUMENT] = msgspec.json.encode(document)
    app[DOCS_PAGE] = docs_page.page(document)
    app.on_response_prepare.append(name_answer)
    app.on_shutdown.append(_close_long_answers)

    async def rooms(app: web.Application) -> AsyncIterator[None]:
        spool = Spool(spool_dir(config))
        n_stale = await asyncio.to_thread(spool.open)
        if n_stale:
            log.info("web.stale_uploads_removed", n=n_stale)
        async with open_services(config, pool_processes=pool_processes(config)) as services:
            app[DOOR] = Door(config=config, services=services, spool=spool)
            yield

    app.cleanup_ctx.append(rooms)
    return app


def pool_processes(config: Config) -> int:
    """Decoding processes of one web process: all of them together as many as there are cores."""
    return max(1, (os.cpu_count() or 1) // config.web.processes)


async def _close_long_answers(app: web.Application) -> None:
    app[DOOR].closing.set()


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
    runner = web.AppRunner(create_app(config), access_log=None, shutdown_timeout=config.web.drain_s)
    try:
        await runner.setup()
        site = web.TCPSite(runner, config.web.host, config.web.port, reuse_port=reuse_port or None)
        await site.start()
        log.info("web.listening", addresses=[f"{address[0]}:{address[1]}" for address in runner.addresses])
        await stop.wait()
        log.info("web.draining", within_s=config.web.drain_s)
    finally:
        await runner.cleanup()
    log.info("web.stopped")
