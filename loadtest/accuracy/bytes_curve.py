"""Accuracy over bytes: fpserver and audfprint at several densities, each beside what its index takes."""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtest.accuracy import peer_audfprint, plots
from loadtest.accuracy.cells import Cell
from loadtest.accuracy.clips import Studio
from loadtest.accuracy.judge import Judge
from loadtest.accuracy.peer_fpserver import fpserver_peer
from loadtest.accuracy.run import run, say
from loadtest.accuracy.statistics import wilson
from loadtest.corpus import Recording

CELLS = ("clean_2s", "noise_-6dB_5s", "noise_-9dB_10s", "phone_0dB_10s")
# strong ones, all that a track keeps
PEAKS_PER_S = ((1, 3), (2, 6), (3, 9), (4, 12), (9, 26), (14, 40), (30, 85))
DENSITIES = ((10, 3), (20, 3), (35, 4), (50, 6), (70, 8), (100, 10))


def measure(
    args: argparse.Namespace,
    studio: Studio,
    catalogue: Sequence[Recording],
    wanted: Sequence[tuple[Cell, int]],
) -> None:
    """Ask, and write accuracy_bytes.md, .json and .png; the cells are CELLS, or those that were named.

    A system that is not asked keeps the rows that an earlier run wrote.
    """
    chosen = [(cell, n) for cell, n in wanted if args.cells or cell.name in CELLS]
    chosen = [(cell, n) for cell, n in chosen if not cell.unknown]
    names = [each.name for each in catalogue]
    judge = Judge(catalogue)
    rows = [row for row in written(args.out) if row["line"].split(", ")[0] not in args.peers]
    if "fpserver" in args.peers:
        for strong, kept in PEAKS_PER_S:
            settings = {
                "FPSERVER_FINGERPRINT__STRONG_PEAKS_PER_S": str(strong),
                "FPSERVER_FINGERPRINT__TRACK_PEAKS_PER_S": str(kept),
            }
            say(f"fpserver with {strong} strong peaks per second, {kept} in all")
            with (
                tempfile.TemporaryDirectory() as folder,
                fpserver_peer(catalogue, Path(folder) / "data", settings=settings) as peer,
            ):
                heard = run(
                    studio, [peer], chosen, catalogue=names, cache=args.cache, processes=args.processes
                )
                rows += judged(
                    heard, chosen, judge, {peer.name: peer.stored.mb_per_hour}, f"{strong}/{kept} peaks/s"
                )
    if "audfprint" in args.peers:
        variants = [
            peer_audfprint.Variant(
                name=f"audfprint {density}/{fan_out}",
                density=density,
                fan_out=fan_out,
                bucket=1000,
                search_depth=500,
                max_time_frames=65536,
            )
            for density, fan_out in DENSITIES
        ]
        for variant in variants:  # one at a time: the densest tables are large
            say(variant.name)
            audfprint = peer_audfprint.AudfprintPeer([variant], catalogue, args.cache, args.processes)
            heard = run(
                studio, [audfprint], chosen, catalogue=names, cache=args.cache, processes=args.processes
            )
            size = audfprint.mb_per_hour[variant.name]
            rows += judged(heard, chosen, judge, dict.fromkeys(audfprint.systems, size), variant.name)
    write(args.out, rows)


def written(out: Path) -> list[dict[str, Any]]:
    """The rows of an earlier run."""
    path = out / "accuracy_bytes.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def judged(
    heard: Sequence[Any],
    chosen: Sequence[tuple[Cell, int]],
    judge: Judge,
    sizes: dict[str, float],
    settings: str,
) -> list[dict[str, Any]]:
    """A row for each cell and system: what was right, with its interval, and MB per hour."""
    rows = []
    for cell, _ in chosen:
        group = [each for each in heard if each.clip.cell == cell.name]
        for system, mb_per_hour in sizes.items():
            right = sum(judge.verdict(each.clip, cell, each.answers[system]).right for each in group)
            interval = wilson(right, len(group))
            rows.append(
                {
                    "cell": cell.name,
                    "line": _line(system),
                    "settings": settings,
                    "mb_per_hour": round(mb_per_hour, 4),
                    "clips": len(group),
                    "right": right,
                    "low": round(interval.low, 4),
                    "high": round(interval.high, 4),
                }
            )
    return rows


def _line(system: str) -> str:
    if not system.startswith("audfprint"):
        return f"{system}, accepted"
    return "audfprint, first guess" if system.endswith("no floor") else "audfprint, five aligned"


def write(out: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write accuracy_bytes.md, .json and .png."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "accuracy_bytes.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    (out / "accuracy_bytes.md").write_text(page(rows), encoding="utf-8")
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in rows:
        points = panels.setdefault(row["cell"], {}).setdefault(row["line"], [])
        points.append((row["mb_per_hour"], row["right"] / row["clips"]))
    plots.byte_curves(out / "accuracy_bytes.png", panels)
    print(page(rows))


def page(rows: Sequence[dict[str, Any]]) -> str:
    """The table: a line for each system and setting, a column for each cell."""
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    lines: dict[tuple[str, str, float], dict[str, str]] = {}
    for row in rows:
        share, low, high = (100 * each for each in (row["right"] / row["clips"], row["low"], row["high"]))
        line = lines.setdefault((row["line"], row["settings"], row["mb_per_hour"]), {})
        line[row["cell"]] = f"{share:.0f} [{low:.0f}, {high:.0f}]"
    return "\n".join(
        [
            "# Accuracy over bytes",
            "",
            f"Right clips, % [95 % interval], {max(row['clips'] for row in rows)} clips a cell, at several densities "
            "of either system. fpserver: accepted at the default rate of false accepts; settings are strong peaks a "
            "second, which are paired, and all that are kept; MB with all that the store takes for them. Among "
            "synthetic tracks (`loadtest.scale.density`) the same clips are asked, and MB are of the whole index. "
            "audfprint: density and fan-out, 4 bytes a posting; a first guess answers every unknown clip, too.",
            "",
            "![curves](accuracy_bytes.png)",
            "",
            "| | settings | MB per hour | " + " | ".join(cells) + " |",
            "|---" * (3 + len(cells)) + "|",
            *(
                f"| {system} | {settings} | {mb:.2f} | "
                + " | ".join(line.get(cell, "") for cell in cells)
                + " |"
                for (system, settings, mb), line in sorted(
                    lines.items(), key=lambda each: (each[0][0], each[0][2])
                )
            ),
            "",
        ]
    )
