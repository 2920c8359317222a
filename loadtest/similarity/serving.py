"""A server with very many described tracks: how long whoever asks for neighbours waits, and what the copy costs.

    python -m loadtest.similarity.serving CORPUS [--tracks 100000] [--kept DIR] [--asked 300]

Real tracks are described; each made one mixes the descriptors of two of them, by a random share. They are put into a
store as a worker would, and asked for over HTTP of a real `fpserver serve` with one web process, one question at a
time; who asks uses the same cores. Writes similarity_serving.md and .json to loadtest/results/.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from fpserver.config import Config
from fpserver.descriptors import FACTS, LAYOUT, VERSION
from fpserver.learning import learn_if_grown
from fpserver.services import Services, open_services
from fpserver.terms import Description, Group, Metadata, Submission, Vector
from loadtest import report
from loadtest.corpus import music
from loadtest.processes import peak_bytes
from loadtest.server import Server, serving
from loadtest.similarity.described import described

AT_ONCE = 100
SEED = 5
RARE, HALF = "rare", "half"  # genres of 1 % and of half of the tracks; others have none
QUESTIONS: dict[str, dict[str, Any]] = {
    "all groups": {},
    "all groups, exact": {"exact": 1},
    "all groups, cosine": {"metric": "cosine"},
    "timbre": {"features": "timbre"},
    "timbre 3, rhythm 1": {"features": "timbre:3,rhythm:1"},
    "tonal, transposed": {"features": "tonal", "transpose": 1},
    "all groups, a genre of 1 %": {"genre": RARE},
    "all groups, a genre of 50 %": {"genre": HALF},
    "all groups, 1 % by tempo and loudness": {},  # bounds are found in the catalogue
    "timbre, a genre of 1 %": {"features": "timbre", "genre": RARE},
}
BOUNDED = "all groups, 1 % by tempo and loudness"
N_MATRIX = 2000  # tracks
WITHIN_MS = 20.0  # wanted at 95 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A track of the catalogue."""

    vectors: Mapping[Group, Vector]
    genre: str | None


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--tracks", type=int, default=100_000)
    parser.add_argument("--asked", type=int, default=300, help="questions of each kind")
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "fpserver-descriptions")
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    args = parser.parse_args()
    real = [each.description.vectors for each in described(music(args.corpus), None, args.kept)]
    with tempfile.TemporaryDirectory(prefix="fpserver-similar-") as folder:
        config = Config().with_values(redis={"data_dir": folder})
        filled = asyncio.run(_fill(config, real, args.tracks))
        start = time.perf_counter()
        with serving(Path(folder), "--workers", "0") as server:
            asked = asyncio.run(_ask(server, filled, args.asked, start))
    found = {
        "setting": report.machine(),
        "n_real": len(real),
        "n_tracks": args.tracks,
        "n_asked": args.asked,
        "learn_s": filled["learn_s"],
        **asked,
    }
    report.write("similarity_serving", found, page(found), out=args.out)


def made_tracks(real: Sequence[Mapping[Group, Vector]], n_tracks: int) -> Iterator[Made]:
    rng = np.random.default_rng(SEED)
    for _ in range(n_tracks):
        one, other = rng.choice(len(real), 2, replace=False)
        share = np.float32(rng.uniform(0, 1))
        chance = rng.uniform()
        yield Made(
            vectors={group: share * real[one][group] + (1 - share) * real[other][group] for group in Group},
            genre=RARE if chance < 0.01 else HALF if chance < 0.51 else None,
        )


def facts_of(vectors: Mapping[Group, Vector]) -> dict[str, float]:
    facts = {}
    for group, layout in LAYOUT.items():
        for dimension, value in zip(layout, vectors[group].tolist(), strict=True):
            name = dimension.name.removesuffix("_mean")
            if name in FACTS:
                facts[name] = value
    return facts


async def _fill(config: Config, real: Sequence[Mapping[Group, Vector]], n_tracks: int) -> dict[str, Any]:
    """Put tracks into a store, and learn scales; says how long that took, and bounds that 1 % lie within."""
    ids: list[int] = []
    tempi: list[float] = []
    async with open_services(config, pool_processes=0) as services:
        waiting: list[Made] = []
        for made in made_tracks(real, n_tracks):
            waiting.append(made)
            tempi.append(float(made.vectors[Group.RHYTHM][0]))
            if len(waiting) == AT_ONCE:
                ids += await _put(services, waiting, len(ids))
                waiting = []
        ids += await _put(services, waiting, len(ids))
        start = time.perf_counter()
        await learn_if_grown(services)
        learn_s = time.perf_counter() - start
    low, high = np.quantile(tempi, [0.5, 0.51])
    return {"ids": ids, "learn_s": round(learn_s, 1), "tempo": (float(low), float(high))}


async def _put(services: Services, made: Sequence[Made], n_before: int) -> list[int]:
    named = [Metadata(title=f"Made {n_before + i}", genre=each.genre) for i, each in enumerate(made)]
    return await put_made(services, made, named)


