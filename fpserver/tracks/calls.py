"""One way to call the functions of functions.lua, and one table from Redis' errors to ours."""

from pathlib import Path
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

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
    encoded = [_encoded(argument) for argument in args]
    return await command(client, "FCALL", f"tracks_{function}", 1, ROOT, *encoded)


async def command(client: Redis | RedisCluster, *words: str | bytes | int) -> Any:
    """The reply to a command; errors as of `call`."""
    try:
        return await client.execute_command(*words)
    except ResponseError as error:
        code, _, message = str(error).partition(" ")
        if code in NAMED:
            raise NAMED[code](message) from None
        if isinstance(error, (AuthenticationError, AuthorizationError, NoPermissionError)) or code != "ERR":
            raise StoreUnavailable(f"the store refuses: {error}") from error
        raise  # a fault in functions.lua
    except (RedisError, RedisClusterException, OSError) as error:  # the second is none of the first
        raise StoreUnavailable(f"the store does not answer: {error}") from error


def _encoded(argument: str | bytes | int) -> bytes | int:
    return argument.encode("utf-8", "surrogateescape") if isinstance(argument, str) else argument
