"""How fast recordings come in, beside how fast they can be decoded: MP3 files over HTTP, until all are indexed.

    python -m loadtest.ingest_rate CORPUS [--tracks 40]

Recordings of the corpus, at most three minutes of each, are encoded as MP3 at 128 kbit/s: mixed to one channel, and
as they are, most of them in stereo. Each kind in turn, three times: they are only decoded, by a process per core; and
sent in one request to a real `fpserver serve` with an empty store.
Writes ingest_rate.md and .json to loadtest/results/.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import librosa

from fpserver.audio.decode import decode
from fpserver.audio.encode import encode
from fpserver.terms import Metadata
from fpserver.web.client import Client
from loadtest import report
from loadtest.accuracy.run import say
from loadtest.corpus import Recording, music
from loadtest.scale.heard import CONFIG
from loadtest.server import serving

MIN_S, MAX_S = 60.0, 180.0
BITRATE = 128_000
ROUNDS = 3


def main() -> None:
    """Measure and write."""
    args = report.arguments(__doc__, tracks=40).parse_args()
    found: dict[str, Any] = {
        "setting": report.machine(),
    }
    for kind, mono in (("one channel", True), ("as they are", False)):
        with tempfile.TemporaryDirectory() as folder:
            files = make_mp3(Path(folder), args, mono=mono)
            say(f"{len(files)} files, {kind}")
            rounds = []
            for i in range(ROUNDS):
                decoded = _decoded(files, args.processes)
                rounds.append(decoded | asyncio.run(_ingested(files, Path(folder) / f"data-{i}")))
                say(json.dumps(rounds[-1]))
            found[kind] = {"files": len(files), "rounds": rounds}
    _write(found)


def make_mp3(folder: Path, args: argparse.Namespace, *, mono: bool) -> list[Path]:
    """Files of so many recordings of a corpus, evenly chosen."""
    long = [each for each in music(args.corpus) if each.seconds >= MIN_S]
    chosen = long[:: max(1, len(long) // args.tracks)][: args.tracks]
    with ProcessPoolExecutor(args.processes, mp_context=get_context("fork")) as pool:
        return list(pool.map(partial(_mp3, folder, mono), chosen, range(len(chosen))))


def _mp3(folder: Path, mono: bool, recording: Recording, number: int) -> Path:
    samples, rate_hz = librosa.load(recording.path, sr=None, mono=mono, duration=MAX_S)
    path = folder / f"{number}.mp3"
    path.write_bytes(encode(samples, int(rate_hz), container="mp3", bitrate=BITRATE))
    return path


def _decoded(files: Sequence[Path], processes: int) -> dict[str, Any]:
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        list(pool.map(_decode, files[:processes]))  # processes that have begun
        begin = time.perf_counter()
        audio_s, cpu_s = map(sum, zip(*pool.map(_decode, files), strict=True))
        seconds = time.perf_counter() - begin
    return {"decoding_x_realtime": round(audio_s / seconds, 1), "decoding_cpu_s": round(cpu_s, 1)}


def _decode(path: Path) -> tuple[float, float]:
    """Seconds of audio, and of processor time."""
    audio, begin = CONFIG.audio, time.process_time()
    rate_hz = CONFIG.fingerprint.rate_hz
    sound = decode(path, rate_hz=rate_hz, max_s=audio.max_track_s, max_bytes=audio.max_track_bytes, cut=False)
    return sound.duration_s, time.process_time() - begin


async def _ingested(files: Sequence[Path], data_dir: Path) -> dict[str, Any]:
    with serving(data_dir) as server:
        before, begin = server.cpu_s_by_kind(), time.perf_counter()
        async with Client(server.address) as client:
            batch = await client.ingest([(path, path.name, Metadata()) for path in files])
            while not batch["done"]:
                await asyncio.sleep(0.1)
                batch = await client.batch(batch["batch_id"])
        seconds = time.perf_counter() - begin
        return {
            "ingest_x_realtime": round(batch["audio_s"] / seconds, 1),
            "hours": round(batch["audio_s"] / 3600, 2),
            "seconds": round(seconds, 1),
            "ingest_cpu_s": {
                kind: round(each - before[kind], 1) for kind, each in server.cpu_s_by_kind().items()
            },
            "counts": {status: n for status, n in batch["counts"].items() if n},
        }


def _write(found: dict[str, Any]) -> None:
    lines = [
        "# Ingest beside decoding",
        "",
        f"MP3 files, {BITRATE // 1000} kbit/s, at most {MAX_S:g} s each; decoded by a process a core; over HTTP into "
        f"an empty store. {found['setting']}.",
        "",
        "| files | | decoded only | ingested | rate kept |",
        "|---|---|---|---|---|",
    ]
    for kind in ("one channel", "as they are"):
        for i, each in enumerate(found[kind]["rounds"], 1):
            files = f"{found[kind]['files']}, {kind}"
            alone, whole = each["decoding_x_realtime"], each["ingest_x_realtime"]
            lines.append(
                f"| {files} | round {i}: times real time | {alone} | {whole} | {whole / alone:.2f} |"
            )
            alone, whole = each["decoding_cpu_s"], sum(each["ingest_cpu_s"].values())
            lines.append(
                f"| {files} | round {i}: processor time, s | {alone} | {whole:.1f} | {alone / whole:.2f} |"
            )
    report.write("ingest_rate", found, "\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
