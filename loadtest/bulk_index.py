"""Write a whole index at once, past the functions that add track by track: for measuring among very many tracks.

What lies in the store afterwards is what adding the tracks one after the other, in the order of their ids, and sealing
would have left there. Only for an empty store.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from typing import Any, TypeAlias

import numpy as np

from fpserver.config import IndexConfig
from fpserver.index import keys, lists
from fpserver.store.connect import Client
from fpserver.terms import Frames, Hashes, TrackIds

COMMANDS_PER_BATCH = 64  # of a few dozen kB each
Command: TypeAlias = tuple[Any, ...]
Bucket: TypeAlias = tuple[int, bytes, list[int], list[bytes]]  # shard, its name, low bits, lists


@dataclass(frozen=True, slots=True, kw_only=True)
class Postings:
    """Whole posting lists, as columns ordered by hash, then track, then offset."""

    hash: Hashes
    track_id: TrackIds
    offset: Frames


async def load(
    client: Client,
    config: IndexConfig,
    postings: Iterable[Postings],
    *,
    peaks: Iterable[tuple[int, bytes]] = (),
) -> int:
    """Fill an empty store.

    Args:
        client: of the store.
        config: of the index that will be opened on it.
        postings: the index in pieces, no hash in two of them; a piece of ten million postings takes 0.5 GB here.
        peaks: (track_id, peaks as fpserver.index.peaks packs them) of every track.

    Returns:
        How many postings were written.

    Raises:
        ValueError: there is an index in the store.
    """
    counters = [keys.n_postings(shard) for shard in range(config.n_shards)]
    for counter in counters:
        if await client.exists(counter):
            raise ValueError(f"a whole index is only written into an empty store, this one has {counter}")
    n_of_shard = np.zeros(config.n_shards, np.int64)
    written = np.zeros((config.n_shards, 1), np.bool_)  # (shard, track)
    for piece in postings:
        shards = keys.shards_of(piece.hash, n_shards=config.n_shards)
        more = int(piece.track_id.max(initial=0)) + 1 - written.shape[1]
        written = np.pad(written, ((0, 0), (0, max(0, more))))
        written[shards, piece.track_id] = True
        n_of_shard += np.bincount(shards, minlength=config.n_shards)
        await _send(client, _lists(piece, config))
    await _send(client, _peaks(peaks, config))
    for shard, n in enumerate(n_of_shard.tolist()):
        if n:
            await client.set(keys.of_writing(shard)[0], np.packbits(written[shard]).tobytes().rstrip(b"\0"))
            await client.set(counters[shard], n)
    await client.set(keys.SEALED, int(n_of_shard.sum()))
    return int(n_of_shard.sum())


async def _send(client: Client, commands: Iterator[Command]) -> None:
    """All commands in batches, the next being made while the last is on its way."""
    sending: asyncio.Task[Any] | None = None
    while batch := await asyncio.to_thread(lambda: list(islice(commands, COMMANDS_PER_BATCH))):
        if sending is not None:
            await sending
        sending = asyncio.create_task(_send_batch(client, batch))
    if sending is not None:
        await sending


async def _send_batch(client: Client, commands: Sequence[Command]) -> None:
    async with client.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)
        await pipe.execute()


def buckets(
    piece: Postings, *, n_shards: int, packed: Callable[..., list[bytes]] = lists.packed
) -> Iterator[Bucket]:
    """The lists of a piece, bucket by bucket, as `packed` makes them of track_id, offset and sizes."""
    hashes, first = np.unique(piece.hash, return_index=True)
    stored = packed(piece.track_id, piece.offset, np.diff(first, append=len(piece.hash)))
    bucket = hashes >> np.uint32(keys.FIELD_BITS)
    low = (hashes & np.uint32(keys.FIELD_MASK)).tolist()
    begins = np.flatnonzero(np.diff(bucket, prepend=bucket[:1] + np.uint32(1)))
    shards = keys.shards_of(hashes[begins], n_shards=n_shards).tolist()
    names = bucket[begins].astype(">u4").tobytes()
    for b, (begin, end) in enumerate(pairwise([*begins.tolist(), len(hashes)])):
        yield shards[b], names[4 * b : 4 * b + 4], low[begin:end], stored[begin:end]


def heads_and_tails(bucket: Bucket) -> Iterator[Command]:
    """The commands that write a bucket: heads together, tails one by one."""
    shard, name, lows, stored = bucket
    _, heads, tails = (prefix.encode() for prefix in keys.of_reading(shard))
    fields: list[bytes | int] = []
    for low, each in zip(lows, stored, strict=True):
        head, tail = lists.split(each)
        fields += (low, head)
        if tail:
            yield ("SET", tails + name + bytes([low]), tail)
    yield ("HSET", heads + name, *fields)


def _lists(piece: Postings, config: IndexConfig) -> Iterator[Command]:
    return chain.from_iterable(map(heads_and_tails, buckets(piece, n_shards=config.n_shards)))


def _peaks(peaks: Iterable[tuple[int, bytes]], config: IndexConfig) -> Iterator[Command]:
    for track_id, packed in peaks:
        shard = keys.shard_of_track(track_id, n_shards=config.n_shards)
        yield ("SET", keys.peaks(shard, track_id), packed)
