"""Indexed tracks that are to be described: which is next, and how it ended.

A sorted set per place. Whoever takes a track holds it for `claim_idle_s`, and longer as long as that is renewed; then
somebody else may take it. Describing a track twice does no harm.
"""

from collections.abc import Mapping, Sequence

from redis.asyncio import Redis, RedisCluster

from fpserver.config import TracksConfig
from fpserver.errors import FpserverError
from fpserver.terms import DescriptionStatus, Track
from fpserver.tracks import codec, keys
from fpserver.tracks.calls import call, command

MAX_MESSAGE_CHARS = 1000


class Undescribed:
    """The tracks that wait for a description."""

    def __init__(self, client: Redis | RedisCluster, config: TracksConfig) -> None:
        self._client = client
        self._config = config

    async def want(self, track_id: int, *, now: float) -> bool:
        """Let an indexed track wait for a description. False when it is not indexed."""
        return bool(await call(self._client, "want_description", track_id, repr(now)))

    async def claim(self, place: str, *, now: float) -> Track | None:
        """A track of a place that is to be described; None when there is none now.

        One that was begun `max_attempts` times and never ended is failed on the way.
        """
        lease_s, most = repr(self._config.claim_idle_s), self._config.max_attempts
        reply = await call(self._client, "claim_description", place, repr(now), lease_s, most)
        return None if reply is None else codec.track(int(reply[0]), reply[1])

    async def renew(self, place: str, track_ids: Sequence[int], *, now: float) -> None:
        """Say that one is still at it."""
        until = repr(now + self._config.claim_idle_s)
        await call(self._client, "renew_descriptions", place, until, *track_ids)

    async def mark_described(
        self,
        track_id: int,
        parts: Sequence[str],
        *,
        facts: Mapping[str, float],
        key: str | None,
        now: float,
    ) -> bool:
        """The commit point of a description. False when the track is not indexed any more."""
        packed = codec.pack(codec.description(parts, facts, key))
        return bool(await call(self._client, "mark_described", track_id, repr(now), packed))

    async def mark_undescribable(
        self, track_id: int, status: DescriptionStatus, error: FpserverError
    ) -> bool:
        """End the wait of a track that cannot be described, with the reason. False when it is not indexed any more."""
        message = error.message[:MAX_MESSAGE_CHARS]
        return bool(
            await call(self._client, "mark_undescribable", track_id, status.value, error.code, message)
        )

    async def waiting(self, place: str) -> list[int]:
        """Ids of the tracks of a place that wait, ascending."""
        return sorted(map(int, await command(self._client, "ZRANGE", keys.undescribed(place), 0, -1)))

    async def n_waiting(self, place: str) -> int:
        """How many tracks of a place wait."""
        return int(await command(self._client, "ZCARD", keys.undescribed(place)))
