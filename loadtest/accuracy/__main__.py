"""How well the system hears, beside its peers, on real music: one command, one report.

    python -m loadtest.accuracy CORPUS [--size small|standard|full] [--half reporting|tuning]
    python -m loadtest.accuracy CORPUS --bytes-curve

CORPUS is a folder as `loadtest.corpus` describes it. Recordings are split by cluster into tuning, reporting and unknown
(`loadtest.corpus.thirds`); catalogued are tuning and reporting, known clips are cut from one of them (`--half`).
Peers need the extra `loadtest` (audfprint2, matplotlib), Debian's libchromaprint-tools (fpcalc) and libgsm-tools
(GSM cells). A run that is interrupted continues where it stopped; with --published, the table of an
earlier run, peers are asked only about clips that sound otherwise than in it. Writes accuracy.md, accuracy.json,
accuracy_clips.csv.gz, accuracy_snr.png and accuracy_det.png to --out; with --bytes-curve, which takes half an hour,
accuracy_bytes.*.
"""

import argparse
import csv
import gzip
import io
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpserver.config import load
from loadtest.accuracy import bytes_curve, peer_audfprint, plots
from loadtest.accuracy.alone import times_alone
from loadtest.accuracy.answers import CACHE
from loadtest.accuracy.cells import SMALL, Cell, Codec, Mix, grid
from loadtest.accuracy.clips import studio
from loadtest.accuracy.degrade import has_gsm
from loadtest.accuracy.figures import curves, figures
from loadtest.accuracy.judge import Judge, found_to_share, suspected
from loadtest.accuracy.page import page
from loadtest.accuracy.peer_fpcalc import FpcalcPeer
from loadtest.accuracy.peer_fpserver import NAME, FpserverPeer, fpserver_peer
from loadtest.accuracy.published import published
from loadtest.accuracy.run import Heard, Peer, run, say
from loadtest.accuracy.waveforms import compared
from loadtest.corpus import Recording, music, thirds

RESULTS = Path(__file__).parent.parent / "results"
PEERS = ("fpserver", "audfprint", "fpcalc")
USUAL_MB_PER_HOUR = 1.2  # that audfprint is matched to where fpserver is not asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured."""

    clips: int  # a cell
    unknown_music: int
    unknown_other: int
    tracks: int | None  # catalogued at most, of tuning and of reporting each; None: all
    alone: int  # clips asked one at a time


SIZES = {
    "small": Size(clips=8, unknown_music=40, unknown_other=20, tracks=40, alone=10),
    "standard": Size(clips=40, unknown_music=300, unknown_other=100, tracks=None, alone=50),
    "full": Size(clips=200, unknown_music=3000, unknown_other=1000, tracks=None, alone=200),
}


def main() -> None:
    """Measure and write."""
    args = _arguments()
    begin = time.monotonic()
    parts = thirds(music(args.corpus))
    n_tracks = args.tracks or SIZES[args.size].tracks
    tuning, reporting, unknown = (
        _some(part, n_tracks) for part in (parts.tuning, parts.reporting, parts.unknown)
    )
    known = reporting if args.half == "reporting" else tuning
    catalogue = [*reporting, *tuning]
    seed = args.seed + (0 if args.half == "reporting" else 1_000_000)
    say(f"{len(catalogue)} tracks to catalogue, {len(unknown)} unknown; gathering sounds")
    makes = studio(args.corpus, known, unknown, seed)
    wanted = _wanted(args)
    if args.bytes_curve:
        bytes_curve.measure(args, makes, catalogue, wanted)
        return
    with ExitStack() as stack:
        peers, fpserver = _peers(args, catalogue, stack)
        heard = run(
            makes,
            [
                each if each is fpserver or not args.published else published(args.published, each)
                for each in peers
            ],
            wanted,
            catalogue=[each.name for each in catalogue],
            cache=args.cache,
            processes=args.processes,
        )
        say("asking one clip at a time")
        n_alone = args.alone if args.alone is not None else SIZES[args.size].alone
        alone = times_alone(makes, fpserver, n_alone) if fpserver and n_alone else {}
    cells = {cell.name: cell for cell, _ in wanted}
    judge = Judge(catalogue)
    shared = found_to_share(heard, cells, judge, ours=NAME)
    judge = Judge(catalogue, shared)
    say("comparing the waveforms of clips and tracks that were accepted and are not known to be the same")
    alike = compared(makes, suspected(heard, judge, ours=NAME), cells, catalogue)
    promised = load().matching.max_false_accept_rate
    found = figures(heard, cells, judge, shared, alike, ours=NAME, promised=promised)
    sizes = {each.name: each.stored.mb_per_hour for each in peers if isinstance(each, FpserverPeer)}
    for each in peers:
        if isinstance(each, peer_audfprint.AudfprintPeer):
            sizes |= {
                f"{variant.name} (density {variant.density:g}, fan-out {variant.fan_out}, 4 B a posting)":
                each.mb_per_hour[variant.name] for variant in each.variants
            }  # fmt: skip
        elif isinstance(each, FpcalcPeer):
            sizes["fpcalc (4 B an item)"] = each.mb_per_hour
    whole = {
        "setting": _setting(args, tuning, reporting, unknown, fpserver, time.monotonic() - begin),
        "figures": found,
        "mb_per_hour": sizes,
        "store": _stored(fpserver),
        "alone": alone,
    }
    _write(args.out, whole, heard, cells, judge)


