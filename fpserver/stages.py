"""Where the time of a journey goes: into the metrics, and to whoever answers for this one request.

A journey measures its stages and knows nothing of requests. What is measured while somebody collects, also by tasks
that were begun meanwhile, is told to him: so a request that was slow can say what made it so.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter

from fpserver import metrics

UPLOAD = "upload"  # waiting for the next bytes of a body
WAIT = "wait"  # waiting for something that the client asked to wait for
CLIENTS_OWN = frozenset({UPLOAD, WAIT})  # stages that do not make an answer slow

_SPENT: ContextVar[dict[str, float] | None] = ContextVar("spent", default=None)


@contextmanager
def collected() -> Iterator[dict[str, float]]:
    """The time that was noted inside, by stage, seconds."""
    spent: dict[str, float] = {}
    token = _SPENT.set(spent)
    try:
        yield spent
    finally:
        _SPENT.reset(token)


def note(stage: str, seconds: float) -> None:
    """Tell whoever collects."""
    spent = _SPENT.get()
    if spent is not None:
        spent[stage] = spent.get(stage, 0.0) + seconds


@contextmanager
def noted(stage: str) -> Iterator[None]:
    """Tell whoever collects of the time inside, however it ends."""
    start = perf_counter()
    try:
        yield
    finally:
        note(stage, perf_counter() - start)


@contextmanager
def measured(journey: str, stage: str) -> Iterator[None]:
    """The same, and into the metrics unless it fails."""
    start = perf_counter()
    with noted(stage):
        yield
    metrics.STAGE_SECONDS.labels(journey, stage).observe(perf_counter() - start)
