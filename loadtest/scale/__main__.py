"""Hide the catalogue of a corpus among synthetic tracks, and ask the same clips at every size.

    python -m loadtest.scale CORPUS [--tracks 0,20000,100000] [--clips 60] [--warped 60]

The catalogue is the corpus's tracks for reporting and for tuning; clips are cut from those for reporting, unknown ones
from half of those in no catalogue; synthetic tracks are made of all others. Stores of its own, in folders for temporary
files: some 6 GB of memory and 7 GB of files for 100,000 synthetic tracks. A run asks only what none before it asked of
the same catalogue. Writes scale.md, scale.json, scale_clips.csv.gz and scale.png to loadtest/results/.
"""

import argparse
import asyncio
import csv
import gzip
import io
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from fpserver.fingerprint.constellation import frames_per_s
from fpserver.terms import TrackPeaks
from loadtest import report
from loadtest.accuracy.answers import CACHE, KeptFile, digest
from loadtest.accuracy.clips import studio
from loadtest.accuracy.judge import Judge
from loadtest.accuracy.peer_fpserver import guesses_of, source_digest
from loadtest.accuracy.run import say
from loadtest.corpus import Thirds, music, thirds
from loadtest.scale import fitting, stock
from loadtest.scale import page as pages
from loadtest.scale.among import Said, ask_all
from loadtest.scale.figures import Asked, figures, judged, key_of, promises
from loadtest.scale.heard import (
    CONFIG,
    STUDIO,
    Heard,
    apart,
    cells_to_ask,
    hear,
    readable_thirds,
    track_peaks,
)
from loadtest.scale.synthetic import Sources, track_among

RESULTS = Path(__file__).parent.parent / "results"


def main() -> None:
    """Measure and write."""
    args = _arguments()
    begin = time.perf_counter()
    parts = readable_thirds(thirds(music(args.corpus)))
    real = [*parts.reporting, *parts.tuning]
    cells = cells_to_ask(args.cells)
    say(f"fingerprints of {len(real)} tracks, and of {len(parts.unknown)} for the fit")
    unheard, more = apart(parts.unknown)
    STUDIO[:] = [studio(args.corpus, parts.reporting, unheard, args.seed)]
    with ProcessPoolExecutor(args.processes, mp_context=get_context("fork")) as pool:
        peaks = list(pool.map(track_peaks, [*real, *parts.unknown], chunksize=4))
        jobs = [(cell, i) for cell in cells for i in range(args.warped if cell.warped else args.clips)]
        say(f"{len(cells)} cells, {len(jobs)} clips")
        heard = list(pool.map(hear, jobs, chunksize=4))
    peaks_of = dict(zip([each.path for each in [*real, *parts.unknown]], peaks, strict=True))
    sources = [peaks_of[each.path] for each in [*parts.tuning, *more]]
    material = fitting.Material(
        sources=sources,
        reporting=peaks[: len(parts.reporting)],
        others=peaks[len(parts.reporting) :],
        clusters=[each.cluster for each in [*parts.tuning, *parts.unknown]],
    )
    known = [each.hearing for each in heard if each.clip.parts and each.hearing is not None]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        chunks = _catalogue(work / "stock", peaks[: len(real)], Sources.of(sources), args)
        fit = fitting.measured(work / "fit", material, known, CONFIG, seed=args.seed)
        say("fit measured")
        names = {i: each.name for i, each in enumerate(real, 1)}
        names |= {len(real) + i: f"synthetic {i}" for i in range(1, args.tracks[-1] + 1)}
        judge = Judge([*real, *parts.unknown])
        catalogue = [[each.name for each in some] for some in (real, parts.tuning, more)]
        setting = (source_digest(), CONFIG, args.seed, catalogue)
        kept = KeptFile(args.cache / f"scale-{digest(*setting)}.jsonl", Asked, "key")
        held: dict[str, Any] = {}
        for n in args.tracks:
            some = stock.up_to(chunks, len(real) + n)
            todo = [
                (i, each.hearing)
                for i, each in enumerate(heard)
                if key_of(n, each.clip.key) not in kept.known
            ]
            answers = partial(_keep, heard, kept=kept, names=names, judge=judge, synthetic=n)
            holds, load_s = asyncio.run(
                ask_all(some, todo, answers, CONFIG, work / f"store{n}", processes=args.processes)
            )
            held[str(n)] = asdict(holds) | {"bytes_per_hour": holds.bytes_per_hour, "load_s": load_s}
            say(f"{n} synthetic tracks: {holds.bytes / 1e6:.0f} MB, loaded in {load_s:.0f} s, clips asked")
        asked = [kept.known[key_of(n, each.clip.key)] for n in args.tracks for each in heard]
    sizes = figures(asked, cells)
    whole = {
        "setting": _setting(args, parts, time.perf_counter() - begin),
        "promises": promises(sizes),
        "sizes": sizes,
        "held": held,
        "fit": fit,
    }
    _write(args.out, whole, asked, len(real))


