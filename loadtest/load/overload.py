"""Three times what a server bears, for a minute: what is served is served soon, the rest is refused at once."""

import argparse
from typing import Any

import numpy as np

from loadtest import report
from loadtest.accuracy.run import say
from loadtest.load import pages, plots
from loadtest.load.arrivals import Phase
from loadtest.load.bench import bench
from loadtest.load.capacity import capacity_of, setting
from loadtest.load.kinds import KINDS
from loadtest.load.outcomes import Outcomes, by_kind, histograms, told
from loadtest.load.verdicts import LATE_FACTOR, MAX_LATE, N_WELL, WINDOW_S, Check, recovered_s, windows

TIMES = 3.0  # the capacity
CALM = 0.5
BEFORE_S, AFTER_S = 30.0, 40.0
MOST_TIMES_UNLOADED = 2.0
REFUSED_WITHIN_MS = 250.0  # 99 % of refusals: "at once", on cores that are shared with whoever asks
RECOVERS_WITHIN_S = 10.0
AT_FIRST_S = 5.0  # of an overload; told apart, judged with the rest
MIN_JUDGED = 20  # answers of a kind, for a quantile to be judged


def measure(args: argparse.Namespace) -> bool:
    """Measure and write; whether all was shown."""
    capacity = capacity_of(args)
    with bench(args) as ready:
        say("unloaded")
        unloaded = ready.unloaded(args.each)
        over_s = args.seconds
        say(f"{CALM * capacity:.0f}, {TIMES * capacity:.0f} for {over_s:g} s, {CALM * capacity:.0f} a second")
        before = ready.server.cpu_s_by_kind()
        outcomes = ready.sender.send(
            ready.phases(
                Phase(rate=CALM * capacity, seconds=BEFORE_S),
                Phase(rate=TIMES * capacity, seconds=over_s),
                Phase(rate=CALM * capacity, seconds=AFTER_S),
            )
        )
        after = ready.server.cpu_s_by_kind()
    over = outcomes.between(BEFORE_S, BEFORE_S + over_s)
    wall_s = BEFORE_S + over_s + AFTER_S
    found = figures(outcomes, unloaded, over_s) | {
        "setting": setting(args),
        "capacity": capacity,
        "cores": {kind: round((after[kind] - before[kind]) / wall_s, 2) for kind in after},
    }
    checks = judged(found)
    report.write("overload", found, page(found, checks), out=args.out)
    plots.histograms(
        args.out / "overload.png",
        {
            "one at a time": histograms(unloaded, unloaded.asked),
            "300 %": histograms(outcomes, over),
            "50 %, after": histograms(outcomes, outcomes.between(BEFORE_S + over_s, wall_s)),
        },
    )
    _plot(args, outcomes, over_s)
    return all(each.ok for each in checks)


def figures(outcomes: Outcomes, unloaded: Outcomes, over_s: float) -> dict[str, Any]:
    """What came of requests before, while and after there were too many."""
    ends = BEFORE_S + over_s + AFTER_S
    over = outcomes.between(BEFORE_S, BEFORE_S + over_s)
    alone = by_kind(unloaded, unloaded.asked)
    p99 = {name: row["ms"]["p99"] for name, row in alone.items() if row["ms"]}
    well_before = windows(outcomes, p99, 0.0, BEFORE_S)
    well_after = windows(outcomes, p99, BEFORE_S + over_s, ends)
    return {
        "over_s": over_s,
        "unloaded": alone,
        "before": by_kind(outcomes, outcomes.between(0.0, BEFORE_S)),
        "over": by_kind(outcomes, over),
        "after": by_kind(outcomes, outcomes.between(BEFORE_S + over_s, ends)),
        "over_later": by_kind(outcomes, outcomes.between(BEFORE_S + AT_FIRST_S, BEFORE_S + over_s)),
        "over_all": told(outcomes, over),
        "p99_ms": {
            "unloaded": mixed_p99_ms(unloaded),
            "over": round(1e3 * float(np.quantile(outcomes.seconds[outcomes.served & over], 0.99)), 1),
        },
        "faults": outcomes.faults(outcomes.asked),
        "well_before": [sum(well_before), len(well_before)],
        "well_after": [sum(well_after), len(well_after)],
        "recovered_s": recovered_s(well_after),
        "served_per_s": round(float((outcomes.served & over).sum()) / over_s, 1),
        "sender": outcomes.sender(),
    }


def mixed_p99_ms(unloaded: Outcomes) -> float:
    """The 99 % of the mix, of requests that were asked one by one, as many of each kind."""
    rows = unloaded.served & np.isin(unloaded.kind, [i for i, kind in enumerate(KINDS) if kind.share])
    n_of = np.bincount(unloaded.kind[rows], minlength=len(KINDS))
    weights = np.array([kind.share for kind in KINDS])[unloaded.kind[rows]] / n_of[unloaded.kind[rows]]
    order = np.argsort(unloaded.seconds[rows])
    share = np.cumsum(weights[order]) / weights.sum()
    return round(1e3 * float(unloaded.seconds[rows][order][np.searchsorted(share, 0.99)]), 1)


