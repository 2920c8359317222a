"""How fast a stream of fingerprints comes in over HTTP: `POST /v1/ingest` of synthetic tracks, until all are indexed.

    python -m loadtest.bulk_stream CORPUS [--tracks 1000] [--keep FILE]

Tracks are those of `loadtest.bulk_load`, with all the peaks that a body holds. They are sent in one request to a real
`fpserver serve` with an empty store of its own. Seconds are from the first byte sent to the end of the batch. A kept
stream is made once, and sent again by later runs. Writes bulk_stream.md and .json to loadtest/results/.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import aiohttp

from fpserver.fingerprint import wire
from fpserver.fingerprint.constellation import frames_per_s
from fpserver.fingerprint.landmarks import fingerprint_of
from fpserver.terms import Constellation, Hearing, Metadata, TrackPeaks
from fpserver.web.media import FINGERPRINT
from loadtest import report
from loadtest.accuracy.run import say
from loadtest.bulk_load import written
from loadtest.corpus import Recording, music, thirds
from loadtest.scale.heard import CONFIG, readable_thirds, track_constellation
from loadtest.scale.synthetic import Sources, synthetic_dense
from loadtest.server import Server, serving

SEED = 1
CHUNK_BYTES = 2**18


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What synthetic tracks are made of."""

    sources: Sources
    dense: list[Constellation]


def main() -> None:
    """Measure and write."""
    args = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        file = args.keep or Path(folder) / "tracks.fingerprint"
        told = file.with_suffix(".json")
        if not told.exists():
            told.write_text(json.dumps(_make(file, args)), encoding="utf-8")
        made = json.loads(told.read_text(encoding="utf-8"))
        say(f"{made['postings']} postings of {made['tracks']} tracks, {made['file_mb']:.0f} MB")
        with serving(Path(folder) / "data") as server:
            found = made | asyncio.run(_send(server, file))
    if found["counts"] != {"indexed": made["tracks"]}:
        raise RuntimeError(f"not all {made['tracks']} tracks came in: {found['counts']}")
    _write(found | report.rates(made, found["seconds"]))


def _make(file: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Bodies end to end, as `fpserver fingerprint` writes them; what is in them."""
    unknown = readable_thirds(thirds(music(args.corpus))).unknown
    with ProcessPoolExecutor(args.processes, mp_context=get_context("fork")) as pool:
        heard = list(pool.map(_heard, unknown, chunksize=4))
    material = Material(
        sources=Sources.of([peaks for peaks, _ in heard]), dense=[dense for _, dense in heard]
    )
    with file.open("wb") as out, ProcessPoolExecutor(args.processes, mp_context=get_context("fork")) as pool:
        made = written(out, pool.map(partial(_body, material), range(1, args.tracks + 1), chunksize=50))
    return made | {"file_mb": file.stat().st_size / 1e6}


def _heard(recording: Recording) -> tuple[TrackPeaks, Constellation]:
    dense = track_constellation(recording)
    return fingerprint_of(dense, CONFIG.fingerprint).peaks, dense


def _body(material: Material, number: int) -> tuple[bytes, int, int]:
    """A synthetic track's fingerprint body, its postings and spectrogram frames."""
    config = CONFIG.fingerprint
    dense = synthetic_dense(material.sources, material.dense, number, seed=SEED, config=config)
    hearing = Hearing(
        constellation=dense,
        duration_s=dense.n_frames / frames_per_s(config),
        truncated=False,
        timings_s={},
    )
    body = wire.pack(hearing, config, metadata=Metadata(title=f"synthetic {number}"))
    return body, len(fingerprint_of(dense, config).landmarks), dense.n_frames


async def _send(server: Server, file: Path) -> dict[str, Any]:
    """One request, then wait for the batch."""
    before = server.cpu_s_by_kind()
    begin = time.monotonic()
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(server.address, timeout=timeout) as session:
        headers = {"Content-Type": FINGERPRINT}
        async with session.post("/v1/ingest", data=_chunks(file), headers=headers) as response:
            batch = await response.json()
            if response.status != 202:
                raise RuntimeError(f"the stream was refused: {batch}")
        sent_s = time.monotonic() - begin
        while not batch["done"]:
            await asyncio.sleep(0.1)
            async with session.get(f"/v1/ingest/{batch['batch_id']}") as response:
                batch = await response.json()
    seconds = time.monotonic() - begin
    spent = {kind: round(each - before[kind], 1) for kind, each in server.cpu_s_by_kind().items()}
    return {
        "seconds": round(seconds, 1),
        "received_s": round(sent_s, 1),
        "cpu_s": spent,
        "counts": {status: n for status, n in batch["counts"].items() if n},
    }


async def _chunks(file: Path) -> AsyncIterator[bytes]:
    with file.open("rb") as body:
        while chunk := body.read(CHUNK_BYTES):
            yield chunk


def _write(found: dict[str, Any]) -> None:
    spent = found["cpu_s"]
    lines = [
        "# A stream of fingerprints over HTTP",
        "",
        f"`POST /v1/ingest` of {found['tracks']:,} synthetic tracks ({found['hours']:,} h, {found['postings']:,} "
        f"postings, {found['file_mb']:.0f} MB) in one request, into an empty store of its own. {found['setting']}.",
        "",
        "| seconds, until all are indexed | received after, s | postings a second | hours of audio a second | "
        + " | ".join(f"processor time of {kind}, s" for kind in spent)
        + " |",
        "|---" * (4 + len(spent)) + "|",
        f"| {found['seconds']} | {found['received_s']} | {found['postings_per_s']:,} | {found['hours_per_s']} | "
        + " | ".join(str(each) for each in spent.values())
        + " |",
        "",
    ]
    report.write("bulk_stream", found, "\n".join(lines))


def _arguments() -> argparse.Namespace:
    parser = report.arguments(__doc__, tracks=1000)
    parser.add_argument("--keep", type=Path, help="a file to make the stream in, or to take it from")
    return parser.parse_args()


if __name__ == "__main__":
    main()
