"""Strange input for everything that takes input.

    python -m loadtest.fuzz [--inputs 300000] [--http 40000] [--out FOLDER]

First each reader of strangers' bytes in a process of its own, driven by what of the code each input reaches
(Atheris); then all routes of a real server over HTTP, with the inputs that those runs have kept. Writes
results/fuzz.md and .json; exit status 1 when anything is found: an error without a name, a 5xx, an answer that does
not come in time, a process that died, memory or descriptors that grow, a song that is no longer known.
"""

import argparse
import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from loadtest import report
from loadtest.fuzz import over_http, page, targets
from loadtest.fuzz.targets import TARGETS, Target
from loadtest.processes import descendants_of, n_descriptors, resident_bytes
from loadtest.standing import Standing, knows_its_songs, standing

AT_ONCE = 2  # targets
MOST_S = 900  # of one target: what is not done by then is not done
WARM = 0.4  # of the requests, after which a server must not grow


def main() -> int:
    """Run it all, and write the page; returns the exit status."""
    arguments = _arguments()
    begun = time.monotonic()
    with TemporaryDirectory(prefix="fpserver-fuzz-") as folder:
        chosen = [each for each in TARGETS if not arguments.only or each.name in arguments.only]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            run = partial(_run, folder=Path(folder), arguments=arguments)
            inside = list(pool.map(run, sorted(chosen, key=lambda target: -target.limit_s)))
        corpora = {each.name: _corpus(each, Path(folder)) for each in TARGETS}
        over = _over_http(Path(folder), corpora, arguments) if arguments.http else None
    targets.tidy()
    found = {
        "setting": report.machine(),
        "seed": arguments.seed,
        "seconds": round(time.monotonic() - begun),
        "inside": inside,
        "http": over,
    }
    faults = page.faults_of(found)
    report.write("fuzz", found | {"faults": faults}, page.page(found, faults), out=arguments.out)
    return int(bool(faults))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=300_000, help="of all targets together")
    parser.add_argument("--http", type=int, default=40_000, help="requests to a server")
    parser.add_argument("--only", nargs="*", help="names of targets")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--keep", type=Path, help="a folder for findings")
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    return parser.parse_args()


def _run(target: Target, *, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """One target to its end, in a process of its own; its figures."""
    own = folder / target.name
    for name in ("corpus", "findings"):
        (own / name).mkdir(parents=True)
    for place, seed in enumerate(target.seeds()):
        (own / "corpus" / f"seed-{place}").write_bytes(seed)
    n_inputs = round(arguments.inputs * target.share)
    command = [sys.executable, "-m", "loadtest.fuzz.one", target.name, str(own), str(n_inputs)]
    limits = [f"-seed={arguments.seed}", f"-max_total_time={MOST_S}"]
    begun = time.monotonic()
    run = subprocess.run([*command, *limits], capture_output=True, text=True, errors="replace", check=False)
    findings = sorted((own / "findings").iterdir())
    if arguments.keep and (findings or run.returncode):
        kept = arguments.keep / target.name
        kept.mkdir(parents=True, exist_ok=True)
        (kept / "log.txt").write_text(run.stderr)
        for each in findings:
            (kept / each.name).write_bytes(each.read_bytes())
    return _figures(target, own, run, time.monotonic() - begun) | {
        "findings": [each.name for each in findings]
    }


def _figures(
    target: Target, own: Path, run: "subprocess.CompletedProcess[str]", seconds: float
) -> dict[str, Any]:
    status = own / "status.json"
    covered = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)/", run.stderr) or [("0", "0", "0")]
    statistics = dict(re.findall(r"stat::(\w+):\s+(\d+)", run.stderr))
    return {
        "name": target.name,
        "enters": target.enters,
        "limit_s": target.limit_s,
        "exit_status": run.returncode,
        "seconds": round(seconds, 1),
        "inputs": int(statistics.get("number_of_executed_units", 0)),
        "slowest_s": int(statistics.get("slowest_unit_time_sec", 0)),
        "peak_mb": int(statistics.get("peak_rss_mb", 0)),
        "edges": int(covered[-1][0]),
        "edges_of_seeds": int(covered[0][0]),
        "features": int(covered[-1][1]),
        "kept": int(covered[-1][2]),
        "told": page.json_of(status) if status.exists() else {},
        "says": "" if run.returncode == 0 else run.stderr[-3000:],
    }


def _corpus(target: Target, folder: Path) -> Sequence[bytes]:
    corpus = folder / target.name / "corpus"
    grown = [each.read_bytes() for each in corpus.iterdir()] if corpus.exists() else []
    return grown or list(target.seeds())


def _over_http(
    folder: Path, corpora: dict[str, Sequence[bytes]], arguments: argparse.Namespace
) -> dict[str, Any]:
    """All routes of a real server; its figures."""
    with standing(folder / "data") as stood:
        asker = over_http.Asker(stood, corpora, arguments.seed)
        became = over_http.Became()
        n_warm = round(WARM * arguments.http)
        begun = time.monotonic()
        asyncio.run(over_http.ask(stood, asker, became, n_inputs=n_warm))
        before = _state(stood)
        asyncio.run(over_http.ask(stood, asker, became, n_inputs=arguments.http - n_warm))
        seconds = time.monotonic() - begun
        after = _state(stood)
        log = stood.log.read_text(errors="replace").splitlines()
        return {
            "seconds": round(seconds, 1),
            "inputs": sum(map(sum, (each.values() for each in became.by_entry.values()))),
            "limit_s": over_http.LIMIT_S,
            "at_once": over_http.AT_ONCE,
            "entries": {name: dict(sorted(each.items())) for name, each in sorted(became.by_entry.items())},
            "slowest_s": {name: round(each, 2) for name, each in became.slowest_s.items()},
            "findings": became.findings[:20],
            "n_findings": len(became.findings),
            "before": before,
            "after": after,
            "unexpected": sum("web.unexpected" in line for line in log),
            "crashes_contained": sum('"audio_crash"' in line for line in log),
            "knows_its_songs": knows_its_songs(stood),
        }


def _state(stood: Standing) -> dict[str, dict[str, list[int]]]:
    """Pids, resident memory and open files of the server's processes, by what they are."""
    server = stood.server
    pids = {
        "parent": [server.pid],
        "web": server.children("fpserver.child web"),
        "worker": server.children("fpserver.child worker"),
        "store": server.children("valkey"),
    }
    pids["decoding and maps"] = sorted(
        set().union(*(descendants_of(pid) for kind in ("web", "worker") for pid in pids[kind]))
    )
    return {
        kind: {
            "pids": each,
            "bytes": list(map(resident_bytes, each)),
            "files": list(map(n_descriptors, each)),
        }
        for kind, each in pids.items()
    }


if __name__ == "__main__":
    sys.exit(main())
