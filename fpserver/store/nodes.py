"""Calls to shards become one round trip per node of the store, all nodes in parallel.

Always true: every call gets a reply in its place, and what a node refuses or leaves unanswered is a
`StoreUnavailable` in the place of the reply, never another exception.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, PipelineCommand, RedisCluster
from redis.exceptions import (
    ClusterDownError,
    MovedError,
    RedisClusterException,
    RedisError,
    ResponseError,
    SlotNotCoveredError,
)
from redis.exceptions import ConnectionError as NoConnection

from fpserver.errors import StoreUnavailable

Client: TypeAlias = Redis | RedisCluster
Observer: TypeAlias = Callable[[str, float, bool], None]  # node, seconds, all calls answered
Reply: TypeAlias = Any  # bytes, int, list or None: what the command answers

STORE_ERRORS = (RedisError, RedisClusterException, OSError, TimeoutError)
CHANGED = (NoConnection, MovedError, ClusterDownError, SlotNotCoveredError)  # another node may hold it now
AGAIN_AFTER_S = (
    0.0,
    0.05,
    0.2,
)  # nodes tell each other of a slot that has moved within some ten milliseconds
NAMES_PER_CALL = 1000
SINGLE_NODE = "store"  # name of the node that is no Cluster's


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A command for the node that holds `key`."""

    key: str | bytes
    command: tuple[str | int | bytes, ...]

    @staticmethod
    def function(name: str, keys: Sequence[str], *args: int | bytes) -> "Call":
        """Call of a server-side function; all keys of one shard."""
        return Call(key=keys[0], command=("FCALL", name, len(keys), *keys, *args))


