"""What a store holds, so that two can be compared; and a store filled with something of everything."""

import time
from pathlib import Path
from typing import Any

import redis.asyncio

from fpserver.services import Services
from fpserver.store.connect import Client
from fpserver.terms import FeedbackEvent, FeedbackKind
from tests.opened import ended, song_file, submit_files, working

N_SONGS = 3
EXPIRES_AT_MS = round(1000 * time.time()) + 3_600_000


async def fill(services: Services, folder: Path) -> None:
    """Songs, and the others."""
    submitted = await submit_files(
        services, [song_file(folder, seed, duration_s=8.0) for seed in range(N_SONGS)]
    )
    async with working(services):
        await ended(services, [each.track_id for each in submitted])
    await fill_keys(services)


async def fill_keys(services: Services) -> None:
    """Feedback, and keys of every type, some of which expire."""
    await services.feedback.put(
        [
            FeedbackEvent(
                user=f"user-{i} ü", event_id=f"e{i}", track_id=1, kind=FeedbackKind.LIKE, at=float(i)
            )
            for i in range(200)
        ]
    )
    client: Any = services.client
    await client.set("fp:{x}:string", bytes(range(256)), pxat=EXPIRES_AT_MS)
    await client.hset("fp:{x}:hash", mapping={str(i): "v" * 300 for i in range(600)})
    await client.zadd("fp:{x}:zset", {str(i): i / 7 for i in range(300)})
    await client.sadd("fp:{x}:set", *range(700))
    await client.rpush("fp:{x}:list", *range(700))
    await client.xadd("fp:{x}:stream", {"a": "b"})
    await client.xgroup_create("fp:{x}:stream", "workers", id="0")
    await client.xreadgroup("workers", "w1", {"fp:{x}:stream": ">"})
    await client.set("fp:untagged ü", "here, too")


async def contents(client: Client, pattern: str = "fp:*") -> dict[bytes, Any]:
    """Name → moment of its end in ms, and what it holds; of all keys of a pattern."""
    found = {}
    everywhere = {"target_nodes": "primaries"} if isinstance(client, redis.asyncio.RedisCluster) else {}
    async for name in client.scan_iter(match=pattern, count=1000, **everywhere):
        held = await _held(client, name)
        found[name] = (await client.execute_command("PEXPIRETIME", name), held)
    return found


async def _held(client: Any, name: bytes) -> Any:
    kind = (await client.type(name)).decode()
    match kind:
        case "string":
            return await client.get(name)
        case "hash":
            return await client.hgetall(name)
        case "zset":
            return await client.zrange(name, 0, -1, withscores=True)
        case "set":
            return await client.smembers(name)
        case "list":
            return await client.lrange(name, 0, -1)
        case "stream":
            groups = await client.xinfo_groups(name)
            return await client.xrange(name), [(group["name"], group["pending"]) for group in groups]
    raise AssertionError(kind)


def nothing(n: int) -> None:
    """Tell nobody."""
