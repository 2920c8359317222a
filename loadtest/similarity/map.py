"""What a map costs, over HTTP: seconds cold and warm, memory of its process, and whether the event loop stays free.

    python -m loadtest.similarity.map [--tracks 5000 10000] [--rounds 5]

The app is the real one, in this process and on a store of its own; only which tracks are chosen is made up: vectors of
150 numbers in 40 clusters. A heartbeat on the app's event loop wants to beat every 5 ms, and tells its longest
delay. Beside it, umap-learn as it is, in a fresh process, on the same vectors. Writes similarity_map.md and
similarity_map.json to loadtest/results/.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np
from aiohttp.test_utils import TestClient, TestServer

from fpserver import mapping
from fpserver.config import Config
from fpserver.mapping import Chosen, Pictured
from fpserver.services import Services
from fpserver.similarity.coordinates import coordinates
from fpserver.terms import Metadata, Vectors
from fpserver.web.app import create_app
from fpserver.web.door import DOOR
from loadtest.processes import cpu_s, peak_bytes
from loadtest.report import machine, write

N_DIMENSIONS = 150
N_CLUSTERS = 40
BEAT_S = 0.005
N_JUDGED = 2000  # points whose neighbours are compared, all pairs
FRESH = """
import json, resource, sys, time
start = time.perf_counter()
{code}
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({{"seconds": time.perf_counter() - start, "cpu_s": usage.ru_utime + usage.ru_stime,
                  "peak_mb": usage.ru_maxrss / 1024}}))
"""
PREPARE = "from fpserver.similarity.coordinates import prepare; prepare()"
THEIRS = """
import warnings; warnings.simplefilter("ignore")
import numpy, umap
umap.UMAP(n_neighbors=15, min_dist=0.1, random_state=0, n_jobs=1).fit_transform(numpy.load(sys.argv[1]))
"""


@cache
def vectors_of(n: int) -> Vectors:
    """Made up: clusters that overlap a little."""
    rng = np.random.default_rng(20261128)
    centres = rng.normal(size=(N_CLUSTERS, N_DIMENSIONS))
    spread = 0.7 * rng.normal(size=(n, N_DIMENSIONS))
    return (centres[rng.integers(N_CLUSTERS, size=n)] + spread).astype(np.float32)


async def choose(services: Services, *, limit: int, **_: Any) -> Chosen:
    """As many tracks as the request's limit."""
    shown = Pictured(
        metadata=Metadata(
            title="A title of usual length", artist="An artist", album="An album", genre="genre"
        ),
        facts={"tempo_bpm": 117.45, "loudness_db": -13.2, "onset_rate_hz": 3.1, "centroid_hz": 1834.5},
        key="A minor",
    )
    track_ids = np.arange(1, limit + 1, dtype=np.int64)
    return Chosen(track_ids=track_ids, vectors=vectors_of(limit), pictured=[shown] * limit, left_out=[])


@dataclass(slots=True)
class Heartbeat:
    """How late the event loop was beat by beat, and how long its thread computed from one to the next, seconds."""

    late_s: list[float] = field(default_factory=list)
    busy_s: list[float] = field(default_factory=list)

    async def beat(self) -> None:
        while True:
            start, busy = time.perf_counter(), time.thread_time()
            await asyncio.sleep(BEAT_S)
            self.late_s.append(time.perf_counter() - start - BEAT_S)
            self.busy_s.append(time.thread_time() - busy)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        self.late_s.clear()
        self.busy_s.clear()
        beating = asyncio.create_task(self.beat())
        yield
        beating.cancel()

    def told(self) -> dict[str, float]:
        """ms"""
        late_ms = 1000 * np.array(self.late_s)
        return {
            "n_beats": len(late_ms),
            "median_ms": round(float(np.median(late_ms)), 2),
            "p99_ms": round(float(np.percentile(late_ms, 99)), 2),
            "longest_ms": round(float(late_ms.max()), 2),
            "busiest_ms": round(1000 * max(self.busy_s), 2),
        }


def child_pid(services: Services) -> int:
    process = services.maps._pool._children[0]._process
    assert process is not None
    assert process.pid is not None
    return process.pid


async def one_map(client: Any, n: int, heart: Heartbeat) -> dict[str, Any]:
    services = client.app[DOOR].services
    before = cpu_s(child_pid(services)) if services.maps._pool._children[0]._process else 0.0
    own_before = time.process_time()
    start = time.perf_counter()
    async with heart.listening(), client.post("/v1/map", json={"limit": n}) as response:
        body = await response.read()
    seconds = time.perf_counter() - start
    assert response.status == 200, body
    pid = child_pid(services)
    return {
        "seconds": round(seconds, 2),
        "child_cpu_s": round(cpu_s(pid) - before, 2),
        "app_cpu_s": round(time.process_time() - own_before, 3),
        "peak_mb": round(peak_bytes(pid) / 2**20),
        "answer_mb": round(len(body) / 1e6, 2),
        "points": json.loads(body)["points"],
        "heart": heart.told(),
    }


async def measured(n: int, rounds: int) -> dict[str, Any]:
    """Of maps of n tracks: the first of a server, and the next ones."""
    vectors_of(n)  # not on the loop that is measured
    heart = Heartbeat()
    with tempfile.TemporaryDirectory() as folder:
        config = Config().with_values(redis={"data_dir": folder}, web={"processes": 64})
        async with TestClient(TestServer(create_app(config))) as client:
            async with heart.listening():
                await asyncio.sleep(2)
            idle = heart.told()
            cold = await one_map(client, n, heart)
            warm = [await one_map(client, n, heart) for _ in range(rounds)]
    same = all(each["points"] == cold["points"] for each in warm)
    for each in (cold, *warm):
        del each["points"]
    return {"n_tracks": n, "idle": idle, "cold": cold, "warm": warm, "same": same}


