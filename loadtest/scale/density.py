"""Accuracy over bytes where the index is full: fpserver at several densities, hidden among synthetic tracks.

    python -m loadtest.scale.density CORPUS [--tracks 10000] [--clips 60] [--half reporting|tuning]

In a small index most bytes are the store's, for keys and tables that are far from full; among many tracks they are
postings and peaks. Cells and densities are those of `loadtest.accuracy --bytes-curve`; lines are added to its
accuracy_bytes.*.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from fpserver.config import Config
from fpserver.fingerprint.constellation import frames_per_s
from fpserver.fingerprint.landmarks import fingerprint_of
from loadtest.accuracy import bytes_curve
from loadtest.accuracy.answers import Answer
from loadtest.accuracy.clips import studio
from loadtest.accuracy.judge import Judge
from loadtest.accuracy.peer_fpserver import guesses_of
from loadtest.accuracy.run import Heard, say
from loadtest.corpus import music, thirds
from loadtest.scale import stock
from loadtest.scale.among import Held, Said, ask_all
from loadtest.scale.heard import (
    CONFIG,
    STUDIO,
    apart,
    cells_to_ask,
    hear,
    readable_thirds,
    track_constellation,
)
from loadtest.scale.heard import Heard as Asked
from loadtest.scale.synthetic import Sources, track_among

RESULTS = Path(__file__).parent.parent / "results"


def main() -> None:
    """Measure and write."""
    args = _arguments()
    parts = readable_thirds(thirds(music(args.corpus)))
    unheard, more = apart(parts.unknown)
    known, others = parts.reporting, parts.tuning
    if args.half == "tuning":
        known, others = others, known
    catalogue, sources = [*known, *others], [*others, *more]
    STUDIO[:] = [studio(args.corpus, known, unheard, args.seed)]
    cells = cells_to_ask(args.cells)
    jobs = [(cell, i) for cell in cells for i in range(args.clips)]
    say(f"peaks of {len(catalogue) + len(more)} tracks, {len(jobs)} clips")
    with ProcessPoolExecutor(args.processes, mp_context=get_context("fork")) as pool:
        found = list(pool.map(track_constellation, [*catalogue, *more], chunksize=4))
        heard = list(pool.map(hear, jobs, chunksize=4))
    constellations = dict(zip([*catalogue, *more], found, strict=True))
    names = {i: each.name for i, each in enumerate(catalogue, 1)}
    system = f"fpserver among {args.tracks:,} synthetic tracks"
    rows = [row for row in bytes_curve.written(args.out) if not row["line"].startswith(system)]
    for strong, kept in args.densities:
        config = CONFIG.with_values(fingerprint={"strong_peaks_per_s": strong, "track_peaks_per_s": kept})

        peaks = {of: fingerprint_of(each, config.fingerprint).peaks for of, each in constellations.items()}
        track_of = partial(
            track_among,
            [peaks[each] for each in catalogue],
            Sources.of([peaks[each] for each in sources]),
            config.fingerprint,
            args.seed,
        )
        said: list[Heard] = []
        keep = partial(_keep, said, heard, names, system, 1 / frames_per_s(config.fingerprint))
        held = _ask(track_of, len(catalogue) + args.tracks, heard, keep, config, args.processes)
        mb_per_hour = held.bytes_per_hour / 1e6
        say(
            f"{strong}/{kept} peaks/s: {held.postings} postings in {held.hours:.0f} h, {mb_per_hour:.3f} MB per hour"
        )
        rows += bytes_curve.judged(
            said,
            [(cell, args.clips) for cell in cells],
            Judge([*catalogue, *parts.unknown]),
            {system: mb_per_hour},
            f"{strong}/{kept} peaks/s",
        )
    bytes_curve.write(args.out, rows)


def _ask(
    track_of: stock.TrackOf,
    n_tracks: int,
    heard: Sequence[Asked],
    keep: Callable[[int, Said | None], None],
    config: Config,
    processes: int,
) -> Held:
    """Ask all clips among so many tracks; what their index holds."""
    with tempfile.TemporaryDirectory() as folder:
        ends = [1, 1 + n_tracks]
        chunks = stock.write_all(Path(folder), track_of, ends, config.fingerprint, processes=processes)
        clips = [(i, each.hearing) for i, each in enumerate(heard)]
        asking = ask_all(chunks, clips, keep, config, Path(folder) / "data", processes=processes)
        held, _ = asyncio.run(asking)
    return held


def _keep(
    said: list[Heard],
    heard: Sequence[Asked],
    names: Mapping[int, str],
    system: str,
    frame_s: float,
    i: int,
    answer: Said | None,
) -> None:
    asked = heard[i]
    guesses = guesses_of(answer.document, names, frame_s) if answer else []
    answers = {system: Answer(system=system, clip=asked.clip.key, guesses=guesses, seconds=None)}
    said.append(Heard(clip=asked.clip, answers=answers))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--half", choices=["reporting", "tuning"], default="reporting")
    parser.add_argument("--tracks", type=int, default=10_000, help="synthetic ones")
    parser.add_argument("--clips", type=int, default=60, help="a cell")
    parser.add_argument("--cells", default=",".join(bytes_curve.CELLS), help="names, separated by commas")
    parser.add_argument(
        "--densities", type=_densities, default=bytes_curve.PEAKS_PER_S, help="strong/kept,strong/kept…"
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def _densities(text: str) -> list[tuple[int, int]]:
    pairs = [each.split("/") for each in text.split(",")]
    return [(int(strong), int(kept)) for strong, kept in pairs]


if __name__ == "__main__":
    main()
