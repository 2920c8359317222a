"""Back a running server up, wipe it, restore it, and compare its answers byte for byte.

    python -m loadtest.backup [CORPUS] [--tracks 40] [--synthetic 2000] [--clips 200] [--backups 5]

A server with recordings of the corpus (without one, songs made here), synthetic tracks beside them (of a corpus only),
feedback of users and a trained model. Answers are noted: to clips (clean, under noise, at another speed, unknown, as
fingerprints), to what users did and are recommended, to what is like a track. Then, while clips are asked and feedback
comes in, it is backed up some times; once more in the middle of an ingest. The data folder is deleted, the last of the
first backups restored, the same asked again: every answer must be the same but for ids and times of requests. It is
deleted again and the backup from the middle of the ingest restored: when its server has taken up what was begun, every
posting must belong to a track, every track be found by a clip of it, and no feedback that was acknowledged before the
backup be missing. Writes backup.md and backup.json; the exit status is 1 when something differs.
"""

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from fpserver.backup import manifest
from fpserver.config import Config
from fpserver.files import sha256_of
from fpserver.services import open_services
from fpserver.terms import PENDING, Metadata, TrackStatus
from fpserver.tracks.catalogue import TrackFilter
from fpserver.web.client import Client
from loadtest import report
from loadtest.accuracy.run import say
from loadtest.backup_clips import Clip, Music, answer, answers, chosen, clip_of, clips
from loadtest.backup_page import is_shown, page
from loadtest.bulk_load import make_file
from loadtest.recommend_training import trained
from loadtest.server import serving

SETTINGS = {"FPSERVER_RECOMMEND__TRAIN_EVERY_S": "0", "FPSERVER_TRACKS__CLAIM_IDLE_S": "2.0"}
N_USERS, EVENTS_EACH = 30, 30
N_LATE = 24
ASKERS = 2
QUIET_S = 20.0
PAUSE_S = 0.02  # between two events of the writer
WAIT_S = 900.0
SAID = re.compile(r"could be written for (\d+) ms")


@dataclass(slots=True, kw_only=True)
class Load:
    """Clips and feedback that go on, and how long each took: (begun, seconds)."""

    clips: list[tuple[float, float]] = field(default_factory=list)
    feedback: list[tuple[float, float]] = field(default_factory=list)
    acknowledged: list[tuple[float, str]] = field(default_factory=list)  # when, event id
    failures: Counter[str] = field(default_factory=Counter)


async def main() -> int:
    """Measure and write."""
    args = _arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        songs = chosen(args.corpus, folder, n_tracks=args.tracks, n_late=N_LATE)
        asked = clips(songs, args.clips)
        say(f"{len(songs.catalogue)} recordings, {len(asked)} clips")
        found = await _before(folder, songs, asked, args)
        before, acknowledged = found.pop("answers"), found.pop("acknowledged")
        found["restore"] = await _after(folder, asked, before)
        found["middle"] = await _after_middle(folder, songs, acknowledged)
    found["setting"] = report.machine()
    report.write("backup", found, page(found))
    return 0 if is_shown(found) else 1


