"""schemathesis against a running server: does it do what its OpenAPI document says, and nothing else?

    python -m loadtest.contract [--examples N] [--address URL [--key KEY]]

Every operation is asked good and bad questions that are made of its schema, and what comes back is held against the
document: the first with the least and greatest of everything, then at random, then in rows of calls, each with what
the one before it gave. Writes results/contract.md and .json; exit status 1 when schemathesis finds anything.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fpserver.config import Config
from fpserver.fingerprint import wire
from fpserver.hearing import hear_recording
from loadtest import report
from loadtest.standing import N_SONGS, a_clip, knows_its_songs, standing

HOOKS = Path(__file__).parent / "contract_hooks.py"
PHASES = ("examples", "coverage", "fuzzing", "stateful")
REQUEST_TIMEOUT_S = 20.0
NOT_DELETED = """
[[operations]]
include-path-regex = "^/v1/ingest/"
checks.use_after_free.enabled = false
"""
NO_DELETION = (
    "`use_after_free` of batches: DELETE cancels a batch; what became of its tracks can be read for 7 days"
)
PHASES_TOLD = (
    "Phases: the least and greatest of everything (coverage), random questions good and bad (fuzzing), rows of calls "
    "in which one uses what another gave (stateful)."
)
HOOKS_TOLD = (
    "What no schema can say, schemathesis is told (`loadtest/contract_hooks.py`): sound and fingerprints where they "
    "are wanted, cursors, weights of groups, that a least is at most its most, that a moment lies in its track, an "
    "event between 1970 and now, and that the first line of a request has 8,190 bytes at most."
)
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ensure_resource_availability",
    "ignored_auth",
    "object_level_authorization",
)
NO_KEYS = {  # checks that have nothing to look at while the server asks for no key
    "ignored_auth": "keys are off on loopback; run with --key against a server that asks for them",
    "object_level_authorization": "keys have scopes; nothing belongs to one caller and not to another",
}


def main() -> int:
    """Run it, and write the page; returns the exit status."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="fpserver-contract-") as folder, ExitStack() as stack:
        _material(Path(folder))
        ours = (
            None if arguments.address else stack.enter_context(standing(Path(folder) / "data", guarded=True))
        )
        address = ours.server.address if ours else arguments.address
        if ours:
            arguments.key = ours.key
        status, said, told = _asked(address, Path(folder), arguments)
        log = ours.log.read_text().splitlines() if ours else []
        errors = [line for line in log if "web.unexpected" in line]
        found = {
            "setting": report.machine(),
            "seed": arguments.seed,
            "examples": arguments.examples,
            "status": status,
            "with_key": bool(arguments.key),
            **told,
            "unexpected": len(errors),
            "knows_its_songs": knows_its_songs(ours) if ours else None,
        }
    failed = bool(status or errors or found["server_errors"] or found["knows_its_songs"] is False)
    report.write("contract", found, _page(found), out=arguments.out)
    if failed:
        print(said, *errors[:5], sep="\n")
    return int(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--examples", type=int, default=200, help="questions made at random, of each operation"
    )
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--address", help="of a server that is there, and may be spoilt; left out: one of our own"
    )
    parser.add_argument(
        "--key", help="an API key, sent with every request; then authorisation is checked too"
    )
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    return parser.parse_args()


def _material(folder: Path) -> None:
    """What good questions need, where contract_hooks.py looks for it."""
    (folder / "clip.mp3").write_bytes(a_clip())
    config = Config()
    hearing = hear_recording(folder / "clip.mp3", config.audio, config.fingerprint)
    (folder / "clip.fingerprint").write_bytes(wire.pack(hearing, config.fingerprint))


