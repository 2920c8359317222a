"""A process of `fpserver serve`: `python -m fpserver.child web|worker`.

Takes its settings, unchanged, from the parent's environment, and ends itself when the parent is gone. Two descriptors
come with them: the socket to take connections from (web), and a pipe into which a byte is written when it is ready.
"""

import asyncio
import ctypes
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable

import msgspec

from fpserver import log
from fpserver.allocator import use_one_arena
from fpserver.config import Config
from fpserver.errors import ConfigInvalid, EmbeddedStoreMissing, ForeignIndex, FpserverError

CONFIG_VARIABLE = "FPSERVER_RESOLVED"
PARENT_VARIABLE = "FPSERVER_PARENT"
LISTENER_VARIABLE = "FPSERVER_LISTENER"
READY_VARIABLE = "FPSERVER_READY"
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

STATUS_CONFIG = 2  # starting again with the same settings ends the same way
FATAL_STATUSES = (STATUS_CONFIG,)
PR_SET_PDEATHSIG = 1


def main() -> int:
    """Run one child until SIGTERM; returns its exit status."""
    _end_with_parent(int(os.environ[PARENT_VARIABLE]))
    use_one_arena()
    config = msgspec.json.decode(os.environ[CONFIG_VARIABLE], type=Config)
    log.configure(config.log)
    pipe = _inherited(READY_VARIABLE)

    def ready() -> None:
        os.write(pipe, b"1")
        os.close(pipe)

    try:
        if sys.argv[1] == "web":
            from fpserver.web.life import run  # noqa: PLC0415 – each kind of child loads only its own half

            run(config, listener=socket.socket(fileno=_inherited(LISTENER_VARIABLE)), ready=ready)
        else:
            asyncio.run(run_worker(config, ready=ready))
    except (ConfigInvalid, ForeignIndex, EmbeddedStoreMissing) as error:
        print(f"fpserver: {error.message}", file=sys.stderr)
        return STATUS_CONFIG
    except (
        FpserverError,
        OSError,
    ) as error:  # the store is away: the parent tries again
        print(f"fpserver: {error}", file=sys.stderr)
        return 1
    return 0


async def run_worker(config: Config, *, ready: Callable[[], None] = lambda: None) -> None:
    """One worker process: claims and indexes until SIGTERM or SIGINT, then drains."""
    from fpserver.services import open_services  # noqa: PLC0415 – the metrics folder must be set first
    from fpserver.worker.loop import work  # noqa: PLC0415

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_services(config, pool_processes=config.worker.n_processes) as services:
        ready()
        await work(services, stop=stop)


def _inherited(variable: str) -> int:
    """A descriptor from the parent; none of this process's own children inherits it."""
    descriptor = int(os.environ[variable])
    os.set_inheritable(descriptor, False)
    return descriptor


def _end_with_parent(parent_pid: int) -> None:
    """SIGTERM to ourselves when the parent dies: from the kernel on Linux, by watching elsewhere as well."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    def watch() -> None:
        while os.getppid() == parent_pid:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
