"""A real `fpserver serve` on a free port and a data folder, for as long as a measurement lasts."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest.processes import children_of, command_line, cpu_s, descendants_of, peak_bytes

READY = re.compile(r"^fpserver is running at (http://\S+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server: where it answers, and the pids of its family by what they are."""

    address: str
    pid: int

    def children(self, mark: str) -> list[int]:
        """Pids of its children whose command line holds `mark` ("valkey", "web", "worker")."""
        return [pid for pid in children_of(self.pid) if mark in command_line(pid)]

    def cpu_s(self) -> float:
        """Processor time of the whole family so far, seconds."""
        return sum(map(cpu_s, {self.pid, *descendants_of(self.pid)}))

    def cpu_s_by_kind(self) -> dict[str, float]:
        """The same of its children by what they are, and of the decoding processes of all of them."""
        return {kind: sum(map(cpu_s, pids)) for kind, pids in self.by_kind().items()}

    def peak_bytes(self) -> dict[str, int]:
        """Most memory that any web process, and any decoding process, has had."""
        by_kind = self.by_kind()
        return {kind: max(map(peak_bytes, by_kind[kind]), default=0) for kind in ("web", "decoding")}

    def by_kind(self) -> dict[str, list[int]]:
        """Pids of its children by what they are, and of the decoding processes of all of them."""
        pids = {kind: self.children(f"fpserver.child {kind}") for kind in ("web", "worker")}
        decoding = set().union(*(descendants_of(pid) for each in pids.values() for pid in each))
        return pids | {"store": self.children("valkey"), "decoding": sorted(decoding)}


@contextmanager
def serving(data_dir: Path, *arguments: str, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Start a server and wait until it is ready; SIGTERM at the end, SIGKILL if that does not help."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "server.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "fpserver", "serve", "--data", str(data_dir), "--port", "0", *arguments],
            stdin=subprocess.DEVNULL,  # at a terminal, SIGHUP would end it
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