async def put_made(services: Services, made: Sequence[Made], named: Sequence[Metadata]) -> list[int]:
    """Ids of made tracks, indexed and described now; no two may have one title."""
    offers = [
        Submission(
            source=f"file:/made/{metadata.title}",
            place="made",
            content_sha256=sha256(str(metadata.title).encode()).hexdigest(),
            metadata=metadata,
        )
        for metadata in named
    ]
    ids = [each.track_id for each in await services.tracks.submit(offers, now=1.0)] if offers else []

    async def put(track_id: int, each: Made) -> None:
        await services.tracks.mark_indexed(track_id, n_landmarks=1, duration_s=180.0, now=1.0)
        await services.descriptions.put(track_id, Description(vectors=each.vectors, facts={}))
        parts = [group.value for group in Group]
        await services.undescribed.mark_described(
            track_id, parts, facts=facts_of(each.vectors), key=None, version=VERSION, now=1.0
        )

    await asyncio.gather(*(put(track_id, each) for track_id, each in zip(ids, made, strict=True)))
    return ids


async def _ask(server: Server, filled: Mapping[str, Any], n_asked: int, start: float) -> dict[str, Any]:
    rng = np.random.default_rng(SEED + 1)
    low, high = filled["tempo"]
    QUESTIONS[BOUNDED] = {"tempo_bpm_min": low, "tempo_bpm_max": high}
    async with aiohttp.ClientSession(server.address) as session:
        fill_s = await _full(session, len(filled["ids"]), start)
        answers = {}
        for name, question in QUESTIONS.items():
            ids = rng.choice(filled["ids"], n_asked).tolist()
            await _waited(session, ids[0], question)
            answers[name] = [await _waited(session, track_id, question) for track_id in ids]
        ids = filled["ids"][:: max(1, len(filled["ids"]) // N_MATRIX)][:N_MATRIX]
        begin = time.perf_counter()
        async with session.post("/v1/similarity/matrix", json={"track_ids": ids}) as response:
            assert response.status == 200
            n_bytes = len(await response.read())
        matrix = {"n": len(ids), "seconds": round(time.perf_counter() - begin, 2), "bytes": n_bytes}
    (web,) = server.children("fpserver.child web")
    return {
        "fill_s": round(fill_s, 1),
        "web_peak_bytes": peak_bytes(web),
        "matrix": matrix,
        "questions": {
            name: {
                "p50_ms": round(float(np.percentile(ms, 50)), 1),
                "p95_ms": round(float(np.percentile(ms, 95)), 1),
                "p99_ms": round(float(np.percentile(ms, 99)), 1),
            }
            for name, ms in answers.items()
        },
    }


async def _full(session: aiohttp.ClientSession, n_tracks: int, start: float) -> float:
    """Seconds until the server's copy holds all tracks and all its vectors are sorted."""
    while True:
        async with session.get("/metrics") as response:
            text = await response.text()
        held = [line.split()[-1] for line in text.splitlines() if line.startswith("fpserver_similar_tracks")]
        if held and float(held[0]) >= n_tracks:
            seconds = time.perf_counter() - start
            await asyncio.sleep(20.0)  # sorting into lists goes on beside
            return seconds
        await asyncio.sleep(0.5)


async def _waited(session: aiohttp.ClientSession, track_id: int, question: Mapping[str, Any]) -> float:
    """Milliseconds until an answer of ten neighbours was there."""
    start = time.perf_counter()
    async with session.get(f"/v1/tracks/{track_id}/similar", params={"k": 10, **question}) as response:
        body = await response.json()
        assert response.status == 200, body
    ms = 1000 * (time.perf_counter() - start)
    assert len(body["neighbours"]) == 10, (question, len(body["neighbours"]))
    return ms


def page(found: Mapping[str, Any]) -> str:
    rows = "\n".join(
        f"| {name} | {each['p50_ms']} | {each['p95_ms']} | {each['p99_ms']} | "
        f"{'yes' if each['p95_ms'] <= WITHIN_MS else 'no'} |"
        for name, each in found["questions"].items()
    )
    n = f"{found['n_tracks']:,}"
    return f"""# Neighbours over HTTP among {n} described tracks

{found["setting"]}. {found["n_real"]} real tracks were described; each of the {n} mixes the descriptors of two of them.
One web process, one question at a time, {found["n_asked"]} of each kind, ten neighbours each; who asks uses the
same cores.

| asked | median, ms | 95 % | 99 % | 95 % within {WITHIN_MS:.0f} ms |
|---|---|---|---|---|
{rows}

Scales were learned in {found["learn_s"]} s, and the copy of one web process was filled from the store in
{found["fill_s"]} s (with its start). That process had {found["web_peak_bytes"] / 2**20:.0f} MiB at most.

A matrix of {found["matrix"]["n"]:,} tracks, each with each by all groups, was there after
{found["matrix"]["seconds"]} s ({found["matrix"]["bytes"] / 2**20:.0f} MiB of JSON).

    python -m loadtest.similarity.serving CORPUS --tracks {found["n_tracks"]}
"""


if __name__ == "__main__":
    main()
