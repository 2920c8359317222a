"""The engine of catalogues that outgrow one machine: the vector sets of a Redis 8 server or Cluster.

Tracks are spread over sets, each in a slot of its own. All sets are asked at once, by angle between lifted vectors
(lifted.py); the best of all are fetched and measured exactly, so distances are true, and their order too. With weights,
or by cosine, more are fetched, as their order is another.

Always true: a track's record names its vectors before they are added and until they are removed, so whoever replaces
or removes a track finds all of them, whatever was broken off before.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, ClassVar, TypeVar

import msgpack
import msgspec
import numpy as np

from fpserver.config import RedisConfig, SimilarityConfig
from fpserver.errors import ConfigInvalid, StoreUnavailable
from fpserver.similarity.checks import Asked, checked_entries, checked_query, size_of
from fpserver.similarity.engine import MIXED, EngineStats, Entry, Found
from fpserver.similarity.lifted import lift, lowered, radius_of
from fpserver.similarity.scan import distances, warm
from fpserver.similarity.vector_filters import attributes, expression
from fpserver.similarity.vector_keys import Keys, element, of_element
from fpserver.similarity.vector_state import State, read_state
from fpserver.store.connect import Client, open_store, without_password
from fpserver.store.nodes import Call, Nodes
from fpserver.terms import Sieve, Vector, Vectors
from fpserver.thinking import think

T = TypeVar("T")

UNKNOWN = "unknown command"  # what a server says that has no vector sets
CALLS_AT_A_TIME = 1000  # adding a vector takes a server about a millisecond
WRITE_TIMEOUT_S = 30.0
STATE_AGE_S = 1.0  # what another process begins is known after this time
SPARE = 16  # vectors fetched beyond those asked for: by angle the order is nearly that of distance
FEW = (
    6  # the same with a filter, which costs for each: a hundred are looked at until one passes that keeps 1 %
)
SPARE_RATIO = 40  # the same, where it is another order: so many times those asked for
MIN_SPARE = 400
SHARE_RATIO = 2  # times a set's even share of them, that it is asked for
MIN_EFFORT = 200  # vectors that a search keeps in view (EF)
FILTERED_EFFORT = 40  # the same with a filter: of those that pass, so that more are looked at
EFFORT_RATIO = 2  # of those fetched from a set
FIRST_LOOK = 200  # vectors that are looked at, at most, for each that is to pass a filter
EVERYTHING = 1_000_000  # the most that a set is asked for
LINKS = 16  # of a vector to its neighbours (M)
BUILD_EFFORT = 200  # vectors in view when one is added
MEASURED_AT_A_TIME = 4096
GROWTH = 8  # times as many are fetched, until it is certain that none is missing
CERTAINTY = 1.02  # times as far as the last that is wanted: nothing beyond can be nearer


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a set's answer says: names, best first, and how alike each seems."""

    names: list[bytes]
    likeness: list[float]


