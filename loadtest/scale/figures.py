"""What was measured, by size of the catalogue and cell; what was promised of it, and whether it was kept."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from fpserver.search import SHARES, STEPS
from loadtest.accuracy.answers import Answer, Guess
from loadtest.accuracy.cells import Cell
from loadtest.accuracy.clips import Clip
from loadtest.accuracy.judge import Judge
from loadtest.accuracy.statistics import clopper_pearson, paired_difference, wilson

RATES = (0.3, 0.1, 0.01, 0.001)
MAX_LOOKUPS = 20_000  # of any clip, all steps together
MAX_POSTINGS = 2_000_000
MAX_LOOKUPS_CLEAN = 1500  # in the middle of the clean cells
MAX_LOSS = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One clip among so many synthetic tracks, and what came of it."""

    synthetic: int  # tracks
    clip: str  # Clip.key
    cell: str
    number: int
    truth: str  # track; empty: unknown
    right: bool  # right and accepted
    first_right: bool
    wrong: list[str]  # accepted tracks that are not in the clip
    best: str  # the first guess, with its rate of false accepts
    steps: list[dict[str, Any]]  # step, n_hashes, n_postings …
    timings_s: dict[str, float] = field(default_factory=dict)
    degraded: bool = False

    @property
    def key(self) -> str:
        """Its own among all."""
        return key_of(self.synthetic, self.clip)

    @property
    def lookups(self) -> int:
        """Of all steps."""
        return sum(int(step["n_hashes"]) for step in self.steps)

    @property
    def postings(self) -> int:
        """Read in all steps."""
        return sum(int(step["n_postings"]) for step in self.steps)

    @property
    def seconds(self) -> float:
        """Of the search."""
        return sum(self.timings_s.values())


def key_of(synthetic: int, clip: str) -> str:
    """Of a clip, by its key, among so many synthetic tracks."""
    return f"{synthetic} {clip}"


def judged(
    clip: Clip,
    cell: Cell,
    guesses: list[Guess],
    judge: Judge,
    names: Mapping[int, str],
    *,
    synthetic: int,
    steps: Sequence[Mapping[str, Any]],
    timings_s: Mapping[str, float],
    degraded: bool,
) -> Asked:
    """A clip's answer, judged."""
    verdict = judge.verdict(clip, cell, Answer(system="", clip=clip.key, guesses=guesses, seconds=0))
    truth = clip.parts[0].track if clip.parts else ""
    wrong = [
        _told(each)
        for each in guesses
        if each.accepted and not any(judge.same(part.track, each.track) for part in clip.parts)
    ]
    return Asked(
        synthetic=synthetic,
        clip=clip.key,
        cell=cell.name,
        number=clip.number,
        truth=truth,
        right=verdict.right,
        first_right=verdict.first_right,
        wrong=wrong,
        best=_told(guesses[0]) if guesses else "",
        steps=[_without_candidates(step, clip, judge, names) for step in steps],
        timings_s=dict(timings_s),
        degraded=degraded,
    )


def _without_candidates(
    step: Mapping[str, Any], clip: Clip, judge: Judge, names: Mapping[int, str]
) -> dict[str, Any]:
    """A step with the best of its wrong candidates instead of all."""
    told = {name: value for name, value in step.items() if name != "candidates"}
    wrong = [
        each
        for each in step["candidates"]
        if not any(judge.same(part.track, names[each["track_id"]]) for part in clip.parts)
    ]
    best = max(wrong, key=lambda each: float(each["score"]), default=None)
    if best is not None:
        told["wrong"] = {
            "track_id": best["track_id"],
            "score": best["score"],
            "lead": best["lead"],
            "false_accept_rate": best["false_accept_rate"],
        }
    return told


def figures(asked: Sequence[Asked], cells: Sequence[Cell]) -> dict[str, Any]:
    """All of it, by number of synthetic tracks."""
    sizes = sorted({each.synthetic for each in asked})
    alone = {(each.cell, each.number): each for each in asked if each.synthetic == sizes[0]}
    return {
        str(size): _size([each for each in asked if each.synthetic == size], cells, alone) for size in sizes
    }


def _size(
    asked: Sequence[Asked], cells: Sequence[Cell], alone: Mapping[tuple[str, int], Asked]
) -> dict[str, Any]:
    clean = [each.lookups for each in asked if each.cell.startswith("clean")]
    wrong = [each for each in asked if each.wrong]
    unknown = [each for each in asked if not each.truth]
    return {
        "cells": {
            cell.name: _cell([each for each in asked if each.cell == cell.name], cell, alone)
            for cell in cells
            if any(each.cell == cell.name for each in asked)
        },
        "steps": {step: _step(asked, step) for step in STEPS},
        "all_steps": {
            "lookups": _spread([each.lookups for each in asked]),
            "postings": _spread([each.postings for each in asked]),
        },
        "clean_lookups_median": float(np.median(clean)) if clean else None,
        "seconds": _stages(asked),
        "degraded": sum(each.degraded for each in asked),
        "false_accepts": {
            "clips": len(asked),
            "accepted_wrong": len(wrong),
            "unknown_clips": len(unknown),
            "unknown_accepted": asdict(
                clopper_pearson(sum(bool(each.wrong) for each in unknown), len(unknown))
            ),
            "which": [
                {"cell": each.cell, "number": each.number, "truth": each.truth, "wrong": each.wrong}
                for each in wrong
            ],
        },
    }


