"""From verdicts to the report: figures first (`figures`), then the page for people (`page`)."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from loadtest.accuracy.cells import Cell
from loadtest.accuracy.judge import Judge, Pair, Verdict, suspected
from loadtest.accuracy.run import Heard
from loadtest.accuracy.statistics import (
    Interval,
    clopper_pearson,
    half_point,
    mcnemar,
    paired_difference,
    threshold_at,
    wilson,
)

FALSE_ACCEPTS = (0.01, 0.001)
SPEED_LIMIT = 0.005
OFFSET_LIMITS_S = (0.1, 0.5)
HALF_TARGETS_DB = {
    ("noise", 5): -15, ("noise", 10): -18, ("noise", 15): -18,
    ("broadband_gsm", 5): -8, ("broadband_gsm", 10): -13, ("broadband_gsm", 15): -15,
}  # fmt: skip
FALSE_ACCEPT_GOALS = {"unknown_music_5s": "≤ 3 in 3,000", "unknown_other_5s": "0 in 1,000"}


def figures(
    heard: Sequence[Heard],
    cells: Mapping[str, Cell],
    judge: Judge,
    shared: Counter[Pair],
    *,
    ours: str,
    promised: float,
) -> dict[str, Any]:
    """Everything that is measured on answers, by cell and system; `shared` is only told of, the judge "
    "knows it."""
    systems = list(heard[0].answers)
    ours = ours if ours in systems else systems[0]
    by_cell: dict[str, list[Heard]] = defaultdict(list)
    for each in heard:
        by_cell[each.clip.cell].append(each)
    unknown = [each for name, cell in by_cell.items() if cells[name].unknown == "music" for each in cell]
    thresholds = {
        rate: {name: threshold_at([_top(each, name) for each in unknown], rate) for name in systems}
        for rate in FALSE_ACCEPTS
    }
    known = {name: group for name, group in by_cell.items() if not cells[name].unknown}
    return {
        "ours": ours,
        "systems": systems,
        "cells": {
            name: _cell(cells[name], group, judge, systems, ours, thresholds) for name, group in known.items()
        },
        "half_points": _half_points(known, cells, judge, systems),
        "unknown": {
            name: _unknown(group, judge, systems) for name, group in by_cell.items() if cells[name].unknown
        },
        "promised_false_accept_rate": promised,
        "thresholds": {str(rate): each for rate, each in thresholds.items()},
        "work": _work(by_cell, ours),
        "peer_seconds": {name: _spread([each.answers[name].seconds for each in heard]) for name in systems},
        "found_to_share": [[*pair, n] for pair, n in shared.most_common()],
        "accepted_wrong": [
            {
                "clip": f"{clip.cell} {clip.number}",
                "kind": clip.kind,
                "truth": [part.track for part in clip.parts],
                "said": guess.track,
                "false_accept_rate": guess.false_accept_rate,
                "audfprint_agrees": agrees,
            }
            for clip, guess, agrees in suspected(heard, judge, ours=ours)
        ],
    }


def curves(
    heard: Sequence[Heard], cells: Mapping[str, Cell], judge: Judge
) -> tuple[dict[str, dict[str, list[tuple[float, float]]]], dict[str, tuple[list[float], list[float]]]]:
    """(points of the SNR curves by panel and system, (known, unknown) scores of the DET curves by system)."""
    systems = list(heard[0].answers)
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for (family, seconds), groups in _snr_groups(_grouped(heard), cells).items():
        panels[f"{family.replace('_', ' then ')}, {seconds:g} s"] = {
            name: [
                (
                    cell.snr_db,
                    float(np.mean([judge.verdict(e.clip, cell, e.answers[name]).right for e in group])),
                )
                for cell, group in groups
            ]
            for name in systems
        }
    det = {}
    for name in systems:
        known, unknown = [], []
        for each in heard:
            cell = cells[each.clip.cell]
            verdict = judge.verdict(each.clip, cell, each.answers[name])
            if cell.unknown == "music":
                unknown.append(verdict.score)
            elif not cell.unknown and not cell.warped:
                known.append(verdict.score if verdict.first_right else float("-inf"))
        det[name] = known, unknown
    return panels, det