async def _before(
    folder: Path, songs: Music, asked: Sequence[Clip], args: argparse.Namespace
) -> dict[str, Any]:
    data = folder / "data"
    if args.corpus and args.synthetic:
        wanted = argparse.Namespace(corpus=args.corpus, tracks=args.synthetic, processes=args.processes)
        make_file(folder / "synthetic", wanted)
        _run("import", folder / "synthetic", "--data", data)
    with serving(data, settings=SETTINGS) as server:
        async with _session(server.address) as session:
            ids = await _catalogue(session, server.address, songs)
            await _feedback(session, ids)
            await trained(session, ask=True)
            noted = await answers(session, asked, users=_users(), track_ids=ids)
            say("answers noted")
            load = Load()
            async with _loaded(session, asked, ids, load):
                await asyncio.sleep(QUIET_S)
                backups = [await _backup(data, folder / f"backup-{i}") for i in range(args.backups)]
                await asyncio.sleep(2.0)
                again = await answers(session, asked, users=_users(), track_ids=ids)
                middle = await _backup_in_ingest(data, folder, songs)
        peak = {"store_mb": await _store_mb(data)}
    shutil.rmtree(data)
    return {
        "tracks": len(ids),
        "users": N_USERS,
        "askers": ASKERS,
        "late": N_LATE,
        "quiet_s": QUIET_S,
        "synthetic": args.synthetic if args.corpus else 0,
        "asked": {"clips": len(asked), "other": len(noted) - len(asked)},
        "changed_under_load": _differing(noted, again),
        "answers": again,
        "acknowledged": [each for at, each in load.acknowledged if at < middle["begun"]],
        "backups": backups,
        "in_ingest": middle,
        "load": _figures(load, backups),
        "failures": dict(load.failures),
        **peak,
    }


async def _after(folder: Path, asked: Sequence[Clip], before: dict[str, bytes]) -> dict[str, Any]:
    data = folder / "data"
    last = sorted(folder.glob("backup-*"))[-1]
    begin = time.monotonic()
    _run("restore", last, "--data", data)
    restored_s = time.monotonic() - begin
    with serving(data, settings=SETTINGS) as server:
        ready_s = time.monotonic() - begin
        async with _session(server.address) as session:
            ids = sorted({int(each[1]) for path in before if (each := re.match(r"/v1/tracks/(\d+)$", path))})
            await _until_all_recommended(session, ids)
            after = await answers(session, asked, users=_users(), track_ids=ids)
    shutil.rmtree(data)
    differing = _differing(before, after)
    for question in differing[:5]:
        say(f"{question}:\n  before {before[question]!r}\n  after  {after[question]!r}")
    matched = sum(b'"matches":[{' in said for question, said in after.items() if question.startswith("clip"))
    return {
        "seconds": round(restored_s, 2),
        "ready_s": round(ready_s, 2),
        "same_clips": sum(said == before[q] for q, said in after.items() if q.startswith("clip")),
        "same_other": sum(said == before[q] for q, said in after.items() if not q.startswith("clip")),
        "matched": matched,
        "differing": differing,
    }


async def _after_middle(folder: Path, songs: Music, acknowledged: Sequence[str]) -> dict[str, Any]:
    """The backup from the middle of an ingest, restored and gone on with."""
    data = folder / "data"
    _run("restore", folder / "middle", "--data", data)
    held = await _counts(data)
    say(f"restored from the middle of the ingest: {held}")
    with serving(data, settings=SETTINGS) as server:
        async with _session(server.address) as session, Client(server.address) as client:
            await _until_none(client, "queued", "indexing")
            late = {sha256_of(each.path): each for each in songs.late}
            there = await client.known(list(late))
            n_found = 0
            for sha256, track_id in there.items():
                said = await answer(session, clip_of(late[sha256], seed=track_id))
                n_found += f'"matches":[{{"track_id":{track_id},'.encode() in said
    counts, events = await _counts(data), await _events_of_writer(data)
    return {
        "held": held,
        "counts": counts,
        "late_there": len(there),
        "late_found": n_found,
        "acknowledged": len(acknowledged),
        "lost": len(set(acknowledged) - events),
    }


async def _catalogue(session: aiohttp.ClientSession, address: str, songs: Music) -> list[int]:
    """Index and describe the recordings; their ids."""
    async with Client(address) as client:
        files = [(each.path, each.name, Metadata(external_id=str(each.path))) for each in songs.catalogue]
        await client.ingest(files)
        await _until_none(client, "queued", "indexing", least=len(files))
        ids = sorted(id_ for name, id_ in (await _listed(client)).items() if name)
    give_up = time.monotonic() + WAIT_S
    for track_id in ids:
        while True:
            async with session.get(f"/v1/tracks/{track_id}") as response:
                if (await response.json())["description"]["status"] != "waiting":
                    break
            if time.monotonic() > give_up:
                raise TimeoutError(f"track {track_id} was not described within {WAIT_S:g} s")
            await asyncio.sleep(0.2)
    await _until_all_recommended(session, ids)
    return ids


