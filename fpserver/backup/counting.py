"""How much a store holds: what a backup is compared by. Plain reading, which a store that takes no writes answers."""

import json
from collections.abc import Mapping

import msgspec

from fpserver.index import keys as index_keys
from fpserver.recommend import keys as recommend_keys
from fpserver.store.nodes import Call, Nodes
from fpserver.terms import TrackStatus
from fpserver.tracks import keys as tracks_keys


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Of a whole store."""

    tracks: dict[str, int]  # by status, those there are
    n_postings: int
    n_users: int  # of whom there is feedback
    n_feedback: int  # events ever put and erased


async def read_stamp(nodes: Nodes, *, timeout_s: float) -> dict[str, str] | None:
    """What the index was made with, or what a restore has put in its place; None where there is none.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    (stored,) = await nodes.demand([_get("GET", index_keys.STAMP)], timeout_s=timeout_s)
    return None if stored is None else dict(json.loads(stored))


async def count(nodes: Nodes, stamp: Mapping[str, str], *, timeout_s: float) -> Counts:
    """Of a store of this stamp.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    statuses, shards = list(TrackStatus), range(int(stamp["index.n_shards"]))
    calls = [_get("ZCARD", tracks_keys.status(status)) for status in statuses]
    calls += [_get("GET", index_keys.n_postings(shard)) for shard in shards]
    calls += [_get("ZCARD", recommend_keys.users(shard)) for shard in shards]
    calls += [_get("GET", recommend_keys.n_changes(shard)) for shard in shards]
    found = [int(reply or 0) for reply in await nodes.demand(calls, timeout_s=timeout_s)]
    tracks, rest = found[: len(statuses)], found[len(statuses) :]
    n = len(shards)
    return Counts(
        tracks={
            status.value: n_tracks for status, n_tracks in zip(statuses, tracks, strict=True) if n_tracks
        },
        n_postings=sum(rest[:n]),
        n_users=sum(rest[n : 2 * n]),
        n_feedback=sum(rest[2 * n :]),
    )


def _get(command: str, key: str) -> Call:
    return Call(key=key, command=(command, key))
