"""A copy of all descriptions in an engine that searches vectors, kept up to date by the catalogue's own log of changes.

An engine holds vectors made with one version of the scales. When others are learned, a new engine is filled beside the
one that answers, and takes its place when it has everything. An engine that says it lost everything is filled anew.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Self

import msgspec
import structlog
from msgspec.structs import replace

from fpserver import metrics
from fpserver.errors import InvalidRequest, NotDescribed, Overloaded
from fpserver.follower import Follower
from fpserver.services import Services
from fpserver.similarity import keys, sequences
from fpserver.similarity.engines.engine import MIXED, Engine, Entry
from fpserver.similarity.engines.opening import open_engine
from fpserver.similarity.scales import Scales, unpack
from fpserver.terms import SEGMENTS, Group, Moments, Track, TrackStatus, Vector, Vectors

log = structlog.get_logger()

AT_ONCE = 200  # tracks
FILLING_S = 5.0  # of one look at the changes; then the next, until nothing is left
GRACE_S = 60.0  # until a shared engine that no longer answers is emptied


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """How far an engine has come: which catalogue it copies, by which scales, and the last change that is in it."""

    identity: str
    scales: str  # version
    change: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """What answers: an engine, and the scales its vectors were made with."""

    engine: Engine
    scales: Scales
    version: str  # of the scales, which is also the engine's name
    stack: AsyncExitStack  # closes the engine


class Neighbourhood:
    """The copy of one process; `async with` opens it, and follows the catalogue until the end."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._near: Near | None = None
        self._next: Near | None = None  # is being filled, to take its place
        self._since = 0.0  # when it took its place
        self._has_looked = False  # whether anything is described
        self._turn = asyncio.Lock()
        self._follower = Follower("following", self._look)

    async def __aenter__(self) -> Self:
        """Begin to follow."""
        await self._follower.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Follow no more, and close the engines."""
        await self._follower.__aexit__()
        for near in (self._next, self._near):
            if near is not None:
                await near.stack.aclose()

    @property
    def near(self) -> Near:
        """What answers now.

        Raises:
            NotDescribed: no track is described yet.
            Overloaded: the first engine is still being filled.
        """
        if self._near is None and (self._next is not None or not self._has_looked):
            raise Overloaded(
                "who is near whom is being made ready from what is stored; try again in a moment"
            )
        if self._near is None:
            raise NotDescribed("no track is described yet: workers do it when they have nothing to index")
        return self._near

    async def catch_up(self) -> None:
        """Bring the copy up to date with the catalogue, or a good part of the way.

        Raises:
            StoreUnavailable: repeat it later.
        """
        async with self._turn:
            version = await self.services.descriptions.scales_version()
            self._has_looked = True
            if self._near is not None:
                await self._fill_in_turn(self._near)
            if version is None or (self._near is not None and self._near.version == version):
                return
            if self._next is None or self._next.version != version:
                await self._begin_next(version)
            if self._next is not None and await self._fill_in_turn(self._next):
                await self._let_next_answer()

    async def _look(self) -> float:
        if not self._has_looked:
            await asyncio.to_thread(sequences.warm_up)
        await self.catch_up()
        return self.services.config.similarity.follow_s if self._next is None else 0.0

    async def _begin_next(self, version: str) -> None:
        """Open an engine for the scales that were learned last."""
        if self._next is not None:
            await self._next.stack.aclose()
            self._next = None
        packed = await self.services.descriptions.scales()
        if packed is None:
            return
        scales = await asyncio.to_thread(unpack, packed)
        if scales.version == version:  # else they were learned anew just now
            self._next = await self._opened(scales, version)

    async def _opened(self, scales: Scales, version: str) -> Near:
        config, stack = self.services.config, AsyncExitStack()
        opening = open_engine(config.similarity, config.redis, name=version)
        engine = await stack.enter_async_context(opening)
        if engine.shared:
            await self.services.descriptions.name_engine(version)
        return Near(engine=engine, scales=scales, version=version, stack=stack)

    async def _let_next_answer(self) -> None:
        old, self._near, self._next = self._near, self._next, None
        assert self._near is not None
        self._since = time.monotonic()
        log.info("following.engine_is_ready", version=self._near.version)
        await self._measure(self._near)
        if old is not None:
            if not old.engine.shared:  # of a shared one others may still ask
                await old.engine.begin({})
            await old.stack.aclose()

    async def _fill_in_turn(self, near: Near) -> bool:
        """Changes into an engine, for a while, in turns where all processes share it; whether it has nearly all."""
        if not near.engine.shared:
            return await self._fill(near, within_s=FILLING_S)
        async with self.services.descriptions.turn(keys.FILLING, for_s=2 * FILLING_S) as mine:
            if mine:
                await self._forget_engines(near)
                return await self._fill(near, within_s=FILLING_S)
        position = _position(await near.engine.position())
        return position is not None and not await self._lacks_many(position)

    async def _lacks_many(self, position: Position) -> bool:
        return len(await self.services.tracks.changes(after=position.change, limit=AT_ONCE)) == AT_ONCE

    async def _forget_engines(self, near: Near) -> None:
        """Empty shared engines that another took the place of long enough ago for everybody to know."""
        if self._next is not None or time.monotonic() < self._since + GRACE_S:
            return
        config = self.services.config
        for name in set(await self.services.descriptions.engine_names()) - {near.version}:
            async with open_engine(config.similarity, config.redis, name=name) as engine:
                await engine.begin({})
            await self.services.descriptions.forget_engine(name)

    async def _fill(self, near: Near, *, within_s: float) -> bool:
        """What has changed since, into the engine; True when that was all, False when the time was over."""
        give_up = time.monotonic() + within_s
        begun = Position(identity=await self.services.tracks.identity(), scales=near.version, change=0)
        position = _position(await near.engine.position())
        if position is None or replace(position, change=0) != begun:
            await near.engine.begin(near.scales.sizes())
            position = begun
        n_before = position.change
        while changes := await self.services.tracks.changes(after=position.change, limit=AT_ONCE):
            await self._copy(near, [track_id for track_id, _ in changes])
            position = replace(begun, change=changes[-1][1])
            await near.engine.advance(msgspec.json.encode(position).decode())
            if time.monotonic() > give_up:
                return False
        if near is self._near and position.change > n_before:
            await self._measure(near)
        return True

    async def _measure(self, near: Near) -> None:
        stats = await near.engine.stats()
        metrics.SIMILAR_TRACKS.set(stats.n_tracks)
        metrics.SIMILAR_VECTORS.set(sum(stats.n_vectors.values()))

    async def _copy(self, near: Near, track_ids: Sequence[int]) -> None:
        """What these tracks are now, into the engine."""
        descriptions = self.services.descriptions
        tracks = await self.services.tracks.get(track_ids)
        there = [track_id for track_id, track in tracks.items() if is_described(track)]
        vectors = await descriptions.vectors(there, list(Group))
        moments = await descriptions.moments(there) if SEGMENTS in near.scales.sizes() else {}

        def entries() -> list[Entry]:
            made = (_entry(tracks[each], vectors[each], moments.get(each), near.scales) for each in there)
            return [entry for entry in made if entry is not None]

        held = await asyncio.to_thread(entries)
        await near.engine.put(held)
        await near.engine.remove(sorted(set(track_ids) - {entry.track_id for entry in held}))


def is_described(track: Track) -> bool:
    """Whether a track may be a neighbour."""
    return track.status is TrackStatus.INDEXED and bool(track.described)


def _position(text: str | None) -> Position | None:
    try:
        return None if text is None else msgspec.json.decode(text, type=Position)
    except msgspec.DecodeError:
        return None


def _entry(
    track: Track, vectors: Mapping[Group, Vector], moments: Moments | None, scales: Scales
) -> Entry | None:
    """A track as the engine holds it; None when nothing that is stored of it can be compared."""
    try:
        embedded = scales.embed(vectors)
    except InvalidRequest as error:
        log.warning("following.left_out", track_id=track.track_id, reason=error.message)
        return None
    spaces: dict[str, Vectors] = {group.value: vector[None] for group, vector in embedded.items()}
    if embedded and len(embedded) == len(scales.groups):
        spaces[MIXED] = scales.searched(embedded)[None]
    if moments is not None and len(moments):
        spaces[SEGMENTS] = scales.embed_moments(moments.timbre)
    return Entry(
        track_id=track.track_id, metadata=track.metadata, facts=track.facts, key=track.key, vectors=spaces
    )
