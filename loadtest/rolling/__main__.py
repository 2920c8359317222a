"""Restarts under load, and what clients notice of them: nothing, or this ends with status 1.

    python -m loadtest.rolling [--rounds 3] [--rate 20] [--leave-s 10]

Requests arrive at random: clips as audio and as fingerprints, reads, uploads of recordings; clients keep connections
and try nothing twice. First two servers on one store stand behind HAProxy, with deploy/haproxy.cfg, and are stopped
with SIGTERM and started again in turn. Then one server with two web processes, asked directly, gets SIGHUP again and
again: each of its processes is replaced. Every request must be answered with 2xx, every clip rightly, and every
recording that was uploaded must be indexed in the end. Writes rolling.md and rolling.json to loadtest/results/.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from fpserver.audio.encode import encode
from fpserver.config import Config, RedisConfig
from fpserver.demo.songs import song
from fpserver.fingerprint import wire
from fpserver.hearing import hear_clip
from fpserver.store.connect import shared_url
from fpserver.store.embedded import embedded_server
from fpserver.terms import Metadata
from fpserver.web.client import Client
from loadtest import report
from loadtest.cluster import free_ports
from loadtest.rolling.balancer import balancing
from loadtest.rolling.load import RATE_HZ, Clip, Load, Reply
from loadtest.rolling.page import page
from loadtest.rolling.spread import spread
from loadtest.server import Server, serving

N_TRACKS, TRACK_S = 12, 30.0
CLIP_S = 6.0
WARMING_S = 3.0
BETWEEN_S = 3.0
REPLACED_LIMIT_S = 120.0
INDEXED_LIMIT_S = 120.0
SPREADS = (("60 at once", 60, 0.0), ("100, one every 20 ms", 100, 0.02), ("60, one every 100 ms", 60, 0.1))


def main() -> int:
    """Measure, write, and say by the exit status whether nothing failed."""
    args = _arguments()
    with tempfile.TemporaryDirectory(prefix="fpserver-rolling-", dir=args.work) as folder:
        found = {
            "setting": report.machine(),
            "leave_s": args.leave_s,
            **asyncio.run(_all(Path(folder), args)),
        }
    report.write("rolling", found, page(found), out=args.out)
    parts = (found["balanced"], found["reloaded"])
    return int(any(part["failed"] or part["wrong"] or part["lost"] for part in parts))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="times that everything is restarted")
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second")
    parser.add_argument(
        "--leave-s", type=float, default=10.0, help="web.leave_s of the servers behind HAProxy"
    )
    parser.add_argument("--work", type=Path, help="where data lies for the time")
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    return parser.parse_args()


async def _all(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    async with embedded_server(folder / "store"):
        url = shared_url(RedisConfig(data_dir=str(folder / "store")))
        balanced = await _balanced(folder, url, args)
    return {"balanced": balanced, **await _reloaded(folder, args)}


async def _balanced(folder: Path, url: str, args: argparse.Namespace) -> dict[str, Any]:
    """Two servers behind a load balancer, restarted in turn."""
    settings = {"FPSERVER_REDIS__URL": url, "FPSERVER_WEB__LEAVE_S": str(args.leave_s)}
    ports = free_ports(3)
    async with AsyncExitStack() as both:
        runs = [Run(folder / f"server{n}", port, settings) for n, port in enumerate(ports[:2], 1)]
        for run in runs:
            await both.enter_async_context(run.held())
        with balancing(folder, port=ports[2], servers=ports[:2]) as address:
            clips = await _filled(address, folder)

            async def restart(_round: int) -> None:
                for run in runs:
                    await run.restart()
                    await asyncio.sleep(BETWEEN_S)

            return await _under_load(address, clips, args, restart, n_restarts=2 * args.rounds)


async def _reloaded(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """One server with two web processes, sent SIGHUP."""
    run = Run(folder / "alone", 0, {}, "--processes", "2")
    async with run.held():
        clips = await _filled(run.server.address, folder)

        async def reload(_round: int) -> None:
            before = run.processes()
            os.kill(run.server.pid, signal.SIGHUP)
            async with asyncio.timeout(REPLACED_LIMIT_S):
                while set(run.processes()) & set(before) or len(run.processes()) != len(before):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            await asyncio.sleep(BETWEEN_S)

        reloaded = await _under_load(run.server.address, clips, args, reload, n_restarts=3 * args.rounds)
        return {"reloaded": reloaded, "spread": await _spread(run, clips[0])}


async def _spread(run: "Run", clip: Clip) -> dict[str, list[int]]:
    return {
        name: await spread(
            run.server.address,
            run.server.children("fpserver.child web"),
            n=n,
            body=clip.audio,
            kind="audio/mpeg",
            gap_s=gap_s,
        )
        for name, n, gap_s in SPREADS
    }


async def _under_load(
    address: str,
    clips: Sequence[Clip],
    args: argparse.Namespace,
    restart: Callable[[int], Awaitable[None]],
    *,
    n_restarts: int,
) -> dict[str, Any]:
    load = Load(address, clips, rate=args.rate, seed=n_restarts)
    asking = asyncio.create_task(load.run())
    begin = time.monotonic()
    try:
        await asyncio.sleep(WARMING_S)
        for each in range(args.rounds):
            await restart(each)
    finally:
        load.stop()
        replies = await asking
    uploaded = sorted({reply.track_id for reply in replies if reply.track_id})
    lost = await _not_indexed(address, uploaded)
    return {
        "restarts": n_restarts,
        "seconds": round(time.monotonic() - begin, 1),
        "rate": args.rate,
        "uploaded": len(uploaded),
        "lost": lost,
        **_sums(replies),
    }


def _sums(replies: Sequence[Reply]) -> dict[str, Any]:
    kinds = {
        kind: sorted(reply.seconds for reply in replies if reply.kind == kind)
        for kind in sorted({reply.kind for reply in replies})
    }
    return {
        "requests": len(replies),
        "failed": sum(bool(reply.failure) for reply in replies),
        "wrong": sum(bool(reply.wrong) for reply in replies),
        "failures": [
            f"{reply.at_s:.1f} s, {reply.kind}: {reply.failure or reply.wrong}"
            for reply in replies
            if reply.failure or reply.wrong
        ][:50],
        "kinds": {
            kind: {"n": len(s)}
            | {f"p{q}_ms": round(1000 * s[min(len(s) - 1, len(s) * q // 100)]) for q in (50, 99)}
            for kind, s in kinds.items()
        },
        "longest_ms": round(1000 * max(reply.seconds for reply in replies)),
    }


async def _not_indexed(address: str, track_ids: Sequence[int]) -> list[int]:
    """Those that are not indexed in the end."""
    waiting = list(track_ids)
    give_up = time.monotonic() + INDEXED_LIMIT_S
    async with Client(address) as client:
        while waiting and time.monotonic() < give_up:
            tracks = [await client.track(track_id) for track_id in waiting]
            waiting = [track["track_id"] for track in tracks if track["status"] != "indexed"]
            await asyncio.sleep(0.5)
    return waiting


async def _filled(address: str, folder: Path) -> list[Clip]:
    """A small catalogue, and a clip of each of its tracks."""
    config = Config()
    clips = []
    async with Client(address) as client:
        for seed in range(1, N_TRACKS + 1):
            samples = song(seed, TRACK_S, RATE_HZ)
            path = folder / f"song-{seed}.flac"
            path.write_bytes(encode(samples, RATE_HZ, container="flac"))
            track = await client.add(path, Metadata(title=f"song {seed}"), wait=True)
            begin = round((5 + seed) * RATE_HZ)
            clip = folder / f"clip-{seed}.mp3"
            clip.write_bytes(
                encode(samples[begin : begin + round(CLIP_S * RATE_HZ)], RATE_HZ, container="mp3")
            )
            heard = hear_clip(clip, config.audio, config.fingerprint)
            clips.append(
                Clip(
                    audio=clip.read_bytes(),
                    fingerprint=wire.pack(heard, config.fingerprint),
                    track_id=track["track_id"],
                )
            )
    return clips


class Run:
    """A server on a folder and a port, that can be stopped and started again."""

    def __init__(self, folder: Path, port: int, settings: dict[str, str], *arguments: str) -> None:
        self._folder, self._port, self._settings, self._arguments = folder, port, settings, arguments
        self._stack = ExitStack()
        self.server: Server

    def processes(self) -> list[int]:
        """Its web processes and its worker."""
        return self.server.children("fpserver.child")

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Running, for as long as the context lasts."""
        await asyncio.to_thread(self._start)
        try:
            yield
        finally:
            await asyncio.to_thread(self._stack.close)

    async def restart(self) -> None:
        """SIGTERM, and from when it has ended another in its place, until that is ready."""
        await asyncio.to_thread(self._stack.close)
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        start = serving(self._folder, "--port", str(self._port), *self._arguments, settings=self._settings)
        self.server = self._stack.enter_context(start)


if __name__ == "__main__":
    sys.exit(main())
