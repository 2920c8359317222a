"""How fast ready fingerprints come in: `fpserver import` of a file of synthetic tracks, as a user runs it.

    python -m loadtest.bulk_load CORPUS [--tracks 5000]

Synthetic tracks (`loadtest.scale.synthetic`) are made of those of the corpus that no catalogue holds. The file is read
into an empty store of its own, which keeps an append-only file. Seconds are of the whole command, from the start of
Python to the end of the store. Writes bulk_load.md and .json to loadtest/results/.
"""

import argparse
import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, BinaryIO

from fpserver.exchange import MAGIC, Footer, Header, framed, record_of
from fpserver.fingerprint.constellation import frames_per_s
from fpserver.fingerprint.landmarks import track_landmarks
from fpserver.fingerprint.stamp import stamp
from fpserver.terms import Metadata, Track, TrackStatus
from loadtest import report
from loadtest.accuracy.run import say
from loadtest.corpus import music, thirds
from loadtest.scale.heard import CONFIG, readable_thirds, track_peaks
from loadtest.scale.synthetic import Sources, synthetic

SEED = 1


def main() -> None:
    """Measure and write."""
    args = report.arguments(__doc__, tracks=5000).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tracks.fpcatalogue"
        made = make_file(file, args)
        say(f"{made['postings']} postings of {args.tracks} tracks, {made['file_mb']:.0f} MB")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begin = time.monotonic()
        command = [
            sys.executable,
            "-m",
            "fpserver",
            "import",
            str(file),
            "--data",
            str(Path(folder) / "data"),
        ]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        seconds = time.monotonic() - begin
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if not told.startswith(f"tracks: {args.tracks} indexed"):
        raise RuntimeError(f"not all {args.tracks} tracks came in: {told}")
    found = made | {
        "seconds": round(seconds, 1),
        "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        **report.rates(made, seconds),
    }
    _write(found)


def make_file(file: Path, args: argparse.Namespace) -> dict[str, Any]:
    """A file as `fpserver export` writes it; what is in it."""
    unknown = readable_thirds(thirds(music(args.corpus))).unknown
    with ProcessPoolExecutor(args.processes, mp_context=get_context("fork")) as pool:
        sources = Sources.of(list(pool.map(track_peaks, unknown, chunksize=4)))
    with file.open("wb") as out, ProcessPoolExecutor(args.processes, mp_context=get_context("fork")) as pool:
        out.write(MAGIC + framed(Header(stamp=stamp(CONFIG.fingerprint))))
        made = written(out, pool.map(partial(_frame, sources), range(1, args.tracks + 1), chunksize=50))
        out.write(framed(Footer(n_tracks=args.tracks)))
    return made | {"file_mb": file.stat().st_size / 1e6}


def written(out: BinaryIO, made: Iterable[tuple[bytes, int, int]]) -> dict[str, Any]:
    """Write tracks, each with its postings and spectrogram frames; how much they are together."""
    n_tracks = n_postings = n_frames = 0
    for packed, postings, frames in made:
        out.write(packed)
        n_tracks, n_postings, n_frames = n_tracks + 1, n_postings + postings, n_frames + frames
    hours = n_frames / frames_per_s(CONFIG.fingerprint) / 3600
    return {"tracks": n_tracks, "hours": round(hours, 1), "postings": n_postings}


def _frame(sources: Sources, number: int) -> tuple[bytes, int, int]:
    """A synthetic track as a frame of the file, its postings and spectrogram frames."""
    peaks = synthetic(sources, number, seed=SEED, config=CONFIG.fingerprint)
    track = Track(
        track_id=number,
        status=TrackStatus.INDEXED,
        metadata=Metadata(title=f"synthetic {number}"),
        source="",
        place="",
        content_sha256=hashlib.sha256(str(number).encode()).hexdigest(),
        created_at=0.0,
        updated_at=0.0,
        duration_s=peaks.n_frames / frames_per_s(CONFIG.fingerprint),
    )
    n_postings = len(track_landmarks(peaks, CONFIG.fingerprint))
    return framed(record_of(track, peaks)), n_postings, peaks.n_frames


def _write(found: dict[str, Any]) -> None:
    lines = [
        "# Bulk load of ready fingerprints",
        "",
        f"`fpserver import` of {found['tracks']:,} synthetic tracks ({found['hours']:,} h, {found['postings']:,} "
        f"postings, a file of {found['file_mb']:.0f} MB) into an empty store of its own. {found['setting']}.",
        "",
        "| seconds, start and stop of all included | postings a second | hours of audio a second | processor time, s |",
        "|---" * 4 + "|",
        f"| {found['seconds']} | {found['postings_per_s']:,} | {found['hours_per_s']} | {found['cpu_s']} |",
        "",
    ]
    report.write("bulk_load", found, "\n".join(lines))


if __name__ == "__main__":
    main()
