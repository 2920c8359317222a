"""From figures of a run to what is wrong with it, and to its page."""

import json
from pathlib import Path
from typing import Any

MAX_GROWTH = 0.10
GROWN_BYTES = 16 * 2**20  # less is no growth: a few more tracks, a buffer
READER_GROWN_BYTES = 96 * 2**20  # with it grows what libFuzzer keeps: inputs, and what each has reached
MAX_MORE_FILES = 10
LASTING = ("parent", "web", "worker", "store")
MEASURED = ("parent", "web", "worker")  # the store holds what was put into it


def json_of(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text())


def faults_of(found: dict[str, Any]) -> list[str]:
    """What must not be, in sentences."""
    faults = []
    for each in found["inside"]:
        if each["findings"] or each["exit_status"]:
            faults.append(f"{each['name']}: {', '.join(each['findings']) or each['says'][-300:]}")
        told = each["told"]
        grown = told.get("resident_bytes", 0) - (told.get("warm_bytes") or told.get("resident_bytes", 0))
        if grown > READER_GROWN_BYTES:
            faults.append(f"{each['name']}: memory grew by {grown / 2**20:.0f} MB after the first fifth")
    return faults + (_faults_over_http(found["http"]) if found["http"] else [])


def _faults_over_http(http: dict[str, Any]) -> list[str]:
    faults = [each[:600] for each in http["findings"]]
    if http["unexpected"]:
        faults.append(f"the log has {http['unexpected']} unexpected errors")
    if not http["knows_its_songs"]:
        faults.append("the server does not know its songs any more")
    for kind in LASTING:
        before, after = http["before"][kind], http["after"][kind]
        if before["pids"] != after["pids"]:
            faults.append(f"{kind}: processes were {before['pids']}, are {after['pids']}")
            continue
        if kind not in MEASURED:
            continue
        for was, became in zip(before["bytes"], after["bytes"], strict=True):
            if became - was > max(GROWN_BYTES, MAX_GROWTH * was):
                faults.append(f"{kind}: {was / 2**20:.0f} MB became {became / 2**20:.0f} MB")
        for was, became in zip(before["files"], after["files"], strict=True):
            if became - was > MAX_MORE_FILES:
                faults.append(f"{kind}: {was} open files became {became}")
    return faults


def page(found: dict[str, Any], faults: list[str]) -> str:
    """The page."""
    http = found["http"]
    n_inside = sum(each["inputs"] for each in found["inside"])
    n_http = http["inputs"] if http else 0
    lines = [
        "# Strange input",
        "",
        f"{n_inside + n_http:,} inputs: {n_inside:,} to readers of strangers' bytes, each in a process of its own, "
        f"driven by what of the code they reach (Atheris, libFuzzer), and {n_http:,} over HTTP to a real server. "
        f"{found['seconds'] / 60:.0f} minutes, seed {found['seed']}. {found['setting']}.",
        "",
        f"**{len(faults) or 'No'} finding{'s' if len(faults) != 1 else ''}.** A finding is an error without a name, an "
        "answer that does not survive being written and read again, a file opened outside the roots, an input over its "
        "time or 2 GB of memory, a 5xx, a refusal without the one error body, a process that died, growth.",
        "",
        *(f"- {each}" for each in faults),
        "",
        "## Readers",
        "",
        "Branches are those of Python code that were reached, in the reader and what it stands on; what is written in "
        "C (FFmpeg, msgspec, msgpack) is run but not counted. Growth is that of resident memory from a fifth of the "
        "inputs on.",
        "",
        "| reader | what comes in | inputs | of them taken | per second | branches, of seeds | kept | slowest, limit | "
        "peak memory | growth |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_reader_row(each) for each in found["inside"]),
        "",
    ]
    return "\n".join([*lines, *(_http_lines(http) if http else [])])


def _reader_row(each: dict[str, Any]) -> str:
    told = each["told"]
    outcomes = told.get("outcomes", {})
    n = max(1, sum(outcomes.values()))
    grown = (
        told.get("resident_bytes", 0) - (told.get("warm_bytes") or told.get("resident_bytes", 0))
    ) / 2**20
    return (
        f"| {each['name']} | {each['enters']} | {each['inputs']:,} | {outcomes.get('taken', 0) / n:.0%} | "
        f"{each['inputs'] / max(each['seconds'], 0.1):,.0f} | {each['edges']:,}, {each['edges_of_seeds']:,} | "
        f"{each['kept']:,} | {each['slowest_s']} s, {each['limit_s']} s | {each['peak_mb']:,} MB | {grown:+.0f} MB |"
    )


def _http_lines(http: dict[str, Any]) -> list[str]:
    return [
        "## Over HTTP",
        "",
        f"{http['inputs']:,} requests in {http['seconds']:.0f} s, {http['at_once']} at once, to two web processes "
        f"with a worker and an embedded store. Limit of any answer: {http['limit_s']:g} s. Decoders that ended "
        f"their process, contained: {http['crashes_contained']}. At its end the server "
        f"{'knows' if http['knows_its_songs'] else 'does NOT know'} its songs.",
        "",
        "| processes | pids | resident, after the first 40 % and at the end | open files |",
        "|---|---|---|---|",
        *(_state_row(kind, http["before"][kind], http["after"][kind]) for kind in http["before"]),
        "",
        "Decoding processes are started anew when a file has ended one, and a map's after its turn.",
        "",
        "| entry point | requests | answers | slowest |",
        "|---|---|---|---|",
        *(
            f"| `{name}` | {sum(each.values()):,} | {', '.join(f'{what}: {n:,}' for what, n in each.items())} | "
            f"{http['slowest_s'].get(name, 0)} s |"
            for name, each in http["entries"].items()
        ),
        "",
    ]


def _state_row(kind: str, before: dict[str, list[int]], after: dict[str, list[int]]) -> str:
    same = "the same" if before["pids"] == after["pids"] else "others"
    memory = " · ".join(
        ", ".join(f"{each / 2**20:.0f}" for each in state["bytes"]) or "none" for state in (before, after)
    )
    files = " · ".join(", ".join(map(str, state["files"])) or "none" for state in (before, after))
    return f"| {kind} | {len(after['pids'])}, {same} | {memory} MB | {files} |"
