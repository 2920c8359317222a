"""Where a measurement's figures go: one document for programs, one page for people."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def write(name: str, found: Mapping[str, Any], page: str, *, out: Path = RESULTS) -> None:
    """Write <name>.json and <name>.md, and print the page."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (out / f"{name}.md").write_text(page, encoding="utf-8")
    print(page)