class Nodes:
    """The masters of the store, and the function library that they must have."""

    def __init__(self, client: Client, *, functions: str, observe: Observer | None = None) -> None:
        self._client = client
        self._functions = functions
        self._observe = observe or (lambda node, seconds, ok: None)

    async def ask(self, calls: Sequence[Call], *, timeout_s: float) -> list[Reply | StoreUnavailable]:
        """Replies in the order of the calls.

        What failed because the function library is missing or the Cluster has changed is put right and asked once
        more; where a slot has moved, some times more: a node that has not heard of it yet may be the one that says
        who holds it. So calls must be such that repeating them does no harm.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        replies = await self._ask(calls, deadline)
        again = [i for i, reply in enumerate(replies) if isinstance(reply, CHANGED) or _lacks_function(reply)]
        for pause_s in AGAIN_AFTER_S:
            if not again:
                break
            await asyncio.sleep(pause_s)
            if not await self._put_right([replies[i] for i in again], deadline):
                break
            for i, reply in zip(again, await self._ask([calls[i] for i in again], deadline), strict=True):
                replies[i] = reply
            again = [i for i in again if isinstance(replies[i], MovedError)]
        return [
            StoreUnavailable(f"the store did not answer for {_shown(call.key)}: {_said(reply)}")
            if isinstance(reply, Exception)
            else reply
            for call, reply in zip(calls, replies, strict=True)
        ]

    async def demand(self, calls: Sequence[Call], *, timeout_s: float) -> list[Reply]:
        """Replies in the order of the calls.

        Raises:
            StoreUnavailable: the first call that was not answered.
        """
        replies = await self.ask(calls, timeout_s=timeout_s)
        for reply in replies:
            if isinstance(reply, StoreUnavailable):
                raise reply
        return replies

    async def scan(self, pattern: str, *, timeout_s: float) -> AsyncIterator[list[bytes]]:
        """Names of keys, some at a time, from all masters; those that are there all along at least once.

        Raises:
            StoreUnavailable: a node does not answer within `timeout_s`.
        """
        everywhere = {} if isinstance(self._client, Redis) else {"target_nodes": RedisCluster.PRIMARIES}
        names = self._client.scan_iter(match=pattern, count=NAMES_PER_CALL, **everywhere)
        try:
            while True:
                async with asyncio.timeout(timeout_s):
                    batch = await _next(names, NAMES_PER_CALL)
                if not batch:
                    return
                yield batch
        except STORE_ERRORS as error:
            raise StoreUnavailable(f"the store did not say what keys it has: {_said(error)}") from error

    async def memory_bytes(self, *, timeout_s: float) -> tuple[int, int]:
        """(used, limit) of all masters together; a limit of 0: none is set.

        Raises:
            StoreUnavailable: one of them does not answer.
        """
        try:
            async with asyncio.timeout(timeout_s):
                if isinstance(self._client, Redis):
                    infos = [await self._client.info("memory")]
                else:
                    await self._client.initialize()
                    nodes = self._client.get_primaries()
                    ask = self._client.execute_command
                    infos = [await ask("INFO", "memory", target_nodes=node) for node in nodes]
                limits = [int(info["maxmemory"]) for info in infos]
                return sum(int(info["used_memory"]) for info in infos), sum(limits) if all(limits) else 0
        except STORE_ERRORS as error:
            raise StoreUnavailable(f"the store did not say what memory it uses: {_said(error)}") from error

    async def _ask(self, calls: Sequence[Call], deadline: float) -> list[Reply | Exception]:
        no_node = SlotNotCoveredError("no node of the Cluster holds its slot")
        replies: list[Reply | Exception] = [no_node] * len(calls)

        async def ask_node(node: ClusterNode | None, indices: list[int]) -> None:
            answers = await self._ask_node(node, [calls[i] for i in indices], deadline)
            for i, answer in zip(indices, answers, strict=True):
                replies[i] = answer

        try:
            async with asyncio.timeout_at(deadline):
                by_node = await self._by_node(calls)
        except STORE_ERRORS as error:
            return [error] * len(calls)
        await asyncio.gather(*(ask_node(node, indices) for node, indices in by_node))
        return replies

    async def _ask_node(
        self, node: ClusterNode | None, calls: Sequence[Call], deadline: float
    ) -> list[Reply | Exception]:
        start = time.perf_counter()
        try:
            async with asyncio.timeout_at(deadline):
                replies = await (self._pipeline(calls) if node is None else _pipeline_of_node(node, calls))
        except STORE_ERRORS as error:
            replies = [error] * len(calls)
        ok = not any(isinstance(reply, Exception) for reply in replies)
        self._observe(node.name if node else SINGLE_NODE, time.perf_counter() - start, ok)
        return replies

    async def _pipeline(self, calls: Sequence[Call]) -> list[Reply | Exception]:
        pipeline = self._client.pipeline(transaction=False)
        for call in calls:
            pipeline.execute_command(*call.command)
        replies: list[Reply | Exception] = await pipeline.execute(raise_on_error=False)
        return replies

    async def _by_node(self, calls: Sequence[Call]) -> list[tuple[ClusterNode | None, list[int]]]:
        """Indices of the calls that each node is to answer; without those whose slot no node holds."""
        if isinstance(self._client, Redis):
            return [(None, list(range(len(calls))))]
        await self._client.initialize()
        groups: dict[str, tuple[ClusterNode | None, list[int]]] = {}
        for i, call in enumerate(calls):
            with suppress(SlotNotCoveredError):
                node = self._client.get_node_from_key(call.key)  # type: ignore[arg-type] # bytes do as well
                if node:
                    groups.setdefault(node.name, (node, []))[1].append(i)
        return list(groups.values())

    async def _put_right(self, failures: Sequence[Reply | Exception], deadline: float) -> bool:
        """Load the function library where it is missing, and ask anew which node holds what. True when done."""
        try:
            async with asyncio.timeout_at(deadline):
                if isinstance(self._client, RedisCluster):
                    await (
                        self._client.nodes_manager.initialize()
                    )  # keeps the connections of nodes known already
                if any(map(_lacks_function, failures)):
                    await self._load_functions()
        except STORE_ERRORS:
            return False  # what failed says why
        return True

    async def _load_functions(self) -> None:
        command = ("FUNCTION LOAD", "REPLACE", self._functions)
        if isinstance(self._client, Redis):
            await self._client.execute_command(*command)  # type: ignore[no-untyped-call]
        else:
            everywhere = {"target_nodes": RedisCluster.PRIMARIES}
            await self._client.execute_command(*command, **everywhere)


async def _pipeline_of_node(node: ClusterNode, calls: Sequence[Call]) -> list[Reply | Exception]:
    """A pipeline to one node of a Cluster, the errors of single calls being their replies.

    Not redis-py's pipeline of a Cluster: when one node is gone, that closes the connections to all others too. It also
    follows ASK to the node that a slot is moving to, where a function would take keys not yet moved for empty.
    """
    commands = [PipelineCommand(i, *call.command) for i, call in enumerate(calls)]
    await node.execute_pipeline(commands)
    return [command.result for command in commands]


async def _next(names: AsyncIterator[bytes], most: int) -> list[bytes]:
    batch: list[bytes] = []
    async for name in names:
        batch.append(name)
        if len(batch) == most:
            break
    return batch


def _lacks_function(reply: Reply | Exception) -> bool:
    return isinstance(reply, ResponseError) and "function not found" in str(reply).lower()


def _said(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"


def _shown(key: str | bytes) -> str:
    return key if isinstance(key, str) else key.decode(errors="backslashreplace")
