"""The highest rate that a server bears, and how long requests take while it has nothing else to do."""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadtest import report
from loadtest.accuracy.run import say
from loadtest.load import pages, plots
from loadtest.load.arrivals import Phase
from loadtest.load.bench import Bench, bench
from loadtest.load.outcomes import Outcomes, by_kind, histograms, told
from loadtest.load.verdicts import OBJECTIVES_MS, Check, highest, holds, p99_by_group

FIRST_RATE = 15.0
FACTOR = 1.35
N_HALVINGS = 3
BETWEEN_S = 3.0
CONFIRM_S = 60.0
STEP_DOWN = 0.93  # when the rate that was found is not borne for CONFIRM_S
MAX_STEPS_DOWN = 6


def measure(args: argparse.Namespace) -> bool:
    """Measure and write; whether all was shown."""
    with bench(args) as ready:
        say("unloaded")
        unloaded = ready.unloaded(args.each)
        steps: list[dict[str, Any]] = []
        kept: dict[str, Outcomes] = {}

        def borne(rate: float, seconds: float = args.seconds) -> bool:
            outcomes, row = at_rate(ready, rate, seconds, seed=len(steps))
            steps.append(row)
            kept["capacity"] = outcomes
            say(f"{rate:.1f} a second: {'borne' if row['borne'] else 'not borne'} {row['p99_ms']}")
            return bool(row["borne"])

        rate = highest(borne, first=FIRST_RATE, factor=FACTOR, n_halvings=N_HALVINGS)
        for _ in range(MAX_STEPS_DOWN):
            if not rate or borne(rate, CONFIRM_S):
                break
            rate *= STEP_DOWN
        else:
            rate = 0.0
    last = kept["capacity"]
    found: dict[str, Any] = {
        "setting": setting(args),
        "capacity": round(rate, 1),
        "unloaded": by_kind(unloaded, unloaded.asked),
        "unloaded_rate": round(len(unloaded.done) / float(unloaded.done[-1] - unloaded.sent[0]), 1),
        "unloaded_faults": unloaded.faults(unloaded.asked),
        "at_capacity": by_kind(last, last.asked),
        "steps": steps,
    }
    checks = judged(found, last.sender())
    report.write("capacity", found, page(found, checks), out=args.out)
    plots.histograms(
        args.out / "capacity.png",
        {
            "one at a time": histograms(unloaded, unloaded.asked),
            f"{found['capacity']:g} a second": histograms(last, last.asked),
        },
    )
    return all(each.ok for each in checks)


def at_rate(ready: Bench, rate: float, seconds: float, *, seed: int) -> tuple[Outcomes, dict[str, Any]]:
    """What became of requests at a rate."""
    before = ready.server.cpu_s_by_kind()
    outcomes = ready.sender.send(ready.phases(Phase(rate=rate, seconds=seconds), seed=seed))
    after = ready.server.cpu_s_by_kind()
    time.sleep(BETWEEN_S)
    sender = outcomes.sender()
    wall_s = float(outcomes.done.max(initial=seconds))
    row = told(outcomes, outcomes.asked) | {
        "rate": round(rate, 1),
        "seconds": seconds,
        "p99_ms": p99_by_group(outcomes, outcomes.asked),
        "cores": {kind: round((after[kind] - before[kind]) / wall_s, 2) for kind in after},
        "sender": sender,
        "faults": outcomes.faults(outcomes.asked),
        "borne": holds(outcomes) and sender["valid"],
    }
    return outcomes, row


def judged(found: Mapping[str, Any], sender: Mapping[str, Any]) -> list[Check]:
    """What must be shown."""
    n_failed, n_wrong = (sum(row[name] for row in found["unloaded"].values()) for name in ("failed", "wrong"))
    return [
        Check(
            what="a rate that is borne",
            found=f"{found['capacity']} a second",
            ok=found["capacity"] > 0,
        ),
        Check(
            what="nothing failed and no answer was wrong on an unloaded server",
            found=f"{n_failed} failed, {n_wrong} wrong",
            ok=not n_failed and not n_wrong,
        ),
        Check(
            what="the sender kept up at the rate found", found=pages.sender(sender), ok=bool(sender["valid"])
        ),
    ]


def setting(args: argparse.Namespace) -> str:
    """What was measured, and where."""
    return (
        f"{args.tracks:,} tracks, {args.real} of them real; {args.web} web processes, one worker, the embedded store. "
        f"Seed {args.seed}, {report.machine()}."
    )


def capacity_of(args: argparse.Namespace) -> float:
    """The rate that was given, or found before."""
    if args.capacity is not None:
        return float(args.capacity)
    path: Path = args.out / "capacity.json"
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["capacity"])
    except (OSError, ValueError, KeyError) as error:
        raise SystemExit(f"{path}: no capacity ({error}); measure it first, or give --capacity") from error


def page(found: dict[str, Any], checks: list[Check]) -> str:
    """Everything as Markdown."""
    objectives = ", ".join(f"{group} within {ms:g} ms" for group, ms in OBJECTIVES_MS.items())
    lines = [
        "# How many requests a second a server bears",
        "",
        found["setting"],
        "",
        f"**{found['capacity']:g} requests a second.** A rate is borne when nothing is refused and nothing fails, and "
        f"of each of these 99 % are answered in time: {objectives}.",
        "",
        *pages.checks(checks),
        *pages.mix(),
        "## Nothing else to do",
        "",
        f"One request at a time, {found['unloaded_rate']:g} a second.",
        "",
        *pages.table(found["unloaded"]),
        *pages.faults(found["unloaded_faults"]),
        "## At the rate found",
        "",
        *pages.table(found["at_capacity"]),
        "![times](capacity.png)",
        "",
        "## Rates that were tried",
        "",
        f"| a second | s | requests | refused | failed | {' | '.join(f'{group}, p99 ms' for group in OBJECTIVES_MS)} "
        "| cores: web | decoding | worker | store | sender | sender late, p99 ms | borne |",
        "|---" * (5 + len(OBJECTIVES_MS) + 7) + "|",
        *(_step(row) for row in found["steps"]),
    ]
    return "\n".join(lines) + "\n"


def _step(row: dict[str, Any]) -> str:
    p99 = [row["p99_ms"].get(group, "") for group in OBJECTIVES_MS]
    cores = [row["cores"][kind] for kind in ("web", "decoding", "worker", "store")]
    sender = [row["sender"]["cores"], row["sender"]["late_ms"]["p99"]]
    cells = [row["rate"], row["seconds"], row["n"], row["refused"], row["failed"], *p99, *cores, *sender]
    return f"| {' | '.join(map(str, cells))} | {'yes' if row['borne'] else 'no'} |"
