"""The run folder below the data folder: which server runs here, and its processes' figures.

`run/server.json` names the pid and address of the server; it is locked as long as that server lives, so a
file that was left behind by a crash (or whose pid now belongs to somebody else) is never believed.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fpserver.errors import Conflict


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server that holds a data folder."""

    pid: int
    address: str

    def terminate(self) -> None:
        """Ask it to stop."""
        os.kill(self.pid, signal.SIGTERM)


def running_server(data_dir: Path) -> RunningServer | None:
    """The server of a data folder, or None."""
    try:
        with _record(data_dir).open("rb") as record:
            if _lock(record.fileno()):
                return None  # nobody holds it: its server is gone
            document = json.load(record)
        return RunningServer(pid=int(document["pid"]), address=str(document["address"]))
    except (OSError, ValueError, KeyError):
        return None


@contextlib.contextmanager
def hold(data_dir: Path, address: str) -> Iterator[None]:
    """Be the server of a data folder.

    Raises:
        Conflict: another one is.
    """
    _record(data_dir).parent.mkdir(parents=True, exist_ok=True)
    with _record(data_dir).open("a+") as record:
        if not _lock(record.fileno()):
            other = running_server(data_dir)
            where = f"at {other.address} (pid {other.pid})" if other else "and is just starting or stopping"
            raise Conflict(
                f"a server of data folder {data_dir} runs already {where}; stop it or name another folder"
            )
        record.truncate(0)
        record.write(json.dumps({"pid": os.getpid(), "address": address}))
        record.flush()
        try:
            yield
        finally:
            record.truncate(0)


@contextlib.contextmanager
def metrics_dir(data_dir: Path) -> Iterator[Path]:
    """An empty folder for the processes' figures, gone at the end."""
    path = data_dir / "run" / "metrics"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _record(data_dir: Path) -> Path:
    return data_dir / "run" / "server.json"


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