def fresh(code: str, *arguments: str, compiled: Path | None = None) -> dict[str, float]:
    """What a new process needs for it; `compiled`: where compiled code is kept instead of where it is."""
    settings = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    if compiled is not None:
        settings["NUMBA_CACHE_DIR"] = str(compiled)
    done = subprocess.run(
        [sys.executable, "-c", FRESH.format(code=code), *arguments],
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {name: round(value, 2) for name, value in json.loads(done.stdout).items()}


def judged(n: int) -> dict[str, float]:
    """Trustworthiness (10 neighbours) of our map and of umap-learn's own, on the same vectors."""
    import umap  # noqa: PLC0415  (heavy, and for this only)
    from sklearn.manifold import trustworthiness  # noqa: PLC0415

    vectors = vectors_of(n)
    ours = coordinates(vectors, n_neighbors=15, min_dist=0.1, metric="euclidean", seed=0)
    theirs = umap.UMAP(n_neighbors=15, min_dist=0.1, random_state=0, n_jobs=1).fit_transform(vectors)
    chance = np.random.default_rng(0).permutation(ours)
    return {
        name: round(float(trustworthiness(vectors, points, n_neighbors=10)), 4)
        for name, points in (("ours", ours), ("umap-learn", theirs), ("chance", chance))
    }


def page(found: dict[str, Any]) -> str:
    rows = []
    for each in found["maps"]:
        cold, warm = each["cold"], each["warm"]
        rows.append(
            f"| {each['n_tracks']:,} | {cold['seconds']:.1f} | {_middle(warm, 'seconds')} "
            f"| {_middle(warm, 'child_cpu_s')} | {max(w['peak_mb'] for w in (cold, *warm))} "
            f"| {cold['answer_mb']:.1f} | {_middle(warm, 'app_cpu_s', 2)} | {'yes' if each['same'] else 'NO'} |"
        )
    beats = []
    for each in found["maps"]:
        beats.append(_beat_row(f"{each['n_tracks']:,}, nothing is asked", each["idle"]))
        beats.append(_beat_row(f"{each['n_tracks']:,}, the first map", each["cold"]["heart"]))
        worst = max(each["warm"], key=lambda one: cast(float, one["heart"]["longest_ms"]))
        beats.append(
            _beat_row(f"{each['n_tracks']:,}, the next: worst of {len(each['warm'])}", worst["heart"])
        )
    fresh_rows = [
        f"| {name} | {each['seconds']:.1f} | {each['cpu_s']:.1f} | {each['peak_mb']:.0f} |"
        for name, each in found["fresh"].items()
    ]
    kept = found["trustworthiness"]
    return "\n".join(
        [
            "# What a map costs",
            "",
            f"{found['setting']}. `POST /v1/map` over HTTP, the real app, {N_DIMENSIONS} numbers a vector, made up in "
            f"{N_CLUSTERS} clusters; `n_neighbors` 15, `min_dist` 0.1. One warm child with one thread. "
            f"Warm: median (least to most) of {found['rounds']}. Load of the machine before: {found['load']}.",
            "",
            "| tracks | s, first map | s, next maps | of it CPU of the child, s | peak memory of the child, MB "
            "| answer, MB | CPU of the app, s | same picture every time |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"How late a heartbeat on the app's event loop is that wants to beat every {1000 * BEAT_S:g} ms:",
            "",
            "| tracks | beats | median, ms | p99, ms | longest, ms | most CPU of its thread between beats, ms |",
            "|---|---|---|---|---|---|",
            *beats,
            "",
            "The client of this measurement reads the answer on the same loop. Being late includes waiting for a core "
            "that others use; what the loop's thread computed does not.",
            "",
            "A fresh process (one run each):",
            "",
            "| what | s | CPU s | peak MB |",
            "|---|---|---|---|",
            *fresh_rows,
            "",
            f"Neighbours kept (trustworthiness, 10 neighbours, {N_JUDGED:,} points): {kept['ours']}; umap-learn "
            f"as it is {kept['umap-learn']}; the same points shuffled {kept['chance']}.",
            "",
        ]
    )


def _middle(rounds: Sequence[dict[str, Any]], name: str, digits: int = 1) -> str:
    values = [each[name] for each in rounds]
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _beat_row(what: str, heart: dict[str, float]) -> str:
    return (
        f"| {what} | {heart['n_beats']} | {heart['median_ms']} | {heart['p99_ms']} | {heart['longest_ms']} "
        f"| {heart['busiest_ms']} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tracks", type=int, nargs="+", default=[5000, 10_000])
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    mapping.choose_for_map = choose  # type: ignore[assignment]  # made-up tracks
    found: dict[str, Any] = {"setting": machine(), "rounds": given.rounds, "load": load}
    found["maps"] = [asyncio.run(measured(n, given.rounds)) for n in given.tracks]
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "vectors.npy", vectors_of(given.tracks[0]))
        nothing, theirs = Path(folder) / "compiled", f"umap-learn as it is, {given.tracks[0]:,} vectors"
        found["fresh"] = {
            "load what a map needs, nothing ever compiled": fresh(PREPARE, compiled=nothing),
            "the same, compiled before": fresh(PREPARE, compiled=nothing),
            theirs: fresh(THEIRS, str(Path(folder) / "vectors.npy")),
        }
    found["trustworthiness"] = judged(N_JUDGED)
    write("similarity_map", found, page(found))


if __name__ == "__main__":
    main()
