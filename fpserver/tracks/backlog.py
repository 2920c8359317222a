"""The backlog: which track is next, and who is at it.

A stream with a consumer group per place. A claim that is not renewed for `claim_idle_s` is somebody else's
for the taking. Giving a track to a worker, and its change of status, are one function call, so a worker that
dies between any two steps holds either nothing, or a claim that is taken over.
"""

import math
import time
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis, RedisCluster

from fpserver.config import TracksConfig
from fpserver.terms import Claim
from fpserver.tracks import codec, keys
from fpserver.tracks.calls import call, command

MAX_BLOCK_S = 1.0  # per read; shorter than the client's limit for an answer
CONSUMER_KEPT_S = 3600.0  # a consumer that holds nothing is forgotten after so long


class Backlog:
    """The tracks that are to be done."""

    def __init__(self, client: Redis | RedisCluster, config: TracksConfig) -> None:
        self._client = client
        self._config = config

    async def claim(
        self, place: str, consumer: str, *, block_s: float, now: float | None = None
    ) -> Claim | None:
        """The next track of a place; None when none came within `block_s`."""
        deadline = time.monotonic() + block_s
        while True:
            reply = await call(self._client, "claim", place, consumer, _text(now))
            if isinstance(reply, list):
                return _claim(reply)
            wait_s = min(deadline - time.monotonic(), MAX_BLOCK_S)
            if wait_s <= 0:
                return None
            stream = keys.backlog(place)
            await command(
                self._client, "XREAD", "COUNT", 1, "BLOCK", math.ceil(wait_s * 1000), "STREAMS", stream, reply
            )

    async def take_over(self, place: str, consumer: str, *, now: float) -> Claim | None:
        """A track whose worker has not renewed its claim; None when there is none.

        One whose workers died `max_attempts` times is failed on the way.
        """
        config = self._config
        reply = await call(
            self._client,
            "take_over",
            place,
            consumer,
            _text(now),
            round(config.claim_idle_s * 1000),
            config.max_attempts,
            round(CONSUMER_KEPT_S * 1000),
        )
        return None if reply is None else _claim(reply)

    async def renew(self, place: str, consumer: str, tickets: Sequence[str]) -> set[str]:
        """Say that one is still at it. Returns the tickets that are still one's own."""
        held = await call(self._client, "renew", place, consumer, *tickets) if tickets else []
        return {ticket.decode() for ticket in held}

    async def finish(self, place: str, ticket: str) -> None:
        """Give a ticket back whose track has ended. A track that has not ended keeps its ticket."""
        await call(self._client, "finish", place, ticket)

    async def retry(self, place: str, claim: Claim, *, now: float) -> bool:
        """Put a claimed track back to the end of the backlog. False when it is no longer this claim's."""
        return bool(await call(self._client, "retry", claim.track.track_id, claim.ticket, _text(now)))

    async def depth(self) -> dict[str, int]:
        """Tracks waiting or claimed, by place."""
        return codec.counts(await call(self._client, "depth"))

    async def workers(self) -> dict[str, int]:
        """Workers that were heard of within `claim_idle_s`, by place: others have lost what they held."""
        within_ms = round(self._config.claim_idle_s * 1000)
        return codec.counts(await call(self._client, "workers", within_ms))


def _claim(reply: Sequence[Any]) -> Claim:
    ticket, track_id, flat = reply
    return Claim(ticket=ticket.decode(), track=codec.track(int(track_id), flat))


def _text(now: float | None) -> str:
    return repr(time.time() if now is None else now)
