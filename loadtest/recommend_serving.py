"""How long somebody waits for a recommendation: many tracks, many people, many events, over HTTP.

    python -m loadtest.recommend_serving --data DIR [--tracks 100000] [--users 50000] [--events 5000000] [--train]

DIR is filled once, as loadtest.recommend_training does, a model is trained on all of it, and both are kept; the
measurement is of a copy. A real `fpserver serve` (one web process, one worker, the embedded store) is asked by people
with few and with many events, one question at a time; right after they have liked or disliked what was recommended; at
random times; and while other models are put in force, while described tracks come in, so that the copy of the catalogue
is laid down anew again and again, and while a worker takes in files. Who asks uses the same cores.
Writes recommend_serving.md and .json to loadtest/results/.
"""

import argparse
import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from fpserver.audio.encode import encode
from fpserver.config import Config
from fpserver.demo.songs import song
from fpserver.errors import InvalidRequest
from fpserver.features.describe import describe
from fpserver.recommend.model import Model, unpack
from fpserver.services import Services, open_services
from fpserver.terms import Group, Metadata
from fpserver.web.client import Client
from loadtest import report
from loadtest.processes import age_s, peak_bytes, resident_bytes
from loadtest.recommend_asking import (
    BETWEEN,
    KINDS,
    MIX,
    N_PLAYLIST,
    RARE,
    SOME,
    USUAL,
    Kind,
    People,
    Reply,
    arriving,
    ask,
    asked,
    one_by_one,
    people_of,
    quantiles,
)
from loadtest.recommend_crowd import crowd
from loadtest.recommend_serving_page import FILES, MODELS, NOTHING, TRACKS, page
from loadtest.recommend_training import RATE_HZ, SONG_S, fill_feedback, fill_tracks, trained
from loadtest.server import Server, serving
from loadtest.similarity.serving import Made, made_tracks, put_made

SEED = 5  # of the crowd, as in loadtest.recommend_training
SETTINGS = {"FPSERVER_RECOMMEND__TRAIN_EVERY_S": "0"}
AT_ONCE = 1000  # tracks that are tagged
N_TAGS, TAGS_EACH = 200, 3
WARMING = 30  # questions before those that count
N_PLAYLISTS = 40
SETTLE_S = 25.0  # the vectors of similarity are sorted into lists beside
RATES = (5, 10, 20, 30, 40, 60, 80)  # questions a second
RATE_S = 20.0
TOO_LATE_MS = 1000.0  # at 95 %: no higher rate is tried
SWAPS, SWAP_S = 8, 4.0
COMING, COMING_AT_ONCE, COMING_S = 1500, 25, 0.5
N_FILES, FILE_S = 12, 60.0


