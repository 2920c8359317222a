"""Where a measurement's figures go: one document for programs, one page for people."""

import argparse
import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine() -> str:
    """Where and when something was measured."""
    cores = f"{os.cpu_count()} cores ({platform.machine()})"
    return f"{cores}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"


def rates(made: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """How fast so many postings and hours came in."""
    return {
        "postings_per_s": round(made["postings"] / seconds),
        "hours_per_s": round(made["hours"] / seconds, 2),
        "setting": machine(),
    }


def arguments(doc: str | None, *, tracks: int) -> argparse.ArgumentParser:
    """Of a measurement that loads tracks made of a corpus."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--tracks", type=int, default=tracks)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="that make them")
    return parser


def write(name: str, found: Mapping[str, Any], page: str, *, out: Path = RESULTS) -> None:
    """Write <name>.json and <name>.md, and print the page."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (out / f"{name}.md").write_text(page, encoding="utf-8")
    print(page)
