"""What a Cluster's index answers and keeps while its nodes fail.

    python -m loadtest.faults [--tracks 300]

Three masters and three replicas on loopback. While a fault lasts and until the Cluster is whole again, look-ups are
asked one after the other, tracks are added, each as often as it takes, and lists are sealed. A look-up is *right* if it
has every posting of the tracks that are there and none of others, *degraded* if it says so and has none of others, else
*wrong*. At the end every track must be there once. Writes faults.md and faults.json to loadtest/results/. The full disk
needs root: it is a small file system in memory.
"""

import argparse
import asyncio
import json
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from redis.crc import key_slot
from redis.exceptions import RedisError

from fpserver.config import IndexConfig, RedisConfig
from fpserver.errors import StoreUnavailable
from fpserver.index.store import FUNCTIONS, Index
from fpserver.store.connect import load_functions, open_store
from fpserver.terms import Fingerprint, Hashes, Landmarks, Lookup, TrackPeaks
from loadtest.accuracy.run import say
from loadtest.cluster import Cluster, go_on, kill, pause, running

RESULTS = Path(__file__).parent / "results"
N_LANDMARKS = 2000  # of a track
N_ASKED = 1000  # hashes of a look-up
PAUSED_S = 10.0
SMALL_DISK_MB = 100
Fault = Callable[["Catalogue"], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What was seen while a fault lasted, and after it."""

    fault: str
    seconds: float = 0.0
    asked: int = 0
    right: int = 0
    degraded: int = 0
    unavailable: int = 0
    wrong: int = 0
    longest_s: float = 0.0  # for a look-up
    added: int = 0
    refusals: int = 0  # of an addition, which was then repeated
    lost: int = 0  # postings
    doubled: int = 0


@dataclass(slots=True, kw_only=True)
class Catalogue:
    """An index on a Cluster, and what it must hold."""

    cluster: Cluster
    index: Index
    rng: np.random.Generator
    tracks: dict[int, Fingerprint] = field(default_factory=dict)
    begun: set[int] = field(default_factory=set)  # being added

    def expected(self, asked: Hashes) -> set[tuple[int, int, int]]:
        """(hash, track, offset) of the tracks that are there."""
        return {
            hit for track_id, each in self.tracks.items() for hit in _hits(track_id, each.landmarks, asked)
        }

    async def add(self) -> int:
        """One more track; how often that was refused before."""
        track_id = len(self.tracks) + 1
        given, refusals = _fingerprint(self.rng), 0
        self.begun.add(track_id)
        while True:
            try:
                await self.index.add(track_id, given)
            except StoreUnavailable:
                refusals += 1
                await asyncio.sleep(0.1)
            else:
                self.tracks[track_id] = given
                self.begun.remove(track_id)
                return refusals


def main() -> None:
    """Measure and write."""
    args = _arguments()
    outcomes = []
    for fault in FAULTS:
        with tempfile.TemporaryDirectory() as folder:
            outcomes.append(asyncio.run(_measured(Path(folder), fault, args.tracks)))
        say(str(outcomes[-1]))
        _write(args.out, outcomes, args.tracks)


async def _measured(folder: Path, fault: Fault, n_tracks: int) -> Outcome:
    async with _catalogue(folder, n_tracks) as catalogue:
        outcome = Outcome(fault=(fault.__doc__ or "").rstrip("."))
        over = asyncio.Event()
        tasks = [
            asyncio.create_task(each)
            for each in (
                _ask(catalogue, outcome, over),
                _add(catalogue, outcome, over),
                _seal(catalogue, over),
            )
        ]
        start = time.perf_counter()
        await asyncio.sleep(1.0)
        await fault(catalogue)
        await catalogue.cluster.whole()
        await asyncio.sleep(2.0)
        over.set()
        await asyncio.gather(*tasks)
        outcome.seconds = time.perf_counter() - start
        every = np.unique(np.concatenate([each.landmarks.hash for each in catalogue.tracks.values()]))
        found = await catalogue.index.lookup(every)
        there, wanted = _found(found, every), catalogue.expected(every)
        outcome.lost = len(wanted - set(there))
        outcome.doubled = len(there) - len(set(there))
        outcome.wrong += len(set(there) - wanted) > 0
        return outcome


@asynccontextmanager
async def _catalogue(folder: Path, n_tracks: int) -> AsyncIterator[Catalogue]:
    cluster = Cluster(folder, n_replicas=3)
    with _small_disk(cluster.masters[0].folder):
        async with running(cluster), open_store(RedisConfig(url=cluster.url)) as client:
            await load_functions(client, FUNCTIONS)
            index = Index(client, IndexConfig(shard_timeout_s=1.0, write_timeout_s=2.0))
            await index.open({})
            catalogue = Catalogue(cluster=cluster, index=index, rng=np.random.default_rng(1))
            for _ in range(n_tracks):
                await catalogue.add()
            yield catalogue


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """A file system of its own for a folder, in memory; none without the right to mount one."""
    if os.geteuid() != 0:
        yield
        return
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_MB}m", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


async def _ask(catalogue: Catalogue, outcome: Outcome, over: asyncio.Event) -> None:
    while not over.is_set():
        known = list(catalogue.tracks.values())
        some = known[int(catalogue.rng.integers(len(known)))].landmarks.hash
        asked = np.unique(catalogue.rng.choice(some, N_ASKED)).astype(np.uint32)
        before = catalogue.expected(asked)
        maybe = set(catalogue.begun)
        start = time.perf_counter()
        outcome.asked += 1
        try:
            found = await catalogue.index.lookup(asked)
        except StoreUnavailable:
            outcome.unavailable += 1
        else:
            maybe |= catalogue.begun | set(catalogue.tracks)
            there = _found(found, asked)
            others = {hit for hit in set(there) - before if hit[1] not in maybe}
            complete = before <= set(there)
            if others or len(set(there)) < len(there) or not (complete or found.degraded):
                outcome.wrong += 1
            elif found.degraded:
                outcome.degraded += 1
            else:
                outcome.right += 1
        outcome.longest_s = max(outcome.longest_s, time.perf_counter() - start)
        await asyncio.sleep(0.02)


async def _add(catalogue: Catalogue, outcome: Outcome, over: asyncio.Event) -> None:
    while not over.is_set():
        outcome.refusals += await catalogue.add()
        outcome.added += 1
        await asyncio.sleep(0.05)


async def _seal(catalogue: Catalogue, over: asyncio.Event) -> None:
    while not over.is_set():
        with suppress(StoreUnavailable):
            await catalogue.index.seal()
        await asyncio.sleep(0.2)


def _fingerprint(rng: np.random.Generator) -> Fingerprint:
    """Hashes of exponential frequency: the first ones are in every track, often more than once."""
    landmarks = Landmarks(
        hash=np.minimum(rng.exponential(3000, N_LANDMARKS), 2**23 - 1).astype(np.uint32),
        offset=np.arange(N_LANDMARKS, dtype=np.int32),
    )
    frame = np.arange(0, N_LANDMARKS, 10, dtype=np.int32)
    peaks = TrackPeaks(
        frame=frame,
        bin=rng.integers(0, 1024, len(frame)).astype(np.int32),
        strong=np.ones(len(frame), np.bool_),
        n_frames=N_LANDMARKS,
    )
    return Fingerprint(landmarks=landmarks, peaks=peaks)


def _hits(track_id: int, landmarks: Landmarks, asked: Hashes) -> list[tuple[int, int, int]]:
    its = np.isin(landmarks.hash, asked)
    return [
        (hash_, track_id, offset)
        for hash_, offset in zip(landmarks.hash[its].tolist(), landmarks.offset[its].tolist(), strict=True)
    ]


def _found(found: Lookup, asked: Hashes) -> list[tuple[int, int, int]]:
    columns = asked[found.hash_index], found.track_id, found.offset
    return list(zip(*(column.tolist() for column in columns), strict=True))


async def _killed(catalogue: Catalogue) -> None:
    """A master killed (-9), its replica promoted, the master back as a replica."""
    gone = catalogue.cluster.masters[1]
    kill(gone)
    await _until_served(catalogue)
    await asyncio.to_thread(gone.start)


async def _promoted(catalogue: Catalogue) -> None:
    """A replica promoted by hand (CLUSTER FAILOVER)."""
    catalogue.cluster.replicas[0].redis.cluster("FAILOVER")
    await asyncio.sleep(3.0)


async def _moved(catalogue: Catalogue) -> None:
    """A shard's slot moved to another master, key by key, over five seconds."""
    source, target = catalogue.cluster.masters[:2]
    slot = next(slot for shard in range(16) if (slot := key_slot(b"%d" % shard)) in source.slots)
    catalogue.cluster.begin_move(slot, source, target)
    for _ in range(50):
        catalogue.cluster.carry(slot, source, target, n_keys=100)
        await asyncio.sleep(0.1)
    catalogue.cluster.end_move(slot, source, target)


async def _paused(catalogue: Catalogue) -> None:
    """A master paused for 10 s (SIGSTOP)."""
    node = catalogue.cluster.masters[2]
    pause(node)
    await asyncio.sleep(PAUSED_S)
    go_on(node)


async def _restarted(catalogue: Catalogue) -> None:
    """All nodes ended (SIGTERM) and started again."""
    for node in catalogue.cluster.nodes:
        assert node.process
        node.process.terminate()
    for node in catalogue.cluster.nodes:
        assert node.process
        await asyncio.to_thread(node.process.wait)
    for node in catalogue.cluster.nodes:
        await asyncio.to_thread(node.start)


async def _out_of_memory(catalogue: Catalogue) -> None:
    """All masters at their `maxmemory` for five seconds."""
    _everywhere(catalogue, "maxmemory", "1mb")
    await asyncio.sleep(5.0)
    _everywhere(catalogue, "maxmemory", "0")


async def _disk_full(catalogue: Catalogue) -> None:
    """A master's disk full for five seconds."""
    filler = catalogue.cluster.masters[0].folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    await asyncio.sleep(5.0)
    filler.unlink()


def _everywhere(catalogue: Catalogue, name: str, value: str) -> None:
    for node in catalogue.cluster.nodes:
        with suppress(RedisError):
            node.redis.config_set(name, value)


async def _until_served(catalogue: Catalogue) -> None:
    """Until look-ups are whole again."""
    every = np.arange(2000, dtype=np.uint32)
    async with asyncio.timeout(60):
        while True:
            with suppress(StoreUnavailable):
                if not (await catalogue.index.lookup(every)).degraded:
                    return
            await asyncio.sleep(0.1)


FAULTS: list[Fault] = [_killed, _promoted, _moved, _paused, _restarted, _out_of_memory]
if os.geteuid() == 0:
    FAULTS.append(_disk_full)


def _write(out: Path, outcomes: list[Outcome], n_tracks: int) -> None:
    (out / "faults.json").write_text(json.dumps([asdict(each) for each in outcomes], indent=1) + "\n")
    lines = [
        "# What a Cluster answers and keeps while its nodes fail",
        "",
        f"Three masters and three replicas, {n_tracks} tracks of {N_LANDMARKS} postings, a new Cluster for each fault.",
        f"Look-ups of up to {N_ASKED} hashes one after the other, tracks added and lists sealed meanwhile, until the",
        "Cluster was whole again and two seconds more. What right, degraded and wrong are, stands at the top of",
        "loadtest/faults.py.",
        "",
        "| fault | s | asked | right | degraded | unavailable | wrong | longest, s "
        "| tracks added | refused, then added | postings lost | doubled |",
        "|---" * 12 + "|",
    ]
    lines += [
        f"| {each.fault} | {each.seconds:.0f} | {each.asked} | {each.right} | {each.degraded} "
        f"| {each.unavailable} | {each.wrong} | {each.longest_s:.2f} "
        f"| {each.added} | {each.refusals} | {each.lost} | {each.doubled} |"
        for each in outcomes
    ]
    (out / "faults.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tracks", type=int, default=300, help="there before a fault")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
