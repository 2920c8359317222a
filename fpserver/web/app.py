"""The street door: composition of one web process.

Everything a handler needs is opened before the first request is taken, and closed after the last is answered.
"""

import asyncio
import os
from collections.abc import AsyncIterator

import msgspec
import structlog
from aiohttp import web

from fpserver import allocator, vitals
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
from fpserver.web.door import DOOR, Door
from fpserver.web.handlers.operations import DOCS_PAGE, DOCUMENT
from fpserver.web.middleware import mark_answer, observe, refuse
from fpserver.web.places import PATIENCE_S, Places
from fpserver.web.routes import register
from fpserver.web.uploads import Spool

log = structlog.get_logger()

MEASURE_S = 2.0
GIVE_BACK_S = 20.0
PLACES_PER_PROCESS = 2  # that decodes
LONG_WAITS = 4  # times as long people may wait for a place that they will need for long


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
                    max_wait_s=config.web.max_wait_for_place_s,
                ),
                long_places=Places(
                    n_at_once=pool_processes(config),
                    max_wait_s=LONG_WAITS * config.web.max_wait_for_place_s,
                    patience_s=LONG_WAITS * PATIENCE_S,
                ),
            )
            going_on = [asyncio.create_task(each) for each in (_measure(door), _tidy())]
            yield
            for task in going_on:
                task.cancel()

    app.cleanup_ctx.append(rooms)
    return app


def pool_processes(config: Config) -> int:
    """Decoding processes of one web process: all of them together as many as there are cores."""
    return max(1, (os.cpu_count() or 1) // config.web.processes)


async def _measure(door: Door) -> None:
    """Keep this process's pool figures fresh: whichever process is asked for metrics adds up all of them."""
    while True:
        door.measure_pool()
        await asyncio.to_thread(vitals.tell, "web")
        await asyncio.sleep(MEASURE_S)


async def _tidy() -> None:
    """Give back memory now and then; what large questions leave behind would add up."""
    while True:
        await asyncio.sleep(GIVE_BACK_S)
        await asyncio.to_thread(allocator.give_back)
