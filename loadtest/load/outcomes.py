"""What became of requests, in columns; and what can be said about some of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from loadtest.load.histogram import Histogram
from loadtest.load.kinds import KINDS

SERVED = (200, 201, 202, 204)
REFUSED = (429, 503)
NO_ANSWER = 0  # status of a request whose connection broke, or that took longer than anybody waits
NOT_SENT = -1  # of a removal when there was nothing to remove
RIGHT, MISSED, WRONG, NO_CLIP = 1, 2, 3, 0
MAX_LATE_S = 0.05  # of 99 % of requests: beyond, whoever sends them is what is measured
MAX_OWN_CPU = 0.8  # of a core

Rows = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Requests in the order in which they were due; times are seconds from the beginning."""

    kind: npt.NDArray[np.int64]  # place in KINDS
    due: npt.NDArray[np.float64]
    sent: npt.NDArray[np.float64]
    done: npt.NDArray[np.float64]
    status: npt.NDArray[np.int64]
    verdict: npt.NDArray[np.int64]  # RIGHT, MISSED, WRONG
    retry_after: npt.NDArray[np.bool_]
    fault: Sequence[str]  # what is told of a request that was neither served nor refused
    stages: Mapping[int, Mapping[str, float]]  # by row: milliseconds that the server says each stage took
    events: Sequence[tuple[str, str]]  # user and id of those that were acknowledged
    tracks: Sequence[int]  # that came in, acknowledged, and were not removed
    own_cpu_s: float = 0.0
    begin: float = field(default=0.0)  # as time.perf_counter counts

    @property
    def seconds(self) -> npt.NDArray[np.float64]:
        """From when a request was due to when its answer was there."""
        return self.done - self.due

    @property
    def asked(self) -> Rows:
        """Those that were sent."""
        return np.asarray(self.status != NOT_SENT, np.bool_)

    @property
    def served(self) -> Rows:
        """Those that were answered, not refused."""
        return np.isin(self.status, SERVED)

    @property
    def refused(self) -> Rows:
        """Those that were told to come again."""
        return np.isin(self.status, REFUSED) & self.retry_after

    @property
    def failed(self) -> Rows:
        """All others that were sent."""
        return self.asked & ~self.served & ~self.refused

    def between(self, begin_s: float, end_s: float) -> Rows:
        """Those due in a stretch of time."""
        return (self.due >= begin_s) & (self.due < end_s)

    def of(self, kind: int) -> Rows:
        """Those of a kind."""
        return np.asarray(self.kind == kind, np.bool_)

    def sender(self) -> dict[str, Any]:
        """How well whoever sent them kept up."""
        late = (self.sent - self.due)[self.asked]
        wall_s = float(self.done[self.asked].max(initial=0.0)) or 1.0
        late_s = {name: float(np.quantile(late, q)) if len(late) else 0.0 for name, q in QUANTILES.items()}
        own = self.own_cpu_s / wall_s
        return {
            "late_ms": {name: round(1e3 * each, 2) for name, each in late_s.items()},
            "cores": round(own, 3),
            "valid": late_s["p99"] <= MAX_LATE_S and own <= MAX_OWN_CPU,
        }

    def faults(self, rows: Rows) -> dict[str, int]:
        """How many of each fault."""
        told: dict[str, int] = {}
        for i in np.flatnonzero(rows & self.failed).tolist():
            name = f"{KINDS[self.kind[i]].name}: {self.fault[i] or self.status[i]}"
            told[name] = told.get(name, 0) + 1
        return told


QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def told(outcomes: Outcomes, rows: Rows) -> dict[str, Any]:
    """Counts and times of some requests."""
    served, refused = rows & outcomes.served, rows & outcomes.refused
    return {
        "n": int((rows & outcomes.asked).sum()),
        "served": int(served.sum()),
        "refused": int(refused.sum()),
        "failed": int((rows & outcomes.failed).sum()),
        "missed": int((served & (outcomes.verdict == MISSED)).sum()),
        "wrong": int((served & (outcomes.verdict == WRONG)).sum()),
        "ms": milliseconds(outcomes.seconds[served]),
        "refused_ms": milliseconds(outcomes.seconds[refused]),
    }


def by_kind(outcomes: Outcomes, rows: Rows) -> dict[str, dict[str, Any]]:
    """The same of each kind, with the stages that clips went through."""
    found = {}
    for i, kind in enumerate(KINDS):
        its = rows & outcomes.of(i)
        found[kind.name] = told(outcomes, its) | {"stages_ms": _stages(outcomes, its)}
    return found


def milliseconds(seconds: npt.NDArray[np.float64]) -> dict[str, float]:
    """Quantiles; none of nothing."""
    if not len(seconds):
        return {}
    found = {name: round(1e3 * float(np.quantile(seconds, share)), 1) for name, share in QUANTILES.items()}
    return found | {"most": round(1e3 * float(seconds.max()), 1)}


def histograms(outcomes: Outcomes, rows: Rows) -> dict[str, Histogram]:
    """Times of served requests, by kind."""
    return {
        kind.name: Histogram(outcomes.seconds[rows & outcomes.served & outcomes.of(i)])
        for i, kind in enumerate(KINDS)
    }


def _stages(outcomes: Outcomes, rows: Rows) -> dict[str, float]:
    """Mean milliseconds of each stage, of answers that tell it."""
    its = [outcomes.stages[i] for i in np.flatnonzero(rows).tolist() if i in outcomes.stages]
    names = sorted({name for each in its for name in each})
    return {name: round(float(np.mean([each.get(name, 0.0) for each in its])), 1) for name in names}
