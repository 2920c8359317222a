"""Training at size: how long it reads and trains, what memory it takes, and whether anybody who asks notices.

    python -m loadtest.recommend_training [--tracks 100000] [--users 50000] [--events 5000000] [--data DIR]

Tracks mix the descriptors of two of SONGS synthetic songs; their artists, genres and tags are made up. People have a
few of N_SCENES scenes, hear mostly tracks of these, famous ones most, and a few of them much more than the rest. All is
put into a store as the program itself does; then a real `fpserver serve` with one worker and one web process trains,
while somebody asks for neighbours and whether it is alive, one question after the other, with pauses, on the same
cores. Last, the same model is taken up again and again. Writes recommend_training.md and .json to loadtest/results/.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from fpserver.config import Config
from fpserver.demo.songs import song
from fpserver.features.describe import describe
from fpserver.learning import learn_if_grown
from fpserver.recommend.model import unpack
from fpserver.services import Services, open_services
from fpserver.shelving import whole_shelf
from fpserver.terms import FeedbackEvent, FeedbackKind, Group, Metadata, Vector
from loadtest import report
from loadtest.processes import peak_bytes
from loadtest.recommend_crowd import Crowd, crowd
from loadtest.server import Server, serving
from loadtest.similarity.serving import Made, made_tracks, put_made

SONGS = 60  # that descriptors are of
SONG_S = 12.0
RATE_HZ = 22050
AT_ONCE = 200  # tracks
EVENTS_AT_ONCE = 5000
PAUSE_S = 0.02  # between questions
IDLE_S = 30.0
LOADS = 8  # times that the model is taken up again
SEED = 5
MODEL = "/v1/recommendations/model"


@dataclass(slots=True)
class Waited:
    """Milliseconds of each question of one phase, by what was asked."""

    ms: dict[str, list[float]] = field(default_factory=lambda: {"alive": [], "similar": []})

    def figures(self) -> dict[str, dict[str, float]]:
        """Quantiles by what was asked."""
        return {
            name: {
                "n": len(ms),
                "p50_ms": round(float(np.percentile(ms, 50)), 1),
                "p95_ms": round(float(np.percentile(ms, 95)), 1),
                "p99_ms": round(float(np.percentile(ms, 99)), 1),
                "max_ms": round(max(ms), 1),
            }
            for name, ms in self.ms.items()
            if ms
        }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tracks", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--data", type=Path, help="data folder; one that is filled already is used as it is")
    parser.add_argument(
        "--no-train", dest="train", action="store_false", help="take up the model that there is"
    )
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fpserver-training-") as folder:
        data_dir = args.data or Path(folder)
        config = Config().with_values(redis={"data_dir": str(data_dir)}, recommend={"train_every_s": 0})
        filled = asyncio.run(_fill(config, args.tracks, args.users, args.events))
        settings = {"FPSERVER_RECOMMEND__TRAIN_EVERY_S": "0"}
        with serving(data_dir, settings=settings) as server:
            found = asyncio.run(_measure(config, server, filled["ids"], args))
    found = {
        "setting": report.machine(),
        **{name: getattr(args, name) for name in ("tracks", "users", "events")},
        **{name: value for name, value in filled.items() if name != "ids"},
        **found,
    }
    report.write("recommend_training", found, page(found), out=args.out)


async def _fill(config: Config, n_tracks: int, n_users: int, n_events: int) -> dict[str, Any]:
    """Tracks and events into the store; nothing where there are some."""
    async with open_services(config, pool_processes=0) as services:
        if not await services.tracks.n_changed():
            await fill_tracks(services, n_tracks)
        ids = sorted([each for each, _ in await services.tracks.changes(after=0, limit=10**7)])
        put_s = 0.0
        if not await services.feedback.n_changes():
            start = time.perf_counter()
            people = crowd(np.array(ids), n_users=n_users, n_events=n_events, seed=SEED)
            await fill_feedback(services, people)
            put_s = time.perf_counter() - start
        return {
            "ids": ids[:: max(1, len(ids) // 1000)],
            "put_events_s": round(put_s, 1),
            "reading": await _reading(services),
        }


async def _reading(services: Services) -> dict[str, float]:
    """Seconds, and seconds of a core without the store's, that reading feedback and catalogue takes this process."""
    marks = [(time.perf_counter(), time.process_time())]
    n_events = 0
    async for history in services.feedback.pages():
        n_events += len(history)
    marks.append((time.perf_counter(), time.process_time()))
    n_tracks = len(await whole_shelf(services))
    marks.append((time.perf_counter(), time.process_time()))
    (feedback_s, feedback_cpu_s), (catalogue_s, catalogue_cpu_s) = np.diff(marks, axis=0).round(1).tolist()
    return {
        "n_events": n_events,
        "n_tracks": n_tracks,
        "feedback_s": feedback_s,
        "feedback_cpu_s": feedback_cpu_s,
        "catalogue_s": catalogue_s,
        "catalogue_cpu_s": catalogue_cpu_s,
    }