def _asked(address: str, folder: Path, arguments: argparse.Namespace) -> tuple[int, str, dict[str, Any]]:
    """(exit status, what was printed, figures) of a run of schemathesis."""
    checks = [name for name in CHECKS if arguments.key or name not in NO_KEYS]
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{address}/v1/openapi.json"),
        *("--phases", ",".join(PHASES), "--continue-on-failure", "--no-color"),
        *("--max-examples", str(arguments.examples), "--seed", str(arguments.seed), "--workers", "2"),
        *("--generation-database", "none", "--request-timeout", str(REQUEST_TIMEOUT_S)),
        *("--report", "json", "--report-json-path", str(folder / "run.json")),
        *(("-H", f"Authorization: Bearer {arguments.key}") if arguments.key else ()),
    ]
    on = "\n".join(f"{name}.enabled = {str(name in checks).lower()}" for name in CHECKS)
    (folder / "schemathesis.toml").write_text(f"[checks]\n{on}\n{NOT_DELETED}")
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": str(HOOKS),
        "FPSERVER_CONTRACT_MATERIAL": str(folder),
    }
    run = subprocess.run(
        command,
        env=environment,
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return run.returncode, run.stdout, _told(folder)


def _told(folder: Path) -> dict[str, Any]:
    """Figures of a run: what schemathesis reports, and what was answered."""
    run = json.loads((folder / "run.json").read_text())
    answers = json.loads((folder / "answers.json").read_text())
    by_operation: dict[str, Counter[str]] = defaultdict(Counter)
    by_kind: dict[str, Counter[str]] = defaultdict(Counter)
    for operation, kind, answered, n in answers:
        by_operation[operation][str(answered)] += n
        by_kind[operation][kind] += n
    return {
        "schemathesis": run["schemathesis_version"],
        "seconds": round(run["running_time"], 1),
        "operations": run["operations"]["tested"],
        "operations_in_all": run["operations"]["total"],
        "requests": sum(n for *_, n in answers),
        "server_errors": sum(n for *_, answered, n in answers if answered >= 500),
        "failures": run["failures"],
        "errors": run["errors"],
        "warnings": {name: found for name, found in run["warnings"].items() if found},
        "answers": {name: dict(sorted(each.items())) for name, each in sorted(by_operation.items())},
        "kinds": {name: dict(each) for name, each in sorted(by_kind.items())},
    }


def _page(found: dict[str, Any]) -> str:
    left_out = {name: why for name, why in NO_KEYS.items() if not found["with_key"]}
    knows = {True: "knows", False: "does NOT know", None: "was not asked about"}[found["knows_its_songs"]]
    return "\n".join(
        [
            "# Does the server do what its OpenAPI document says?",
            "",
            f"schemathesis {found['schemathesis']} against a running server (two web processes, a worker, an embedded "
            f"store, {N_SONGS} songs{'; it asks for keys' if found['with_key'] else ''}): "
            f"{found['operations']} of {found['operations_in_all']} operations, "
            f"{found['requests']:,} requests in {found['seconds']:.0f} s, {found['examples']} questions at random of "
            f"each operation, seed {found['seed']}. {found['setting']}.",
            "",
            f"**{len(found['failures'])} failures, {found['server_errors']} answers of 5xx, {found['unexpected']} "
            f"unexpected errors in the log.** Afterwards the server {knows} its songs.",
            "",
            *(
                f"- {each['title']} ({each['count']}): {', '.join(each['operations'])}"
                for each in found["failures"]
            ),
            PHASES_TOLD,
            "",
            f"Checks: {', '.join(f'`{name}`' for name in CHECKS if name not in left_out)}.",
            "",
            "Left out:",
            "",
            *(f"- `{name}`: {why}" for name, why in left_out.items()),
            f"- {NO_DELETION}",
            "",
            HOOKS_TOLD,
            "",
            "| operation | requests | good | bad | answers |",
            "|---|---|---|---|---|",
            *(_row(name, found["kinds"][name], each) for name, each in found["answers"].items()),
            "",
        ]
    )


def _row(name: str, kinds: dict[str, int], answers: dict[str, int]) -> str:
    told = ", ".join(f"{status}: {n:,}" for status, n in answers.items())
    good, bad = kinds.get("positive", 0), kinds.get("negative", 0)
    return f"| `{name}` | {sum(answers.values()):,} | {good:,} | {bad:,} | {told} |"


if __name__ == "__main__":
    sys.exit(main())