def judged(found: dict[str, Any]) -> list[Check]:
    """What must be shown."""
    all_of = found["over_all"]
    refused = all_of["refused_ms"].get("p99", 0.0)
    recovered = found["recovered_s"]
    return [
        Check(
            what=f"served answers' p99 at most {MOST_TIMES_UNLOADED:g} times that of the same mix unloaded",
            found=f"{found['p99_ms']['over']:g} ms, unloaded {found['p99_ms']['unloaded']:g}",
            ok=found["p99_ms"]["over"] <= MOST_TIMES_UNLOADED * found["p99_ms"]["unloaded"],
        ),
        Check(
            what="all else is 429 or 503 with Retry-After, nothing fails",
            found=f"of {all_of['n']}: {all_of['served']} served, {all_of['refused']} refused, "
            f"{all_of['failed']} failed",
            ok=not all_of["failed"] and all_of["refused"] > 0,
        ),
        Check(
            what=f"99 % of refusals within {REFUSED_WITHIN_MS:g} ms of when the request was due",
            found=f"{refused:g} ms",
            ok=refused <= REFUSED_WITHIN_MS,
        ),
        Check(what="no answer is wrong", found=str(all_of["wrong"]), ok=not all_of["wrong"]),
        Check(
            what=f"well again within {RECOVERS_WITHIN_S:g} s",
            found="never"
            if recovered is None
            else f"after {recovered:g} s; {found['well_after'][0]} of "
            f"{found['well_after'][1]} windows well, before the overload {found['well_before'][0]} of "
            f"{found['well_before'][1]}",
            ok=recovered is not None and recovered <= RECOVERS_WITHIN_S,
        ),
        Check(
            what="the sender kept up", found=pages.sender(found["sender"]), ok=bool(found["sender"]["valid"])
        ),
    ]


def of_kinds(found: dict[str, Any]) -> str:
    """How far each kind by itself is from what its unloaded p99 was."""
    times = {
        name: row["ms"]["p99"] / found["unloaded"][name]["ms"]["p99"]
        for name, row in found["over"].items()
        if row["served"] >= MIN_JUDGED and found["unloaded"][name]["ms"]
    }
    over = {name: each for name, each in times.items() if each > MOST_TIMES_UNLOADED}
    return (
        f"Kind by kind, {len(over)} of {len(times)} are over {MOST_TIMES_UNLOADED:g} times their own unloaded p99: "
        + ", ".join(f"{name} {each:.1f}" for name, each in sorted(over.items(), key=lambda item: -item[1]))
        + ". A short question waits behind long ones."
    )


def page(found: dict[str, Any], checks: list[Check]) -> str:
    """Everything as Markdown."""
    capacity = found["capacity"]
    lines = [
        "# Three times what a server bears",
        "",
        found["setting"],
        "",
        f"{CALM * capacity:.0f} requests a second for {BEFORE_S:g} s, then {TIMES * capacity:.0f} (three times "
        f"{capacity:g}) for {found['over_s']:g} s, then {CALM * capacity:.0f} for {AFTER_S:g} s.",
        "",
        *pages.checks(checks),
        of_kinds(found),
        "",
        f"A window of {WINDOW_S:g} s is well when nothing in it is refused or fails and at most {MAX_LATE:.0%} of its "
        f"requests (or one) take longer than {LATE_FACTOR:g} times the unloaded p99 of their kind; the server has "
        f"recovered when {N_WELL} in a row are well.",
        "",
        *pages.mix(),
        f"Served while overloaded: {found['served_per_s']:g} a second. Cores over all phases: "
        + ", ".join(f"{kind} {cores:g}" for kind, cores in found["cores"].items())
        + ".",
        "",
        *pages.faults(found["faults"]),
    ]
    for title, name in (
        ("Unloaded, one at a time", "unloaded"),
        ("Before", "before"),
        ("At 300 %", "over"),
        (f"At 300 %, without the first {AT_FIRST_S:g} s", "over_later"),
        ("After", "after"),
    ):
        lines += [f"## {title}", "", *pages.table(found[name], refused=name.startswith("over"))]
    lines += ["![times](overload.png)", "", "![over time](overload_time.png)"]
    return "\n".join(lines) + "\n"


def _plot(args: argparse.Namespace, outcomes: Outcomes, over_s: float) -> None:
    panels: dict[str, dict[str, Any]] = {"ms (served)": {}, "ms (refused)": {}, "a second": {}}
    for i, kind in enumerate(KINDS):
        rows = outcomes.served & outcomes.of(i)
        if kind.steady and rows.any():
            panels["ms (served)"][kind.name] = _by_second(outcomes, rows, 95)
    if outcomes.refused.any():
        panels["ms (refused)"]["95 % of a second"] = _by_second(outcomes, outcomes.refused, 95)
    seconds = np.arange(np.ceil(outcomes.due.max()) + 1)
    for name, rows in (
        ("served", outcomes.served),
        ("refused", outcomes.refused),
        ("failed", outcomes.failed),
    ):
        panels["a second"][name] = (seconds[:-1], np.histogram(outcomes.due[rows], seconds)[0])
    marks = [BEFORE_S, BEFORE_S + over_s]
    filled = {name: lines for name, lines in panels.items() if lines}
    plots.over_time(args.out / "overload_time.png", filled, marks=marks, log=["ms (served)", "ms (refused)"])


def _by_second(outcomes: Outcomes, rows: Any, percent: float) -> tuple[list[int], list[float]]:
    second = outcomes.due.astype(int)
    seconds = sorted(set(second[rows].tolist()))
    ms = 1e3 * outcomes.seconds
    return seconds, [float(np.percentile(ms[rows & (second == each)], percent)) for each in seconds]