async def _until_all_recommended(session: aiohttp.ClientSession, ids: Sequence[int]) -> None:
    """Wait until what is like a track is known, and people are recommended something."""
    give_up = time.monotonic() + WAIT_S
    for path in [*(f"/v1/tracks/{track_id}/similar" for track_id in ids), "/v1/users/nobody/recommendations"]:
        while True:
            async with session.get(path) as response:
                if response.status != 503:
                    break
            if time.monotonic() > give_up:
                raise TimeoutError(f"{path} was not answered within {WAIT_S:g} s")
            await asyncio.sleep(0.1)
    await asyncio.sleep(3.0)  # what follows the catalogue looks once a second


async def _until_none(client: Client, *statuses: str, least: int = 0) -> None:
    async with asyncio.timeout(WAIT_S):
        while True:
            left = [each for status in statuses for each in (await client.tracks(status=status))["tracks"]]
            if not left and len((await client.tracks(limit=200, status="indexed"))["tracks"]) >= min(
                least, 200
            ):
                return
            await asyncio.sleep(0.3)


async def _listed(client: Client) -> dict[str, int]:
    """External id → id of all indexed tracks that have one."""
    found: dict[str, int] = {}
    cursor = None
    while True:
        page_ = await client.tracks(limit=200, status="indexed", cursor=cursor)
        found |= {each["external_id"]: each["track_id"] for each in page_["tracks"] if each["external_id"]}
        cursor = page_["next_cursor"]
        if cursor is None:
            return found


async def _feedback(session: aiohttp.ClientSession, ids: Sequence[int]) -> None:
    rng = np.random.default_rng(1)
    for user in _users():
        events = [
            {
                "user": user,
                "event_id": f"{user}-{i}",
                "track_id": int(rng.choice(ids)),
                "kind": str(rng.choice(["play", "like", "skip"])),
                "at": 1_700_000_000 + 60 * i,
            }
            for i in range(EVENTS_EACH)
        ]
        async with session.post("/v1/feedback", json={"events": events}) as response:
            assert response.status == 200, await response.text()


@asynccontextmanager
async def _loaded(
    session: aiohttp.ClientSession, asked: Sequence[Clip], ids: Sequence[int], load: Load
) -> AsyncIterator[None]:
    over = asyncio.Event()

    async def ask(first: int) -> None:
        i = first
        while not over.is_set():
            begin = time.monotonic()
            said = await answer(session, asked[i % len(asked)])
            load.clips.append((begin, time.monotonic() - begin))
            load.failures["clip"] += not said.startswith(b"200")
            i += 1

    async def write() -> None:
        i = 0
        while not over.is_set():
            event = {"user": "writer", "event_id": f"w{i}", "track_id": ids[i % len(ids)], "kind": "play"}
            begin = time.monotonic()
            async with session.post("/v1/feedback", json=event) as response:
                ok = response.status == 200
                await response.read()
            load.feedback.append((begin, time.monotonic() - begin))
            if ok:
                load.acknowledged.append((time.monotonic(), f"w{i}"))
            load.failures["feedback"] += not ok
            i += 1
            await asyncio.sleep(PAUSE_S)

    tasks = [asyncio.create_task(each) for each in (*(ask(37 * i) for i in range(ASKERS)), write())]
    try:
        yield
    finally:
        over.set()
        await asyncio.gather(*tasks)


async def _backup(data: Path, folder: Path) -> dict[str, Any]:
    begin = time.monotonic()
    said = await asyncio.to_thread(_run, "backup", folder, "--data", data)
    found = SAID.search(said)
    assert found, said
    n_bytes = sum(path.stat().st_size for path in folder.iterdir())
    return {
        "begun": begin,
        "seconds": round(time.monotonic() - begin, 2),
        "mb": round(n_bytes / 1e6, 2),
        "pause_ms": int(found[1]),
    }