def page(report: Mapping[str, Any]) -> str:
    """The report in Markdown."""
    figures, ours = report["figures"], report["figures"]["ours"]
    lines = ["# How well it hears", "", *_setting(report), ""]
    lines += _cells_table(figures, ours)
    lines += _peers_table(figures, ours)
    lines += _thresholds_table(figures)
    lines += _half_table(figures)
    lines += _warp_table(figures, ours)
    lines += _unknown_table(figures)
    lines += _cost_tables(report)
    lines += _pairs(figures)
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------- figures


def _cell(
    cell: Cell,
    group: Sequence[Heard],
    judge: Judge,
    systems: Sequence[str],
    ours: str,
    thresholds: Mapping[float, Mapping[str, float]],
) -> dict[str, Any]:
    verdicts = {name: _verdicts(group, cell, judge, name) for name in systems}
    clusters = [each.clip.parts[0].track for each in group]
    found: dict[str, Any] = {"n": len(group), "family": cell.family, "target": cell.target, "systems": {}}
    for name in systems:
        own, right = verdicts[name], [each.right for each in verdicts[name]]
        errors = [each.offset_error_s for each in own if each.offset_error_s is not None]
        found["systems"][name] = {
            "right": sum(right),
            "interval": _rounded(wilson(sum(right), len(right))),
            "some_right": sum(each.some_right for each in own),
            "first_right": sum(each.first_right for each in own),
            "accepted_wrong": sum(each.accepted_wrong for each in own),
            "offsets_judged": len(errors),
            "offset_within": {str(limit): sum(e <= limit for e in errors) for limit in OFFSET_LIMITS_S},
            "right_at": {
                str(rate): sum(
                    judge.verdict(each.clip, cell, each.answers[name], threshold=at[name]).right
                    for each in group
                )
                for rate, at in thresholds.items()
            },
        }
        if name != ours:
            found["systems"][name]["ours_less_it"] = _rounded(
                paired_difference([each.right for each in verdicts[ours]], right, clusters)
            )
            found["systems"][name]["only_ours_only_it"] = mcnemar(
                [each.right for each in verdicts[ours]], right
            )
    if cell.warped or cell.family == "clean":
        found["warp"] = _warp(verdicts[ours])
    return found


