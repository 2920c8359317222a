"""A real server of one's own on a unix socket: started, adopted, watched and stopped.

The server process itself holds an exclusive lock on `<folder>/lock` for as long as it lives: it inherits the
locked descriptor from the process that starts it. So whoever can take the lock knows that no server lives on
the folder and nobody is starting one, and may start it; whoever cannot, waits for the socket to answer and
adopts what is there. No pid is ever looked up, so none can be stale or belong to somebody else.

    lock           held by the living server
    valkey.sock    where it listens, or `socket`, the path of a shorter one (see sockets.py)
    valkey.conf    written at every start
    valkey.log     what the server says
    appendonlydir  what it knows
"""

import asyncio
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from fpserver.errors import FpserverError, StoreUnavailable
from fpserver.store.binary import find_server
from fpserver.store.sockets import Answer, ask, choose_socket, known_socket, listens

ANSWER_LIMIT_S = 15.0  # for a server to say anything
LOAD_LIMIT_S = 1800.0  # for a server that says it is reading its files: some 100 MB/s
STOP_LIMIT_S = 20.0
POLL_S = 0.02
WATCH_S = 0.2
MAX_LOG_BYTES = 4 * 2**20  # a longer log is put aside at the next start
LAST_LINES = 12
LAUNCHER = Path(__file__).with_name("launch.py")

# Append-only file, written before each answer and synced once a second: kill -9 loses nothing that was
# answered, a power cut a second. Listpack limits: hashes up to these stay in the compact encoding, records
# and buckets alike.
KEEPING = """\
save ""
appendonly yes
appendfsync everysec
aof-use-rdb-preamble yes
aof-load-truncated yes
hash-max-listpack-entries 512
hash-max-listpack-value 8192
"""
CONF = (
    """\
port 0
unixsocket {socket}
unixsocketperm 700
daemonize no
dir {folder}
logfile {log}
"""
    + KEEPING
)

log = structlog.get_logger()


class EmbeddedServer:
    """The server of one folder, as seen by one process."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir.resolve() / "store"
        self.log_path = self.folder / "valkey.log"
        self._process: subprocess.Popen[bytes] | None = None  # the server, when this process has started it

    @property
    def owned(self) -> bool:
        """True when this process has started the server, and so will stop it."""
        return self._process is not None

    @property
    def socket(self) -> Path:
        """Where the server listens; the same for every server that this folder will have."""
        return choose_socket(self.folder)

    async def ensure(self) -> None:
        """Have a server that answers: adopt the one that is there, or start one.

        Raises:
            EmbeddedStoreMissing: there is no server program.
            StoreUnavailable: the folder cannot be used, or the server does not come up; says why.
        """
        lock = self._open_lock()
        try:
            heard = time.monotonic()
            while not _take(lock):
                answer = await ask(known_socket(self.folder))
                if answer is Answer.READY:
                    return
                if answer is Answer.LOADING:
                    heard = time.monotonic()
                if time.monotonic() - heard > ANSWER_LIMIT_S:
                    raise self._unavailable(
                        f"a server holds {self.folder / 'lock'}, but has said nothing for {ANSWER_LIMIT_S:.0f} s"
                    )
                await asyncio.sleep(POLL_S)
            await self._start(lock)
        finally:
            os.close(lock)

    async def watch(self) -> None:
        """Look after the server until cancelled: when it is gone, whoever sees it first starts another."""
        while True:
            await asyncio.sleep(WATCH_S)
            if await listens(self.socket):
                continue
            log.warning("store.server_lost", folder=str(self.folder))
            try:
                await self.ensure()
                log.info("store.server_back", folder=str(self.folder), owned=self.owned)
            except (FpserverError, OSError) as error:
                log.error("store.server_down", folder=str(self.folder), error=str(error))

    async def stop(self) -> None:
        """Stop the server if this process has started it: it writes out what it knows and ends."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        if not await asyncio.to_thread(ended, process):
            log.error("store.server_killed", folder=str(self.folder), waited_s=STOP_LIMIT_S)

    def _open_lock(self) -> int:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailable(
                f"embedded store: the folder {self.folder} cannot be used: {error.strerror}; "
                "set redis.data_dir to a folder that this user may write"
            ) from error

    async def _start(self, lock: int) -> None:
        """Start a server, which keeps `lock`, and wait until it answers."""
        if self._process is not None:  # the one before, which has died
            self._process.wait()
            self._process = None
        server = find_server()
        try:
            conf = self._write_conf()
        except OSError as error:
            raise self._unavailable(f"its settings cannot be written: {error}") from error
        self._process = launch(server, conf, keeps=(lock,))
        try:
            await self._wait_until_ready(self._process)
        except BaseException:
            await self.stop()
            raise
        log.info("store.server_started", folder=str(self.folder), pid=self._process.pid)

    async def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        start = time.monotonic()
        limit_s = ANSWER_LIMIT_S
        socket = self.socket
        while (answer := await ask(socket)) is not Answer.READY:
            if process.poll() is not None:
                raise self._unavailable(f"the server ended with status {process.returncode} while starting")
            if answer is Answer.LOADING:
                limit_s = LOAD_LIMIT_S
            if time.monotonic() - start > limit_s:
                raise self._unavailable(f"the server was not ready within {limit_s:.0f} s")
            await asyncio.sleep(POLL_S)

    def _write_conf(self) -> Path:
        if self.log_path.exists() and self.log_path.stat().st_size > MAX_LOG_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        conf = self.folder / "valkey.conf"
        places = {"socket": self.socket, "folder": self.folder, "log": self.log_path}
        conf.write_bytes(os.fsencode(CONF.format(**{name: quoted(path) for name, path in places.items()})))
        return conf

    def _unavailable(self, reason: str) -> StoreUnavailable:
        """The error for `reason`, with what the server said last."""
        try:
            lines = self.log_path.read_text(errors="replace").splitlines()[-LAST_LINES:]
            said = f"; the last lines of {self.log_path}:\n" + "\n".join(lines)
        except OSError:
            said = "; there is no log"
        return StoreUnavailable(f"embedded store in {self.folder}: {reason}{said}")


@asynccontextmanager
async def embedded_server(data_dir: Path) -> AsyncIterator[EmbeddedServer]:
    """A server on `data_dir`, kept alive while open; stopped at the end if this process has started it.

    Open it on the main thread: the server ends with the thread that started it (see launch.py).

    Raises:
        EmbeddedStoreMissing, StoreUnavailable: as `EmbeddedServer.ensure`.
    """
    server = EmbeddedServer(data_dir)
    await server.ensure()
    watch = asyncio.create_task(server.watch(), name="store.watch")
    try:
        yield server
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await server.stop()


def _take(lock: int) -> bool:
    """Take the folder's lock if nobody holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def launch(server: Path, conf: Path, *, keeps: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """Start a server that ends when this process does; from the main thread (see launch.py).

    Args:
        server: the program.
        conf: its settings.
        keeps: descriptors that it inherits.
    """
    return subprocess.Popen(
        [sys.executable, "-I", "-S", LAUNCHER, str(os.getpid()), server, conf],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=keeps,
        start_new_session=True,  # an interrupt from the terminal is for the parent, who then stops it
    )


def ended(process: subprocess.Popen[bytes]) -> bool:
    """Wait for a server that was told to end, and has to write out what it knows; False if it had to be killed."""
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_LIMIT_S)
        return False
    return True


def quoted(path: Path) -> str:
    """A path as the server's settings file wants it."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
