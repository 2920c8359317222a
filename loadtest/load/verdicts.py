"""What must be shown, and whether it was: pure functions of what came of requests."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.load.kinds import KINDS, UNKNOWN, Call
from loadtest.load.outcomes import Outcomes, Rows

KNOWN_CLIPS, UNKNOWN_CLIPS, ALL_ELSE = "clips of the catalogue", "unknown clips", "all else"
OBJECTIVES_MS = {
    KNOWN_CLIPS: 500.0,
    UNKNOWN_CLIPS: 1000.0,
    ALL_ELSE: 500.0,
}  # p99; unknown ones take every step
WINDOW_S = 2.0
LATE_FACTOR = 1.5  # times a kind's unloaded p99
MAX_LATE = 0.05  # share of a window's requests that may take longer, and the window is still well
N_WELL = 2  # windows in a row that are well: it has recovered


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must be shown."""

    what: str
    found: str
    ok: bool


def group_of(kind: int) -> str:
    """Which objective a kind has."""
    if KINDS[kind].call is not Call.IDENTIFY:
        return ALL_ELSE
    return UNKNOWN_CLIPS if KINDS[kind].cell == UNKNOWN else KNOWN_CLIPS


def p99_by_group(outcomes: Outcomes, rows: Rows) -> dict[str, float]:
    """Milliseconds; of groups that were served at all."""
    groups = np.array([group_of(kind) for kind in outcomes.kind.tolist()], dtype=object)
    found = {}
    for group in OBJECTIVES_MS:
        seconds = outcomes.seconds[rows & outcomes.served & (groups == group)]
        if len(seconds):
            found[group] = round(1e3 * float(np.quantile(seconds, 0.99)), 1)
    return found


def holds(outcomes: Outcomes) -> bool:
    """Whether a rate is borne: all served, every group within its objective, nothing wrong."""
    p99 = p99_by_group(outcomes, outcomes.asked)
    in_time = all(ms <= OBJECTIVES_MS[group] for group, ms in p99.items())
    return in_time and not outcomes.refused.any() and not outcomes.failed.any()


def highest(
    borne: Callable[[float], bool], *, first: float, factor: float, n_halvings: int, most: float = 1e4
) -> float:
    """The highest rate that is borne: up by `factor` until one is not, then between the two; 0.0 if none is."""
    good, bad = 0.0, first
    while borne(bad):
        good, bad = bad, bad * factor
        if bad > most:
            return good
    if not good:
        return 0.0
    for _ in range(n_halvings):
        middle = float(np.sqrt(good * bad))
        good, bad = (middle, bad) if borne(middle) else (good, middle)
    return good


def windows(
    outcomes: Outcomes, unloaded_p99_ms: Mapping[str, float], begin_s: float, end_s: float
) -> list[bool]:
    """Whether each window of WINDOW_S is well: nothing refused or failed, and hardly anything late."""
    limits_s = np.array(
        [LATE_FACTOR * unloaded_p99_ms.get(kind.name, np.inf) / 1e3 for kind in KINDS], np.float64
    )
    late = outcomes.seconds > limits_s[outcomes.kind]
    found = []
    for i in range(int((end_s - begin_s) / WINDOW_S)):
        rows = outcomes.between(begin_s + i * WINDOW_S, begin_s + (i + 1) * WINDOW_S) & outcomes.asked
        bad = (outcomes.refused | outcomes.failed) & rows
        n = max(1, int(rows.sum()))
        found.append(not bad.any() and int((late & rows).sum()) <= max(1.0, MAX_LATE * n))
    return found


def recovered_s(well: Sequence[bool]) -> float | None:
    """Seconds until N_WELL windows in a row are well (the beginning of the first); None: never."""
    for i in range(len(well) - N_WELL + 1):
        if all(well[i : i + N_WELL]):
            return i * WINDOW_S
    return None