def main() -> None:
    """Measure and write."""
    args = _arguments()
    config = _config(args.data)
    if asyncio.run(_filled(config, args)) or args.train:
        with serving(args.data, settings=SETTINGS) as server:
            asyncio.run(_train(server))
    with tempfile.TemporaryDirectory(prefix="fpserver-recommend-", dir=args.work) as folder:
        copy = Path(folder) / "data"
        shutil.copytree(args.data, copy, ignore=shutil.ignore_patterns("run", "*.sock", "lock", "*.log"))
        begin = time.perf_counter()
        with serving(copy, settings=SETTINGS) as server:
            found = asyncio.run(_measure(server, copy, args, begin))
    found = {
        "setting": report.machine(),
        **{name: getattr(args, name) for name in ("tracks", "users", "events", "asked")},
        **found,
    }
    report.write("recommend_serving", found, page(found), out=args.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder; filled if it is empty, and kept")
    parser.add_argument("--tracks", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--train", action="store_true", help="also where there is a model")
    parser.add_argument("--asked", type=int, default=300, help="questions of each kind")
    parser.add_argument("--work", type=Path, help="where the copy lies for the time")
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    return parser.parse_args()


def _config(data_dir: Path) -> Config:
    return Config().with_values(redis={"data_dir": str(data_dir)}, recommend={"train_every_s": 0})


async def _filled(config: Config, args: argparse.Namespace) -> bool:
    """Tracks, tags and events into the store, where there are none; whether a model must be trained."""
    async with open_services(config, pool_processes=0) as services:
        if not await services.tracks.n_changed():
            await fill_tracks(services, args.tracks)
        ids = sorted([each for each, _ in await services.tracks.changes(after=0, limit=10**7)])
        await _tag(services, ids)
        if not await services.feedback.n_changes():
            people = crowd(np.array(ids), n_users=args.users, n_events=args.events, seed=SEED)
            await fill_feedback(services, people)
        found = await services.models.get()
    try:
        return found is None or not unpack(found[1])
    except InvalidRequest:
        return True  # of an earlier version


async def _tag(services: Services, ids: Sequence[int]) -> None:
    """Three tags for each track, and one more for one of a hundred; nothing where there are some."""
    first = (await services.tracks.get(ids[:1]))[ids[0]]
    if first.metadata.tags is not None:
        return
    for begin in range(0, len(ids), AT_ONCE):
        edits = [(each, {"tags": tags}) for each, tags in tagged(ids[begin : begin + AT_ONCE])]
        await services.tracks.edit_all(edits, now=1.0)


def tagged(ids: Sequence[int]) -> list[tuple[int, str]]:
    """Tracks with their tags, the same for the same id."""
    found = []
    for track_id in ids:
        rng = np.random.default_rng([SEED, track_id])
        names = [f"tag {number}" for number in rng.choice(N_TAGS, TAGS_EACH, replace=False).tolist()]
        found.append((track_id, ", ".join(names + [RARE] * (track_id % 100 == 0))))
    return found


async def _train(server: Server) -> None:
    async with aiohttp.ClientSession(server.address) as session:
        await _recommends(session)
        await trained(session, ask=True)


async def _measure(server: Server, copy: Path, args: argparse.Namespace, begin: float) -> dict[str, Any]:
    (web,) = server.children("fpserver.child web")
    running_s = time.perf_counter() - begin
    limits = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(server.address, connector=limits) as session:
        await _recommends(session)
        start = {
            "running_s": round(running_s, 1),
            "answers_s": round(time.perf_counter() - begin, 1),
            "web_answers_s": round(age_s(web), 1),
        }
        people = await _people(session, args.users, args.events)
        async with session.get("/v1/recommendations/model") as response:
            model = (await response.json())["model"]
        await _settled(session, args.tracks)
        memory = {"settled": resident_bytes(web)}
        questions = {}
        for kind in KINDS:
            questions[kind.name] = await _kind(server, session, kind, people, args.asked)
            print(kind.name, questions[kind.name], flush=True)
        memory["asked"] = resident_bytes(web)
        after = await _after_verdicts(session, people, args.asked)
        rates = await _rates(session, people)
        beside = await _beside(session, server.address, people, copy, args.asked)
        memory |= {"end": resident_bytes(web), "peak": peak_bytes(web)}
    return {
        "model": model,
        "start": start,
        "questions": questions,
        "after": after,
        "rates": rates,
        "rate_s": RATE_S,
        "beside": beside,
        "swaps": SWAPS,
        "web_bytes": memory,
        "people": {of: len(people.named[of]) for of in BETWEEN},
    }


async def _recommends(session: aiohttp.ClientSession) -> None:
    """Wait until a recommendation is answered; before a model is trained, too."""
    while True:
        async with session.get("/v1/users/nobody/recommendations") as response:
            if response.status == 200:
                return
        await asyncio.sleep(0.05)


async def _settled(session: aiohttp.ClientSession, n_tracks: int) -> None:
    """Wait until nothing is at work but what answers."""
    while await _metric(session, "fpserver_similar_tracks") < n_tracks:  # noqa: ASYNC110 – another process
        await asyncio.sleep(0.5)
    await asyncio.sleep(SETTLE_S)


async def _metric(session: aiohttp.ClientSession, name: str) -> float:
    async with session.get("/metrics") as response:
        text = await response.text()
    found = [line.split()[-1] for line in text.splitlines() if line.startswith(name)]
    return float(found[0]) if found else 0.0


async def _people(session: aiohttp.ClientSession, n_users: int, n_events: int) -> People:
    """Who has how many events, as the crowd was made; and playlists of what some of them heard last."""
    made = crowd(
        np.arange(1, 3), n_users=n_users, n_events=n_events, seed=SEED
    )  # users do not depend on tracks
    people, counts = people_of(made.user), np.bincount(made.user)
    playlists = []
    for of in BETWEEN:
        for user in people.named[of][: N_PLAYLISTS if of == SOME else 1]:
            async with session.get(f"/v1/users/{user}", params={"limit": 200}) as response:
                body = await response.json()
            assert body["n_events"] == counts[int(user.removeprefix("user-"))], (user, body["n_events"])
            heard = list(dict.fromkeys(event["track_id"] for event in body["events"]))
            if of == SOME:
                playlists.append(heard[:N_PLAYLIST])
    return replace(people, playlists=playlists)


async def _kind(
    server: Server, session: aiohttp.ClientSession, kind: Kind, people: People, n: int
) -> dict[str, float]:
    """Questions of one kind, one at a time: how long they take, and what they cost."""
    await one_by_one(session, [kind], people, n=WARMING, seed=SEED)
    before = server.cpu_s_by_kind()
    replies = await one_by_one(session, [kind], people, n=n, seed=SEED + 1)
    used = server.cpu_s_by_kind()
    return quantiles(replies) | {
        f"{place}_cpu_ms": round(1000 * (used[place] - before[place]) / n, 1) for place in ("web", "store")
    }


async def _after_verdicts(session: aiohttp.ClientSession, people: People, n: int) -> dict[str, Any]:
    """Somebody likes, or dislikes, what was recommended first, and asks again at once."""
    rng = np.random.default_rng(SEED + 2)
    both, told, n_other = list[Reply](), list[float](), 0
    for i in range(n):
        question = asked(USUAL, people, rng)
        before = await ask(session, USUAL, question, due=time.perf_counter())
        user = question[1].split("/")[3]
        event = {"user": user, "track_id": before.tracks[0], "kind": ("like", "dislike")[i % 2]}
        start = time.perf_counter()
        async with session.post("/v1/feedback", json=event) as response:
            assert response.status == 200, await response.text()
        told.append(1000 * (time.perf_counter() - start))
        after = await ask(session, USUAL, question, due=start)
        assert event["track_id"] not in after.tracks
        n_other += list(after.tracks[:-1]) != list(before.tracks[1:])
        both.append(after)
    return quantiles(both) | {"feedback_p50_ms": round(float(np.median(told)), 1), "n_more_changed": n_other}


async def _rates(session: aiohttp.ClientSession, people: People) -> list[dict[str, float]]:
    """Questions at random times, at one rate after the other, until they wait too long."""
    rates: list[dict[str, float]] = []
    for rate in RATES:
        replies = await arriving(session, MIX, people, rate=rate, seconds=RATE_S, seed=SEED + rate)
        rates.append({"rate": rate, **quantiles(replies)})
        print(rates[-1], flush=True)
        if rates[-1]["p95_ms"] > TOO_LATE_MS:
            break
    return rates


async def _beside(
    session: aiohttp.ClientSession, address: str, people: People, copy: Path, n: int
) -> dict[str, dict[str, float]]:
    """Questions, one at a time, while something else goes on; at least n of each."""
    found = {}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:

        async def asking(name: str, function: Callable[..., Any], *args: Any) -> list[Reply]:
            doing = asyncio.get_running_loop().run_in_executor(pool, partial(function, copy, *args))
            begin = time.perf_counter()
            replies = await one_by_one(
                session, [USUAL], people, n=n, seed=SEED + 3, going_on=lambda: not doing.done()
            )
            await doing
            found[name] = {"seconds": round(time.perf_counter() - begin, 1), **quantiles(replies)}
            print(name, found[name], flush=True)
            return replies

        await asking(NOTHING, _nothing)
        replies = await asking(MODELS, _swap_models)
        found[MODELS]["models"] = len({reply.model for reply in replies})
        n_before = await _metric(session, "fpserver_stocked_tracks")
        await asking(TRACKS, _put_tracks)
        n_come = await _metric(session, "fpserver_stocked_tracks") - n_before
        found[TRACKS] |= {"tracks": COMING, "taken_up": n_come}
        await asyncio.sleep(5.0)
        await asking(FILES, _send_files, address)
        found[FILES]["files"] = N_FILES
    return found


def _nothing(_: Path) -> None:
    time.sleep(5.0)


def _swap_models(data_dir: Path) -> None:
    """Two models in turns, the one in force and another that says nearly the same."""

    async def swap() -> None:
        async with open_services(_config(data_dir), pool_processes=0) as services:
            found, standing = await services.models.get(), await services.models.standing()
            assert found is not None and standing.figures is not None
            packed = [_other(unpack(found[1])).pack(), found[1]]
            for i in range(SWAPS):
                await services.models.put(packed[i % 2], figures=standing.figures)
                await asyncio.sleep(SWAP_S)

    asyncio.run(swap())


def _other(model: Model) -> Model:
    """The same but for a hair, which makes it another version."""
    spreads = {signal: spread * 1.000001 for signal, spread in model.weights.spreads.items()}
    return replace(model, weights=replace(model.weights, spreads=spreads))


def _put_tracks(data_dir: Path) -> None:
    """Described tracks into the store, some at a time."""
    parts = [group.value for group in Group]
    real = [
        describe(song(seed, SONG_S, RATE_HZ), parts=parts, loudness_db=-15.0).vectors for seed in range(4)
    ]

    async def put() -> None:
        async with open_services(_config(data_dir), pool_processes=0) as services:
            waiting: list[Made] = []
            for n_made, made in enumerate(made_tracks(real, COMING), 1):
                waiting.append(made)
                if len(waiting) == COMING_AT_ONCE:
                    named = [
                        Metadata(title=f"Coming {n_made - i}", artist=f"Artist {i}", genre="genre 1")
                        for i in range(len(waiting))
                    ]
                    await put_made(services, waiting, named)
                    waiting = []
                    await asyncio.sleep(COMING_S)

    asyncio.run(put())


def _send_files(_: Path, address: str) -> None:
    """Files over HTTP, until they are indexed."""

    async def send() -> None:
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for seed in range(1000, 1000 + N_FILES):
                path = Path(folder) / f"{seed}.wav"
                path.write_bytes(encode(song(seed, FILE_S, RATE_HZ), RATE_HZ, container="wav"))
                files.append((path, path.name, Metadata(title=f"File {seed}")))
            async with Client(address) as client:
                batch = await client.ingest(files)
                while not batch["done"]:
                    await asyncio.sleep(0.1)
                    batch = await client.batch(batch["batch_id"])

    asyncio.run(send())


if __name__ == "__main__":
    main()