class VectorSets:
    """Vectors in a Redis 8."""

    shared: ClassVar[bool] = True

    def __init__(self, client: Client, config: SimilarityConfig, *, name: str, timeout_s: float) -> None:
        self._keys = Keys(name)
        self._nodes = Nodes(client, functions="")
        self._n_sets = config.n_sets
        self._timeout_s = timeout_s
        self._state = State.nothing()
        self._read_at = -STATE_AGE_S

    async def try_out(self) -> None:
        """Ask every set for what a server without vector sets does not know.

        Raises:
            StoreUnavailable: that is what they say, or nothing.
        """
        each = [self._keys.vectors(set_, MIXED) for set_ in range(self._n_sets)]
        await self._ask(Call(key=key, command=("VCARD", key)) for key in each)

    async def position(self) -> str | None:
        """As `Engine.position`."""
        state = await self._current(at_once=True)
        return state.position

    async def begin(self, sizes: Mapping[str, int]) -> None:
        """As `Engine.begin`."""
        before = await self._current(at_once=True)
        spaces = {*before.sizes, *sizes}
        gone = range(max(before.n_sets, self._n_sets))
        await self._write(
            Call(key=key, command=("UNLINK", key)) for set_ in gone for key in self._keys.all_of(set_, spaces)
        )
        fields = ("n_sets", self._n_sets, "sizes", json_of(sizes))
        await self._write([Call(key=self._keys.state(0), command=("HSET", self._keys.state(0), *fields))])
        await self._current(at_once=True)

    async def put(self, entries: Sequence[Entry]) -> None:
        """As `Engine.put`."""
        state = await self._current()
        checked_entries(entries, state.sizes)
        entries = list({entry.track_id: entry for entry in entries}.values())
        radii = await self._radii(entries, state)
        before = await self._rows([entry.track_id for entry in entries])
        after = {
            entry.track_id: {space: len(vectors) for space, vectors in entry.vectors.items()}
            for entry in entries
        }
        both = {track_id: _larger(before.get(track_id, {}), rows) for track_id, rows in after.items()}
        await self._write(self._recording(both))
        await self._write(call for entry in entries for call in self._adding(entry, radii))
        await self._write(
            call
            for track_id, rows in before.items()
            for call in self._taking(track_id, rows, beyond=after[track_id])
        )
        await self._write(self._recording(after))

    async def remove(self, track_ids: Sequence[int]) -> None:
        """As `Engine.remove`."""
        held = await self._rows(track_ids)
        await self._write(call for track_id, rows in held.items() for call in self._taking(track_id, rows))
        records = ((self._keys.tracks(self._set_of(track_id)), track_id) for track_id in held)
        await self._write(Call(key=key, command=("HDEL", key, track_id)) for key, track_id in records)

    async def advance(self, position: str) -> None:
        """As `Engine.advance`."""
        state = await self._current()
        fields = ("step", state.step + 1, "position", position)
        each = [self._keys.state(set_) for set_ in range(self._n_sets)]
        await self._write(Call(key=key, command=("HSET", key, *fields)) for key in each)
        self._state = state.advanced(position)

    async def nearest(
        self,
        space: str,
        queries: Vectors,
        *,
        k: int,
        weights: Vector | None = None,
        metric: str = "euclidean",
        sieve: Sieve | None = None,
        exact: bool = False,
    ) -> list[Found]:
        """As `Engine.nearest`.

        Exact with weights, or by cosine, fetches every vector that passes: for measuring, not for people who wait.
        """
        state = await self._current()
        size = size_of(space, state.sizes)
        asked = checked_query(queries, size=size, space=space, k=k, weights=weights, metric=metric)
        filter_ = expression(sieve)
        radius = state.radii.get(space)
        if radius is None:
            return [_found([], np.empty(0, np.float32), k, asked) for _ in queries]
        another_order = weights is not None or asked.cosine
        if exact:
            how = (space, k, radius, filter_, another_order)
            return [await self._exact(asked, query, *how) for query in asked.queries]
        keeps_few = sieve is not None and bool(sieve.equal or sieve.ranges or sieve.q)
        n_wanted = max(SPARE_RATIO * k, MIN_SPARE) if another_order else k + (FEW if keeps_few else SPARE)
        of_set = min(n_wanted, max(k + FEW, SHARE_RATIO * n_wanted // self._n_sets))
        seen = await self._seen(space, asked.queries, radius, of_set, filter_, keeps_few=keeps_few)
        best = [_best(of_query, n_wanted) for of_query in seen]
        vectors = await self._vectors(space, {name for names in best for name in names})
        return await think(_measured, best, vectors, k, asked)

    async def vectors(self, space: str, track_ids: Sequence[int]) -> dict[int, Vectors]:
        """As `Engine.vectors`."""
        size_of(space, (await self._current()).sizes)
        held = {
            track_id: rows[space] for track_id, rows in (await self._rows(track_ids)).items() if space in rows
        }
        names = {
            element(track_id, row).encode(): track_id for track_id, n in held.items() for row in range(n)
        }
        vectors = await self._vectors(space, names)
        told: dict[int, list[Vector]] = {}
        for name, track_id in names.items():
            if name in vectors:
                told.setdefault(track_id, []).append(vectors[name])
        return {track_id: np.stack(rows) for track_id, rows in told.items()}

    async def stats(self) -> EngineStats:
        """As `Engine.stats`; memory is the server's own estimate."""
        sizes = (await self._current()).sizes
        sets = range(self._n_sets)
        n_tracks = await self._ask(
            Call(key=(key := self._keys.tracks(i)), command=("HLEN", key)) for i in sets
        )
        n_vectors = {
            space: sum(
                await self._ask(
                    Call(key=(key := self._keys.vectors(i, space)), command=("VCARD", key)) for i in sets
                )
            )
            for space in sizes
        }
        every = [key for i in sets for key in self._keys.all_of(i, sizes)]
        memory = await self._ask(Call(key=key, command=("MEMORY", "USAGE", key)) for key in every)
        return EngineStats(
            n_tracks=sum(n_tracks), n_vectors=n_vectors, memory_bytes=sum(n or 0 for n in memory)
        )

    def _set_of(self, track_id: int) -> int:
        return track_id % self._n_sets

    async def _current(self, *, at_once: bool = False) -> State:
        """What the sets say of themselves; not older than STATE_AGE_S."""
        if at_once or time.monotonic() - self._read_at > STATE_AGE_S:
            each = [self._keys.state(set_) for set_ in range(self._n_sets)]
            replies = await self._ask(Call(key=key, command=("HGETALL", key)) for key in each)
            self._state = read_state(replies, n_sets=self._n_sets)
            self._read_at = time.monotonic()
        return self._state

    async def _radii(self, entries: Sequence[Entry], state: State) -> Mapping[str, float]:
        """R of each space; where there is none yet, it is chosen for these vectors, once for all who add."""
        held = {
            space: [entry.vectors[space] for entry in entries if space in entry.vectors]
            for space in state.sizes
        }
        lacking = [space for space, some in held.items() if some and space not in state.radii]
        if not lacking:
            return state.radii
        key = self._keys.state(0)
        chosen = {space: radius_of(np.concatenate(held[space])) for space in lacking}
        await self._write(
            Call(key=key, command=("HSETNX", key, f"radius:{space}", repr(radius)))
            for space, radius in chosen.items()
        )
        return (await self._current(at_once=True)).radii

    async def _rows(self, track_ids: Sequence[int]) -> dict[int, dict[str, int]]:
        """How many vectors each of these tracks has, by space; without those that are not held."""
        wanted = sorted(set(track_ids))
        records = [(self._keys.tracks(self._set_of(track_id)), track_id) for track_id in wanted]
        replies = await self._ask(Call(key=key, command=("HGET", key, track_id)) for key, track_id in records)
        return {
            track_id: msgpack.unpackb(reply) for track_id, reply in zip(wanted, replies, strict=True) if reply
        }

    def _recording(self, rows: Mapping[int, Mapping[str, int]]) -> Iterator[Call]:
        for track_id, of_track in rows.items():
            key = self._keys.tracks(self._set_of(track_id))
            yield Call(key=key, command=("HSET", key, track_id, msgpack.packb(of_track)))

    def _adding(self, entry: Entry, radii: Mapping[str, float]) -> Iterator[Call]:
        told = attributes(entry)
        how = ("NOQUANT", "EF", BUILD_EFFORT, "SETATTR", told, "M", LINKS)
        for space, vectors in entry.vectors.items():
            key = self._keys.vectors(self._set_of(entry.track_id), space)
            for row, vector in enumerate(vectors):
                name = element(entry.track_id, row)
                yield Call(key=key, command=("VADD", key, "FP32", lift(vector, radii[space]), name, *how))

    def _taking(
        self, track_id: int, rows: Mapping[str, int], *, beyond: Mapping[str, int] | None = None
    ) -> Iterator[Call]:
        """Remove a track's vectors, beyond the first few of each space."""
        for space, n_rows in rows.items():
            key = self._keys.vectors(self._set_of(track_id), space)
            for row in range((beyond or {}).get(space, 0), n_rows):
                yield Call(key=key, command=("VREM", key, element(track_id, row)))

    async def _seen(
        self,
        space: str,
        queries: Vectors,
        radius: float,
        n_wanted: int,
        filter_: str | None,
        *,
        truth: bool = False,
        keeps_few: bool = False,
    ) -> list[list[Seen]]:
        """What each set finds for each query.

        With a filter a first look goes as far as one that keeps 1 % needs; sets that find too few compare all.
        """
        least = FILTERED_EFFORT if keeps_few else MIN_EFFORT
        effort: tuple[str | int, ...] = ("TRUTH",) if truth else ("EF", max(least, EFFORT_RATIO * n_wanted))
        each = [self._keys.vectors(set_, space) for set_ in range(self._n_sets)]
        how = ("WITHSCORES", "COUNT", n_wanted, *effort, *(("FILTER", filter_) if filter_ else ()))
        calls = [
            Call(key=key, command=("VSIM", key, "FP32", lift(query, radius), *how))
            for query in queries
            for key in each
        ]
        looks = ("FILTER-EF", FIRST_LOOK * n_wanted) if filter_ and not truth else ()
        replies = [_seen(reply) for reply in await self._ask(_with(calls, looks))]
        short = [i for i, seen in enumerate(replies) if looks and len(seen.names) < n_wanted]
        again = _with([calls[i] for i in short], ("TRUTH",))
        for i, reply in zip(short, await self._ask(again), strict=True):
            replies[i] = _seen(reply)
        return [replies[at : at + self._n_sets] for at in range(0, len(replies), self._n_sets)]

    async def _exact(
        self,
        asked: Asked,
        query: Vector,
        space: str,
        k: int,
        radius: float,
        filter_: str | None,
        another_order: bool,
    ) -> Found:
        """The nearest, certainly: as many are fetched as it takes."""
        n_wanted = EVERYTHING if another_order else k + SPARE
        while True:
            (of_query,) = await self._seen(space, query[None], radius, n_wanted, filter_, truth=True)
            names = _best(of_query, n_wanted)
            found = _found([], np.empty(0, np.float32), k, asked)
            farthest = 0.0
            for some in _pieces(names, MEASURED_AT_A_TIME):
                vectors = await self._vectors(space, some)
                (of_some,) = _measured([some], vectors, len(some), asked.of(query))
                farthest = max(farthest, float(np.max(of_some.distance, initial=0.0)))
                found = _merged(found, of_some, k)
            all_seen = all(len(seen.names) < n_wanted for seen in of_query)
            if all_seen or (len(found.distance) == k and farthest > CERTAINTY * found.distance[-1] + 1e-6):
                return found
            n_wanted *= GROWTH

    async def _vectors(self, space: str, names: Iterable[bytes]) -> dict[bytes, Vector]:
        """The vectors of these names, as far as they are still there."""
        wanted = list(names)
        each = [self._keys.vectors(self._set_of(of_element(name)[0]), space) for name in wanted]
        replies = await self._ask(
            Call(key=key, command=("VEMB", key, name, "RAW")) for key, name in zip(each, wanted, strict=True)
        )
        return {
            name: lowered(reply[1], float(reply[2]))
            for name, reply in zip(wanted, replies, strict=True)
            if reply
        }

    async def _ask(self, calls: Iterable[Call]) -> list[Any]:
        return await self._nodes.demand(list(calls), timeout_s=self._timeout_s)

    async def _write(self, calls: Iterable[Call]) -> None:
        rest = iter(calls)  # made as they are sent: together they may be large
        while some := list(islice(rest, CALLS_AT_A_TIME)):
            await self._nodes.demand(some, timeout_s=max(self._timeout_s, WRITE_TIMEOUT_S))


@asynccontextmanager
async def open_engine(
    similarity: SimilarityConfig, redis: RedisConfig, *, name: str = "near"
) -> AsyncIterator[VectorSets]:
    """The engine of a Redis 8; those of other names on it are none of its business.

    Raises:
        ConfigInvalid: the server is no Redis 8.
        StoreUnavailable: it does not answer.
    """
    at = msgspec.structs.replace(redis, url=similarity.url) if similarity.url else redis
    async with open_store(at) as client:
        engine = VectorSets(client, similarity, name=name, timeout_s=redis.timeout_s)
        try:
            await engine.try_out()
        except StoreUnavailable as error:
            if UNKNOWN not in str(error):
                raise
            raise ConfigInvalid(
                f'similarity.engine is "vector_sets", and the server at {without_password(at.url)} has none: '
                "Redis 8 or newer does; name one in similarity.url"
            ) from error
        await asyncio.to_thread(warm)
        yield engine


def json_of(sizes: Mapping[str, int]) -> bytes:
    """Sizes by space, as the state has them."""
    return msgspec.json.encode(dict(sizes))


def _with(calls: Sequence[Call], words: tuple[str | int, ...]) -> list[Call]:
    """The same, with something more."""
    return [replace(call, command=(*call.command, *words)) for call in calls]


def _seen(reply: list[bytes]) -> Seen:
    return Seen(names=reply[::2], likeness=[float(likeness) for likeness in reply[1::2]])


def _best(of_sets: Sequence[Seen], n_wanted: int) -> list[bytes]:
    """The names that seem most alike, of all sets."""
    likeness = np.concatenate([seen.likeness for seen in of_sets])
    names = [name for seen in of_sets for name in seen.names]
    return [names[i] for i in np.argsort(-likeness, kind="stable")[:n_wanted]]


def _measured(
    best: Sequence[Sequence[bytes]], vectors: Mapping[bytes, Vector], k: int, asked: Asked
) -> list[Found]:
    """For each query the nearest of those that seemed so, by their true distance."""
    answers = []
    for query, names in zip(asked.queries, best, strict=True):
        there = [name for name in names if name in vectors]
        stacked = np.array([vectors[name] for name in there], np.float32).reshape(len(there), len(query))
        answers.append(_found(there, distances(stacked, query, asked.weights, asked.cosine), k, asked))
    return answers


def _found(names: Sequence[bytes], told: Vector, k: int, asked: Asked) -> Found:
    pairs = np.array([of_element(name) for name in names], np.int64).reshape(len(names), 2)
    order = np.lexsort((pairs[:, 1], pairs[:, 0], told))[:k]
    distance = told if asked.cosine else np.sqrt(told)
    return Found(track_id=pairs[order, 0], row=pairs[order, 1], distance=distance[order])


def _merged(one: Found, other: Found, k: int) -> Found:
    track_id, row, distance = (
        np.concatenate([getattr(one, name), getattr(other, name)]) for name in ("track_id", "row", "distance")
    )
    order = np.lexsort((row, track_id, distance))[:k]
    return Found(track_id=track_id[order], row=row[order], distance=distance[order])


def _larger(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {space: max(one.get(space, 0), other.get(space, 0)) for space in {*one, *other}}


def _pieces(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[at : at + size] for at in range(0, len(items), size))
