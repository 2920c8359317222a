"""What strangers do to a server, one thing after another, while an honest client keeps asking.

    python -m loadtest.abuse [--processes 1 2] [--seconds 8] [--only WORD …]

A real `fpserver serve` with the embedded store and a worker, once with one web process and once with two. Each abuse is
done by many connections at once, from a process of their own, while an honest client asks for clips at fixed moments;
half of them on a new connection. Limits of waiting are set lower than their defaults, so that an abuse lasts longer
than each. Attackers, honest client and server share the machine's cores.

What must hold of each, written down before measuring (`RULES`): the honest client fails never; nobody is answered 5xx
but 503; no process of the server dies; memory of the web processes stays within a bound, and comes back, and so do
their descriptors. Writes abuse.md and .json to loadtest/results/; the exit status is 1 when a row breaks a rule.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fpserver.audio.encode import encode
from fpserver.config import Config
from fpserver.demo.songs import song
from fpserver.services import open_services
from fpserver.terms import Metadata, Submission
from fpserver.web.client import Client
from loadtest import report
from loadtest.abuse.attack import Attack, Ends
from loadtest.abuse.bombs import MAKERS, RATE_HZ
from loadtest.abuse.honest import Noticed, ask_on
from loadtest.abuse.kinds import ABUSES, IDENTIFY, TRACKS, Abuse, Target, post
from loadtest.abuse.line import Script
from loadtest.abuse.page import page
from loadtest.abuse.seen import Peak, State, settled
from loadtest.accuracy.run import say
from loadtest.server import Server, serving

SETTINGS = {
    "FPSERVER_WEB__HEAD_TIMEOUT_S": "2",
    "FPSERVER_WEB__IDLE_TIMEOUT_S": "3",
    "FPSERVER_WEB__WRITE_TIMEOUT_S": "2",
    "FPSERVER_WEB__UPLOAD_IDLE_TIMEOUT_S": "2",
    "FPSERVER_WEB__CLIP_UPLOAD_TIMEOUT_S": "4",
    "FPSERVER_LOG__LEVEL": "warning",
}
N_SONGS, SONG_S, CLIP_S = 8, 30.0, 5.0
RATE_PER_S = 4.0  # of the honest client
CALM_S = 15.0
SETTLE_S = 20.0
MAX_MORE_MB = 512.0  # of a web process, while an abuse lasts
MAX_KEPT_MB = 96.0  # of a web process, afterwards
MAX_KEPT_DESCRIPTORS = 8
RULES = {
    "honest": "the honest client never fails: each clip is answered 200, with its track first",
    "status": "nobody is answered 5xx but 503",
    "alive": "no process of the server dies (decoding processes may: their job ends there)",
    "memory": f"a web process never takes more than {MAX_MORE_MB:g} MB above what it had",
    "back": f"afterwards it has at most {MAX_KEPT_MB:g} MB and {MAX_KEPT_DESCRIPTORS} descriptors more than before",
}
BOMBS_AT_ONCE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One abuse, and what came of it."""

    abuse: str
    does: str
    at_once: int
    ends: Ends
    failures: dict[str, int]
    n_asked: int
    p50_ms: float
    p99_ms: float
    cpu_share: float  # of one core, by the whole server, without the honest client's share
    web_mb: tuple[float, float, float]  # before, peak, after
    decoding_mb: tuple[float, float, float]
    descriptors: tuple[int, int, int]
    broken: list[str]  # names of rules


