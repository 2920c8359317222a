"""From rules as they stand in deploy/prometheus to values, and from expressions to the series that they look at.

Reads the YAML that is written there and no other: one rule after the other, a key a line, text folded below its key.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "prometheus"

_KEY = re.compile(r"^( +)(?:- )?(\w+):(?: (.*))?$")
_SELECTOR = re.compile(r"\b((?:fpserver|redis|prometheus)[_:][\w:]+|up|ALERTS)\b(\{[^}]*\})?")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"([^\"]*)\"")
_GROUPED = re.compile(r"\b(?:by|on|without|ignoring|group_left)\s*\(([^)]*)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A recording rule or an alert."""

    name: str
    is_alert: bool
    fields: Mapping[str, str]  # expr, for, summary, description, runbook_url, labels

    @property
    def expr(self) -> str:
        """What is asked."""
        return self.fields["expr"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Series that an expression looks at."""

    name: str
    matchers: Mapping[str, str]  # label → value or pattern


def read(file: Path) -> list[Rule]:
    """The rules of a file, in order."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    rules: list[tuple[str, bool, dict[str, str]]] = []
    for key, value in _pairs([line for line in lines if not line.lstrip().startswith("#")]):
        if key in ("record", "alert"):
            rules.append((value, key == "alert", {}))
        elif rules:
            rules[-1][2][key] = value
    return [Rule(name=name, is_alert=is_alert, fields=fields) for name, is_alert, fields in rules]


def _pairs(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Keys and their values; the lines of a folded value become one."""
    for i, line in enumerate(lines):
        found = _KEY.match(line)
        if found is None:
            continue
        indent, key, value = len(found[1]), found[2], (found[3] or "").strip()
        if value == ">-":
            folded = []
            for below in lines[i + 1 :]:
                if len(below) - len(below.lstrip()) <= indent:
                    break
                folded.append(below.strip())
            value = " ".join(folded)
        yield key, value.strip('"')


def selectors(expr: str) -> list[Selector]:
    """All of an expression."""
    return [
        Selector(name=name, matchers=dict(_MATCHER.findall(matchers)))
        for name, matchers in _SELECTOR.findall(expr)
    ]


def grouped_by(expr: str) -> set[str]:
    """Labels that an expression groups or joins by."""
    return {
        label.strip() for labels in _GROUPED.findall(expr) for label in labels.split(",") if label.strip()
    }