def _warp(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    right = [each for each in verdicts if each.speed_error is not None]
    errors = {
        "speed": [abs(each.speed_error) for each in right if each.speed_error is not None],
        "pitch": [abs(each.pitch_error) for each in right if each.pitch_error is not None],
    }
    return {"right": len(right)} | {
        name: {
            "within": sum(error <= SPEED_LIMIT for error in values),
            "median_error": round(float(np.median(values)), 5) if values else None,
        }
        for name, values in errors.items()
    }


def _half_points(
    known: Mapping[str, Sequence[Heard]], cells: Mapping[str, Cell], judge: Judge, systems: Sequence[str]
) -> list[dict[str, Any]]:
    rows = []
    for (family, seconds), groups in _snr_groups(known, cells).items():
        snr = [cell.snr_db for cell, group in groups for _ in group]
        clusters = [each.clip.parts[0].track for _, group in groups for each in group]
        row: dict[str, Any] = {
            "family": family,
            "seconds": seconds,
            "target_db": HALF_TARGETS_DB.get((family, int(seconds))),
            "systems": {},
        }
        for name in systems:
            verdicts = [each for cell, group in groups for each in _verdicts(group, cell, judge, name)]
            fitted = half_point(snr, [each.right for each in verdicts], clusters)
            row["systems"][name] = _rounded(fitted) if fitted else None
        rows.append(row)
    return rows


def _snr_groups(
    known: Mapping[str, Sequence[Heard]], cells: Mapping[str, Cell]
) -> dict[tuple[str, float], list[tuple[Cell, Sequence[Heard]]]]:
    """Noise cells by family and length, where there are at least three ratios."""
    groups: dict[tuple[str, float], list[tuple[Cell, Sequence[Heard]]]] = defaultdict(list)
    for name, group in known.items():
        if cells[name].noise != "none" and not cells[name].unknown:
            groups[cells[name].family, cells[name].seconds].append((cells[name], group))
    return {key: rows for key, rows in groups.items() if len(rows) >= 3}


def _unknown(group: Sequence[Heard], judge: Judge, systems: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"n": len(group), "kinds": dict(Counter(each.clip.kind for each in group))}
    for name in systems:
        accepted = [each for each in group if any(guess.accepted for guess in each.answers[name].guesses)]
        found[name] = {
            "accepted": len(accepted),
            "interval": _rounded(clopper_pearson(len(accepted), len(group)), 6),
            "by_kind": dict(Counter(each.clip.kind for each in accepted)),
        }
    return found


def _work(by_cell: Mapping[str, Sequence[Heard]], ours: str) -> dict[str, Any]:
    """Look-ups and postings of the steps, and times by stage, by cell."""
    work: dict[str, Any] = {}
    for name, group in by_cell.items():
        answers = [each.answers[ours] for each in group if ours in each.answers]
        steps: dict[str, list[dict[str, Any]]] = defaultdict(list)
        stages: dict[str, list[float]] = defaultdict(list)
        for answer in answers:
            for step in answer.detail.get("steps", []):
                steps[step.get("step", "?")].append(step)
            for stage, ms in answer.detail.get("timings_ms", {}).items():
                stages[stage].append(ms)
        work[name] = {
            "steps": {
                step: {
                    "clips": len(taken),
                    "look_ups": _spread([each.get("n_hashes", 0) for each in taken]),
                    "postings": _spread([each.get("n_postings", 0) for each in taken]),
                }
                for step, taken in steps.items()
            },
            "look_ups": _spread([_total(answer.detail, "n_hashes") for answer in answers]),
            "postings": _spread([_total(answer.detail, "n_postings") for answer in answers]),
            "stages_ms": {stage: _spread(values) for stage, values in stages.items()},
        }
    return work


def _total(detail: Mapping[str, Any], key: str) -> int:
    return sum(step.get(key, 0) for step in detail.get("steps", []))


def _grouped(heard: Sequence[Heard]) -> dict[str, list[Heard]]:
    groups: dict[str, list[Heard]] = defaultdict(list)
    for each in heard:
        groups[each.clip.cell].append(each)
    return groups


def _verdicts(group: Sequence[Heard], cell: Cell, judge: Judge, system: str) -> list[Verdict]:
    return [judge.verdict(each.clip, cell, each.answers[system]) for each in group]


def _top(heard: Heard, system: str) -> float:
    guesses = heard.answers[system].guesses
    return guesses[0].score if guesses else float("-inf")


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    return {
        "median": round(float(np.median(values)), 4),
        "p99": round(float(np.quantile(values, 0.99)), 4),
        "max": round(float(max(values)), 4),
    }


def _rounded(interval: Interval, digits: int = 4) -> dict[str, float]:
    return {name: round(value, digits) for name, value in asdict(interval).items()}


# ---------------------------------------------------------------- page


def _setting(report: Mapping[str, Any]) -> list[str]:
    return [f"{line}  " for line in report["setting"]]


def _cells_table(figures: Mapping[str, Any], ours: str) -> list[str]:
    lines = [
        f"## {ours}, cell by cell",
        "",
        "Right: the right track is accepted at the default rate of false accepts; of two tracks, both (at "
        "least "
        "one in brackets). First: it is named first, accepted or not. Offsets: of those named right whose "
        "place is judged. "
        "Intervals are at 95 % (Wilson).",
        "",
        "| cell | clips | target % | right % | interval | first % | wrong accepted | offset ≤ 0.1 s "
        "| ≤ 0.5 s | |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, cell in figures["cells"].items():
        own, n = cell["systems"][ours], cell["n"]
        target = cell["target"]
        some = f" ({_percent(own['some_right'], n)})" if cell["family"] == "several" else ""
        missed = target is not None and own["right"] / n < target
        lines.append(
            f"| {name} | {n} | {'' if target is None else f'{100 * target:g}'} | "
            f"{_percent(own['right'], n)}{some} "
            f"| {100 * own['interval']['low']:.1f}-{100 * own['interval']['high']:.1f} "
            f"| {_percent(own['first_right'], n)} | {own['accepted_wrong']} "
            f"| {_of(own['offset_within']['0.1'], own['offsets_judged'])} "
            f"| {_of(own['offset_within']['0.5'], own['offsets_judged'])} | "
            f"{'below target' if missed else ''} |"
        )
    return [*lines, ""]


def _peers_table(figures: Mapping[str, Any], ours: str) -> list[str]:
    others = [name for name in figures["systems"] if name != ours]
    if not others:
        return []
    lines = [
        f"## {ours} beside its peers",
        "",
        f"What each has right on the same clips, in %, and {ours}'s share less its share in points, with "
        f"the interval of "
        "the paired difference (bootstrap over tracks). Right means accepted by the system's own rule; "
        "fpcalc has none "
        "and “no floor” accepts everything, unknown clips too: there the first guess counts. **Bold: we "
        "lose.**",
        "",
        f"| cell | {ours} | {' | '.join(others)} |",
        "|---" * (len(others) + 2) + "|",
    ]
    for name, cell in figures["cells"].items():
        row = []
        for other in others:
            its = cell["systems"][other]
            difference = its["ours_less_it"]
            low, high = 100 * difference["low"], 100 * difference["high"]
            text = f"{_percent(its['right'], cell['n'])} ({100 * difference['value']:+.0f}: {low:+.0f} … {high:+.0f})"
            row.append(f"**{text}**" if difference["value"] < 0 else text)
        lines.append(
            f"| {name} | {_percent(cell['systems'][ours]['right'], cell['n'])} | {' | '.join(row)} |"
        )
    losing = [
        f"{name} against {other}"
        for name, cell in figures["cells"].items()
        for other in others
        if cell["systems"][other]["ours_less_it"]["value"] < 0
    ]
    return [*lines, "", f"Cells that we lose: {'; '.join(losing) or 'none'}.", ""]


def _thresholds_table(figures: Mapping[str, Any]) -> list[str]:
    systems = figures["systems"]
    lines = ["## All at the same rate of false accepts", ""]
    for rate in FALSE_ACCEPTS:
        n_unknown = sum(each["n"] for name, each in figures["unknown"].items() if "music" in name)
        if n_unknown * rate < 1:
            lines += [f"At {rate:.1%}: {n_unknown} unknown music clips are too few to set a threshold.", ""]
            continue
        lines += [
            f"Right and accepted, %, each system at the score that {rate:.1%} of {n_unknown} unknown music "
            f"clips exceed:",
            "",
            f"| cell | {' | '.join(systems)} |",
            "|---" * (len(systems) + 1) + "|",
        ]
        for name, cell in figures["cells"].items():
            shares = [_percent(cell["systems"][each]["right_at"][str(rate)], cell["n"]) for each in systems]
            lines.append(f"| {name} | {' | '.join(shares)} |")
        lines.append("")
    return lines


def _half_table(figures: Mapping[str, Any]) -> list[str]:
    if not figures["half_points"]:
        return []
    systems = figures["systems"]
    lines = [
        "## The ratio at which half is right, dB",
        "",
        "A logistic curve per noise and length, with a bootstrap interval over tracks; a dash where the "
        "measured ratios do "
        "not enclose the half.",
        "",
        f"| noise | clip | target | {' | '.join(systems)} |",
        "|---" * (len(systems) + 3) + "|",
    ]
    for row in figures["half_points"]:
        values = [
            "-" if (half := row["systems"][name]) is None
            else f"{half['value']:.1f} ({half['low']:.1f} … {half['high']:.1f})"
            for name in systems
        ]  # fmt: skip
        target = "" if row["target_db"] is None else row["target_db"]
        lines.append(f"| {row['family']} | {row['seconds']:g} s | {target} | {' | '.join(values)} |")
    return [*lines, ""]


def _warp_table(figures: Mapping[str, Any], ours: str) -> list[str]:
    rows = {name: cell["warp"] for name, cell in figures["cells"].items() if "warp" in cell}
    if not rows:
        return []
    lines = [
        f"## Speed and pitch as {ours} reports them",
        "",
        f"Among the clips that are right: how many factors lie within {SPEED_LIMIT:.1%} of the true ones.",
        "",
        "| cell | right | speed within | median error | pitch within | median error |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        speed, pitch = row["speed"], row["pitch"]
        lines.append(
            f"| {name} | {row['right']} | {_of(speed['within'], row['right'])} | "
            f"{_share(speed['median_error'])} "
            f"| {_of(pitch['within'], row['right'])} | {_share(pitch['median_error'])} |"
        )
    return [*lines, ""]


def _unknown_table(figures: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Unknown clips that were accepted",
        "",
        f"Promised by default: {figures['promised_false_accept_rate']:g} a clip. Intervals after Clopper "
        f"and Pearson.",
        "",
        "| clips | of | goal | system | accepted | rate | interval | kinds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, cell in figures["unknown"].items():
        for system in figures["systems"]:
            own, interval = cell[system], cell[system]["interval"]
            kinds = ", ".join(f"{kind} {n}" for kind, n in own["by_kind"].items())
            goal = FALSE_ACCEPT_GOALS.get(name, "") if system == figures["ours"] else ""
            lines.append(
                f"| {name} | {cell['n']} | {goal} | {system} | {own['accepted']} | "
                f"{100 * interval['value']:.3f} % "
                f"| {100 * interval['low']:.3f}-{100 * interval['high']:.3f} % | {kinds} |"
            )
    return [*lines, ""]


def _cost_tables(report: Mapping[str, Any]) -> list[str]:
    figures = report["figures"]
    lines = ["## Bytes", "", "| index | MB per hour of audio |", "|---|---|"]
    lines += [f"| {name} | {value:.3f} |" for name, value in report["mb_per_hour"].items()]
    lines += ["", "## Look-ups and postings read for a clip", ""]
    lines += [
        "| cell | look-ups, median | max | postings, median | max | steps: clips, look-ups median / max, "
        "postings median / max |",
        "|---|---|---|---|---|---|",
    ]
    for name, work in figures["work"].items():
        if not work["steps"]:
            continue
        steps = "; ".join(
            f"{step}: {each['clips']}, {each['look_ups']['median']:.0f} / {each['look_ups']['max']:.0f}, "
            f"{each['postings']['median']:.0f} / {each['postings']['max']:.0f}"
            for step, each in work["steps"].items()
        )
        ups, postings = work["look_ups"], work["postings"]
        lines.append(
            f"| {name} | {ups['median']:.0f} | {ups['max']:.0f} | {postings['median']:.0f} | "
            f"{postings['max']:.0f} | {steps} |"
        )
    lines += ["", "## Time a clip", ""]
    lines += [
        "One clip at a time, on an otherwise idle server, milliseconds (median / 99 % / most); in brackets: "
        "the client's.",
        "",
        "| cell | all | by stage |",
        "|---|---|---|",
    ]
    for name, row in report["alone"].items():
        stages = ", ".join(
            f"{stage} {each['median']:.1f} / {each['p99']:.1f} / {each['max']:.1f}"
            for stage, each in row["stages_ms"].items()
        )
        total, client = row["total_ms"], row["client_ms"]
        lines.append(
            f"| {name} ({row['clips']} clips) | {total['median']:.0f} / {total['p99']:.0f} / "
            f"{total['max']:.0f} "
            f"({client['median']:.0f} / {client['p99']:.0f} / {client['max']:.0f}) | {stages} |"
        )
    lines += ["", "| system | seconds a clip during the run: median | 99 % |", "|---|---|---|"]
    lines += [
        f"| {name} | {each['median']:.3f} | {each['p99']:.3f} |"
        for name, each in figures["peer_seconds"].items()
    ]
    return [*lines, ""]


def _pairs(figures: Mapping[str, Any]) -> list[str]:
    lines = ["## Tracks that share material, and wrong answers", ""]
    lines += [
        "Counted as one, beside those that the corpus names: found by two independent systems in clean clips.",
        "",
    ]
    lines += [f"- {a} = {b} ({n} clips)" for a, b, n in figures["found_to_share"]] or ["- none"]
    lines += ["", f"Accepted and wrong, all {len(figures['accepted_wrong'])}:", ""]
    for each in figures["accepted_wrong"][:50]:
        agrees = "; audfprint finds it too: they may share material" if each["audfprint_agrees"] else ""
        truth = " + ".join(each["truth"]) or f"unknown ({each['kind']})"
        lines.append(f"- {each['clip']}: {truth} → {each['said']}, rate {each['false_accept_rate']}{agrees}")
    return lines


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else "-"


def _of(part: int, whole: int) -> str:
    return f"{part}/{whole}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"