async def fill_tracks(services: Services, n_tracks: int) -> None:
    """Put so many described tracks into a store."""
    real = [_vectors(seed) for seed in range(SONGS)]
    rng = np.random.default_rng(SEED)
    waiting: list[Made] = []
    n_put = 0
    for made in made_tracks(real, n_tracks):
        waiting.append(made)
        if len(waiting) == AT_ONCE or n_put + len(waiting) == n_tracks:
            await put_made(services, waiting, [_metadata(n_put + i, rng) for i in range(len(waiting))])
            n_put, waiting = n_put + len(waiting), []
    await learn_if_grown(services)


def _vectors(seed: int) -> Mapping[Group, Vector]:
    parts = [group.value for group in Group]
    return describe(song(seed, SONG_S, RATE_HZ), parts=parts, loudness_db=-15.0).vectors


def _metadata(i: int, rng: np.random.Generator) -> Metadata:
    return Metadata(
        title=f"Made {i}",
        artist=f"Artist {int(rng.pareto(1.0) * 40) % 12_000}",
        genre=f"genre {int(rng.integers(40))}",
    )


async def fill_feedback(services: Services, people: Crowd) -> None:
    """Put what people did into a store; users are called user-0, user-1 …"""
    kinds = list(FeedbackKind)
    columns = (people.user, people.track_id, people.kind, people.value, people.at)
    for first in range(0, len(people.user), EVENTS_AT_ONCE):
        rows = zip(*(column[first : first + EVENTS_AT_ONCE].tolist() for column in columns), strict=True)
        await services.feedback.put(
            [
                FeedbackEvent(
                    user=f"user-{user}",
                    event_id=f"{first + i:x}",
                    track_id=track_id,
                    kind=kinds[kind],
                    value=value,
                    at=at,
                )
                for i, (user, track_id, kind, value, at) in enumerate(rows)
            ]
        )


async def _measure(
    config: Config, server: Server, ids: Sequence[int], args: argparse.Namespace
) -> dict[str, Any]:
    (worker,), (web,) = server.children("fpserver.child worker"), server.children("fpserver.child web")
    async with aiohttp.ClientSession(server.address) as session:
        await _ready(session, args.tracks)
        before = {"worker": peak_bytes(worker), "web": peak_bytes(web)}
        async with _asking(session, ids) as idle:
            await asyncio.sleep(IDLE_S)
        start = time.perf_counter()
        async with _asking(session, ids) as training:
            model = await trained(session, ask=args.train)
        whole_s = time.perf_counter() - start
        peaks = {"worker": peak_bytes(worker), "web": peak_bytes(web)}
        async with open_services(config, pool_processes=0) as services:
            steps = await _steps(services)
            async with _asking(session, ids) as loading:
                await _take_up_again(services, session)
    return {
        "model": model,
        "whole_s": round(whole_s, 1),
        "peak_bytes": {"before": before, "trained": peaks, "web_loaded": peak_bytes(web)},
        "steps": steps,
        "waited": {
            name: each.figures()
            for name, each in (("idle", idle), ("training", training), ("loading", loading))
        },
    }


async def _ready(session: aiohttp.ClientSession, n_tracks: int) -> None:
    """Wait until the server's copies hold everything, so that nothing else is at work."""
    while True:
        async with session.get("/metrics") as response:
            text = await response.text()
        held = [line.split()[-1] for line in text.splitlines() if line.startswith("fpserver_similar_tracks")]
        if held and float(held[0]) >= n_tracks:
            break
        await asyncio.sleep(0.5)
    await asyncio.sleep(20.0)  # sorting into lists goes on beside
    await trained(session)  # what a measurement that was broken off has asked for


async def trained(session: aiohttp.ClientSession, *, ask: bool = False) -> dict[str, Any]:
    """The model, as soon as nobody trains and nobody waits for another; `ask`: for another first."""
    if ask:
        async with session.post(MODEL) as response:
            assert response.status == 202
    while True:
        async with session.get(MODEL) as response:
            body = await response.json()
        if not body["wanted"]:
            assert body["failure"] is None, body
            model: dict[str, Any] = body["model"] or {}
            return model
        await asyncio.sleep(0.5)


@asynccontextmanager
async def _asking(session: aiohttp.ClientSession, ids: Sequence[int]) -> AsyncIterator[Waited]:
    """Questions, one after the other, for as long as the context lasts."""
    waited, ended = Waited(), asyncio.Event()
    rng = np.random.default_rng(SEED)

    async def ask(name: str, path: str) -> None:
        start = time.perf_counter()
        async with session.get(path) as response:
            await response.read()
            assert response.status == 200, (path, await response.text())
        waited.ms[name].append(1000 * (time.perf_counter() - start))

    async def on() -> None:
        while not ended.is_set():
            await ask("alive", "/healthz")
            await ask("similar", f"/v1/tracks/{rng.choice(ids)}/similar?k=10")
            await asyncio.sleep(PAUSE_S)

    asking = asyncio.create_task(on())
    try:
        yield waited
    finally:
        ended.set()
        await asking