def _cell(asked: Sequence[Asked], cell: Cell, alone: Mapping[tuple[str, int], Asked]) -> dict[str, Any]:
    before = [alone[each.cell, each.number] for each in asked]
    right = [each.right for each in asked]
    found: dict[str, Any] = {
        "clips": len(asked),
        "ended_in": {
            step: sum(each.steps[-1]["step"] == step for each in asked if each.steps) for step in STEPS
        },
        "lookups": _spread([each.lookups for each in asked]),
        "postings": _spread([each.postings for each in asked]),
        "seconds": _spread([each.seconds for each in asked]),
        "accepted_wrong": sum(bool(each.wrong) for each in asked),
    }
    if cell.unknown:
        return found
    return found | {
        "target": cell.target,
        "right": asdict(wilson(sum(right), len(right))),
        "first_right": sum(each.first_right for each in asked) / len(asked),
        "change": asdict(
            paired_difference(right, [each.right for each in before], [each.truth for each in asked])
        ),
        "first_change": sum(each.first_right for each in asked) / len(asked)
        - sum(each.first_right for each in before) / len(asked),
    }


def _step(asked: Sequence[Asked], name: str) -> dict[str, Any]:
    taken = [step for each in asked for step in each.steps if step["step"] == name]
    return {
        "clips": len(taken),
        "ended": sum(bool(each.steps) and each.steps[-1]["step"] == name for each in asked),
        "lookups": _spread([step["n_hashes"] for step in taken]),
        "postings": _spread([step["n_postings"] for step in taken]),
        "stopped": _spread([step["n_stopped"] for step in taken]),
        "candidates": _spread([step["n_candidates"] for step in taken]),
        "wrong": _by_chance([step["wrong"] for step in taken if "wrong" in step], len(taken) * SHARES[name]),
    }


def _by_chance(wrong: Sequence[Mapping[str, Any]], n_expected: float) -> dict[str, Any]:
    """Leads of a step's best wrong tracks, and how many have a rate below some; n_expected at a rate of 1."""
    leads = [each["lead"] for each in wrong] or [0.0]
    rates = np.array([each["false_accept_rate"] for each in wrong])
    return {
        "lead": np.round(np.quantile(leads, (0.5, 0.9, 0.99, 1)), 2).tolist(),
        "below": {
            str(rate): {
                "measured": int((rates <= rate).sum()),
                "promised": round(rate * n_expected, 2),
            }
            for rate in RATES
        },
    }


def _stages(asked: Sequence[Asked]) -> dict[str, Any]:
    names = sorted({name for each in asked for name in each.timings_s})
    return {
        "all": _spread([each.seconds for each in asked]),
        **{name: _spread([each.timings_s.get(name, 0.0) for each in asked]) for name in names},
    }


def promises(sizes: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was promised, what was measured, and whether that keeps it, for every size."""
    told: list[dict[str, Any]] = []
    first = next(iter(sizes))
    for size, found in sizes.items():

        def tell(promise: str, measured: float, kept: bool, said: str, size: str = size) -> None:
            told.append(
                {"synthetic": int(size), "promise": promise, "measured": measured, "said": said, "kept": kept}
            )

        lookups, postings = (found["all_steps"][name]["max"] for name in ("lookups", "postings"))
        tell(
            f"at most {MAX_LOOKUPS:,} look-ups of a clip", lookups, lookups <= MAX_LOOKUPS, f"{lookups:,.0f}"
        )
        tell(
            f"at most {MAX_POSTINGS:,} postings read for a clip",
            postings,
            postings <= MAX_POSTINGS,
            f"{postings:,.0f}",
        )
        clean = found["clean_lookups_median"]
        if clean is not None:
            promise = f"at most {MAX_LOOKUPS_CLEAN:,} look-ups in the middle of the clean cells"
            tell(promise, clean, clean <= MAX_LOOKUPS_CLEAN, f"{clean:,.0f}")
        for name, cell in found["cells"].items():
            if size != first and "change" in cell:
                change = cell["change"]
                tell(
                    f"{name} loses at most {100 * MAX_LOSS:.0f} points",
                    -change["value"],
                    bool(-change["value"] <= MAX_LOSS + 1e-9),
                    f"{100 * change['value']:+.1f} [{100 * change['low']:+.1f}, {100 * change['high']:+.1f}]",
                )
    return told


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {"median": 0.0, "p99": 0.0, "max": 0.0}
    return {
        "median": round(float(np.median(values)), 5),
        "p99": round(float(np.quantile(values, 0.99)), 5),
        "max": round(float(max(values)), 5),
    }


def _told(guess: Guess) -> str:
    return f"{guess.track} (rate {guess.false_accept_rate or 0:.2g})"
