"""One way to call the functions of functions.lua, and one table from Redis' errors to ours."""

from pathlib import Path
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from fpserver.errors import BatchNotFound, Conflict, FpserverError, StoreUnavailable, TrackNotFound
from fpserver.tracks.keys import ROOT

FUNCTIONS = Path(__file__).with_name("functions.lua").read_text(encoding="utf-8")
NAMED: dict[str, type[FpserverError]] = {
    "TRACKNOTFOUND": TrackNotFound,
    "BATCHNOTFOUND": BatchNotFound,
    "CONFLICT": Conflict,
}


async def call(client: Redis | RedisCluster, function: str, *args: str | bytes | int) -> Any:
    """The reply of a function of functions.lua.

    Raises:
        TrackNotFound, BatchNotFound, Conflict: the function says so.
        StoreUnavailable: Redis does not answer, or cannot do it now.
    """
    words = ["FCALL", f"tracks_{function}", 1, ROOT, *map(_encoded, args)]
    try:
        return await command(client, *words)
    except ResponseError as error:
        if "Function not found" not in str(error):
            raise  # a fault in functions.lua
    await _load(client)  # the store is another than the one that was opened: emptied, or a new master
    return await command(client, *words)


async def command(client: Redis | RedisCluster, *words: str | bytes | int) -> Any:
    """The reply to a command; errors as of `call`, and ResponseError where the command itself is at fault."""
    try:
        return await client.execute_command(*words)
    except ResponseError as error:
        code, _, message = str(error).partition(" ")
        if code in NAMED:
            raise NAMED[code](message) from None
        if type(error) is ResponseError and not code.isupper():  # redis-py leaves out the code ERR
            raise
        raise StoreUnavailable(f"the store refuses: {error}") from error  # OOM, READONLY, MISCONF, NOPERM …
    except (RedisError, RedisClusterException, OSError) as error:  # the second is none of the first
        raise StoreUnavailable(f"the store does not answer: {error}") from error


async def _load(client: Redis | RedisCluster) -> None:
    everywhere = {"target_nodes": RedisCluster.PRIMARIES} if isinstance(client, RedisCluster) else {}
    try:
        await client.execute_command("FUNCTION LOAD", "REPLACE", FUNCTIONS, **everywhere)
    except (RedisError, RedisClusterException, OSError) as error:
        raise StoreUnavailable(f"the store does not take the functions of tracks: {error}") from error


def _encoded(argument: str | bytes | int) -> bytes | int:
    return argument.encode("utf-8", "surrogateescape") if isinstance(argument, str) else argument
