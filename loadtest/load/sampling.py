"""Memory and descriptors of a server's processes, second by second, by what they are."""

import math
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from loadtest.processes import n_descriptors, resident_bytes, shared_out_bytes
from loadtest.server import Server

EVERY_S = 1.0
SLOWLY_S = 10.0  # who is in the family, PSS, and what the server says of itself
KINDS = ("web", "worker", "decoding", "store")
METRICS = (
    "fpserver_index_postings",
    "fpserver_store_bytes",
    "fpserver_tracks",
    "fpserver_backlog_depth",
    "fpserver_undescribed",
)


@dataclass(slots=True)
class Series:
    """What was sampled, and when: seconds from the beginning."""

    time_s: list[float] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, at: float, values: dict[str, float]) -> None:
        """One more sample of everything."""
        self.time_s.append(at)
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)


@dataclass(slots=True)
class Samples:
    """Of every second, and of every ten."""

    often: Series = field(default_factory=Series)
    seldom: Series = field(default_factory=Series)

    def told(self) -> dict[str, Any]:
        """For the report."""
        return {
            name: {"time_s": [round(each, 1) for each in series.time_s], **series.values}
            for name, series in (("often", self.often), ("seldom", self.seldom))
        }


@contextmanager
def sampled(server: Server, begin: float) -> Iterator[Samples]:
    """Sample for as long as the context lasts; `begin` as time.perf_counter counts."""
    samples, ended = Samples(), threading.Event()
    thread = threading.Thread(target=_sample, args=(server, begin, samples, ended), daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def _sample(server: Server, begin: float, samples: Samples, ended: threading.Event) -> None:
    pids: dict[str, list[int]] = {}
    slowly = -math.inf
    while not ended.wait(EVERY_S - time.perf_counter() % EVERY_S):
        at = time.perf_counter() - begin
        if at >= slowly:
            slowly = at + SLOWLY_S
            pids = server.by_kind()
            pss = {f"{kind} pss": float(sum(map(shared_out_bytes, pids[kind]))) for kind in KINDS}
            with suppress(OSError, ValueError):
                samples.seldom.add(at, pss | metrics_of(server))
        samples.often.add(
            at,
            {f"{kind} rss": float(sum(map(resident_bytes, pids[kind]))) for kind in KINDS}
            | {f"{kind} descriptors": float(sum(map(n_descriptors, pids[kind]))) for kind in KINDS}
            | {f"{kind} processes": float(len(pids[kind])) for kind in KINDS},
        )


def metrics_of(server: Server) -> dict[str, float]:
    """What the server counts, labels in words."""
    with urllib.request.urlopen(f"{server.address}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found = dict.fromkeys(METRICS, 0.0)
    for line in lines:
        name, _, value = line.rpartition(" ")
        bare = name.partition("{")[0]
        if bare in found:
            found[bare] += float(value)
            if 'status="indexed"' in name:
                found["tracks indexed"] = float(value)
    return found
