"""The process that sends requests, apart from the server and from whoever watches it.

It takes a plan and gives columns. Nothing is made anew that could be made before: bodies are shared with the process
it was forked from.
"""

import asyncio
import json
import os
import resource
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

import aiohttp
import numpy as np

from loadtest.load.arrivals import Phase, drawn, due_times, open_loop
from loadtest.load.deck import Ask, Deck
from loadtest.load.kinds import KINDS, Call
from loadtest.load.outcomes import MISSED, NO_ANSWER, NO_CLIP, NOT_SENT, RIGHT, SERVED, WRONG, Outcomes

TIMEOUT_S = 60.0
KEPT_TRACKS = 10  # of those that came in: the one before goes out
NICENESS = -5  # where it may: who asks is another machine, and does not wait for the server's processor
BEFORE_S = 0.5  # from the plan to the first request

_DECK: list[Deck] = []  # forked


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be sent."""

    address: str
    phases: Sequence[Phase] = ()  # open loop; none: one by one
    n: int = 0  # one by one: so many
    pause_s: float = 0.0  # between an answer and the next of them
    shares: Sequence[float] = tuple(kind.share for kind in KINDS)
    seed: int = 1
    mark: str = "m"  # ids of events begin with it
    begin: float = 0.0  # as time.perf_counter counts, for all processes of a machine


@dataclass(slots=True, kw_only=True)
class _Sent:
    """What became of one."""

    kind: int
    due: float
    sent: float = 0.0
    done: float = 0.0
    status: int = NO_ANSWER
    verdict: int = NO_CLIP
    retry_after: bool = False
    fault: str = ""
    stages: dict[str, float] | None = None
    event: tuple[str, str] | None = None


@dataclass(slots=True, kw_only=True)
class _Talk:
    """One plan in the making."""

    session: aiohttp.ClientSession
    deck: Deck
    plan: Plan
    rng: np.random.Generator
    came_in: deque[int] = field(default_factory=deque)

    async def send(self, number: int, due: float, kind: int) -> _Sent:
        """Send one, and look at what comes back."""
        result = _Sent(kind=kind, due=due)
        if KINDS[kind].call is Call.REMOVE:
            if len(self.came_in) <= KEPT_TRACKS:
                result.status, result.sent, result.done = NOT_SENT, due, due
                return result
            ask = Ask(method="DELETE", path=f"/v1/tracks/{self.came_in.popleft()}")
        else:
            ask = self.deck.ask(KINDS[kind], f"{self.plan.mark}-{number}", self.rng)
        result.sent = time.perf_counter()
        try:
            await self._answered(ask, result)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            result.status, result.fault = NO_ANSWER, f"{type(error).__name__} {error}"[:80]
        result.done = time.perf_counter()
        return result

    async def _answered(self, ask: Ask, result: _Sent) -> None:
        headers = {"Content-Type": ask.media_type} if ask.media_type else {}
        async with self.session.request(ask.method, ask.path, data=ask.data, headers=headers) as response:
            body = await response.read()
            result.status = response.status
            result.retry_after = "Retry-After" in response.headers
        if result.status not in SERVED:
            with suppress(ValueError, KeyError, TypeError):
                result.fault = f"{result.status} {json.loads(body)['error']['code']}"
            return
        if ask.track_id is not None:
            document: dict[str, Any] = json.loads(body)
            best = [match["track_id"] for match in document["matches"]][:1]
            result.verdict = _verdict(best, ask.track_id)
            result.stages = document["timings_ms"]
        elif KINDS[result.kind].call is Call.INGEST:
            self.came_in.append(int(json.loads(body)["track_id"]))
        result.event = ask.event


def _verdict(best: Sequence[int], track_id: int) -> int:
    if list(best) == ([track_id] if track_id else []):
        return RIGHT
    return WRONG if best else MISSED


@contextmanager
def sending(deck: Deck) -> Iterator["Sender"]:
    """A process that sends, for as long as the context lasts."""
    _DECK[:] = [deck]
    with ProcessPoolExecutor(1, mp_context=get_context("fork"), initializer=_first) as pool:
        pool.submit(int).result()  # forked now, while this process is small and has no threads
        yield Sender(pool)


class Sender:
    """Sends what plans say."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def start(self, plan: Plan) -> Future[Outcomes]:
        """Begin; its result is there when all is answered."""
        return self._pool.submit(_carry_out, plan)

    def send(self, plan: Plan) -> Outcomes:
        """The same, waited for."""
        return self.start(plan).result()


def _first() -> None:
    with suppress(OSError):
        os.nice(NICENESS)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65536)), hard))


def _carry_out(plan: Plan) -> Outcomes:
    return asyncio.run(carried_out(plan, _DECK[0]))


async def carried_out(plan: Plan, deck: Deck) -> Outcomes:
    """What became of a plan's requests, when all are answered."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(plan.address, timeout=timeout, connector=connector) as session:
        rng = np.random.default_rng([plan.seed, 1])
        talk = _Talk(session=session, deck=deck, plan=plan, rng=rng)
        cpu_s = time.process_time()
        begin = plan.begin or time.perf_counter() + BEFORE_S
        results = await (_as_due(talk, begin) if plan.phases else _one_by_one(talk))
        return _columns(results, begin, talk, time.process_time() - cpu_s)


async def _as_due(talk: _Talk, begin: float) -> list[_Sent]:
    rng = np.random.default_rng(talk.plan.seed)
    dues = begin + due_times(talk.plan.phases, rng)
    kinds = drawn(talk.plan.shares, len(dues), rng).tolist()
    return await open_loop(dues.tolist(), lambda i, due: talk.send(i, due, kinds[i]))


async def _one_by_one(talk: _Talk) -> list[_Sent]:
    kinds = drawn(talk.plan.shares, talk.plan.n, np.random.default_rng(talk.plan.seed)).tolist()
    results = []
    for number, kind in enumerate(kinds):
        results.append(await talk.send(number, time.perf_counter(), kind))
        await asyncio.sleep(talk.plan.pause_s)
    return results


def _columns(results: Sequence[_Sent], begin: float, talk: _Talk, cpu_s: float) -> Outcomes:
    return Outcomes(
        kind=np.array([each.kind for each in results], np.int64),
        due=np.array([each.due - begin for each in results]),
        sent=np.array([each.sent - begin for each in results]),
        done=np.array([each.done - begin for each in results]),
        status=np.array([each.status for each in results], np.int64),
        verdict=np.array([each.verdict for each in results], np.int64),
        retry_after=np.array([each.retry_after for each in results], np.bool_),
        fault=[each.fault for each in results],
        stages={i: each.stages for i, each in enumerate(results) if each.stages is not None},
        events=[each.event for each in results if each.event is not None],
        tracks=list(talk.came_in),
        own_cpu_s=cpu_s,
        begin=begin,
    )
