"""Most of what a server bears, for long: does anything fail, does anything grow?

The catalogue stays as large as it is: as many tracks go out as come in.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from loadtest import report
from loadtest.accuracy.run import say
from loadtest.load import pages, plots
from loadtest.load.arrivals import Phase
from loadtest.load.bench import bench
from loadtest.load.capacity import capacity_of, setting
from loadtest.load.growth import growth
from loadtest.load.outcomes import Outcomes, by_kind, histograms, told
from loadtest.load.sampling import KINDS, Samples, Series, sampled
from loadtest.load.verdicts import OBJECTIVES_MS, Check, p99_by_group

WARM_S = 300.0  # growth counts from here on
WARM_SHARE = 0.25  # of a run that is shorter than four times that
MOST_GROWTH = 0.05
FEW_DESCRIPTORS = 3  # more is no growth: connections are opened when they are first needed
HELD = ("fpserver_store_bytes", "fpserver_index_postings", "tracks indexed", "fpserver_backlog_depth")


def measure(args: argparse.Namespace) -> bool:
    """Measure and write; whether all was shown."""
    rate = capacity_of(args) * args.share / 100
    with bench(args) as ready:
        say(f"{rate:.1f} a second for {args.seconds / 60:.1f} min")
        plan = ready.phases(Phase(rate=rate, seconds=args.seconds))
        with sampled(ready.server, plan.begin) as samples:
            running = ready.sender.start(plan)
            while not running.done() and time.perf_counter() - plan.begin < args.seconds:
                time.sleep(1.0)
        outcomes = running.result()
    after_s = min(WARM_S, WARM_SHARE * args.seconds)
    found = figures(outcomes, samples, after_s) | {
        "setting": setting(args),
        "rate": round(rate, 1),
        "share": args.share,
        "seconds": args.seconds,
    }
    checks = judged(found)
    report.write("soak", found | {"samples": samples.told()}, page(found, checks), out=args.out)
    plots.histograms(args.out / "soak.png", {f"{rate:.1f} a second": histograms(outcomes, outcomes.asked)})
    _plot(args, outcomes, samples, after_s)
    return all(each.ok for each in checks)


def figures(outcomes: Outcomes, samples: Samples, after_s: float) -> dict[str, Any]:
    """What came of all requests, and what grew meanwhile."""
    return {
        "after_s": after_s,
        "all": told(outcomes, outcomes.asked),
        "kinds": by_kind(outcomes, outcomes.asked),
        "p99_ms": p99_by_group(outcomes, outcomes.asked),
        "faults": outcomes.faults(outcomes.asked),
        "growth": grown(samples.often, after_s),
        "growth_seldom": grown(samples.seldom, after_s),
        "sender": outcomes.sender(),
    }


def grown(series: Series, after_s: float) -> dict[str, dict[str, float]]:
    """First, last and growth of everything that was sampled."""
    found = {}
    for name, values in series.values.items():
        times = series.time_s[-len(values) :]
        each = growth(times, values, after_s=after_s)
        found[name] = {
            "first": each.first,
            "last": each.last,
            "by_slope": each.by_slope,
            "share": round(each.share, 4),
        }
    return found


def judged(found: Mapping[str, Any]) -> list[Check]:
    """What must be shown."""
    all_of, growths = found["all"], found["growth"]
    return [
        Check(
            what="no 5xx, nothing fails, nothing is refused",
            found=f"of {all_of['n']:,}: {all_of['refused']} refused, {all_of['failed']} failed",
            ok=not all_of["refused"] and not all_of["failed"],
        ),
        Check(what="no answer is wrong", found=str(all_of["wrong"]), ok=not all_of["wrong"]),
        *(
            Check(
                what=f"{what} of {kind} grow{plural} by less than {MOST_GROWTH:.0%} "
                f"after {found['after_s'] / 60:.0f} min",
                found=f"{growths[name]['share']:+.1%}",
                ok=_flat(name, growths[name]),
            )
            for kind in KINDS
            for what, name, plural in (
                ("resident memory", f"{kind} rss", "s"),
                ("descriptors", f"{kind} descriptors", ""),
            )
        ),
        Check(
            what="99 % in time",
            found=", ".join(
                f"{group} {ms:g} ms of {OBJECTIVES_MS[group]:g}" for group, ms in found["p99_ms"].items()
            ),
            ok=all(ms <= OBJECTIVES_MS[group] for group, ms in found["p99_ms"].items()),
        ),
        Check(
            what="the sender kept up", found=pages.sender(found["sender"]), ok=bool(found["sender"]["valid"])
        ),
    ]


def _flat(name: str, row: Mapping[str, float]) -> bool:
    few = name.endswith("descriptors") and row["last"] - row["first"] <= FEW_DESCRIPTORS
    return few or row["share"] < MOST_GROWTH


def page(found: Mapping[str, Any], checks: Sequence[Check]) -> str:
    """Everything as Markdown."""
    lines = [
        "# For long",
        "",
        found["setting"],
        "",
        f"{found['rate']:g} requests a second ({found['share']:g} % of the capacity) for "
        f"{found['seconds'] / 60:.0f} min.",
        "",
        *pages.checks(checks),
        *pages.mix(),
        *pages.faults(found["faults"]),
        "## Growth",
        "",
        f"From minute {found['after_s'] / 60:.0f} on: medians of the first and the last fifth of the samples, and what "
        "the median slope of all pairs of samples makes of the whole time; growth is the larger of the two. A sample a "
        "second; of PSS, and of what the server says of itself, one in ten seconds. "
        f"{FEW_DESCRIPTORS} descriptors more are no growth.",
        "",
        "| sampled | first | last | by slope | growth |",
        "|---|---|---|---|---|",
        *(_row(name, row) for name, row in sorted((found["growth"] | found["growth_seldom"]).items())),
        "",
        "![memory and descriptors](soak_growth.png)",
        "",
        "## Times",
        "",
        *pages.table(found["kinds"]),
        "![times](soak.png)",
        "",
        "![over time](soak_time.png)",
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, row: Mapping[str, float]) -> str:
    unit = 2**20 if name.endswith((" rss", " pss", "_bytes")) else 1
    told = f"{name}, MiB" if unit > 1 else name
    cells = [f"{row[each] / unit:,.1f}" for each in ("first", "last", "by_slope")]
    return f"| {told} | {' | '.join(cells)} | {row['share']:+.1%} |"


def _plot(args: argparse.Namespace, outcomes: Outcomes, samples: Samples, after_s: float) -> None:
    often, seldom = samples.often, samples.seldom
    panels: dict[str, dict[str, Any]] = {
        f"{kind}, MiB": {
            "resident": (often.time_s, np.array(often.values[f"{kind} rss"]) / 2**20),
            "shared out": (seldom.time_s, np.array(seldom.values[f"{kind} pss"]) / 2**20),
        }
        for kind in KINDS
    }
    panels["descriptors"] = {kind: (often.time_s, often.values[f"{kind} descriptors"]) for kind in KINDS}
    panels["of the first"] = {
        name: (seldom.time_s, np.array(seldom.values[name]) / max(1.0, seldom.values[name][0]))
        for name in HELD[:3]
        if name in seldom.values
    }
    plots.over_time(args.out / "soak_growth.png", panels, marks=[after_s])
    minute = (outcomes.due // 60).astype(int)
    ms, minutes = 1e3 * outcomes.seconds, sorted(set(minute.tolist()))
    lines = {
        f"{share} %": (
            [60 * each for each in minutes],
            [float(np.percentile(ms[(minute == each) & outcomes.asked], share)) for each in minutes],
        )
        for share in (50, 95, 99)
    }
    plots.over_time(args.out / "soak_time.png", {"ms, by minute": lines}, log=["ms, by minute"])
