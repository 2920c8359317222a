"""Parts of a server are killed or stopped while it is asked: which requests fail, for how long, and is anything lost?

Whatever was acknowledged must be there afterwards, and no answer may be wrong meanwhile.
"""

import argparse
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from loadtest import report
from loadtest.accuracy.run import say
from loadtest.load import pages, plots
from loadtest.load.arrivals import Phase
from loadtest.load.bench import Bench, bench
from loadtest.load.capacity import capacity_of, setting
from loadtest.load.events import EVENTS, Event
from loadtest.load.kinds import KINDS, Call
from loadtest.load.outcomes import Outcomes, by_kind, told
from loadtest.load.verdicts import Check

FILES_SHARE = 1.0  # % of the requests: more than usual, so that some are under way whenever something dies
INDEXED_WITHIN_S = 180.0
EVENTS_AT_ONCE = 1000
AFTERWARDS_EACH = 20


def measure(args: argparse.Namespace) -> bool:
    """Measure and write; whether all was shown."""
    rate = capacity_of(args) * args.share / 100
    shares = [_share(kind.call, kind.share) for kind in KINDS]
    with bench(args) as ready:
        before = ready.unloaded(AFTERWARDS_EACH)
        phase = Phase(rate=rate, seconds=(len(EVENTS) + 1) * args.seconds)
        plan = replace(ready.phases(phase), shares=shares)
        running = ready.sender.start(plan)
        times = []
        for i, event in enumerate(EVENTS, 1):
            time.sleep(max(0.0, plan.begin + i * args.seconds - time.perf_counter()))
            say(event.name)
            begin_s = time.perf_counter() - plan.begin
            event.act(ready.server)
            times.append((begin_s, time.perf_counter() - plan.begin))
        outcomes = running.result()
        say("what was acknowledged")
        lost = {"events": _lost_events(ready, outcomes), "tracks": _lost_tracks(ready, outcomes)}
        after = ready.unloaded(AFTERWARDS_EACH)
    found = {
        "setting": setting(args),
        "rate": round(rate, 1),
        "share": args.share,
        "seconds": args.seconds,
        "events": [
            of_event(outcomes, event, begin_s, end_s, args.seconds)
            for event, (begin_s, end_s) in zip(EVENTS, times, strict=True)
        ],
        "kinds": by_kind(outcomes, outcomes.asked),
        "acknowledged": {"events": len(outcomes.events), "tracks": len(outcomes.tracks)},
        "lost": lost,
        "wrong": told(outcomes, outcomes.asked)["wrong"],
        "before": told(before, before.asked),
        "after": told(after, after.asked),
        "sender": outcomes.sender(),
    }
    checks = judged(found, rate)
    report.write("chaos", found, page(found, checks), out=args.out)
    _plot(args, outcomes, [begin_s for begin_s, _ in times])
    return all(each.ok for each in checks)


def _share(call: Call, share: float) -> float:
    return {Call.INGEST: FILES_SHARE, Call.REMOVE: 0.0}.get(call, share)


def of_event(
    outcomes: Outcomes, event: Event, begin_s: float, end_s: float, until_s: float
) -> dict[str, Any]:
    """What became of requests whose answer came, or failed to, from when an event began until the next."""
    rows = outcomes.asked & (outcomes.done >= begin_s) & (outcomes.done < begin_s + until_s)
    bad = rows & (outcomes.refused | outcomes.failed)
    last = float(outcomes.due[bad].max()) if bad.any() else begin_s
    return {
        "name": event.name,
        "begin_s": round(begin_s, 2),
        "lasted_s": round(end_s - begin_s, 2),
        "n": int(rows.sum()),
        "refused": int((rows & outcomes.refused).sum()),
        "failed": int((rows & outcomes.failed).sum()),
        "well_after_s": round(max(0.0, last - begin_s), 2),
        "longest_s": round(float(outcomes.seconds[rows].max(initial=0.0)), 2),
        "faults": outcomes.faults(rows),
        "budget": {"bad_s": event.bad_s, "well_s": event.well_s, "failed_s": event.failed_s},
    }


