"""A server of one's own on a file that another has written: started in a folder for temporary files, read, ended."""

import asyncio
import os
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

from redis.asyncio import Redis

from fpserver.errors import StoreUnavailable
from fpserver.store.binary import find_server
from fpserver.store.embedded import LOAD_LIMIT_S, ended, launch, quoted
from fpserver.store.sockets import Answer, ask, choose_socket

Loaded: TypeAlias = Redis  # a client of such a server

POLL_S = 0.02
LAST_LINES = 2

CONF = """\
port 0
unixsocket {socket}
unixsocketperm 700
daemonize no
dir {folder}
dbfilename {name}
logfile {log}
save ""
appendonly no
hash-max-listpack-entries 512
hash-max-listpack-value 8192
"""


class NotLoaded(Exception):
    """The program does not read the file; says what it said."""


def programs() -> Iterator[Path]:
    """Server programs that may read a file, the embedded one first.

    Raises:
        EmbeddedStoreMissing: there is none.
    """
    seen = {find_server()}
    yield from seen
    for name in ("valkey-server", "redis-server"):
        if (found := shutil.which(name)) and Path(found) not in seen:
            seen.add(Path(found))
            yield Path(found)


@asynccontextmanager
async def loaded(rdb: Path, *, program: Path, db: int) -> AsyncIterator[Loaded]:
    """A client of a server that has read `rdb`, which stays as it is.

    Raises:
        NotLoaded: it does not read it: it is of a newer or another program, or damaged.
        StoreUnavailable: it does not come up in time.
    """
    with tempfile.TemporaryDirectory(prefix="fpserver-") as name:
        folder = Path(name)
        (folder / "copy.rdb").symlink_to(rdb.resolve())  # noqa: ASYNC240 – once
        socket, log = choose_socket(folder), folder / "log"
        text = CONF.format(socket=quoted(socket), folder=quoted(folder), name="copy.rdb", log=quoted(log))
        (folder / "conf").write_bytes(os.fsencode(text))
        process = launch(program, folder / "conf")
        try:
            begin = time.monotonic()
            while await ask(socket) is not Answer.READY:
                if process.poll() is not None:
                    raise NotLoaded(_last_words(log) or f"exit status {process.returncode}")
                if time.monotonic() - begin > LOAD_LIMIT_S:
                    raise StoreUnavailable(f"{program} has not read {rdb} within {LOAD_LIMIT_S:.0f} s")
                await asyncio.sleep(POLL_S)
            async with Redis(unix_socket_path=str(socket), db=db, protocol=2, socket_timeout=None) as client:
                yield client
        finally:
            if process.poll() is None:
                process.terminate()
                await asyncio.to_thread(ended, process)
            if socket.parent != folder:
                shutil.rmtree(socket.parent, ignore_errors=True)


async def n_lasting(source: Loaded, *, db: int) -> int:
    """Keys of a database that do not expire."""
    keyspace = (await source.info("keyspace")).get(f"db{db}", {"keys": 0, "expires": 0})
    return int(keyspace["keys"]) - int(keyspace["expires"])


def _last_words(log: Path) -> str:
    """What a server said last, without who and when: "4711:M 28 Nov 2026 13:39:06.645 # Fatal error …"."""
    if not log.exists():
        return ""
    lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
    return " ".join(re.sub(r"^\d+:\w .*? [*#] ", "", line) for line in lines)
