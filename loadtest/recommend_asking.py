"""Questions for recommendations, as they go over HTTP: of whom, what, one after the other or at random times.

A question is for somebody with so many events, or goes on from a playlist. Every answer is looked at: it has as many
tracks as were asked for, and comes from a model; one that does not is a fault, not a figure.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np
import numpy.typing as npt

from loadtest.load.arrivals import open_loop

NOBODY, FEW, SOME, MANY, PLAYLIST = (
    "0 events",
    "3 to 8 events",
    "100 events",
    "2,000 events",
    "a playlist of 50",
)
BETWEEN = {FEW: (3, 8), SOME: (95, 105), MANY: (1700, 2300)}  # events
N_PLAYLIST = 50  # tracks
RARE = "rare"  # a tag of 1 % of the tracks


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of questions."""

    name: str
    of: str
    wanted: Mapping[str, Any] = field(default_factory=dict)  # parameters, or fields of a body
    tag: str | None = None

    @property
    def k(self) -> int:
        """Tracks that are asked for."""
        return int(self.wanted.get("k", 10))


def _kinds() -> list[Kind]:
    by_strategy = [
        Kind(name=f"{strategy}, {of}", of=of, wanted={"strategy": strategy})
        for strategy in ("hybrid", "content", "collaborative")
        for of in (NOBODY, FEW, SOME, MANY)
    ]
    return [
        *by_strategy,
        Kind(name=f"hybrid, {SOME}, k 50", of=SOME, wanted={"k": 50}),
        Kind(name=f"hybrid, {MANY}, k 50", of=MANY, wanted={"k": 50}),
        Kind(name=f"hybrid, {SOME}, k 200", of=SOME, wanted={"k": 200}),
        Kind(name=f"hybrid, {SOME}, diversity 0", of=SOME, wanted={"diversity": 0}),
        Kind(name=f"hybrid, {SOME}, diversity 0.7", of=SOME, wanted={"diversity": 0.7}),
        Kind(name=f"hybrid, {SOME}, k 50, diversity 0.7", of=SOME, wanted={"k": 50, "diversity": 0.7}),
        Kind(name=f"hybrid, {SOME}, a tag of 1 %", of=SOME, tag=RARE),
        Kind(name=f"hybrid, {MANY}, a tag of 1 %", of=MANY, tag=RARE),
        Kind(name=f"hybrid, from {PLAYLIST}", of=PLAYLIST),
        Kind(name=f"content, from {PLAYLIST}", of=PLAYLIST, wanted={"strategy": "content"}),
        Kind(name=f"hybrid, from {PLAYLIST}, a tag of 1 %", of=PLAYLIST, tag=RARE),
    ]


KINDS = _kinds()
USUAL = next(kind for kind in KINDS if kind.name == f"hybrid, {SOME}")
MIX = [kind for kind in KINDS if kind.name in {f"hybrid, {of}" for of in (NOBODY, FEW, SOME, MANY)}]


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Who asks: names by how many events they have, and playlists."""

    named: Mapping[str, Sequence[str]]
    playlists: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer, and what it took."""

    ms: float  # from when it was to be asked
    inside_ms: float  # that the server says it took
    model: str  # version
    tracks: Sequence[int]


def people_of(user: npt.NDArray[np.int64], playlists: Sequence[Sequence[int]] = ()) -> People:
    """People by how many events they have.

    Args:
        user: (n_events,), whose each event is; they are called user-0, user-1 …
        playlists: to go on from.
    """
    counts = np.bincount(user)
    named = {}
    for of, (least, most) in BETWEEN.items():
        within = np.flatnonzero((counts >= least) & (counts <= most))
        if not len(within):
            within = np.argsort(np.abs(counts - least), kind="stable")[:1]  # a small crowd: the nearest
        named[of] = [f"user-{each}" for each in within.tolist()]
    return People(named=named | {NOBODY: [f"nobody-{i}" for i in range(1000)]}, playlists=playlists)


def asked(kind: Kind, people: People, rng: np.random.Generator) -> tuple[str, str, dict[str, Any]]:
    """A question of a kind: (method, path, what aiohttp is given)."""
    if kind.of == PLAYLIST:
        body: dict[str, Any] = {"track_ids": list(people.playlists[int(rng.integers(len(people.playlists)))])}
        body |= dict(kind.wanted) | ({"filter": {"tag": kind.tag}} if kind.tag else {})
        return "POST", "/v1/recommendations", {"json": body}
    names = people.named[kind.of]
    wanted = dict(kind.wanted) | ({"tag": kind.tag} if kind.tag else {})
    return "GET", f"/v1/users/{names[int(rng.integers(len(names)))]}/recommendations", {"params": wanted}


async def ask(
    session: aiohttp.ClientSession, kind: Kind, question: tuple[str, str, dict[str, Any]], *, due: float
) -> Reply:
    """Ask; an answer that is not whole is an error."""
    method, path, given = question
    async with session.request(method, path, **given) as response:
        body = await response.json()
        ms = 1000 * (time.perf_counter() - due)
    assert response.status == 200, (path, body)
    assert body["model"] is not None, path
    assert len(body["recommendations"]) == kind.k, (kind.name, path, len(body["recommendations"]))
    return Reply(
        ms=ms,
        inside_ms=body["timings_ms"]["recommend"],
        model=body["model"],
        tracks=[each["track_id"] for each in body["recommendations"]],
    )


async def one_by_one(
    session: aiohttp.ClientSession,
    kinds: Sequence[Kind],
    people: People,
    *,
    n: int,
    seed: int,
    going_on: Callable[[], bool] = lambda: False,
) -> list[Reply]:
    """Questions of these kinds, in turns, each when the one before is answered: n, and more while `going_on`."""
    rng = np.random.default_rng(seed)
    replies: list[Reply] = []
    while len(replies) < n or going_on():
        kind = kinds[len(replies) % len(kinds)]
        question = asked(kind, people, rng)
        replies.append(await ask(session, kind, question, due=time.perf_counter()))
    return replies


async def arriving(
    session: aiohttp.ClientSession,
    kinds: Sequence[Kind],
    people: People,
    *,
    rate: float,
    seconds: float,
    seed: int,
) -> list[Reply]:
    """Questions at random times, `rate` a second, as `loadtest.load.arrivals` sends them."""
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(1 / rate, int(rate * seconds))
    of = [kinds[i % len(kinds)] for i in range(len(gaps))]
    questions = [asked(kind, people, rng) for kind in of]
    dues = time.perf_counter() + 0.1 + np.cumsum(gaps)
    return await open_loop(dues.tolist(), lambda i, due: ask(session, of[i], questions[i], due=due))


def quantiles(replies: Sequence[Reply]) -> dict[str, float]:
    """Milliseconds of answers."""
    ms = [reply.ms for reply in replies]
    return {
        "n": len(ms),
        "p50_ms": round(float(np.percentile(ms, 50)), 1),
        "p95_ms": round(float(np.percentile(ms, 95)), 1),
        "p99_ms": round(float(np.percentile(ms, 99)), 1),
        "max_ms": round(max(ms), 1),
        "inside_p50_ms": round(float(np.percentile([reply.inside_ms for reply in replies], 50)), 1),
    }