def main() -> int:
    """Measure and write."""
    args = _arguments()
    runs = []
    for processes in args.processes:
        with tempfile.TemporaryDirectory(prefix="fpserver-abuse-", dir=args.work) as folder:
            arguments = ("--processes", str(processes))
            with serving(Path(folder) / "data", *arguments, settings=SETTINGS) as server:
                runs.append(asyncio.run(_run(server, Path(folder), processes, args)))
    found = {"setting": report.machine(), "seconds": args.seconds, "rules": RULES, "runs": runs}
    report.write("abuse", found, page(found), out=args.out)
    return int(any(row["broken"] for run in runs for row in run["rows"]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="web processes, run by run")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each abuse")
    parser.add_argument("--only", nargs="+", default=[], help="abuses whose name holds one of these words")
    parser.add_argument("--work", type=Path, help="where the data lies for the time")
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    return parser.parse_args()


async def _run(server: Server, folder: Path, processes: int, args: argparse.Namespace) -> dict[str, Any]:
    clips, target = await _catalogue(server, folder)
    abuses = [abuse for abuse in ABUSES if _wanted(abuse.name, args.only)]
    abuses += [_with_audio(name, make()) for name, make in MAKERS.items() if _wanted(name, args.only)]
    await ask_on(server.address, clips, seconds=3.0, rate_hz=RATE_PER_S)  # warming
    before_s = server.cpu_s()
    calm = await ask_on(server.address, clips, seconds=CALM_S, rate_hz=RATE_PER_S)
    honest_share = (server.cpu_s() - before_s) / CALM_S
    rows = []
    for abuse in abuses:
        row = await _measured(server, abuse, target, clips, honest_share, args.seconds)
        cost = f"{row.web_mb} MB, {row.descriptors} descriptors, p99 {row.p99_ms} ms"
        say(f"{processes}: {row.abuse}: {row.ends}; {cost} {row.failures or ''} {row.broken or ''}")
        rows.append(asdict(row))
    return {
        "processes": processes,
        "calm": {"p50_ms": calm.quantile_ms(0.5), "p99_ms": calm.quantile_ms(0.99), "n": len(calm.waited_ms)},
        "rows": rows,
    }


def _wanted(name: str, words: Sequence[str]) -> bool:
    return not words or any(word.lower() in name.lower() for word in words)


async def _catalogue(server: Server, folder: Path) -> tuple[list[tuple[bytes, int]], Target]:
    """Some songs, indexed and described; clips of them; and a batch that goes on for as long as all of this."""
    songs = [song(seed, SONG_S, RATE_HZ) for seed in range(N_SONGS)]
    clips = []
    for seed, samples in enumerate(songs):
        file = folder / f"{seed}.mp3"
        file.write_bytes(encode(samples, RATE_HZ, container="mp3", bitrate=128_000))
        cut = samples[round(10 * RATE_HZ) : round((10 + CLIP_S) * RATE_HZ)]
        clip = encode(cut, RATE_HZ, container="mp3", bitrate=64_000)
        async with Client(server.address) as client:
            added = await client.add(file, Metadata(title=f"Song {seed}"), wait=True)
        clips.append((clip, int(added["track_id"])))
    async with Client(server.address) as client:
        for _, track_id in clips:
            await _described(client, track_id)
    return clips, Target(
        address=server.address,
        batch_id=await _endless_batch(folder / "data"),
        clip=clips[0][0],
    )


async def _described(client: Client, track_id: int) -> None:
    while (await client.track(track_id))["description"]["status"] == "waiting":  # noqa: ASYNC110 – another process, no event of ours
        await asyncio.sleep(0.2)


async def _endless_batch(data_dir: Path) -> str:
    """A batch of one file that lies at a place where no worker is."""
    config = Config().with_values(redis={"data_dir": str(data_dir)})
    async with open_services(config, pool_processes=0) as services:
        batch_id = await services.tracks.create_batch(now=time.time())
        waits = Submission(source="file:/nowhere", place="nowhere", content_sha256="0" * 64)
        await services.tracks.submit([waits], now=time.time(), batch_id=batch_id)
    return batch_id


def _with_audio(name: str, data: bytes) -> Abuse:
    """A bomb as clips and as tracks that are waited for."""

    def scripts(_target: Target) -> Sequence[Script]:
        return tuple(
            Script(first=post(path, length=len(data)) + data, leaves=True)
            for path in (IDENTIFY, IDENTIFY, TRACKS + b"?wait=1")
        )

    does = f"{len(data) / 1e6:.2f} MB, as clips and as tracks"
    return Abuse(name=name, does=does, scripts=scripts, at_once=BOMBS_AT_ONCE)


async def _measured(
    server: Server,
    abuse: Abuse,
    target: Target,
    clips: Sequence[tuple[bytes, int]],
    honest_share: float,
    seconds: float,
) -> Row:
    before, peak = State.of(server), Peak()
    attack = await asyncio.to_thread(Attack, abuse, target, seconds)
    cpu_s = server.cpu_s()
    watching = asyncio.create_task(peak.watch(server))
    attack.start()
    noticed = await ask_on(server.address, clips, seconds=seconds, rate_hz=RATE_PER_S)
    ends = await asyncio.to_thread(attack.ends)
    cpu_share = (server.cpu_s() - cpu_s) / seconds - honest_share
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    after = await settled(server, lambda now: not _kept(before, now), within_s=SETTLE_S)
    return Row(
        abuse=abuse.name,
        does=abuse.does,
        at_once=abuse.at_once,
        ends=ends,
        failures=dict(noticed.failures),
        n_asked=len(noticed.waited_ms),
        p50_ms=noticed.quantile_ms(0.5),
        p99_ms=noticed.quantile_ms(0.99),
        cpu_share=round(max(0.0, cpu_share), 2),
        web_mb=_three(before.web_mb, peak.web_mb, after.web_mb),
        decoding_mb=_three(before.decoding_mb, peak.decoding_mb, after.decoding_mb),
        descriptors=(before.descriptors, peak.descriptors, after.descriptors),
        broken=_broken(ends, noticed, before, peak, after),
    )


def _three(before: float, peak: float, after: float) -> tuple[float, float, float]:
    return round(before), round(max(before, peak, after)), round(after)


def _n_web(state: State) -> int:
    return max(1, len(state.pids) - 3)


def _kept(before: State, after: State) -> bool:
    more_mb = (after.web_mb - before.web_mb) / _n_web(before)
    return more_mb > MAX_KEPT_MB or after.descriptors - before.descriptors > MAX_KEPT_DESCRIPTORS


def _broken(ends: Ends, noticed: Noticed, before: State, peak: Peak, after: State) -> list[str]:
    verdicts = {
        "honest": not noticed.failures,
        "status": not any(end.startswith("5") and end != "503" for end in ends),
        "alive": before.pids == after.pids,
        "memory": (peak.web_mb - before.web_mb) / _n_web(before) <= MAX_MORE_MB,
        "back": not _kept(before, after),
    }
    assert verdicts.keys() == RULES.keys()
    return [name for name, holds in verdicts.items() if not holds]


if __name__ == "__main__":
    sys.exit(main())
