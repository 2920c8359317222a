"""When requests are due, and how they are sent then, whether the server keeps up or not.

Poisson arrivals: nobody waits for an answer before the next request is sent, and a request's time begins when it was
due, so that all waiting counts, its sender's too (Schroeder, Wierman, Harchol-Balter, "Open versus closed: a
cautionary tale", NSDI 2006).
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")
Times = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of time with one rate of arrivals."""

    rate: float  # a second
    seconds: float


def due_times(phases: Sequence[Phase], rng: np.random.Generator) -> Times:
    """Seconds from the beginning at which requests are due, in order: a Poisson process, phase after phase."""
    times, begin = [np.zeros(0)], 0.0
    for phase in phases:
        n = int(rng.poisson(phase.rate * phase.seconds))
        times.append(begin + np.sort(rng.uniform(0, phase.seconds, n)))  # given how many, they lie anywhere
        begin += phase.seconds
    return np.concatenate(times)


def drawn(shares: Sequence[float], n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Which kind each of n requests is of, by the kinds' shares."""
    weights = np.asarray(shares, np.float64)
    return rng.choice(len(weights), n, p=weights / weights.sum()).astype(np.int64)


async def open_loop(dues: Sequence[float], ask: Callable[[int, float], Coroutine[Any, Any, T]]) -> list[T]:
    """Call `ask(number, due)` for each when it is due (as `time.perf_counter` counts); their results, in order."""
    asked = []
    async with asyncio.TaskGroup() as group:
        for number, due in enumerate(dues):
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            asked.append(group.create_task(ask(number, due)))
    return [each.result() for each in asked]
