"""From `[redis]` of the settings to an open client, and function libraries to every master.

No wait is endless: a question is answered within `timeout_s` or fails; a lost connection is made again, with
short pauses, for about `timeout_s`, so a server that restarts in that time is not noticed. A command whose
connection was lost is sent again and may then have run twice: the functions of `index` and `tracks` are such
that this does no harm.
"""

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

import redis.asyncio
import redis.asyncio.cluster
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError

from fpserver.config import RedisConfig
from fpserver.errors import ConfigInvalid, StoreUnavailable
from fpserver.store.embedded import EmbeddedServer, embedded_server

Client: TypeAlias = redis.asyncio.Redis | redis.asyncio.RedisCluster

EMBEDDED = "embedded"
SCHEMES = ("redis://", "rediss://", "unix://", "redis+cluster://", "rediss+cluster://")
RESP_VERSION = 2  # pinned: replies of some commands differ between versions
PAUSE_S = 0.1  # between attempts to connect
SHORTEST_TIMEOUT_S = 3.0  # blocking reads wait a second at most: a working server always answers before this
N_CONNECTIONS = 16  # of a process, opened at once; who comes while all are in use waits for one
MAX_CLUSTER_CONNECTIONS = 1024  # the same per node, but who comes while all are in use is refused
N_CLUSTER_SLOTS = 16384


class Cluster(redis.asyncio.RedisCluster):
    """A Cluster client that finds the keys of a function call by itself.

    redis-py asks the server (COMMAND GETKEYS, with all arguments) before every FCALL; it need not for EVAL.
    """

    async def _determine_slot(self, command: str, *args: Any) -> int:
        if command.upper() in ("FCALL", "FCALL_RO"):
            return self.keyslot(args[2]) if int(args[1]) else random.randrange(N_CLUSTER_SLOTS)
        return await super()._determine_slot(command, *args)


@asynccontextmanager
async def open_store(config: RedisConfig) -> AsyncIterator[Client]:
    """An open client that has had an answer; on the embedded server, that server is kept alive while open.

    Raises:
        ConfigInvalid: `url` is nothing that can be opened.
        EmbeddedStoreMissing: there is no server program for this platform.
        StoreUnavailable: the server does not answer.
    """
    if config.url == EMBEDDED:
        async with embedded_server(Path(config.data_dir)) as server:
            client = _client(_socket_url(server), config)
            async with _connected(client, f"embedded store in {server.folder}"):
                yield client
    else:
        client = _client(config.url, config)
        async with _connected(client, f"store at {without_password(config.url)}"):
            yield client


def shared_url(config: RedisConfig) -> str:
    """The URL by which processes that are to use the same store, and never to start it, reach it."""
    return _socket_url(EmbeddedServer(Path(config.data_dir))) if config.url == EMBEDDED else config.url


def _socket_url(server: EmbeddedServer) -> str:
    return f"unix://{quote(str(server.socket))}"


async def load_functions(client: Client, lua_source: str) -> None:
    """Have a function library on every master; loaded only where it is missing or another.

    Raises:
        StoreUnavailable: a master does not answer, or cannot have functions (older than version 7).
    """
    name = _library_name(lua_source)
    everywhere = {"target_nodes": redis.asyncio.RedisCluster.PRIMARIES} if is_cluster(client) else {}
    try:
        listed = await client.execute_command("FUNCTION LIST", "LIBRARYNAME", name, "WITHCODE", **everywhere)
        per_master = listed.values() if isinstance(listed, dict) else [listed]
        if all(lua_source.encode() in _flat(reply) for reply in per_master):
            return
        await client.execute_command("FUNCTION LOAD", "REPLACE", lua_source, **everywhere)
    except (RedisError, RedisClusterException, OSError) as error:
        raise StoreUnavailable(f"cannot load the function library {name}: {error}") from error


def is_cluster(client: Client) -> bool:
    """True for a client of several nodes."""
    return isinstance(client, redis.asyncio.RedisCluster)


def without_password(url: str) -> str:
    """A URL that may be shown: without user and password, however they are written."""
    scheme, colon, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    shown = f"{scheme}{colon}***@{place}" if at and credentials else url
    return re.sub(r"\b(username|password)=[^&]*", r"\1=***", shown)


@asynccontextmanager
async def _connected(client: Client, name: str) -> AsyncIterator[None]:
    try:
        try:
            await client.ping()
            if not is_cluster(client):  # all of them, so that a burst of questions opens none
                await asyncio.gather(*(client.ping() for _ in range(N_CONNECTIONS)))
        except (RedisError, RedisClusterException, OSError) as error:  # the second is none of the first
            raise StoreUnavailable(f"{name} does not answer: {error}") from error
        yield
    finally:
        await client.aclose()


def _client(url: str, config: RedisConfig) -> Client:
    if not url.startswith(SCHEMES):
        raise ConfigInvalid(
            f'redis.url is "{without_password(url)}", must be "{EMBEDDED}" or begin with '
            f"one of {', '.join(SCHEMES)}"
        )
    scheme, _, rest = url.partition("://")
    try:
        if scheme.endswith("+cluster"):
            nodes = f"{scheme.removesuffix('+cluster')}://{rest}"
            return Cluster.from_url(nodes, max_connections=MAX_CLUSTER_CONNECTIONS, **_options(config))
        return redis.asyncio.Redis.from_pool(
            redis.asyncio.BlockingConnectionPool.from_url(
                url, max_connections=N_CONNECTIONS, timeout=config.timeout_s, **_options(config)
            )
        )
    except (ValueError, RedisClusterException) as error:
        shown = without_password(url)
        why = (
            error
            if shown == url
            else "not well-formed; in a password write / as %2F, @ as %40, : as %3A, % as %25"
        )
        raise ConfigInvalid(f'redis.url is "{shown}": {why}') from (error if shown == url else None)


def _options(config: RedisConfig) -> dict[str, Any]:
    timeout_s = max(config.timeout_s, SHORTEST_TIMEOUT_S)
    return {
        "decode_responses": False,
        "protocol": RESP_VERSION,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(
            ConstantBackoff(PAUSE_S),
            retries=round(timeout_s / PAUSE_S),
            supported_errors=(RedisConnectionError,),  # not TimeoutError: one limit is enough
        ),
    }


def _library_name(lua_source: str) -> str:
    found = re.match(r"#!lua name=(\w+)", lua_source)
    if found is None:
        raise ValueError("a function library begins with #!lua name=<name>")
    return found.group(1)


def _flat(reply: Any) -> list[bytes]:
    """All strings of a nested reply."""
    if isinstance(reply, list):
        return [text for item in reply for text in _flat(item)]
    return [reply] if isinstance(reply, bytes) else []
