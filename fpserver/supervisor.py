"""`fpserver serve`: one parent that keeps the store and the children, and stops them in order.

    parent ─┬─ embedded store (or a connection to a configured one), started again when it vanishes
            ├─ web process × web.processes, on one port
            └─ worker process × 0 or 1

Children that die are started again. On SIGTERM the web processes drain, then the worker, then the store is
stopped. Children end themselves when the parent is gone, however it went.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import structlog

from fpserver.child import CONFIG_VARIABLE, FATAL_STATUSES, METRICS_VARIABLE, PARENT_VARIABLE
from fpserver.config import Config
from fpserver.dsp_child import ONE_THREAD
from fpserver.errors import ConfigInvalid
from fpserver.run_folder import hold, metrics_dir
from fpserver.store.connect import open_store, shared_url
from fpserver.web.client import Client

log = structlog.get_logger()

RESTART_BACK_OFF_S = (0.2, 1.0, 3.0, 10.0)  # by how often a child has died lately
LATELY_S = 60.0
GRACE_S = 5.0  # on top of a child's own drain, before it is killed
PORT_WAIT_S = 3.0  # the children of a server that was killed need a moment to let go of their port


async def serve(config: Config, *, with_worker: bool) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status.

    Raises:
        ConfigInvalid: the address is in use or not ours.
        Conflict: a server of this data folder is running.
        StoreUnavailable, EmbeddedStoreMissing: there is no store to open.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    data_dir = Path(config.redis.data_dir).resolve()  # noqa: ASYNC240 – once, before anything is served
    port = await _free_port(config.web.host, config.web.port)
    config = config.with_values(redis={"data_dir": str(data_dir)}, web={"port": port})
    with hold(data_dir, address_of(config)), metrics_dir(data_dir) as figures:
        async with open_store(config.redis):
            # children use the store that this process keeps, and never start one of their own
            nursery = Nursery(config.with_values(redis={"url": shared_url(config.redis)}), figures)
            for _ in range(config.web.processes):
                nursery.keep("web")
            if with_worker:
                nursery.keep("worker")
            ready = asyncio.create_task(_say_when_ready(config))
            status = await _first(stop.wait(), nursery.fatal())
            ready.cancel()
            log.info("serve.stopping")
            await nursery.stop("web", within_s=config.web.drain_s + GRACE_S)
            await nursery.stop("worker", within_s=config.worker.drain_s + GRACE_S)
    return status


class Nursery:
    """The children: started, started again when they die, stopped by kind ("web", "worker")."""

    def __init__(self, config: Config, figures: Path) -> None:
        self._environment = (
            os.environ
            | ONE_THREAD
            | {
                CONFIG_VARIABLE: msgspec.json.encode(config).decode(),
                PARENT_VARIABLE: str(os.getpid()),
                METRICS_VARIABLE: str(figures),
            }
        )
        self._figures = figures
        self._stopping: dict[str, asyncio.Event] = {}
        self._keepers: dict[str, list[asyncio.Task[None]]] = {}
        self._running: dict[str, set[asyncio.subprocess.Process]] = {}
        self._fatal: asyncio.Queue[int] = asyncio.Queue()

    def keep(self, kind: str) -> None:
        """Keep one more child of this kind running."""
        self._stopping.setdefault(kind, asyncio.Event())
        self._running.setdefault(kind, set())
        self._keepers.setdefault(kind, []).append(asyncio.create_task(self._keep(kind)))

    async def fatal(self) -> int:
        """Wait for a child that says starting it again is no use; returns its exit status."""
        return await self._fatal.get()

    async def stop(self, kind: str, *, within_s: float) -> None:
        """SIGTERM to the children of a kind; SIGKILL to those that are still there after `within_s`."""
        if kind not in self._keepers:
            return
        self._stopping[kind].set()
        _signal(self._running[kind], signal.SIGTERM)
        _, late = await asyncio.wait(self._keepers[kind], timeout=within_s)
        if late:
            log.warning("serve.killing", kind=kind, after_s=within_s)
            _signal(self._running[kind], signal.SIGKILL)
            await asyncio.wait(late)

    async def _keep(self, kind: str) -> None:
        stopping = self._stopping[kind]
        deaths: list[float] = []
        while not stopping.is_set():
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "fpserver.child", kind),
                stdin=asyncio.subprocess.DEVNULL,
                env=self._environment,
                start_new_session=True,  # Ctrl-C goes to the parent alone, which stops them in order
            )
            self._running[kind].add(child)
            if stopping.is_set():  # between the two lines above
                _signal({child}, signal.SIGTERM)
            status = await child.wait()
            self._running[kind].discard(child)
            self._forget_figures(child.pid)
            if stopping.is_set():
                return
            if status in FATAL_STATUSES:
                self._fatal.put_nowait(status)
                return
            deaths = [at for at in deaths if time.monotonic() - at < LATELY_S] + [time.monotonic()]
            wait_s = RESTART_BACK_OFF_S[min(len(deaths), len(RESTART_BACK_OFF_S)) - 1]
            log.warning("serve.child_died", kind=kind, pid=child.pid, status=status, again_in_s=wait_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), wait_s)

    def _forget_figures(self, pid: int) -> None:
        """Drop a dead process's live gauges: the files that prometheus_client names after its pid."""
        for file in self._figures.glob(f"gauge_live*_{pid}.db"):
            file.unlink(missing_ok=True)


def address_of(config: Config) -> str:
    """Where a server of these settings is reached from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.web.host, config.web.host)
    return f"http://[{host}]:{config.web.port}" if ":" in host else f"http://{host}:{config.web.port}"


async def _first(stopped: Coroutine[Any, Any, object], failed: Coroutine[Any, Any, int]) -> int:
    """Exit status: 0 when `stopped` ends first, else what `failed` says."""
    stopping, failing = asyncio.create_task(stopped), asyncio.create_task(failed)
    await asyncio.wait([stopping, failing], return_when=asyncio.FIRST_COMPLETED)
    status = failing.result() if failing.done() else 0
    stopping.cancel()
    failing.cancel()
    return status


async def _say_when_ready(config: Config) -> None:
    address = address_of(config)
    async with Client(address) as client:
        while not await client.ready():  # noqa: ASYNC110 – another process, no event of ours
            await asyncio.sleep(0.1)
    print(f"fpserver is running at {address}", flush=True)


async def _free_port(host: str, port: int) -> int:
    """Make sure that nobody listens at the address; with port 0, find a free one."""
    give_up = time.monotonic() + PORT_WAIT_S
    while True:
        try:
            return _bind(host, port)
        except OSError as error:
            if time.monotonic() > give_up or isinstance(error, socket.gaierror):
                reason = (error.strerror or str(error)).lower()
                raise ConfigInvalid(
                    f"cannot listen at {host}, port {port}: {reason}; choose another"
                ) from error
            await asyncio.sleep(0.2)


def _bind(host: str, port: int) -> int:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        return int(probe.getsockname()[1])


def _signal(children: set[asyncio.subprocess.Process], number: signal.Signals) -> None:
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(number)
