"""`fpserver serve`: one parent that keeps the store, the socket and the children, and stops them in order.

    parent ─┬─ embedded store (or a connection to a configured one), started again when it vanishes
            ├─ listening socket, inherited by
            ├─ web process × web.processes
            └─ worker process × 0 or 1

Children that die are started again. On SIGHUP the settings are read anew and the children replaced one after the
other. On SIGTERM the web processes leave and drain, then the worker, then the store is stopped. Children end themselves
when the parent is gone, however it went.
"""

import asyncio
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import structlog

from fpserver import log as logging
from fpserver.config import Config
from fpserver.errors import ConfigInvalid, FpserverError
from fpserver.notify import tell
from fpserver.nursery import Nursery
from fpserver.reloading import checked
from fpserver.run_folder import hold, metrics_dir
from fpserver.store.connect import open_store, shared_url
from fpserver.web.intake import bind

log = structlog.get_logger()

PORT_WAIT_S = 3.0  # the children of a server that was killed need a moment to let go of their port


async def serve(config: Config, *, with_worker: bool, read_again: Callable[[], Config]) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status.

    Args:
        config: settings, as they were read.
        with_worker: whether a worker belongs to it.
        read_again: reads the settings as they are now; raises ConfigInvalid.

    Raises:
        ConfigInvalid: the address is in use or not ours.
        Conflict: a server of this data folder is running.
        StoreUnavailable, EmbeddedStoreMissing: there is no store to open.
    """
    stop, reload = _signals()
    with await _listener(config.web.host, config.web.port) as listener:
        address = address_of(config, port=listener.getsockname()[1])
        data_dir = Path(config.redis.data_dir).resolve()  # noqa: ASYNC240 – once, before anything is served
        with hold(data_dir, address), metrics_dir(data_dir) as figures:
            async with open_store(config.redis):
                nursery = Nursery(for_children(config, listener), listener=listener, figures=figures)
                for _ in range(config.web.processes):
                    nursery.keep("web")
                if with_worker:
                    nursery.keep("worker")

                async def reload_when_asked() -> None:
                    await _say_when_ready(nursery, address)
                    await _reload_when_asked(reload, config, read_again, nursery, listener)

                living = asyncio.create_task(reload_when_asked())
                status = await _first(stop.wait(), nursery.fatal())
                await _cancelled(living)
                log.info("serve.stopping")
                tell("STOPPING=1")
                listener.close()  # the last of the children to close it turns new connections away
                await nursery.stop("web")
                await nursery.stop("worker")
    return status


def for_children(config: Config, listener: socket.socket) -> Config:
    """Settings with what only the parent finds out: they use the store that it keeps, and never start one."""
    data_dir = str(Path(config.redis.data_dir).resolve())
    return config.with_values(
        redis={"data_dir": data_dir, "url": shared_url(config.redis)},
        web={"port": listener.getsockname()[1]},
    )


def address_of(config: Config, *, port: int) -> str:
    """Where a server of these settings is reached from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.web.host, config.web.host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Set when the server is to stop, and when it is to reload."""
    stop, reload = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    hung_up = stop if sys.stdin is not None and sys.stdin.isatty() else reload  # its terminal was closed
    loop.add_signal_handler(signal.SIGHUP, hung_up.set)
    return stop, reload


async def _say_when_ready(nursery: Nursery, address: str) -> None:
    await nursery.ready("web")
    print(f"fpserver is running at {address}", flush=True)
    tell("READY=1")


async def _reload_when_asked(
    reload: asyncio.Event,
    config: Config,
    read_again: Callable[[], Config],
    nursery: Nursery,
    listener: socket.socket,
) -> None:
    while True:
        await reload.wait()
        reload.clear()
        tell("RELOADING=1")
        try:
            new = checked(read_again(), instead_of=config)
            logging.configure(new.log)
            log.info("serve.reloading")
            if await nursery.replace(for_children(new, listener)):
                config = new
                log.info("serve.reloaded")
            else:
                log.error(
                    "serve.reload_failed", reason="a new process did not become ready; the old ones serve"
                )
        except FpserverError as error:
            log.error("serve.reload_refused", reason=error.message)
        except Exception:  # whatever it is, those that serve go on
            log.exception("serve.reload_failed")
        finally:
            tell("READY=1")


async def _first(stopped: Coroutine[Any, Any, object], failed: Coroutine[Any, Any, int]) -> int:
    """Exit status: 0 when `stopped` ends first, else what `failed` says."""
    stopping, failing = asyncio.create_task(stopped), asyncio.create_task(failed)
    await asyncio.wait([stopping, failing], return_when=asyncio.FIRST_COMPLETED)
    status = failing.result() if failing.done() else 0
    stopping.cancel()
    failing.cancel()
    return status


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def _listener(host: str, port: int) -> socket.socket:
    """The socket that connections are taken from.

    Raises:
        ConfigInvalid: the address is in use or not ours.
    """
    give_up = time.monotonic() + PORT_WAIT_S
    while True:
        try:
            return bind(host, port)
        except OSError as error:
            if time.monotonic() > give_up or isinstance(error, socket.gaierror):
                reason = (error.strerror or str(error)).lower()
                raise ConfigInvalid(
                    f"cannot listen at {host}, port {port}: {reason}; choose another"
                ) from error
            await asyncio.sleep(0.2)