def _catalogue(
    folder: Path, real: Sequence[TrackPeaks], sources: Sources, args: argparse.Namespace
) -> list[stock.Chunk]:
    """Chunks of the real tracks and of the largest number of synthetic ones."""
    begin = time.perf_counter()
    folder.mkdir()
    n_real = len(real)
    chunks = stock.write_all(
        folder,
        partial(track_among, real, sources, CONFIG.fingerprint, args.seed),
        [1, *(n_real + 1 + n for n in dict.fromkeys([0, *args.tracks]))],
        CONFIG.fingerprint,
        processes=args.processes,
    )
    n_postings = sum(each.n_postings for each in chunks)
    say(
        f"{args.tracks[-1]} synthetic tracks made, {n_postings} postings, {time.perf_counter() - begin:.0f} s"
    )
    return chunks


def _keep(
    heard: Sequence[Heard],
    i: int,
    said: Said | None,
    *,
    kept: KeptFile[Asked],
    names: Mapping[int, str],
    judge: Judge,
    synthetic: int,
) -> None:
    frame_s = 1 / frames_per_s(CONFIG.fingerprint)
    kept.add(
        judged(
            heard[i].clip,
            heard[i].cell,
            guesses_of(said.document, names, frame_s) if said else [],
            judge,
            names,
            synthetic=synthetic,
            steps=said.steps if said else [],
            timings_s=said.timings_s if said else {},
            degraded=said.degraded if said else False,
        )
    )


def _setting(args: argparse.Namespace, parts: Thirds, seconds: float) -> list[str]:
    unheard, more = apart(parts.unknown)
    hours = sum(each.seconds for each in [*parts.reporting, *parts.tuning]) / 3600
    return [
        f"{len(parts.reporting) + len(parts.tuning)} real tracks ({hours:.1f} h), known clips cut from "
        f"{len(parts.reporting)} of them; unknown clips from {len(unheard)} tracks in no catalogue. The same "
        f"{args.clips} clips a cell ({args.warped} at another speed, tempo or pitch) at every size, through the "
        f"server's own walk, {args.processes} at a time.",
        "A synthetic track has the length of a real one and is spliced from parts of real ones, each backwards, at a "
        "tempo of its own, a quarter of them moved by one or two semitones. They are made of "
        f"{len(parts.tuning) + len(more)} tracks of other clusters than those of any clip.",
        f"Seed {args.seed}, {report.machine()}, {seconds / 60:.0f} min.",
    ]


def _write(out: Path, whole: Mapping[str, Any], asked: Sequence[Asked], n_real: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "scale.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    (out / "scale.md").write_text(pages.page(whole), encoding="utf-8")
    rows = [_row(each) for each in asked]
    with (
        (out / "scale_clips.csv.gz").open("wb") as raw,
        gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed,
        io.TextIOWrapper(packed, newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    try:
        pages.plot(out / "scale.png", whole["sizes"], n_real)
    except ImportError as error:
        say(f"no picture: {error}")
    print((out / "scale.md").read_text(encoding="utf-8"))


def _row(asked: Asked) -> dict[str, Any]:
    return {
        "synthetic": asked.synthetic,
        "cell": asked.cell,
        "number": asked.number,
        "truth": asked.truth,
        "right": int(asked.right),
        "first_right": int(asked.first_right),
        "wrong": "; ".join(asked.wrong),
        "best": asked.best,
        "ended_in": asked.steps[-1]["step"] if asked.steps else "",
        "lookups": asked.lookups,
        "postings": asked.postings,
        "milliseconds": round(1e3 * asked.seconds),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--tracks", default="0,20000,100000", help="synthetic ones, by size, with commas")
    parser.add_argument("--clips", type=int, default=60, help="a cell")
    parser.add_argument(
        "--warped", type=int, help="clips a cell at another speed, tempo or pitch; else as many"
    )
    parser.add_argument("--cells", help="names, separated by commas")
    parser.add_argument("--processes", type=int, default=2, help="that ask; 1 where times matter")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder for what was asked")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    args.warped = args.clips if args.warped is None else args.warped
    args.tracks = sorted({int(each) for each in args.tracks.split(",")})
    return args


if __name__ == "__main__":
    main()
