"""A running server with the catalogue, and the process that asks: what every measurement here begins with."""

import argparse
import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from loadtest.accuracy.run import say
from loadtest.load.arrivals import Phase
from loadtest.load.deck import Deck
from loadtest.load.kinds import KINDS, STEADY
from loadtest.load.making import STORE, Wanted, made
from loadtest.load.outcomes import Outcomes
from loadtest.load.sender import Plan, Sender, sending
from loadtest.recommend_training import trained
from loadtest.server import Server, serving

SETTLE_S = 5.0
WARM_S = 15.0  # at a low rate: what is compiled or read once is there
WARM_RATE = 10.0
PAUSE_S = 0.01  # between an answer and the next question of an unloaded server
SETTINGS = {"FPSERVER_RECOMMEND__TRAIN_EVERY_S": "0", "FPSERVER_LOG__LEVEL": "warning"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a measurement works with."""

    server: Server
    sender: Sender
    deck: Deck
    data_dir: Path
    seed: int

    def phases(self, *phases: Phase, seed: int = 0) -> Plan:
        """A plan of requests that arrive at random, beginning soon."""
        return Plan(
            address=self.server.address,
            phases=phases,
            seed=self.seed + seed,
            mark=f"m{time.time_ns():x}",
            begin=time.perf_counter() + 1.0,
        )

    def unloaded(self, n_each: int) -> Outcomes:
        """Requests of every kind but those that change the catalogue, as many of each, one at a time."""
        shares = [float(i in STEADY) for i in range(len(KINDS))]
        return self.sender.send(
            Plan(
                address=self.server.address,
                n=n_each * len(STEADY),
                pause_s=PAUSE_S,
                shares=shares,
                seed=self.seed,
                mark=f"u{time.time_ns():x}",
            )
        )


@contextmanager
def bench(args: argparse.Namespace) -> Iterator[Bench]:
    """All that is needed, warm."""
    with tempfile.TemporaryDirectory(prefix="fpserver-load-") as scratch:
        kept = args.kept or Path(scratch) / "kept"
        deck = made(
            Wanted(
                corpus=args.corpus,
                n_real=args.real,
                n_tracks=args.tracks,
                n_clips=args.clips,
                n_users=args.users,
                seed=args.seed,
                processes=args.processes,
            ),
            kept,
        )
        data_dir = Path(scratch) / "data"
        shutil.copytree(kept / STORE, data_dir)
        settings = SETTINGS | {"FPSERVER_WEB__PROCESSES": str(args.web)}
        with sending(deck) as sender, serving(data_dir, settings=settings) as server:
            asyncio.run(_ready(server, args.tracks))
            ready = Bench(server=server, sender=sender, deck=deck, data_dir=data_dir, seed=args.seed)
            say("warming up")
            sender.send(ready.phases(Phase(rate=WARM_RATE, seconds=WARM_S)))
            time.sleep(SETTLE_S)
            yield ready


async def _ready(server: Server, n_tracks: int) -> None:
    """Until a model is trained, and every web process has answered as one that knows the catalogue and it."""
    say("training a model")
    async with aiohttp.ClientSession(server.address) as session:
        await trained(session, ask=True)
    web = len(server.children("fpserver.child web"))
    give_up = time.perf_counter() + 120.0
    n_well = 0
    while n_well < 8 * web:
        connector = aiohttp.TCPConnector(force_close=True)  # another process may answer
        async with aiohttp.ClientSession(server.address, connector=connector) as session:
            async with session.get(f"/v1/tracks/{n_tracks}/similar?k=10") as response:
                similar = response.status == 200 and len((await response.json())["neighbours"]) == 10
            async with session.get("/v1/users/user-1/recommendations?k=10") as response:
                body = await response.json()
                hers = response.status == 200 and body["model"] and len(body["recommendations"]) == 10
        n_well = n_well + 1 if similar and hers else 0
        if not n_well:
            await asyncio.sleep(0.5)
        if time.perf_counter() > give_up:
            raise TimeoutError("the server does not know its catalogue after two minutes")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What every measurement takes."""
    cores = os.cpu_count() or 1
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--out", type=Path, required=False)
    parser.add_argument("--kept", type=Path, help="folder for catalogue and requests, to be used again")
    parser.add_argument("--tracks", type=int, default=4000, help="of the catalogue")
    parser.add_argument("--real", type=int, default=150, help="of them that are the corpus's own")
    parser.add_argument("--clips", type=int, default=150, help="of each kind")
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--web", type=int, default=2, help="web processes")
    parser.add_argument("--processes", type=int, default=cores, help="that prepare")
    parser.add_argument("--seed", type=int, default=1)
