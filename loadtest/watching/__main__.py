"""Whether the dashboards show anything: a real server, a real Prometheus, every panel and every rule.

    python -m loadtest.watching

A server (embedded store, one web process, one worker, keys asked for) is asked everything, in rounds, while
Prometheus with the rules of deploy/prometheus asks it and the exporter of its store every 2 s. Then each expression of
each panel, and each rule, must have figures: not nothing, and not only NaN. Of an alert, which is silent when all is
well, every series that it looks at must be there. Debian's prometheus and prometheus-redis-exporter must be installed.
Writes watching.md and .json to loadtest/results/; not 0 when something has no data.
"""

import asyncio
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fpserver.config import RedisConfig
from fpserver.store.connect import shared_url
from loadtest import report
from loadtest.server import Server, serving
from loadtest.watching.dashboards import DASHBOARDS
from loadtest.watching.prometheus import SCRAPE_S, Prometheus, missing_tools, watching
from loadtest.watching.rules import FOLDER, read, selectors
from loadtest.watching.traffic import SETTINGS, Traffic, made_key

MIN_ROUNDS, MAX_ROUNDS = 3, 10
RATE_INTERVAL = "5m"  # what Grafana puts in the place of $__rate_interval here
ELSEWHERE = frozenset(
    {"redis_cluster_state", "redis_master_link_up"}
)  # only nodes of a Cluster tell of these
IN_A_REQUEST = ("web.request", "web.slow_request", "web.track_taken", "web.batch_taken")
IN_A_WALK = ("worker.ended", "ingest.failed", "describer.ended")

Finding = dict[str, Any]  # where, what, expr, n_series, least, most; n_series 0: no data


def main() -> int:
    """Walk and look; the exit status."""
    if missing := missing_tools():
        print(f"not installed: {', '.join(missing)} (Debian: prometheus, prometheus-redis-exporter)")
        return 2
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="fpserver-watching-") as name:
        data_dir = Path(name) / "data"
        keys = {
            "asks": made_key(data_dir, "asks", "--scope", "admin", "--rate", "1000", "--burst", "1000"),
            "asks too much": made_key(
                data_dir, "slow", "--scope", "ingest", "--rate", "0.01", "--burst", "1"
            ),
            "watches": made_key(data_dir, "prometheus", "--scope", "metrics"),
        }
        with serving(data_dir, settings=SETTINGS) as server:
            found = _walk(server, Path(name), keys, shared_url(RedisConfig(data_dir=str(data_dir))))
        found["log"] = _of_log(data_dir / "server.log")
    found = {"setting": report.machine(), "seconds": round(time.perf_counter() - begin), **found}
    report.write("watching", found, _page(found))
    silent = [each for each in found["found"] if not each["n_series"]]
    for each in silent:
        print(f"no data: {each['where']}, {each['what']}: {each['expr']}", file=sys.stderr)
    bad_lines = found["log"]["n_without_request"] + found["log"]["n_without_track"]
    return 1 if silent or bad_lines or not found["log"]["n_slow"] else 0


def _walk(server: Server, folder: Path, keys: dict[str, str], store_url: str) -> dict[str, Any]:
    traffic = Traffic(server.address, folder, key=keys["asks"], slow_key=keys["asks too much"])
    asyncio.run(traffic.settle_in())
    with watching(
        folder / "prometheus", server=server.address, key=keys["watches"], store_url=store_url
    ) as prometheus:
        for number in range(MAX_ROUNDS):
            asyncio.run(traffic.round(number))
            time.sleep(3 * SCRAPE_S)
            found = list(_look(prometheus))
            if number + 1 >= MIN_ROUNDS and all(each["n_series"] for each in found):
                break
        states = {rule["name"]: rule["state"] for rule in prometheus.rules() if rule["type"] == "alerting"}
        return {
            "n_rounds": number + 1,
            "targets": prometheus.targets(),
            "answers": dict(sorted(traffic.counts.items())),
            "alerts": dict(sorted(states.items())),
            "found": found,
        }


