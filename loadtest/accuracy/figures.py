"""From verdicts to figures: everything that is measured on answers, by cell and system."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from loadtest.accuracy.cells import Cell
from loadtest.accuracy.judge import Judge, Pair, Verdict
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
from loadtest.accuracy.waveforms import Alike

FALSE_ACCEPTS = (0.01, 0.001)
SPEED_LIMIT = 0.005
OFFSET_LIMITS_S = (0.1, 0.5)
HALF_TARGETS_DB = {
    ("noise", 5): -15, ("noise", 10): -18, ("noise", 15): -18,
    ("broadband_gsm", 5): -8, ("broadband_gsm", 10): -13, ("broadband_gsm", 15): -15,
}  # fmt: skip


def figures(
    heard: Sequence[Heard],
    cells: Mapping[str, Cell],
    judge: Judge,
    shared: Counter[Pair],
    alike: Alike,
    *,
    ours: str,
    promised: float,
) -> dict[str, Any]:
    """Everything that is measured on answers, by cell and system.

    Args:
        heard: clips and answers.
        cells: theirs, by name.
        judge: says what is right.
        shared: tracks that it counts as one, to be told.
        alike: what the waveforms say of the guesses that `ours` accepted and that are not right.
        ours: the system that is measured.
        promised: its rate of false accepts.
    """
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
            name: _unknown(group, systems, ours, alike)
            for name, group in by_cell.items()
            if cells[name].unknown
        },
        "promised_false_accept_rate": promised,
        "thresholds": {str(rate): each for rate, each in thresholds.items()},
        "work": _work(by_cell, ours),
        "peer_seconds": {name: _spread(_seconds(heard, name)) for name in systems},
        "found_to_share": [[*pair, n] for pair, n in shared.most_common()],
        "accepted_wrong": [
            {
                "clip": f"{each.clip.cell} {each.clip.number}",
                "kind": each.clip.kind,
                "truth": [part.track for part in each.clip.parts],
                "said": each.guess.track,
                "false_accept_rate": each.guess.false_accept_rate,
                "waveform_deviations": round(each.deviations, 1),
                "waveform_elsewhere": round(each.elsewhere, 1),
                "same_recording": each.same_recording,
            }
            for each in alike.values()
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
    kinds = {each.clip.kind for each in group} - {""}
    found["right_of_kind"] = {
        kind: [
            sum(v.right for v, each in zip(verdicts[ours], group, strict=True) if each.clip.kind == kind),
            sum(each.clip.kind == kind for each in group),
        ]
        for kind in sorted(kinds)
    }
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


def _unknown(group: Sequence[Heard], systems: Sequence[str], ours: str, alike: Alike) -> dict[str, Any]:
    found: dict[str, Any] = {"n": len(group), "kinds": dict(Counter(each.clip.kind for each in group))}
    accepts = {name: [(each, _accepted(each, name)) for each in group] for name in systems}
    same = {pair for pair, each in alike.items() if each.same_recording}
    found["same_recording"] = sum(
        all((each.clip.key, track) in same for track in tracks) for each, tracks in accepts[ours] if tracks
    )
    for name in systems:
        accepted = [each for each, tracks in accepts[name] if tracks]
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


def _accepted(heard: Heard, system: str) -> list[str]:
    """The tracks that it accepts."""
    return [guess.track for guess in heard.answers[system].guesses if guess.accepted]


def _top(heard: Heard, system: str) -> float:
    guesses = heard.answers[system].guesses
    return guesses[0].score if guesses else float("-inf")


def _seconds(heard: Sequence[Heard], system: str) -> list[float]:
    """Those that are known."""
    taken = [each.answers[system].seconds for each in heard]
    return [seconds for seconds in taken if seconds is not None]


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
