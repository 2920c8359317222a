"""Kill the worker, the embedded store and the server in the middle of an ingest, and count what is there afterwards.

    python -m loadtest.crash CORPUS [--tracks 50] [--rounds 3]

Files go in over HTTP. At a quarter of them the worker is killed (-9), at a half the store, at three quarters the
whole server, which is then started again on the same folder. At the end every track must be indexed once: as many
postings as landmarks, one constellation each, nothing left in the backlog. Writes crash.md and crash.json.
"""

import argparse
import asyncio
import json
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from fpserver.config import Config
from fpserver.services import open_services
from fpserver.terms import Metadata, TrackStatus
from fpserver.web.client import Client, RemoteError
from loadtest.corpus import Recording, music
from loadtest.server import Server, serving

RESULTS = Path(__file__).parent / "results"
SETTINGS = {"FPSERVER_TRACKS__CLAIM_IDLE_S": "2.0"}
WAIT_S = 300.0


async def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--tracks", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    recordings = music(args.corpus)
    rounds = []
    for i in range(args.rounds):
        chosen = recordings[i :: len(recordings) // args.tracks][: args.tracks]
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(await _round(Path(folder) / "data", chosen))
        print(json.dumps(rounds[-1]), flush=True)
    _write(rounds)


async def _round(data_dir: Path, recordings: list[Recording]) -> dict[str, Any]:
    begin = time.monotonic()
    kills: list[dict[str, Any]] = []
    with serving(data_dir, settings=SETTINGS) as server:
        async with Client(server.address) as client:
            files = [(each.path, str(each.path), Metadata(external_id=str(each.path))) for each in recordings]
            batch_id = (await client.ingest(files))["batch_id"]
            for share, victim in ((0.25, "worker"), (0.5, "valkey")):
                n_indexed = await _until_indexed(client, batch_id, share * len(recordings))
                kills.append(_kill(server, victim) | {"indexed_before": n_indexed})
            n_indexed = await _until_indexed(client, batch_id, 0.75 * len(recordings))
        os.kill(server.pid, signal.SIGKILL)
        kills.append({"killed": "server", "indexed_before": n_indexed})
    with serving(data_dir, settings=SETTINGS) as server:
        async with Client(server.address) as client:
            await _until_indexed(client, batch_id, len(recordings))
            known = await client.tracks(limit=100, status="indexed")
    seconds = time.monotonic() - begin
    return {"kills": kills, "seconds": round(seconds, 1)} | await _count(data_dir, known["tracks"])


async def _until_indexed(client: Client, batch_id: str, wanted: float) -> int:
    """Wait until so many are indexed; the store may be away for a moment."""
    give_up = time.monotonic() + WAIT_S
    while True:
        try:
            counts = (await client.batch(batch_id))["counts"]
            if counts["indexed"] >= wanted:
                return int(counts["indexed"])
        except RemoteError as error:
            counts = {"error": error.code}
        if time.monotonic() > give_up:
            raise TimeoutError(f"{wanted:g} tracks were not indexed within {WAIT_S:g} s: {counts}")
        await asyncio.sleep(0.02)


def _kill(server: Server, mark: str) -> dict[str, Any]:
    pid = server.children(mark)[0]
    os.kill(pid, signal.SIGKILL)
    return {"killed": {"valkey": "store"}.get(mark, mark)}


async def _count(data_dir: Path, listed: list[dict[str, Any]]) -> dict[str, Any]:
    """What is in the store, with no server running."""
    config = Config().with_values(redis={"data_dir": str(data_dir)})
    async with open_services(config, pool_processes=0) as services:
        ids = [track["track_id"] for track in listed]
        stats = await services.index.stats()
        counts = await services.tracks.counts()
        return {
            "tracks_indexed": counts[TrackStatus.INDEXED],
            "tracks_not_indexed": sum(n for status, n in counts.items() if status is not TrackStatus.INDEXED),
            "files_indexed": len({track["external_id"] for track in listed}),
            "landmarks": sum(track["n_landmarks"] for track in listed),
            "postings": stats.n_postings,
            "constellations": len(await services.index.peaks(ids)),
            "backlog": sum((await services.backlog.depth()).values()),
        }


def _write(rounds: list[dict[str, Any]]) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "crash.json").write_text(json.dumps(rounds, indent=1) + "\n", encoding="utf-8")
    columns = [name for name in rounds[0] if name != "kills"]
    lines = ["# Killed in the middle of an ingest", ""]
    lines += [
        "Each round: worker, store, then the whole server killed with -9; started again on the same folder.",
        "",
    ]
    lines += [
        f"| round | killed (tracks indexed before) | {' | '.join(columns)} |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for i, row in enumerate(rounds, 1):
        kills = ", ".join(f"{kill['killed']} ({kill['indexed_before']})" for kill in row["kills"])
        lines.append(f"| {i} | {kills} | {' | '.join(str(row[name]) for name in columns)} |")
    (RESULTS / "crash.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    asyncio.run(main())