def _look(prometheus: Prometheus) -> Iterator[Finding]:
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels:
            for legend, expr in panel.queries.items():
                yield _seen(prometheus, dashboard.name, f"{panel.title} [{legend}]", expr)
    health = {rule["name"]: rule["health"] for rule in prometheus.rules()}
    for rule in read(FOLDER / "rules.yml"):
        yield _seen(prometheus, "rules.yml", rule.name, rule.name)
    for rule in read(FOLDER / "alerts.yml"):
        names = {selector.name for selector in selectors(rule.expr)} - ELSEWHERE
        seen = [_seen(prometheus, "alerts.yml", rule.name, name) for name in sorted(names)]
        whole = health.get(rule.name) == "ok" and all(each["n_series"] for each in seen)
        n_series = sum(each["n_series"] for each in seen) if whole else 0
        if names:
            yield {"where": "alerts.yml", "what": rule.name, "expr": rule.expr, "n_series": n_series}


def _seen(prometheus: Prometheus, where: str, what: str, expr: str) -> Finding:
    values = prometheus.query(expr.replace("$__rate_interval", RATE_INTERVAL))
    values = [value for value in values if not math.isnan(value)]
    seen: Finding = {"where": where, "what": what, "expr": expr, "n_series": len(values)}
    if values:
        seen |= {"least": _short(min(values)), "most": _short(max(values))}
    return seen


def _short(value: float) -> float | str:
    return float(f"{value:.4g}") if math.isfinite(value) else str(value)


def _of_log(file: Path) -> dict[str, Any]:
    """Whether the server's words, one JSON document a line, say of which request or track they are."""
    lines = [
        json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("{")
    ]
    slow = [line for line in lines if line["event"] == "web.slow_request"]
    of_request = [line for line in lines if line["event"] in IN_A_REQUEST]
    of_track = [line for line in lines if line["event"] in IN_A_WALK]
    return {
        "n_lines": len(lines),
        "n_of_requests": len(of_request),
        "n_without_request": sum("request_id" not in line for line in of_request),
        "n_of_tracks": len(of_track),
        "n_without_track": sum("track_id" not in line for line in of_track),
        "n_slow": len(slow),
        "slow": {line["route"]: line["stages_s"] for line in slow},
    }


def _page(found: dict[str, Any]) -> str:
    rows = [
        f"| {each['where']} | {each['what'].replace('|', '/')} | {each['n_series'] or '**none**'} "
        f"| {each.get('least', '')} | {each.get('most', '')} |"
        for each in found["found"]
    ]
    n_silent = sum(not each["n_series"] for each in found["found"])
    states = {
        state: [name for name, its in found["alerts"].items() if its == state]
        for state in ("firing", "pending")
    }
    log = found["log"]
    return "\n".join(
        [
            "# Watching: every panel and every rule on a running server",
            "",
            f"`python -m loadtest.watching`, {found['setting']}, {found['seconds']} s, {found['n_rounds']} rounds of",
            "traffic. Asked every 2 s: "
            + ", ".join(f"{job} {up}" for job, up in found["targets"].items())
            + ".",
            "",
            f"{len(found['found'])} expressions, {n_silent} without data. Alerts firing: "
            + (", ".join(states["firing"]) or "none")
            + "; pending: "
            + (", ".join(states["pending"]) or "none")
            + ".",
            "",
            f"Log: {log['n_of_requests']} lines of requests, {log['n_without_request']} without the request's id; "
            f"{log['n_of_tracks']} of tracks, {log['n_without_track']} without the track's; {log['n_slow']} slow"
            " requests (over 0.2 s), each with its stages.",
            "",
            "| where | panel [legend], rule or alert | series | least | most |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "Of an alert, the series are those that it looks at; without "
            + ", ".join(f"`{name}`" for name in sorted(ELSEWHERE))
            + ", which only nodes of a Cluster tell.",
            "",
            "## Traffic",
            "",
            "| answer | times |",
            "|---|---|",
            *(f"| {what} | {n} |" for what, n in found["answers"].items()),
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