async def _steps(services: Services) -> dict[str, float]:
    """Seconds of each step of taking up a model, and the longest that this loop stood still; median of LOADS."""
    seconds: dict[str, list[float]] = {"get_s": [], "get_still_s": [], "unpack_s": [], "unpack_still_s": []}
    for _ in range(LOADS):
        async with _stillness() as still:
            start = time.perf_counter()
            found = await services.models.get()
            seconds["get_s"].append(time.perf_counter() - start)
        seconds["get_still_s"].append(max(still))
        assert found is not None
        async with _stillness() as still:
            start = time.perf_counter()
            await asyncio.to_thread(unpack, found[1])
            seconds["unpack_s"].append(time.perf_counter() - start)
        seconds["unpack_still_s"].append(max(still))
    return {name: round(float(np.median(each)), 3) for name, each in seconds.items()}


@asynccontextmanager
async def _stillness() -> AsyncIterator[list[float]]:
    """Seconds by which each wake-up of this loop was late."""
    late, ended = [0.0], asyncio.Event()

    async def beat() -> None:
        while not ended.is_set():
            start = time.perf_counter()
            await asyncio.sleep(0.001)
            late.append(time.perf_counter() - start - 0.001)

    beating = asyncio.create_task(beat())
    await asyncio.sleep(0.01)
    try:
        yield late
    finally:
        ended.set()
        await beating


async def _take_up_again(services: Services, session: aiohttp.ClientSession) -> None:
    """Put the model out of force and in again, with time for the server to take it up."""
    found, standing = await services.models.get(), await services.models.standing()
    assert found is not None and standing.figures is not None
    for _ in range(LOADS):
        await services.models.put(b"", figures=standing.figures)
        await _until_held(session, 0)
        await services.models.put(found[1], figures=standing.figures)
        await _until_held(session, len(found[1]))


async def _until_held(session: aiohttp.ClientSession, n_bytes: int) -> None:
    give_up = time.perf_counter() + 60.0
    while True:
        await asyncio.sleep(0.25)
        async with session.get("/metrics") as response:
            text = await response.text()
        held = [line.split()[-1] for line in text.splitlines() if line.startswith("fpserver_model_bytes")]
        if held and float(held[0]) == n_bytes:
            return
        assert time.perf_counter() < give_up, "the server does not take up the model"


def page(found: Mapping[str, Any]) -> str:
    """For people."""
    put = ""
    if found["put_events_s"]:
        put = f"\n| events put into the store | {found['put_events_s']} s |"
    reading = found["reading"]
    model, peaks, steps = found["model"], found["peak_bytes"], found["steps"]
    rows = "\n".join(
        f"| {phase} | {name} | {each['n']:,} | {each['p50_ms']} | {each['p95_ms']} | {each['p99_ms']} | "
        f"{each['max_ms']} |"
        for phase, by_name in found["waited"].items()
        for name, each in by_name.items()
    )

    def mib(n_bytes: float) -> str:
        return f"{n_bytes / 2**20:,.0f} MiB"

    def read(name: str) -> str:
        return f"{reading[f'{name}_s']} s; {reading[f'{name}_cpu_s']} s of a core"

    def step(name: str) -> str:
        still_ms = 1000 * steps[f"{name}_still_s"]
        return f"{steps[f'{name}_s']} s; the loop stood still for {still_ms:.0f} ms at most"

    web = f"{mib(peaks['before']['web'])}, {mib(peaks['trained']['web'])}, {mib(peaks['web_loaded'])}"
    worker = f"{mib(peaks['before']['worker'])}, {mib(peaks['trained']['worker'])}"
    return f"""# Training on {found["events"]:,} events of {found["users"]:,} people and {found["tracks"]:,} tracks

{found["setting"]}. Events and tracks are made up ([recommend_training.py](../recommend_training.py)). One web
process, one worker, the embedded store, and who asks, all on the same cores, which other work shared.

| | |
|---|---|{put}
| feedback and catalogue read | {model["reading_s"]:.1f} s |
| by a process with nothing else to do: feedback | {read("feedback")} |
| the same: catalogue | {read("catalogue")} |
| trained, with the lowest priority | {model["training_s"]:.1f} s; {model["training_cpu_s"]:.1f} s of a core |
| from asking to the model in force | {found["whole_s"]} s |
| most memory of the process that trains | {mib(model["peak_memory_bytes"])} |
| most memory of the worker, before and after | {worker} |
| most memory of the web process: before, with the model, having taken it up {LOADS} times | {web} |
| the model | {mib(model["n_bytes"])} |
| read from the store, median of {LOADS} | {step("get")} |
| unpacked, median of {LOADS} | {step("unpack")} |

What was asked while nothing else happened, while it was trained, and while the model was put in force and taken up
{LOADS} times, milliseconds:

| | asked | n | median | 95 % | 99 % | longest |
|---|---|---|---|---|---|---|
{rows}

    python -m loadtest.recommend_training --tracks {found["tracks"]} --users {found["users"]} --events {found["events"]}
"""


if __name__ == "__main__":
    main()
