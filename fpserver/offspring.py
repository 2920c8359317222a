"""One child of `fpserver serve`: a process with settings of its own, that says when it is ready and how it has ended.

It inherits the listening socket (web) and one end of a pipe, in which a byte means that it is ready. What systemd is to
hear is the parent's to say.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fpserver.child import (
    CONFIG_VARIABLE,
    LISTENER_VARIABLE,
    METRICS_VARIABLE,
    PARENT_VARIABLE,
    READY_VARIABLE,
)
from fpserver.config import Config
from fpserver.dsp_child import ONE_THREAD
from fpserver.notify import SOCKET_VARIABLE
from fpserver.web.intake import HANDOVER_S

GRACE_S = 5.0  # on top of what a child may take to end, before it is killed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Child:
    """A process, and what becomes of it."""

    process: asyncio.subprocess.Process
    limit_s: float  # it has for ending, once it is told to
    ready: asyncio.Task[bool]  # False: it has ended before
    ended: asyncio.Task[int]

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)


async def start(kind: str, config: Config, *, listener: socket.socket, figures: Path) -> Child:
    """Start a child.

    Args:
        kind: "web" or "worker".
        config: its settings.
        listener: where a web process takes connections from.
        figures: folder of its metrics.
    """
    reading, writing = os.pipe()
    given = {READY_VARIABLE: writing} | ({LISTENER_VARIABLE: listener.fileno()} if kind == "web" else {})
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "fpserver.child", kind),
            stdin=asyncio.subprocess.DEVNULL,
            env=_environment(config, given, figures),
            pass_fds=list(given.values()),
            start_new_session=True,  # Ctrl-C goes to the parent alone, which stops them in order
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return Child(
        process=process,
        limit_s=limit_s(kind, config),
        ready=asyncio.create_task(_is_written(reading)),
        ended=asyncio.create_task(process.wait()),
    )


def limit_s(kind: str, config: Config) -> float:
    """How long a child of these settings may take to end."""
    if kind == "worker":
        return config.worker.drain_s + GRACE_S
    return max(config.web.leave_s, HANDOVER_S) + config.web.drain_s + GRACE_S


def _environment(config: Config, descriptors: Mapping[str, int], figures: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != SOCKET_VARIABLE}
    return (
        inherited
        | ONE_THREAD
        | {name: str(descriptor) for name, descriptor in descriptors.items()}
        | {
            CONFIG_VARIABLE: msgspec.json.encode(config).decode(),
            PARENT_VARIABLE: str(os.getpid()),
            METRICS_VARIABLE: str(figures),
        }
    )


async def _is_written(descriptor: int) -> bool:
    """Wait for a byte in a pipe; False when it is closed without."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    try:
        return bool(await reader.read(1))
    finally:
        transport.close()
