"""From a short description of a dashboard to the JSON that Grafana 10 and 11 load (schemaVersion 39).

Panels stand side by side in the order given, 24 columns a line, and never overlap. Every question goes to the data
source that the reader chooses at the top.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Json: TypeAlias = dict[str, Any]

WIDTH = 24  # columns of a dashboard
SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
SCHEMA_VERSION = 39


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture: what is asked, and what it means."""

    title: str
    text: str  # what one sees, and what would be unusual
    unit: str  # Grafana's name of it
    queries: Mapping[str, str]  # legend → expression
    kind: Literal["timeseries", "stat", "heatmap"] = "timeseries"
    width: int = 8
    stacked: bool = False
    most: float | None = None  # upper end of the axis; None: as it comes


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """A page of Grafana; `name` is its file and its address."""

    name: str
    title: str
    text: str
    rows: Sequence[Row]

    @property
    def panels(self) -> list[Panel]:
        """All of them, in order."""
        return [panel for row in self.rows for panel in row.panels]

    def document(self) -> Json:
        """What Grafana loads."""
        return {
            "uid": f"fpserver-{self.name}",
            "title": self.title,
            "description": self.text,
            "tags": ["fpserver"],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,  # one cross hair in all panels
            "refresh": "30s",
            "time": {"from": "now-6h", "to": "now"},
            "timezone": "browser",
            "annotations": {"list": [_ALERTS]},
            "links": [_LINKS],
            "templating": {"list": [_CHOICE]},
            "panels": _laid_out(self.rows),
        }


_CHOICE: Json = {
    "name": "datasource",
    "label": "Prometheus",
    "type": "datasource",
    "query": "prometheus",
    "refresh": 1,
    "hide": 0,
    "multi": False,
    "includeAll": False,
    "options": [],
    "current": {},
}
_LINKS: Json = {
    "title": "fpserver",
    "type": "dashboards",
    "tags": ["fpserver"],
    "asDropdown": True,
    "includeVars": True,
    "keepTime": True,
    "targetBlank": False,
}
_ALERTS: Json = {
    "name": "alerts",
    "datasource": SOURCE,
    "enable": True,
    "hide": False,
    "iconColor": "red",
    "expr": 'ALERTS{alertstate="firing"}',
    "titleFormat": "{{alertname}}",
    "step": "60s",
}
_OPTIONS: Mapping[str, Json] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "none",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
    },
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "fill": "dark-orange"},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "showColorScale": False, "yHistogram": False},
    },
}
_HEIGHTS = {"timeseries": 8, "stat": 4, "heatmap": 8}


def _laid_out(rows: Sequence[Row]) -> list[Json]:
    laid: list[Json] = []
    y = 0
    for row in rows:
        laid.append(_heading(row, n=len(laid) + 1, y=y))
        x, y, height = 0, y + 1, 0
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y, height = 0, y + height, 0
            laid.append(_panel(panel, n=len(laid) + 1, x=x, y=y))
            x, height = x + panel.width, max(height, _HEIGHTS[panel.kind])
        y += height
    return laid


def _heading(row: Row, *, n: int, y: int) -> Json:
    place = {"x": 0, "y": y, "w": WIDTH, "h": 1}
    return {"id": n, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(panel: Panel, *, n: int, x: int, y: int) -> Json:
    options = dict(_OPTIONS[panel.kind])
    if panel.kind == "heatmap":
        options["yAxis"] = {"unit": panel.unit, "axisPlacement": "left", "reverse": False}
    return {
        "id": n,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": _HEIGHTS[panel.kind]},
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": options,
        "targets": [
            _target(panel, legend, expr, ref=chr(ord("A") + i))
            for i, (legend, expr) in enumerate(panel.queries.items())
        ],
    }


def _field(panel: Panel) -> Json:
    field: Json = {"unit": panel.unit, "color": {"mode": "palette-classic"}}
    if panel.kind == "timeseries":
        field["min"] = 0
        field["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 25 if panel.stacked else 5,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        }
    if panel.most is not None:
        field["max"] = panel.most
    return field


def _target(panel: Panel, legend: str, expr: str, *, ref: str) -> Json:
    return {
        "refId": ref,
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": expr,
        "legendFormat": legend,
        "range": panel.kind != "stat",
        "instant": panel.kind == "stat",
        "format": "heatmap" if panel.kind == "heatmap" else "time_series",
    }
