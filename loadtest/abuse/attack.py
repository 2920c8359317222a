"""The attackers of one abuse, in a process of their own: many connections, each acting its script over and over."""

import asyncio
import statistics
from collections import defaultdict
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection

from loadtest.abuse.kinds import Abuse, Target
from loadtest.abuse.line import Script, act

REST_S = 0.05  # after a connection that ended at once
WORK_S = 30.0  # beyond the attack, to come to an end

Ends = dict[str, tuple[int, float]]  # how a connection ended → how often, and after how long (median)


class Attack:
    """An abuse going on, from `start` for `seconds`."""

    def __init__(self, abuse: Abuse, target: Target, seconds: float) -> None:
        context = get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(
            target=_attack, args=(theirs, abuse.at_once, list(abuse.scripts(target)), target.address, seconds)
        )
        self._process.start()
        theirs.close()
        self._ours.recv()  # it is ready
        self._seconds = seconds

    def start(self) -> None:
        """Begin."""
        self._ours.send(None)

    def ends(self) -> Ends:
        """Wait until it is over; says how connections ended."""
        if not self._ours.poll(self._seconds + WORK_S):
            self._process.kill()
            raise RuntimeError("the attackers do not come to an end")
        ends: Ends = self._ours.recv()
        self._process.join()
        return ends


def _attack(pipe: Connection, at_once: int, scripts: Sequence[Script], address: str, seconds: float) -> None:
    pipe.send(None)
    pipe.recv()
    pipe.send(asyncio.run(_all(at_once, scripts, address, seconds)))


async def _all(at_once: int, scripts: Sequence[Script], address: str, seconds: float) -> Ends:
    until = asyncio.get_running_loop().time() + seconds
    held_s: dict[str, list[float]] = defaultdict(list)

    async def one(number: int) -> None:
        turn = number
        while (begun := asyncio.get_running_loop().time()) < until:
            end = await act(address, scripts[turn % len(scripts)], until)
            held_s[end].append(asyncio.get_running_loop().time() - begun)
            turn += 1
            await asyncio.sleep(REST_S)

    await asyncio.gather(*(one(number) for number in range(at_once)))
    return {end: (len(each), round(statistics.median(each), 2)) for end, each in sorted(held_s.items())}
