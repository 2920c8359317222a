"""The whole walk on real music: catalogue in over HTTP and the command line, clips back with their names.

    python -m loadtest.first_walk CORPUS [--tracks 200] [--clips 200] [--seed 1]

CORPUS is a folder as `loadtest.corpus` describes it. Starts servers of its own on loopback and temporary folders.
Writes first_walk.md, first_walk.json and first_walk_clips.csv (one row a clip) to loadtest/results/.
"""

import argparse
import asyncio
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from fpserver.audio.decode import decode
from fpserver.audio.encode import encode
from fpserver.config import Config
from fpserver.errors import AudioError
from fpserver.fingerprint import wire
from fpserver.fingerprint.constellation import constellation_of
from fpserver.hearing import hear_clip
from fpserver.terms import Metadata, Samples
from fpserver.web.client import Client
from loadtest.corpus import RATE_HZ, Recording, as_samples, cut, music, noises, samples_of, split
from loadtest.server import Server, serving

RESULTS = Path(__file__).parent / "results"
CLIP_S = 10.0
OFFSET_LIMIT_S = 0.1
CODEC_DELAY_S = 0.0  # decoders skip an encoder's delay
CHUNK_FILES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One clip, and what came back."""

    cell: str
    path: str
    start_s: float
    body: str
    n_matches: int
    top_path: str
    top_offset_s: float | None
    false_accept_rate: float | None
    score: float | None
    seconds: float
    offset_judged: bool

    @property
    def right(self) -> bool:
        """The right track, at the right place where there is only one."""
        return self.top_path == self.path and (
            not self.offset_judged or self.offset_error_s <= OFFSET_LIMIT_S
        )

    @property
    def offset_error_s(self) -> float:
        """Distance from the true offset."""
        return abs((self.top_offset_s if self.top_offset_s is not None else 1e9) - self.start_s)


async def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--tracks", type=int, default=200)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    catalogue, unknown = split(music(args.corpus), n_catalogue=args.tracks, seed=args.seed)
    others = noises(args.corpus)

    report: dict[str, Any] = {"machine": _machine(), "corpus": _size(catalogue), "unknown": _size(unknown)}
    report["apart"] = _stages_apart(catalogue)
    asked: list[Asked] = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        with serving(work / "http") as server:
            report["ingest_http"] = await _ingest_http(server, catalogue)
            report["store"] = _store(server, report["ingest_http"]["audio_s"])
            async with Client(server.address) as client:
                asker = Asker(client, work, await _names(client))
                print("asking: known clips", flush=True)
                asked += await asker.known(catalogue, args.clips, rng)
                print("asking: unknown clips", flush=True)
                asked += await asker.unknown(unknown, args.clips, rng)
                asked += await asker.not_music(others, args.clips // 2, rng)
                print("asking: rates and channels", flush=True)
                report["formats"], variants = await asker.formats(catalogue, 20, rng)
                asked += variants
        with serving(work / "cli") as server:
            report["ingest_cli"] = _ingest_cli(server, catalogue)
    report["identify"] = _judge(asked)
    report["latency"] = _latency(asked)
    _write(report, asked)


class Asker:
    """Sends clips to a server, and remembers."""

    def __init__(self, client: Client, work: Path, path_of_track: dict[int, str]) -> None:
        self.client, self.work, self.path_of_track = client, work, path_of_track
        self.config = Config()

    async def known(self, catalogue: list[Recording], n: int, rng: np.random.Generator) -> list[Asked]:
        """Random cuts of catalogued tracks at 32 kbit/s: as audio, and as fingerprints."""
        ids = set(self.path_of_track.values())
        tracks = [each for each in catalogue if str(each.path) in ids and each.seconds > CLIP_S + 5]
        rows = []
        for _ in range(n):
            recording = tracks[rng.integers(len(tracks))]
            start_s, samples = cut(recording, CLIP_S, rng)
            clip = self._file("clip.mp3", encode(samples, RATE_HZ, container="mp3", bitrate=32_000))
            rows.append(await self.ask("mp3 32k", clip, recording, start_s))
            hearing = hear_clip(clip, self.config.audio, self.config.fingerprint)
            body = self._file("clip.fingerprint", wire.pack(hearing, self.config.fingerprint))
            rows.append(await self.ask("mp3 32k", body, recording, start_s))
        return rows

    async def unknown(self, tracks: list[Recording], n: int, rng: np.random.Generator) -> list[Asked]:
        """Cuts of music that is not catalogued."""
        usable = [each for each in tracks if each.seconds > CLIP_S + 5 and samples_of(each.path) is not None]
        rows = []
        for _ in range(n):
            recording = usable[rng.integers(len(usable))]
            start_s, samples = cut(recording, CLIP_S, rng)
            clip = self._file("clip.mp3", encode(samples, RATE_HZ, container="mp3", bitrate=32_000))
            rows.append(await self.ask("unknown music", clip, recording, start_s))
        return rows

    async def not_music(self, others: list[Recording], n: int, rng: np.random.Generator) -> list[Asked]:
        """Noise, speech, tones and silence."""
        speech = [each for each in others if each.kind == "speech"]
        noise = [each for each in others if each.kind in {"crowd", "urban", "nature", "weather"}]
        n_samples = round(CLIP_S * RATE_HZ)
        time_s = np.arange(n_samples) / RATE_HZ
        rows = []
        for i in range(n):
            kind = ("noise", "speech", "noise", "speech", "white noise", "tone", "silence")[i % 7]
            if kind in {"noise", "speech"}:
                samples = _joined(speech if kind == "speech" else noise, n_samples, rng)
            elif kind == "white noise":
                samples = rng.normal(0, 0.1, n_samples).astype(np.float32)
            elif kind == "tone":
                samples = (0.3 * np.sin(2 * np.pi * rng.uniform(200, 4000) * time_s)).astype(np.float32)
            else:
                samples = (rng.normal(0, 1e-5, n_samples) * (i % 2)).astype(np.float32)
            clip = self._file("clip.wav", encode(samples, RATE_HZ, container="wav"))
            rows.append(await self.ask(kind, clip, None, 0.0))
        return rows

    async def formats(
        self, catalogue: list[Recording], n: int, rng: np.random.Generator
    ) -> tuple[dict[str, Any], list[Asked]]:
        """The same clips at five rates, mono, stereo and antiphase: is the answer the same?"""
        ids = set(self.path_of_track.values())
        tracks = [
            each for each in catalogue if str(each.path) in ids and each.seconds > 20 and not each.repeats
        ]
        rows = []
        for _ in range(n):
            recording = tracks[rng.integers(len(tracks))]
            start_s, samples = cut(recording, CLIP_S, rng)
            for rate_hz in (8000, 16000, 22050, 44100, 48000):
                mono = soxr.resample(samples, RATE_HZ, rate_hz).astype(np.float32)
                for channels, data in (
                    ("mono", mono),
                    ("stereo", np.stack([mono, mono])),
                    ("antiphase", np.stack([mono, -mono])),
                ):
                    clip = self._file("clip.wav", encode(data, rate_hz, container="wav"))
                    rows.append(await self.ask(f"{rate_hz} Hz {channels}", clip, recording, start_s))
        cells = sorted({row.cell for row in rows})
        return {
            cell: {
                "clips": sum(row.cell == cell for row in rows),
                "right": sum(row.right for row in rows if row.cell == cell),
            }
            for cell in cells
        }, rows

    async def ask(self, cell: str, clip: Path, recording: Recording | None, start_s: float) -> Asked:
        """One request, timed from here."""
        begin = time.perf_counter()
        answer = await self.client.identify(clip)
        seconds = time.perf_counter() - begin
        top = answer["matches"][0] if answer["matches"] else None
        return Asked(
            cell=cell,
            path=str(recording.path) if recording else "",
            start_s=start_s,
            body="fingerprint" if clip.suffix == wire.SUFFIX else "audio",
            n_matches=len(answer["matches"]),
            top_path=self.path_of_track.get(top["track_id"], "?") if top else "",
            top_offset_s=top["track_offset_s"] if top else None,
            false_accept_rate=top["false_accept_rate"] if top else None,
            score=top["score"] if top else None,
            seconds=seconds,
            offset_judged=recording is not None and not recording.repeats,
        )

    def _file(self, name: str, content: bytes) -> Path:
        path = self.work / name
        path.write_bytes(content)
        return path


async def _ingest_http(server: Server, catalogue: list[Recording]) -> dict[str, Any]:
    print(f"ingest over HTTP: {len(catalogue)} files", flush=True)
    cpu_s, begin = server.cpu_s(), time.perf_counter()
    async with Client(server.address) as client:
        batch_id = None
        for first in range(0, len(catalogue), CHUNK_FILES):
            chunk = catalogue[first : first + CHUNK_FILES]
            files = [(each.path, str(each.path), Metadata(external_id=str(each.path))) for each in chunk]
            batch_id = (await client.ingest(files, batch_id=batch_id))["batch_id"]
        assert batch_id is not None
        while not (batch := await client.batch(batch_id))["done"]:  # noqa: ASYNC110 – another process
            await asyncio.sleep(0.2)
    wall_s, cpu_s = time.perf_counter() - begin, server.cpu_s() - cpu_s
    return _rate(batch["counts"], batch["audio_s"], wall_s, cpu_s) | {"errors": batch["errors"]}


def _ingest_cli(server: Server, catalogue: list[Recording]) -> dict[str, Any]:
    print("ingest with the command line", flush=True)
    command = [sys.executable, "-m", "fpserver", "ingest", "--server", server.address]
    cpu_s, begin = server.cpu_s(), time.perf_counter()
    first = subprocess.run(
        [*command, *(str(each.path) for each in catalogue)], check=False, capture_output=True, text=True
    )
    wall_s, cpu_s = time.perf_counter() - begin, server.cpu_s() - cpu_s
    begin = time.perf_counter()
    again = subprocess.run(
        [*command, *(str(each.path) for each in catalogue)], check=False, capture_output=True, text=True
    )
    again_s = time.perf_counter() - begin
    counts = _tracks_by_status(server)
    audio_s = _metric(server, "fpserver_ingested_audio_seconds_total")
    return _rate(counts, audio_s, wall_s, cpu_s) | {
        "exit_status": first.returncode,
        "said": (first.stdout + first.stderr).strip().splitlines()[-12:],
        "second_run_s": round(again_s, 2),
        "second_run_exit_status": again.returncode,
        "after_second_run": _tracks_by_status(server),
    }


def _rate(counts: dict[str, int], audio_s: float, wall_s: float, cpu_s: float) -> dict[str, Any]:
    return {
        "counts": {status: n for status, n in counts.items() if n},
        "audio_s": round(audio_s, 1),
        "wall_s": round(wall_s, 1),
        "cpu_s": round(cpu_s, 1),
        "x_realtime": round(audio_s / wall_s, 1),
        "x_realtime_per_core": round(audio_s / cpu_s, 1),
    }


def _stages_apart(catalogue: list[Recording]) -> dict[str, Any]:
    """Decoding and fingerprinting of every fourth file, in this process: × real time per core."""
    config = Config()
    audio_s = decode_s = fingerprint_s = 0.0
    for recording in catalogue[::4]:
        begin = time.process_time()
        try:
            sound = decode(
                recording.path, rate_hz=config.fingerprint.rate_hz, max_s=1e5, max_bytes=2**31, cut=True
            )
        except AudioError:
            continue
        decoded = time.process_time()
        constellation_of(sound.samples, config.fingerprint)
        decode_s += decoded - begin
        fingerprint_s += time.process_time() - decoded
        audio_s += sound.duration_s
    return {
        "files": len(catalogue[::4]),
        "audio_s": round(audio_s, 1),
        "decode_x_realtime_per_core": round(audio_s / decode_s, 1),
        "fingerprint_x_realtime_per_core": round(audio_s / fingerprint_s, 1),
        "together_x_realtime_per_core": round(audio_s / (decode_s + fingerprint_s), 1),
    }


def _store(server: Server, audio_s: float) -> dict[str, Any]:
    time.sleep(1)
    postings = _metric(server, "fpserver_index_postings")
    used = _metric(server, "fpserver_store_bytes")
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "empty") as empty:
        used_empty = _metric(empty, "fpserver_store_bytes")
    hours = audio_s / 3600
    return {
        "postings": int(postings),
        "postings_per_s": round(postings / audio_s, 2),
        "bytes": int(used - used_empty),
        "bytes_empty": int(used_empty),
        "mb_per_hour": round((used - used_empty) / 1e6 / hours, 3),
        "bytes_per_posting_all_included": round((used - used_empty) / postings, 2),
    }


async def _names(client: Client) -> dict[int, str]:
    names: dict[int, str] = {}
    cursor = None
    while True:
        page = await client.tracks(limit=100, status="indexed", cursor=cursor)
        names |= {track["track_id"]: track["external_id"] for track in page["tracks"]}
        cursor = page["next_cursor"]
        if cursor is None:
            return names


def _tracks_by_status(server: Server) -> dict[str, int]:
    page = urllib.request.urlopen(f"{server.address}/metrics", timeout=30).read().decode()
    rows = [line for line in page.splitlines() if line.startswith("fpserver_tracks{")]
    return {row.split('"')[1]: int(float(row.split()[-1])) for row in rows if float(row.split()[-1])}


def _metric(server: Server, name: str) -> float:
    page = urllib.request.urlopen(f"{server.address}/metrics", timeout=30).read().decode()
    return sum(
        float(line.split()[-1]) for line in page.splitlines() if line.startswith((f"{name} ", f"{name}{{"))
    )


def _joined(beds: Sequence[Recording], n_samples: int, rng: np.random.Generator) -> Samples:
    pieces: list[Samples] = []
    while sum(map(len, pieces)) < n_samples:
        samples = samples_of(beds[int(rng.integers(len(beds)))].path)
        if samples is not None:
            pieces.append(as_samples(samples))
    return np.concatenate(pieces)[:n_samples]


def _judge(asked: list[Asked]) -> dict[str, Any]:
    """Per cell and body: right and accepted (known clips), answered at all (unknown ones)."""
    cells: dict[str, Any] = {}
    for cell, body in dict.fromkeys((row.cell, row.body) for row in asked if "Hz" not in row.cell):
        rows = [row for row in asked if (row.cell, row.body) == (cell, body)]
        if cell == "mp3 32k":
            judged = [row for row in rows if row.offset_judged]
            errors = sorted(row.offset_error_s for row in judged if row.top_path == row.path)
            cells[f"{cell}, {body}"] = {
                "clips": len(rows),
                "right": _share(sum(row.right for row in rows), len(rows)),
                "right_track": sum(row.top_path == row.path for row in rows),
                "offset_judged": len(judged),
                "offset_within_limit": sum(error <= OFFSET_LIMIT_S for error in errors),
                "offset_error_ms_p50_p99": [round(1e3 * _quantile(errors, q), 1) for q in (0.5, 0.99)],
            }
        else:
            cells[cell] = {"clips": len(rows), "accepted": sum(row.n_matches > 0 for row in rows)}
    return cells


def _latency(asked: list[Asked]) -> dict[str, Any]:
    rows = {
        "audio body, 10 s mp3, known": [row for row in asked if (row.cell, row.body) == ("mp3 32k", "audio")],
        "fingerprint body, 10 s, known": [row for row in asked if row.body == "fingerprint"],
        "audio body, 10 s mp3, unknown (all steps)": [row for row in asked if row.cell == "unknown music"],
    }
    return {
        name: {"clips": len(cell)}
        | {
            f"p{round(100 * q)}_ms": round(1e3 * _quantile(sorted(row.seconds for row in cell), q), 1)
            for q in (0.5, 0.95)
        }
        for name, cell in rows.items()
    }


def _share(n_right: int, n: int) -> str:
    """n right with its 95 % interval (Wilson 1927)."""
    z, p = 1.96, n_right / n
    centre, half = (p + z * z / 2 / n), z * sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    low, high = ((centre + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    return f"{n_right}/{n} = {100 * p:.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def _quantile(ordered: Sequence[float], q: float) -> float:
    return float(np.quantile(ordered, q)) if len(ordered) else float("nan")


def _size(recordings: list[Recording]) -> dict[str, Any]:
    return {
        "tracks": len(recordings),
        "hours": round(sum(each.seconds for each in recordings) / 3600, 2),
        "packages": len({each.package for each in recordings}),
        "clusters (packages that share artists)": len({each.cluster for each in recordings}),
    }


def _machine() -> dict[str, Any]:
    return {
        "cpu": f"{os.cpu_count()} cores, {platform.machine()}",
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _write(report: dict[str, Any], asked: Iterable[Asked]) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "first_walk.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    with (RESULTS / "first_walk_clips.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [asdict(row) | {"right": row.right} for row in asked]
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(_relative(row) for row in rows)
    (RESULTS / "first_walk.md").write_text(_page(report), encoding="utf-8")
    print(_page(report))


def _relative(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: "/".join(Path(row[name]).parts[-4:]) for name in ("path", "top_path")}


def _page(report: dict[str, Any]) -> str:
    """The report for people: one table per question."""
    lines = ["# The whole walk on real music", ""]
    titles = {
        "machine": "Machine",
        "corpus": "Catalogue",
        "unknown": "Music that is not in the catalogue",
        "identify": "Identification (10 s clips; intervals are 95 %)",
        "formats": "The same 20 clips at other rates and channels",
        "latency": "Latency of one request, unloaded, seen by the client",
        "apart": "Stages apart, in one process",
        "ingest_http": "Ingest over HTTP",
        "ingest_cli": "Ingest with the command line, and a second run over the same files",
        "store": "Store, after the ingest",
    }
    for key, title in titles.items():
        lines += [f"## {title}", "", "| what | figure |", "|---|---|"]
        lines += [f"| {name} | {_cell(value)} |" for name, value in report[key].items()]
        lines.append("")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_cell(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return "; ".join(map(_cell, value)) or "none"
    return str(value).replace("|", "/")


if __name__ == "__main__":
    asyncio.run(main())
