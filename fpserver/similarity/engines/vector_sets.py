"""The engine of catalogues that outgrow one machine: the vector sets of a Redis 8 server or Cluster.

Tracks are spread over sets, each in a slot of its own, and all sets are asked at once (vector_search.py).

Always true: a track's record names its vectors before they are added and until they are removed, so whoever replaces
or removes a track finds all of them, whatever was broken off before.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any, ClassVar

import msgpack
import msgspec
import numpy as np

from fpserver.config import RedisConfig, SimilarityConfig
from fpserver.errors import ConfigInvalid, StoreUnavailable
from fpserver.similarity.engines.checks import checked_entries, checked_query, size_of
from fpserver.similarity.engines.engine import MIXED, EngineStats, Entry, Found
from fpserver.similarity.engines.lifted import LAYOUT, lift, parts_of, radius_of
from fpserver.similarity.engines.scan import warm
from fpserver.similarity.engines.vector_answers import none_found
from fpserver.similarity.engines.vector_filters import attributes, expression
from fpserver.similarity.engines.vector_keys import Keys, element
from fpserver.similarity.engines.vector_search import FUNCTIONS, VectorSearch
from fpserver.similarity.engines.vector_state import State, read_state
from fpserver.store.connect import Client, load_functions, open_store, without_password
from fpserver.store.nodes import Call, Nodes
from fpserver.terms import Sieve, Vector, Vectors

UNKNOWN = "unknown command"  # what a server says that has no vector sets
CALLS_AT_A_TIME = 1000  # adding a vector takes a server about a millisecond
WRITE_TIMEOUT_S = 30.0
STATE_AGE_S = 1.0  # what another process begins is known after this time
LINKS = 16  # of a vector to its neighbours (M)
BUILD_EFFORT = 200  # vectors in view when one is added


class VectorSets:
    """Vectors in a Redis 8."""

    shared: ClassVar[bool] = True

    def __init__(self, client: Client, config: SimilarityConfig, *, name: str, timeout_s: float) -> None:
        self._keys = Keys(name)
        self._nodes = Nodes(client, functions=FUNCTIONS)
        self._search = VectorSearch(self._nodes, self._keys, n_sets=config.n_sets, timeout_s=timeout_s)
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
        fields = ("layout", LAYOUT, "n_sets", self._n_sets, "sizes", json_of(sizes))
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
        await self._write(call for entry in entries for call in self._adding(entry, radii, state))
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

        Exact by cosine, or with weights that differ within a group, fetches every vector that passes: for measuring,
        not for people who wait.
        """
        state = await self._current()
        size = size_of(space, state.sizes)
        asked = checked_query(queries, size=size, space=space, k=k, weights=weights, metric=metric)
        filter_ = expression(sieve)
        place = state.place(space)
        if place is None:
            return [none_found() for _ in queries]
        if exact:
            return await self._search.certain(place, asked, k=k, filter_=filter_)
        keeps_few = sieve is not None and bool(sieve.equal or sieve.ranges or sieve.q)
        return await self._search.likely(place, asked, k=k, filter_=filter_, keeps_few=keeps_few)

    async def vectors(self, space: str, track_ids: Sequence[int]) -> dict[int, Vectors]:
        """As `Engine.vectors`."""
        state = await self._current()
        size_of(space, state.sizes)
        place = state.place(space)
        held = {
            track_id: rows[space] for track_id, rows in (await self._rows(track_ids)).items() if space in rows
        }
        if place is None or not held:
            return {}
        names = [element(track_id, row).encode() for track_id, n in held.items() for row in range(n)]
        told = await self._search.fetched(place, names)
        order = np.lexsort((told.row, told.track_id))
        track_id, starts = np.unique(told.track_id[order], return_index=True)
        rows = np.split(told.vectors[order], starts[1:])
        return dict(zip(track_id.tolist(), rows, strict=False))

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

    def _adding(self, entry: Entry, radii: Mapping[str, float], state: State) -> Iterator[Call]:
        told = attributes(entry)
        how = ("NOQUANT", "EF", BUILD_EFFORT, "SETATTR", told, "M", LINKS)
        for space, vectors in entry.vectors.items():
            key = self._keys.vectors(self._set_of(entry.track_id), space)
            parts = parts_of(space, state.sizes)
            for row, vector in enumerate(vectors):
                raw, name = lift(vector, radii[space], parts), element(entry.track_id, row)
                yield Call(key=key, command=("VADD", key, "FP32", raw, name, *how))

    def _taking(
        self, track_id: int, rows: Mapping[str, int], *, beyond: Mapping[str, int] | None = None
    ) -> Iterator[Call]:
        """Remove a track's vectors, beyond the first few of each space."""
        for space, n_rows in rows.items():
            key = self._keys.vectors(self._set_of(track_id), space)
            for row in range((beyond or {}).get(space, 0), n_rows):
                yield Call(key=key, command=("VREM", key, element(track_id, row)))

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
        await load_functions(client, FUNCTIONS)
        await asyncio.to_thread(warm)
        yield engine


def json_of(sizes: Mapping[str, int]) -> bytes:
    """Sizes by space, as the state has them."""
    return msgspec.json.encode(dict(sizes))


def _larger(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {space: max(one.get(space, 0), other.get(space, 0)) for space in {*one, *other}}
