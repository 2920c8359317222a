"""What stands in the documents is there, and what is there stands in the documents.

Settings are held to config.toml by test_config_file.py, routes and error codes to docs/api.md by tests/web.
"""

import re
import tomllib
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from fpserver import metrics
from fpserver.cli.arguments import parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> set[str]:
    (choice,) = (action.choices for action in parser()._actions if isinstance(action.choices, dict))
    return set(choice)


def test_every_metric_is_documented_with_its_labels_and_none_that_is_gone() -> None:
    rows = re.findall(
        r"^\| `(fpserver_\w+)` \| (\w+) \| (.*?) \|", (ROOT / "docs/metrics.md").read_text(), re.M
    )
    documented = {(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    there = {
        (each._name + ("_total" if each._type == "counter" else ""), each._type, tuple(each._labelnames))
        for each in vars(metrics).values()
        if isinstance(each, MetricWrapperBase)
    }
    assert documented == there


def test_every_command_is_in_the_readme_and_none_that_is_gone() -> None:
    assert set(re.findall(r"(?:`|bin/)fpserver ([a-z-]+)", README)) == commands()


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"\bmake ([a-z-]+)\b", README)) - {"sure"} <= targets | {"python"}


def test_every_document_that_is_linked_is_there() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    missing = [
        f"{page.relative_to(ROOT)} links {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]
    assert missing == []


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(path.name[:4]) for path in (ROOT / "docs/decisions").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for lock, wanted in (
        ("runtime", project["dependencies"]),
        ("dev", project["dependencies"] + project["optional-dependencies"]["dev"]),
    ):
        locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / f"locks/{lock}.txt").read_text(), re.M))
        assert {re.split(r"[>=<;\[ ]", name)[0] for name in wanted} <= locked