def _peers(
    args: argparse.Namespace, catalogue: Sequence[Recording], stack: ExitStack
) -> tuple[list[Peer], FpserverPeer | None]:
    peers: list[Peer] = []
    fpserver = None
    if "fpserver" in args.peers:
        say("fpserver: catalogue in")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = {name: value for name, value in os.environ.items() if name.startswith("FPSERVER_")}
        fpserver = stack.enter_context(fpserver_peer(catalogue, folder / "data", settings=settings))
        say(f"fpserver: {fpserver.stored.tracks} tracks, {fpserver.stored.mb_per_hour:.3f} MB per hour")
        peers.append(fpserver)
    if "audfprint" in args.peers:
        say("audfprint: catalogue in")
        size = fpserver.stored.mb_per_hour if fpserver else USUAL_MB_PER_HOUR
        variants = [
            peer_audfprint.DEFAULT,
            peer_audfprint.TUNED,
            peer_audfprint.matched(size, catalogue),
        ]
        peers.append(peer_audfprint.AudfprintPeer(variants, catalogue, args.cache, args.processes))
    if "fpcalc" in args.peers:
        say("fpcalc: catalogue in")
        peers.append(FpcalcPeer(catalogue, args.cache, args.processes))
    return peers, fpserver


def _some(recordings: Sequence[Recording], n: int | None) -> list[Recording]:
    """Evenly chosen; all of them where there are no more."""
    if n is None or n >= len(recordings):
        return list(recordings)
    return [recordings[i * len(recordings) // n] for i in range(n)]


def _wanted(args: argparse.Namespace) -> list[tuple[Cell, int]]:
    """(cell, clips of it)."""
    size = SIZES[args.size]
    cells = grid()
    if args.cells:
        named = args.cells.split(",")
        strange = set(named) - {cell.name for cell in cells}
        if strange:
            raise SystemExit(f"no such cells: {', '.join(sorted(strange))}")
        cells = [cell for cell in cells if cell.name in named]
    elif args.size == "small":
        cells = [cell for cell in cells if cell.name in SMALL]
    elif args.size == "standard":
        cells = [
            cell
            for cell in cells
            if cell.family == "noise" or cell.target or cell.unknown or cell.mix is not Mix.ONE
        ]
    if not has_gsm():
        skipped = [cell.name for cell in cells if cell.codec is Codec.GSM]
        if skipped:
            say(f"no GSM 06.10 tools (Debian: libgsm-tools); skipped: {', '.join(skipped)}")
        cells = [cell for cell in cells if cell.codec is not Codec.GSM]
    counts = {"": args.clips or size.clips}
    counts["music"] = args.unknown if args.unknown is not None else size.unknown_music
    counts["other"] = args.unknown // 3 if args.unknown is not None else size.unknown_other
    others = counts[""] if args.others is None else args.others
    wanted = [(cell, counts[cell.unknown] if cell.target or cell.unknown else others) for cell in cells]
    return [(cell, n) for cell, n in wanted if n]


def _stored(fpserver: FpserverPeer | None) -> dict[str, Any]:
    if fpserver is None:
        return {}
    stored = fpserver.stored
    return {name: getattr(stored, name) for name in stored.__slots__}


def _setting(
    args: argparse.Namespace,
    tuning: Sequence[Recording],
    reporting: Sequence[Recording],
    unknown: Sequence[Recording],
    fpserver: FpserverPeer | None,
    seconds: float,
) -> list[str]:
    lines = [
        f"Catalogue: {_size(reporting)} for reporting, {_size(tuning)} for tuning. Known clips are cut from "
        f"the {args.half} tracks, unknown music from {_size(unknown)}. No cluster of packages that share "
        f"artists is in two of them.",
        "Every system hears the same 16-bit samples. Rooms are simulated (phone) or measured responses of "
        "loudspeaker cabinets, halls and a street (phone_measured); loudspeaker, microphone and gain are "
        "simulated. Tempo and pitch: "
        "FFmpeg's atempo. Signal-to-noise ratios: RMS over the clip, 130-5000 Hz.",
        f"Size {args.size}, seed {args.seed}, {os.cpu_count()} cores ({platform.machine()}), Python "
        f"{platform.python_version()}, {time.strftime('%Y-%m-%d')}, {seconds / 60:.0f} min.",
    ]
    if args.published:
        lines.append(
            "Peers: answers about clips of the same samples are those of an earlier run, of which the first guess and "
            "no time is known; all others were asked."
        )
    if fpserver:
        stored = fpserver.stored
        lines.append(
            f"Store: {stored.used_bytes / 1e6:.1f} MB more in use with the catalogue ({stored.tracks} tracks, "
            f"{stored.hours:.1f} h), {stored.mb_per_hour:.3f} MB per hour; the keys alone "
            f"{stored.keys_bytes / 1e6:.1f} MB ({_by_kind(stored.keys_bytes_by_kind)}); {stored.postings} "
            f"postings."
        )
    return lines


def _by_kind(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {size / 1e6:.1f}" for kind, size in sorted(sizes.items()))


def _size(recordings: Sequence[Recording]) -> str:
    hours = sum(each.seconds for each in recordings) / 3600
    clusters = len({each.cluster for each in recordings})
    return f"{len(recordings)} tracks ({hours:.1f} h, {clusters} clusters)"


def _write(
    out: Path, whole: Mapping[str, Any], heard: Sequence[Heard], cells: Mapping[str, Cell], judge: Judge
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "accuracy.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    (out / "accuracy.md").write_text(page(whole), encoding="utf-8")
    _write_clips(out / "accuracy_clips.csv.gz", _rows(heard, cells, judge))
    panels, det = curves(heard, cells, judge)
    try:
        if panels:
            plots.snr_curves(out / "accuracy_snr.png", panels)
        if any(unknown for _, unknown in det.values()):
            plots.det_curves(out / "accuracy_det.png", det)
    except ImportError as error:
        say(f"no pictures: {error}")
    print((out / "accuracy.md").read_text(encoding="utf-8"))


def _write_clips(path: Path, rows: Iterator[list[Any]]) -> None:
    """A table, compressed; the same rows give the same bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["cell", "number", "kind", "sha256", "truth", "start_s", "system", "right", "first_right", "said"]
    )
    writer.writerows(rows)
    with path.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(text.getvalue().encode())


def _rows(heard: Sequence[Heard], cells: Mapping[str, Cell], judge: Judge) -> Iterator[list[Any]]:
    for each in heard:
        clip = each.clip
        for name, answer in each.answers.items():
            verdict = judge.verdict(clip, cells[clip.cell], answer)
            n_told = 2 if name == NAME else 1
            said = "; ".join(
                f"{'accepted' if guess.accepted else 'weighed'} {guess.track} @{guess.offset_s or 0:.2f} "
                f"score {guess.score:.3f} speed {guess.speed:g} pitch {guess.pitch:g}"
                for guess in answer.guesses[:n_told]
            )
            yield [
                clip.cell,
                clip.number,
                clip.kind,
                clip.sha256[:16],
                " + ".join(part.track for part in clip.parts),
                " + ".join(f"{part.start_s:.3f}" for part in clip.parts),
                name,
                int(verdict.right),
                int(verdict.first_right),
                said,
            ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--size", choices=SIZES, help="3 minutes (usual), half an hour (for bytes), hours")
    parser.add_argument("--half", choices=("reporting", "tuning"), default="reporting")
    parser.add_argument("--clips", type=int, help="a cell")
    parser.add_argument("--others", type=int, help="clips of a cell without a target; without this as many")
    parser.add_argument("--unknown", type=int, help="clips of unknown music; a third as many of other sounds")
    parser.add_argument("--cells", help="names, separated by commas")
    parser.add_argument("--tracks", type=int, help="of each part at most")
    parser.add_argument("--alone", type=int, help="clips asked one at a time, for times")
    parser.add_argument("--peers", default=",".join(PEERS), help="separated by commas")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument(
        "--published", type=Path, help="accuracy_clips.csv.gz, to take the peers' answers from"
    )
    parser.add_argument("--cache", type=Path, default=CACHE, help="where answers are kept")
    parser.add_argument("--bytes-curve", action="store_true", help="accuracy over bytes instead")
    args = parser.parse_args()
    args.size = args.size or ("standard" if args.bytes_curve else "small")
    args.peers = args.peers.split(",")
    strange = set(args.peers) - set(PEERS)
    if strange:
        parser.error(f"no such peers: {', '.join(sorted(strange))}")
    return args


if __name__ == "__main__":
    main()