def judged(found: Mapping[str, Any], rate: float) -> list[Check]:
    """What must be shown."""
    checks = []
    for each in found["events"]:
        budget = each["budget"]
        most_bad, most_failed = budget["bad_s"] * rate, budget["failed_s"] * rate
        bad = each["refused"] + each["failed"]
        checks.append(
            Check(
                what=f"{each['name']}: at most {most_bad:.0f} requests not served, {most_failed:.0f} of them without "
                f"being told to come again; well within {budget['well_s']:g} s",
                found=f"{bad} not served, {each['failed']} untold; well after {each['well_after_s']:g} s",
                ok=bad <= most_bad
                and each["failed"] <= most_failed
                and each["well_after_s"] <= budget["well_s"],
            )
        )
    acknowledged, lost = found["acknowledged"], found["lost"]
    after = found["after"]
    return [
        *checks,
        *(
            Check(
                what=f"no acknowledged {what} lost",
                found=f"{lost[name]} of {acknowledged[name]}",
                ok=not lost[name],
            )
            for what, name in (("feedback", "events"), ("file", "tracks"))
        ),
        Check(what="no answer is wrong", found=str(found["wrong"]), ok=not found["wrong"]),
        Check(
            what="afterwards all is served and right",
            found=f"{after['n'] - after['served']} not served, {after['wrong']} wrong, {after['missed']} missed "
            f"(before: {found['before']['missed']})",
            ok=after["n"] == after["served"]
            and not after["wrong"]
            and after["missed"] <= found["before"]["missed"],
        ),
        Check(
            what="the sender kept up", found=pages.sender(found["sender"]), ok=bool(found["sender"]["valid"])
        ),
    ]


def page(found: Mapping[str, Any], checks: Sequence[Check]) -> str:
    """Everything as Markdown."""
    lines = [
        "# While parts of it die",
        "",
        found["setting"],
        "",
        f"{found['rate']:g} requests a second ({found['share']:g} % of the capacity), an event every "
        f"{found['seconds']:g} s. What may fail is stated in seconds of arrivals.",
        "",
        *pages.checks(checks),
        *pages.mix(),
        f"Here {FILES_SHARE:g} % are files that go in, and no track goes out.",
        "",
        "## Error budget",
        "",
        "Requests that ended from when an event began until the next. Well after: when the last of those was due that "
        "was not served.",
        "",
        "| event | lasted, s | requests | refused (told when to come again) | failed | may be not served | may fail "
        "| well after, s | allowed, s | longest answer, s |",
        "|---" * 10 + "|",
        *(_event(each, found["rate"]) for each in found["events"]),
        "",
    ]
    for each in found["events"]:
        if each["faults"]:
            lines += [f"{each['name']}:", "", *pages.faults(each["faults"])]
    lines += ["## All requests", "", *pages.table(found["kinds"]), "![over time](chaos_time.png)"]
    return "\n".join(lines) + "\n"


def _event(each: Mapping[str, Any], rate: float) -> str:
    budget = each["budget"]
    cells = [each[name] for name in ("name", "lasted_s", "n", "refused", "failed")]
    cells += [f"{budget['bad_s'] * rate:.0f}", f"{budget['failed_s'] * rate:.0f}"]
    cells += [each["well_after_s"], budget["well_s"], each["longest_s"]]
    return f"| {' | '.join(map(str, cells))} |"


def _lost_events(ready: Bench, outcomes: Outcomes) -> int:
    """Acknowledged events that are taken when they are sent again: those that are there are known."""
    n_lost = 0
    for first in range(0, len(outcomes.events), EVENTS_AT_ONCE):
        some = outcomes.events[first : first + EVENTS_AT_ONCE]
        events = [{"user": user, "track_id": 1, "kind": "play", "event_id": mark} for user, mark in some]
        n_lost += len(some) - int(_asked(ready, "/v1/feedback", {"events": events})["n_known"])
    return n_lost


def _lost_tracks(ready: Bench, outcomes: Outcomes) -> int:
    """Acknowledged files whose tracks are not indexed in time."""
    give_up = time.perf_counter() + INDEXED_WITHIN_S
    missing = list(outcomes.tracks)
    while missing and time.perf_counter() < give_up:
        missing = [each for each in missing if not _is_indexed(ready, each)]
        time.sleep(1.0 if missing else 0.0)
    return len(missing)


def _is_indexed(ready: Bench, track_id: int) -> bool:
    try:
        return bool(_asked(ready, f"/v1/tracks/{track_id}")["status"] == "indexed")
    except urllib.error.HTTPError:
        return False


def _asked(ready: Bench, path: str, document: Mapping[str, Any] | None = None) -> dict[str, Any]:
    data = None if document is None else json.dumps(document).encode()
    headers = {"Content-Type": "application/json"} if data else {}
    request = urllib.request.Request(f"{ready.server.address}{path}", data, headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def _plot(args: argparse.Namespace, outcomes: Outcomes, marks: Sequence[float]) -> None:
    seconds = np.arange(np.ceil(outcomes.due.max()) + 1)
    counts = {
        name: (seconds[:-1], np.histogram(outcomes.due[rows], seconds)[0])
        for name, rows in (
            ("served", outcomes.served),
            ("refused", outcomes.refused),
            ("failed", outcomes.failed),
        )
    }
    second, ms = outcomes.due.astype(int), 1e3 * outcomes.seconds
    there = sorted(set(second.tolist()))
    slowest = {
        f"{share} %": (there, [float(np.percentile(ms[second == each], share)) for each in there])
        for share in (50, 95)
    }
    plots.over_time(args.out / "chaos_time.png", {"a second": counts, "ms": slowest}, marks=marks, log=["ms"])
