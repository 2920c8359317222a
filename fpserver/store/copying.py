"""From one server to a store of any shape: keys as they are, with the moment at which they expire.

Keys go by DUMP and RESTORE, some megabytes at a time, the next being read while the last are written. A key that is
there already is replaced, so a copying that was interrupted can be done again from the beginning.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from fpserver.errors import StoreUnavailable
from fpserver.store.nodes import Call, Nodes

NAMES_PER_SCAN = 1000
BYTES_AT_ONCE = 8 * 2**20
MAX_AT_ONCE = 1000  # keys
MAX_KEY_BYTES = 512 * 2**20  # proto-max-bulk-len; of seven million tracks: what knows them by their content
SECONDS_PER_WRITE = 60.0

Dumped = tuple[bytes, int, bytes]  # name, Unix time of its end in ms or 0, what it holds


async def copy_keys(
    source: Redis, target: Nodes, *, pattern: str, without: bytes, tell: Callable[[int], None]
) -> int:
    """Copy the keys of a pattern but one; returns how many.

    Args:
        source: a server that nobody writes to.
        target: where they go.
        pattern: of their names.
        without: the name of one that stays.
        tell: called with how many were written.

    Raises:
        StoreUnavailable: either does not answer, or the target does not take them.
    """
    n_copied = 0
    writing: asyncio.Task[None] | None = None
    try:
        async for batch in _dumps(source, pattern, without):
            if writing:
                await writing
            writing = asyncio.create_task(_restore(target, batch))
            n_copied += len(batch)
            tell(len(batch))
        if writing:
            await writing
    finally:
        if writing:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
    return n_copied


async def takes_dumps_of(source: Redis, target: Nodes, *, probe: str) -> bool:
    """Whether the target reads what the source writes: each version has a format of its own.

    A key `probe` is made in both for it, and taken away again.
    """
    await source.set(probe, b"")
    dumped = await source.dump(probe) or b""
    await source.delete(probe)
    calls = [
        Call(key=probe, command=("RESTORE", probe, 0, dumped, "REPLACE")),
        Call(key=probe, command=("DEL", probe)),
    ]
    restored, _ = await target.ask(calls, timeout_s=SECONDS_PER_WRITE)
    if isinstance(restored, StoreUnavailable) and "DUMP payload version" not in str(restored):
        raise restored
    return not isinstance(restored, StoreUnavailable)


async def _dumps(source: Redis, pattern: str, without: bytes) -> AsyncIterator[list[Dumped]]:
    """All keys, about BYTES_AT_ONCE at a time."""
    n_next = 100
    names: list[bytes] = []
    async for name in source.scan_iter(match=pattern, count=NAMES_PER_SCAN):
        if name != without:
            names.append(name)
        if len(names) >= n_next:
            batch = await _dump(source, names)
            yield batch
            mean = 1 + sum(len(held) for _, _, held in batch) // max(1, len(batch))
            names, n_next = [], max(1, min(MAX_AT_ONCE, BYTES_AT_ONCE // mean))
    if names:
        yield await _dump(source, names)


async def _dump(source: Redis, names: Sequence[bytes]) -> list[Dumped]:
    pipeline = source.pipeline(transaction=False)
    for name in names:
        pipeline.dump(name)
        pipeline.execute_command("PEXPIRETIME", name)
    try:
        replies = await pipeline.execute()
    except (RedisError, OSError) as error:
        raise StoreUnavailable(f"the server on the backup's file does not answer: {error}") from error
    for name, held in zip(names, replies[::2], strict=True):
        if held is not None and len(held) > MAX_KEY_BYTES:
            raise StoreUnavailable(
                f"{name.decode(errors='backslashreplace')} is {len(held):,} bytes, a server takes {MAX_KEY_BYTES:,} "
                "at once: its RDB can be restored by a server that is started on it only"
            )
    ends = zip(names, replies[::2], replies[1::2], strict=True)
    return [(name, max(0, end), held) for name, held, end in ends if held is not None]


async def _restore(target: Nodes, batch: Sequence[Dumped]) -> None:
    calls = [
        Call(key=name, command=("RESTORE", name, end, held, "REPLACE", *(("ABSTTL",) if end else ())))
        for name, end, held in batch
    ]
    await target.demand(calls, timeout_s=SECONDS_PER_WRITE)
