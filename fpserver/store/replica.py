"""From one master to a copy of all that it holds at one moment: its RDB, by the replication protocol.

SYNC makes a master fork and send what it had at that instant. `begun` says that the fork is there: from then on
nothing that is written reaches the copy. The connection says that it wants the RDB only, and is closed when it has it,
so no replica is left that the master would keep a backlog for.

The payload has one of two forms. A master that writes the RDB to its own disk first (all that SYNC alone asks for)
sends its length before it. One that sends it as it is made, which it does for those that say `capa eof`, begins and
ends it with 40 bytes made up for it. Between SYNC and the payload come empty lines, to say that it lives.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from fpserver.errors import StoreUnavailable
from fpserver.store.nodes import SINGLE_NODE, STORE_ERRORS, Client

MARK_BYTES = 40
PIECE_BYTES = 2**20
SILENCE_S = 60.0  # a master whose child works says an empty line every ten seconds or so
MAGIC = (b"REDIS", b"VALKEY")
HEAD_BYTES = 9  # of an RDB: whose it is, and its format's number


class Master:
    """A master, by two connections: one is asked, the other has the copy coming."""

    def __init__(self, name: str, asked: AbstractConnection, copied: AbstractConnection) -> None:
        self.name = name
        self._asked, self._copied = asked, copied
        self._form = b""  # the line before the payload
        self.db = int(copied.db)

    async def open(self) -> None:
        """Connect twice.

        Raises:
            StoreUnavailable: it does not answer, or does not let this user in.
        """
        try:
            await asyncio.gather(*(each.connect() for each in (self._asked, self._copied)))  # type: ignore[no-untyped-call]
            await self._copied.send_command("REPLCONF", "rdb-only", "1")
            await self._copied.read_response()
        except STORE_ERRORS as error:
            raise self.unavailable(error) from error

    async def close(self) -> None:
        """Hang up."""
        await asyncio.gather(self._asked.disconnect(nowait=True), self._copied.disconnect(nowait=True))

    async def ask(self, *words: str | int) -> Any:
        """The reply to a command.

        Raises:
            StoreUnavailable: it does not answer, or refuses.
        """
        try:
            await self._asked.send_command(*words)
            return await self._asked.read_response()
        except STORE_ERRORS as error:
            raise self.unavailable(error, f" to {words[0]}") from error

    async def info(self) -> dict[str, str]:
        """What INFO says."""
        lines = (await self.ask("INFO", "everything")).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    async def sent_at_once(self) -> None:
        """Have the copy sent as it is made, not by way of the master's disk; only where that begins at once.

        Raises:
            StoreUnavailable: it does not answer.
        """
        try:
            await self._copied.send_command("REPLCONF", "capa", "eof")
            await self._copied.read_response()
        except STORE_ERRORS as error:
            raise self.unavailable(error) from error

    async def begin(self) -> None:
        """Ask for the copy.

        Raises:
            StoreUnavailable: the connection is lost.
        """
        try:
            await self._copied.send_command("SYNC")
        except (RedisError, OSError) as error:
            raise self.unavailable(error) from error

    async def begun(self, *, n_forks: int, poll_s: float) -> None:
        """Wait until the fork is there: the payload begins, or the master has forked once more than `n_forks` times.

        Raises:
            StoreUnavailable: it refuses.
        """
        header = asyncio.ensure_future(self._header())
        try:
            while not header.done():
                if int((await self.info())["total_forks"]) > n_forks:
                    return
                await asyncio.wait([header], timeout=poll_s)
            await header
        finally:
            if not header.done():
                header.cancel()
                await asyncio.gather(header, return_exceptions=True)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The RDB, to its end.

        Raises:
            StoreUnavailable: it breaks off, or nothing comes for SILENCE_S.
        """
        await self._header()
        kind, _, said = self._form.partition(b":")
        payload = self._marked(said) if kind == b"$EOF" else self._counted(int(self._form[1:]))
        is_first = True
        async for piece in payload:
            if is_first and not piece.startswith(MAGIC):
                raise self.unavailable(f"what it sends begins with {piece[:HEAD_BYTES]!r}, and is no RDB")
            is_first = False
            yield piece

    async def _header(self) -> None:
        """Read up to the payload; cancelled and called again, it goes on."""
        while not self._form:
            line = await self._read(self._stream.readline())
            if line.startswith(b"-"):
                raise self.unavailable(line[1:].decode(errors="replace").strip(), " to SYNC")
            self._form = line.strip()

    async def _marked(self, mark: bytes) -> AsyncIterator[bytes]:
        kept = b""
        while not kept.endswith(mark):
            if len(kept) > MARK_BYTES + HEAD_BYTES:
                yield kept[:-MARK_BYTES]
                kept = kept[-MARK_BYTES:]
            kept += await self._read(self._stream.read(PIECE_BYTES))
        yield kept[:-MARK_BYTES]

    async def _counted(self, n_bytes: int) -> AsyncIterator[bytes]:
        while n_bytes:
            piece = await self._read(self._stream.read(min(n_bytes, PIECE_BYTES)))
            n_bytes -= len(piece)
            yield piece

    async def _read(self, reading: Any) -> bytes:
        try:
            async with asyncio.timeout(SILENCE_S):
                said: bytes = await reading
        except TimeoutError:
            raise self.unavailable(f"it has sent nothing for {SILENCE_S:.0f} s") from None
        except OSError as error:
            raise self.unavailable(error) from error
        if not said:
            raise self.unavailable("it broke off the copy")
        return said

    @property
    def _stream(self) -> asyncio.StreamReader:
        """What comes after SYNC is no reply: it is read past redis-py, which has no word for it."""
        stream = self._copied._reader
        if stream is None:
            raise self.unavailable("the connection is lost")
        return stream

    def unavailable(self, reason: Exception | str, to: str = "") -> StoreUnavailable:
        """The error for a reason."""
        if isinstance(reason, ResponseError):
            return StoreUnavailable(f"{self.name} refuses{to}: {reason}")
        if isinstance(reason, Exception):
            return StoreUnavailable(f"{self.name} does not answer{to}: {reason}")
        return StoreUnavailable(f"{self.name}{to}: {reason}")


async def masters_of(client: Client) -> list[Master]:
    """All masters of a store, not yet connected.

    Raises:
        StoreUnavailable: the Cluster does not say which they are.
    """
    if isinstance(client, RedisCluster):
        try:
            await client.nodes_manager.initialize()
        except STORE_ERRORS as error:
            raise StoreUnavailable(f"the Cluster does not say who its masters are: {error}") from error
        nodes = sorted(client.get_primaries(), key=lambda node: node.name)
        return [
            Master(
                f"the node {node.name}",
                node.connection_class(**node.connection_kwargs),
                node.connection_class(**node.connection_kwargs),
            )
            for node in nodes
        ]
    assert isinstance(client, Redis)
    pool = client.connection_pool
    connections = [pool.connection_class(**pool.connection_kwargs) for _ in range(2)]
    return [Master(f"the {SINGLE_NODE}", *connections)]


def seconds_left(deadline: float) -> float:
    """Until a moment of time.monotonic(), at least nothing."""
    return max(0.0, deadline - time.monotonic())
