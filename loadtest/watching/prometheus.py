"""A real Prometheus with the rules that are deployed, and an exporter beside it, for as long as a measurement lasts.

Only where to ask, and how often, is other than in deploy/prometheus/prometheus.yml.
"""

import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.watching.rules import FOLDER

SCRAPE_S = 2
START_S = 30.0
STOP_S = 20.0
TOOLS = ("prometheus", "promtool", "prometheus-redis-exporter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """Where it answers."""

    address: str

    def query(self, expr: str) -> list[float]:
        """The values of an expression now, of all its series.

        Raises:
            RuntimeError: it is none.
        """
        found = self._get("/api/v1/query?" + urllib.parse.urlencode({"query": expr}))
        if found["resultType"] == "scalar":
            return [float(found["result"][1])]
        return [float(series["value"][1]) for series in found["result"]]

    def rules(self) -> list[dict[str, Any]]:
        """What it says of its rules: name, health, state."""
        return [rule for group in self._get("/api/v1/rules")["groups"] for rule in group["rules"]]

    def targets(self) -> dict[str, str]:
        """Health of what it asks, by job."""
        active = self._get("/api/v1/targets")["activeTargets"]
        return {target["labels"]["job"]: target["health"] for target in active}

    def _get(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(self.address + path, timeout=30) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {error.read().decode()}") from error
        return answer["data"]


def missing_tools() -> list[str]:
    """What must be installed first (Debian: prometheus, prometheus-redis-exporter)."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


@contextmanager
def watching(folder: Path, *, server: str, key: str, store_url: str) -> Iterator[Prometheus]:
    """Prometheus asking a server, with a key, and the exporter of its store; both end with the context."""
    exporter, own = (f"127.0.0.1:{port}" for port in _free_ports(2))
    _configure(
        folder, server=urllib.parse.urlsplit(server).netloc, store_url=store_url, exporter=exporter, own=own
    )
    (folder / "token").write_text(f"{key}\n", encoding="utf-8")
    with ExitStack() as stack:
        stack.enter_context(
            _running(
                ["prometheus-redis-exporter", "-web.listen-address", exporter, "-redis.addr", ""], folder
            )
        )
        stack.enter_context(
            _running(
                [
                    "prometheus",
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'series'}",
                    f"--web.listen-address={own}",
                ],
                folder,
            )
        )
        _until_answers(f"http://{own}/-/ready")
        yield Prometheus(address=f"http://{own}")


def _configure(folder: Path, *, server: str, store_url: str, exporter: str, own: str) -> None:
    folder.mkdir(parents=True)
    for name in ("rules.yml", "alerts.yml"):
        shutil.copy(FOLDER / name, folder)
    text = (FOLDER / "prometheus.yml").read_text(encoding="utf-8")
    for there, here in (
        ("scrape_interval: 15s", f"scrape_interval: {SCRAPE_S}s"),
        ("scrape_timeout: 10s", f"scrape_timeout: {SCRAPE_S}s"),
        ("evaluation_interval: 15s", f"evaluation_interval: {SCRAPE_S}s"),
        ("redis-exporter:9121", exporter),
        ("localhost:9090", own),
    ):
        if there not in text:
            raise RuntimeError(f"prometheus.yml no longer says {there!r}")
        text = text.replace(there, here)
    (folder / "prometheus.yml").write_text(text, encoding="utf-8")
    targets: dict[str, list[str]] = {
        "fpserver": [server],
        "store": [store_url],
        "worker": [],
        "alertmanager": [],
    }
    (folder / "targets").mkdir()
    for name, addresses in targets.items():
        document = [{"targets": addresses}] if addresses else []
        (folder / "targets" / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")


@contextmanager
def _running(command: Sequence[str], folder: Path) -> Iterator[None]:
    with (folder / f"{command[0]}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_answers(url: str) -> None:
    give_up = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError as error:
            if time.monotonic() > give_up:
                raise RuntimeError(f"no answer from {url}: {error}") from error
            time.sleep(0.1)


def _free_ports(n: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(n)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
