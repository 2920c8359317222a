"""A real `fpserver serve` on a free port and a data folder, for as long as a measurement lasts."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

READY = re.compile(r"^fpserver is running at (http://\S+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server: where it answers, and the pids of its family by what they are."""

    address: str
    pid: int

    def children(self, mark: str) -> list[int]:
        """Pids of its children whose command line holds `mark` ("valkey", "web", "worker")."""
        return [pid for pid in _children(self.pid) if mark in _command_line(pid)]

    def cpu_s(self) -> float:
        """Processor time of the whole family so far, seconds."""
        return sum(_cpu_s(pid) for pid in (self.pid, *_descendants(self.pid)))


@contextmanager
def serving(data_dir: Path, *arguments: str, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Start a server and wait until it is ready; SIGTERM at the end, SIGKILL if that does not help."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "server.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "fpserver", "serve", "--data", str(data_dir), "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | dict(settings or {}),
            text=True,
        )
    assert process.stdout is not None
    try:
        ready = READY.match(process.stdout.readline())
        if ready is None:
            raise RuntimeError(f"the server did not start; see {data_dir / 'server.log'}")
        yield Server(address=ready[1], pid=process.pid)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def _descendants(pid: int) -> list[int]:
    children = _children(pid)
    return children + [grandchild for child in children for grandchild in _descendants(child)]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _cpu_s(pid: int) -> float:
    """User and system time, its reaped children's included."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