async def _backup_in_ingest(data: Path, folder: Path, songs: Music) -> dict[str, Any]:
    """Backups while the late recordings are indexed by another process, until one is of the middle of that.

    It is `middle`; the last one is where none was.
    """
    paths = [each.path for each in songs.late]
    ingest = asyncio.create_task(asyncio.to_thread(_run, "ingest", *paths, "--data", data))
    while True:
        taken = await _backup(data, folder / "middle")
        tracks = manifest.read(folder / "middle").counts.tracks
        n_pending = sum(tracks.get(status.value, 0) for status in PENDING)
        if n_pending or ingest.done():
            break
        shutil.rmtree(folder / "middle")
    await ingest
    return taken | {"under_way": n_pending}


async def _counts(data: Path) -> dict[str, int]:
    """What a store holds that no server uses: each posting must be a landmark of a track."""
    config = Config().with_values(redis={"data_dir": str(data)})
    async with open_services(config, pool_processes=0) as services:
        tracks, _ = await services.tracks.page(limit=10**6, filters=TrackFilter(status=TrackStatus.INDEXED))
        counts = await services.tracks.counts()
        ids = [track.track_id for track in tracks]
        n_whole = sum([len(await services.index.peaks(ids[i : i + 200])) for i in range(0, len(ids), 200)])
        return {
            "indexed": len(tracks),
            "constellations": n_whole,
            "landmarks": sum(track.n_landmarks or 0 for track in tracks),
            "postings": (await services.index.stats()).n_postings,
            "under_way": counts[TrackStatus.QUEUED] + counts[TrackStatus.INDEXING],
            "failed": counts[TrackStatus.FAILED],
        }


async def _events_of_writer(data: Path) -> set[str]:
    config = Config().with_values(redis={"data_dir": str(data)})
    async with open_services(config, pool_processes=0) as services:
        return {event.event_id for event in await services.feedback.events("writer")}


async def _store_mb(data: Path) -> float:
    config = Config().with_values(redis={"data_dir": str(data)})
    async with open_services(config, pool_processes=0) as services:
        return round((await services.index.stats()).used_memory_bytes / 1e6, 1)


def _figures(load: Load, backups: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first = backups[0]["begun"]
    spans = [(each["begun"], each["begun"] + each["seconds"]) for each in backups]

    def during(begun: float, seconds: float) -> bool:
        return any(begun < end and begun + seconds > start for start, end in spans)

    found = {}
    for name, timed in (("clips", load.clips), ("feedback", load.feedback)):
        parts = {
            "before": [s for at, s in timed if at + s < first],
            "during": [s for at, s in timed if during(at, s)],
        }
        for part, seconds in parts.items():
            found[f"{name} {part}"] = {
                "n": len(seconds),
                "per_s": round(
                    len(seconds) / (QUIET_S if part == "before" else sum(b - a for a, b in spans)), 1
                ),
                **{f"p{p}_ms": round(1000 * float(np.percentile(seconds, p)), 1) for p in (50, 99, 100)},
            }
    return found


def _differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    return [question for question, said in one.items() if other.get(question) != said]


def _users() -> list[str]:
    return [f"user-{i}" for i in range(N_USERS)]


def _session(address: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(address, connector=aiohttp.TCPConnector(limit=0))


def _run(*words: str | Path) -> str:
    command = [sys.executable, "-m", "fpserver", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    say(done.stdout.strip())
    return done.stdout


def _environment() -> dict[str, str]:
    return os.environ | SETTINGS


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path, nargs="?")
    parser.add_argument("--tracks", type=int, default=40)
    parser.add_argument("--synthetic", type=int, default=2000, help="tracks beside them")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--backups", type=int, default=5)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="that make the synthetic")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
