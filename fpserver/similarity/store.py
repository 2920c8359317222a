"""The store of descriptions: parts of tracks, each fetched alone, and what was learned from all of them.

Whether a track is described is for the catalogue to say; what lies here of a track that is not, is nothing.
"""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from fpserver.similarity import codec, keys
from fpserver.store.nodes import Call, Client, Nodes
from fpserver.store.turns import turn
from fpserver.terms import SEGMENTS, Description, Group, Moments, Vector


class Descriptions:
    """Descriptions in Redis."""

    def __init__(self, client: Client, *, n_shards: int, timeout_s: float) -> None:
        self._nodes = Nodes(client, functions="")
        self._n_shards = n_shards
        self._timeout_s = timeout_s

    async def put(self, track_id: int, description: Description) -> None:
        """Keep the parts of a description, each in the place of what there was of it.

        Raises:
            StoreUnavailable: the shard did not answer; repeat it.
        """
        if parts := codec.pack(description):
            flat = [word for part in parts.items() for word in part]
            await self._demand([self._call(track_id, "HSET", *flat)])

    async def remove(self, track_id: int) -> None:
        """Forget a track's description.

        Raises:
            StoreUnavailable: the shard did not answer; repeat it.
        """
        await self._demand([self._call(track_id, "UNLINK")])

    async def vectors(
        self, track_ids: Sequence[int], groups: Collection[Group]
    ) -> dict[int, dict[Group, Vector]]:
        """The vectors of these groups that there are, by track; one round trip per node.

        Raises:
            StoreUnavailable: a shard did not answer.
        """
        wanted = sorted(groups)
        if not wanted or not track_ids:
            return {track_id: {} for track_id in track_ids}
        replies = await self._demand([self._call(track_id, "HMGET", *wanted) for track_id in track_ids])
        return await asyncio.to_thread(_vectors_of, track_ids, wanted, replies)

    async def moments(self, track_ids: Sequence[int]) -> dict[int, Moments]:
        """The moments of those tracks that have some; one round trip per node.

        Raises:
            StoreUnavailable: a shard did not answer.
        """
        replies = await self._demand([self._call(track_id, "HGET", SEGMENTS) for track_id in track_ids])
        return await asyncio.to_thread(_moments_of, track_ids, replies)

    async def scales_version(self) -> str | None:
        """The version of what was learned last; None: nothing yet.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        version = await self._ask("HGET", keys.SCALES, "version")
        return None if version is None else bytes(version).decode()

    async def scales(self) -> bytes | None:
        """What was learned last, as it was put; None: nothing yet.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        packed: bytes | None = await self._ask("HGET", keys.SCALES, "scales")
        return packed

    async def n_learned(self) -> int:
        """How many tracks there were when scales were learned last; 0: never.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        return int(await self._ask("HGET", keys.SCALES, "n_tracks") or 0)

    async def put_scales(self, packed: bytes, *, version: str, n_tracks: int) -> None:
        """Keep what was learned, in the place of what there was.

        Raises:
            StoreUnavailable: the store did not answer; repeat it.
        """
        await self._ask("HSET", keys.SCALES, "version", version, "n_tracks", n_tracks, "scales", packed)

    async def name_engine(self, name: str) -> None:
        """Note that an engine of this name is, or was, filled on the server that all processes share."""
        await self._ask("SADD", keys.ENGINES, name)

    async def engine_names(self) -> list[str]:
        """Names of such engines."""
        return [name.decode() for name in await self._ask("SMEMBERS", keys.ENGINES)]

    async def forget_engine(self, name: str) -> None:
        """Note that an engine is no more."""
        await self._ask("SREM", keys.ENGINES, name)

    def turn(self, key: str, *, for_s: float) -> AbstractAsyncContextManager[bool]:
        """Whether one is the one who does what `key` stands for, while the context lasts and at most `for_s`.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        return turn(self._nodes, key, for_s=for_s, timeout_s=self._timeout_s)

    def _call(self, track_id: int, command: str, *words: str | bytes) -> Call:
        key = keys.description(track_id, n_shards=self._n_shards)
        return Call(key=keys.shard(track_id, n_shards=self._n_shards), command=(command, key, *words))

    async def _ask(self, command: str, key: str, *words: str | bytes | int) -> Any:
        return (await self._demand([Call(key=key, command=(command, key, *words))]))[0]

    async def _demand(self, calls: Sequence[Call]) -> list[Any]:
        return await self._nodes.demand(calls, timeout_s=self._timeout_s)


def _vectors_of(
    track_ids: Sequence[int], groups: Sequence[Group], replies: Sequence[Sequence[bytes | None]]
) -> dict[int, dict[Group, Vector]]:
    return {
        track_id: {
            group: vector
            for group, packed in zip(groups, reply, strict=True)
            if (vector := codec.unpack_vector(packed)) is not None
        }
        for track_id, reply in zip(track_ids, replies, strict=True)
    }


def _moments_of(track_ids: Sequence[int], replies: Sequence[bytes | None]) -> dict[int, Moments]:
    return {
        track_id: moments
        for track_id, packed in zip(track_ids, replies, strict=True)
        if (moments := codec.unpack_moments(packed)) is not None
    }
