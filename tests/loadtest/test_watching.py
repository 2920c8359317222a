"""Dashboards, rules, alerts and the runbook are true of each other, and of metrics.py."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase

from fpserver import errors, metrics
from fpserver.errors import FpserverError
from fpserver.terms import TrackStatus
from fpserver.web.errors import HTTP_CODES
from loadtest.watching.dashboards import DASHBOARDS, FOLDER, texts
from loadtest.watching.panels import WIDTH, Dashboard, Panel
from loadtest.watching.rules import FOLDER as RULES_FOLDER
from loadtest.watching.rules import Rule, grouped_by, read, selectors

ROOT = Path(__file__).parent.parent.parent
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
RECORDED = read(RULES_FOLDER / "rules.yml")
ALERTS = read(RULES_FOLDER / "alerts.yml")
TESTS = sorted((RULES_FOLDER / "tests").glob("*.yml"))
PANELS = [(dashboard, panel) for dashboard in DASHBOARDS for panel in dashboard.panels]
UNITS = {"reqps", "ops", "s", "bytes", "Bps", "percentunit", "short", "none"}
EVERYWHERE = {"instance", "job"}  # labels that Prometheus adds
OF_OTHERS = {  # label sets of what is not ours
    "up": {"job", "instance"},
    "ALERTS": {"alertname", "alertstate", "severity"},
    "redis": {"instance", "db"},
    "prometheus": {"instance", "rule_group"},
}
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def ours() -> dict[str, tuple[str, set[str]]]:
    """Series → (the metric they are of, their labels)."""
    series = {}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            for suffix in SUFFIXES[str(metric._type)]:
                labels = {*metric._labelnames, *({"le"} if suffix == "_bucket" else ())}
                series[metric._name + suffix] = (metric._name, labels)
    return series


SERIES = ours()
RECORDED_LABELS = {rule.name: grouped_by(rule.expr) - {"le"} for rule in RECORDED}


def expressions() -> Iterator[tuple[str, str]]:
    for rule in (*RECORDED, *ALERTS):
        yield rule.name, rule.expr
    for dashboard, panel in PANELS:
        for legend, expr in panel.queries.items():
            yield f"{dashboard.name}: {panel.title} [{legend}]", expr


def labels_of(name: str) -> set[str] | None:
    """Of a series; None when there is no such."""
    if name in SERIES:
        return SERIES[name][1] | EVERYWHERE
    if name in RECORDED_LABELS:
        return RECORDED_LABELS[name]
    kind = re.split("[_:]", name)[0]
    return None if kind == "fpserver" else OF_OTHERS[kind]


# ---------------------------------------------------------------- metrics


@pytest.mark.parametrize(("what", "expr"), list(expressions()))
def test_every_series_that_is_named_exists_with_the_labels_that_are_named(what: str, expr: str) -> None:
    found = selectors(expr)
    assert found, what
    known: set[str] = set()
    for selector in found:
        labels = labels_of(selector.name)
        assert labels is not None, f"{what}: there is no {selector.name}"
        assert set(selector.matchers) <= labels, f"{what}: {selector}"
        known |= labels
    assert grouped_by(expr) <= known, what


def test_every_metric_stands_in_a_dashboard_or_an_alert() -> None:
    recorded = {rule.name: rule.expr for rule in RECORDED}
    shown = " ".join(
        expr for what, expr in expressions() if what not in recorded
    )  # what is recorded and not shown is no help
    named = {selector.name for selector in selectors(shown)}
    named |= {each.name for name in named & set(recorded) for each in selectors(recorded[name])}
    named |= {each.name for name in named & set(recorded) for each in selectors(recorded[name])}
    assert {metric for metric, _ in SERIES.values()} - {
        SERIES[name][0] for name in named if name in SERIES
    } == set()
    assert set(recorded) <= named, "a rule that nobody looks at"


def test_codes_and_statuses_that_are_named_exist() -> None:
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, FpserverError)
    ]
    codes = {kind.code for kind in kinds} | set(HTTP_CODES.values())
    for what, expr in expressions():
        for selector in selectors(expr):
            for code in selector.matchers.get("code", "").split("|"):
                assert not code or any(re.fullmatch(code, each) for each in codes), (what, code)
            if selector.name == "fpserver_tracks":
                assert set(selector.matchers["status"].split("|") if selector.matchers else ()) <= set(
                    TrackStatus
                )


# ---------------------------------------------------------------- alerts and the runbook


def test_every_alert_has_a_section_in_the_runbook_and_every_section_an_alert() -> None:
    above_jobs = RUNBOOK.partition("\n## Usual jobs\n")[0]
    assert re.findall(r"^### (\w+)$", above_jobs, re.M) == [alert.name for alert in ALERTS]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_says_how_urgent_it_is_what_it_means_and_where_to_read_on(alert: Rule) -> None:
    severity = re.fullmatch(r"\{severity: (page|ticket)\}", alert.fields["labels"])
    assert severity, alert.fields["labels"]
    assert alert.fields["runbook_url"] == f"docs/runbook.md#{alert.name.lower()}"
    assert len(alert.fields["summary"]) > 10 and len(alert.fields["description"]) > 40
    section = RUNBOOK.partition(f"\n### {alert.name}\n\n")[2].partition("\n#")[0]
    assert section.startswith(f"*{severity[1].capitalize()}.*"), section[:20]
    assert "**Do:**" in section
    of_series = set().union(*(labels_of(each.name) or set() for each in selectors(alert.expr)))
    said = re.findall(r"\$labels\.(\w+)", alert.fields["summary"] + alert.fields["description"])
    assert set(said) <= of_series
    if re.search(r"\b(?:sum|max|min|count)\(", alert.expr):  # nothing is left but what is grouped by
        assert set(said) <= grouped_by(alert.expr)


def test_links_within_the_runbook_lead_to_sections() -> None:
    slugs = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", RUNBOOK, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK)) <= slugs


# ---------------------------------------------------------------- promtool


def tries() -> dict[str, list[bool]]:
    """Alert → of each of its tests, whether it must fire."""
    found: dict[str, list[bool]] = {}
    asked = re.compile(r'ALERTS\{alertname="(\w+)",alertstate="firing"\}.*\n.*\n +exp_samples: (\[.*\])')
    for file in TESTS:
        for name, samples in asked.findall(file.read_text(encoding="utf-8")):
            found.setdefault(name, []).append(samples != "[]")
    return found


def test_every_alert_is_tried_on_series_that_set_it_off_and_on_others_that_do_not() -> None:
    found = tries()
    assert set(found) == {alert.name for alert in ALERTS}
    assert {name for name, fires in found.items() if set(fires) != {True, False}} == set()


def test_every_recorded_figure_is_tried() -> None:
    text = (RULES_FOLDER / "tests" / "recorded.yml").read_text(encoding="utf-8")
    assert {rule.name for rule in RECORDED} <= set(re.findall(r"expr: round\((fpserver:[\w:]+)", text))


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    return found


def test_promtool_finds_no_fault_in_settings_and_rules(promtool: str, tmp_path: Path) -> None:
    shutil.copytree(RULES_FOLDER, tmp_path / "prometheus")
    (tmp_path / "prometheus" / "token").write_text("a key\n")
    command = [promtool, "check", "config", str(tmp_path / "prometheus" / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout and f"{len(RECORDED)} rules found" in done.stdout


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_rules_and_alerts_do_what_their_tests_say(promtool: str, file: Path) -> None:
    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# ---------------------------------------------------------------- dashboards


def test_the_files_are_what_is_made() -> None:
    there = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.json")}
    assert there == texts(), "run python -m loadtest.watching.dashboards"


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.name)
def test_a_dashboard_can_be_loaded(dashboard: Dashboard) -> None:
    document = json.loads(texts()[f"{dashboard.name}.json"])
    assert document["schemaVersion"] == 39 and document["uid"].startswith("fpserver-")
    (choice,) = document["templating"]["list"]
    assert (choice["type"], choice["query"]) == ("datasource", "prometheus")
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
    cells: set[tuple[int, int]] = set()
    for panel in document["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= WIDTH
        its = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not its & cells, f"{panel['title']} lies on another"
        cells |= its
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert [target["refId"] for target in panel["targets"]] == list("ABCDEFG")[
                : len(panel["targets"])
            ]


@pytest.mark.parametrize(
    ("dashboard", "panel"), PANELS, ids=[f"{dashboard.name}-{panel.title}" for dashboard, panel in PANELS]
)
def test_a_panel_says_what_one_sees_in_what_unit_and_whose_line_is_which(
    dashboard: Dashboard, panel: Panel
) -> None:
    assert len(panel.text) > 5 and panel.text.endswith((".", ")"))
    assert panel.unit in UNITS
    for legend, expr in panel.queries.items():
        assert legend
        kept = set().union(*(labels_of(each.name) or set() for each in selectors(expr)))
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= kept, legend


def test_what_is_provisioned_names_the_data_source_and_the_folder() -> None:
    folder = FOLDER / "provisioning"
    assert "type: prometheus" in (folder / "datasources" / "prometheus.yml").read_text()
    assert "path: /var/lib/grafana/dashboards" in (folder / "dashboards" / "fpserver.yml").read_text()


def test_every_list_of_targets_that_is_named_is_there() -> None:
    named = re.findall(r"targets/\w+\.json", (RULES_FOLDER / "prometheus.yml").read_text())
    assert len(named) == 4
    for name in named:
        for group in json.loads((RULES_FOLDER / name).read_text()):
            assert set(group) == {"targets"} and group["targets"]
