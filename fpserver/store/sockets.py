"""Where the embedded server's socket lies, and what can be heard on it.

A socket's path must be short (`MAX_SOCKET_PATH_BYTES`), a data folder's need not be. So the socket lies in
the folder itself when that fits, else in a folder for temporary files, under a name made from the store's
folder; which one it is, is written into the store's folder, since the environment of the next process may
name another.
"""

import asyncio
import hashlib
import os
import tempfile
from contextlib import suppress
from enum import Enum
from pathlib import Path

from fpserver.errors import StoreUnavailable

MAX_SOCKET_PATH_BYTES = 103  # sun_path holds 108 bytes on Linux and 104 on macOS, with a closing zero
SOCKET_NAME = "valkey.sock"
NOTE_NAME = "socket"  # holds the path of a socket that lies elsewhere
ANSWER_S = 1.0


class Answer(Enum):
    """What a server says to PING."""

    NONE = "nothing, or nothing of the kind"
    LOADING = "still reading its files"
    READY = "ready"


def known_socket(folder: Path) -> Path | None:
    """The socket of the store in `folder`; None when that is too long and no other is chosen yet."""
    natural = folder / SOCKET_NAME
    if _fits(natural):
        return natural
    with suppress(FileNotFoundError):
        noted = Path((folder / NOTE_NAME).read_text(encoding="utf-8").strip())
        if noted.parent.name == _short_name(folder):  # else: this is a copy of another folder's files
            return noted
    return None


def choose_socket(folder: Path) -> Path:
    """The socket of the store in `folder`, and a private folder for it; noted if it lies elsewhere.

    Raises:
        StoreUnavailable: no folder for temporary files is short enough and this user's own.
    """
    socket = known_socket(folder)
    if socket is None:
        socket = _short_socket(folder)
        (folder / NOTE_NAME).write_text(f"{socket}\n", encoding="utf-8")
    if socket.parent != folder:
        socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if socket.parent.is_symlink() or socket.parent.stat().st_uid != os.getuid():
            raise StoreUnavailable(
                f"embedded store in {folder}: {socket.parent} belongs to somebody else; "
                "remove it, or set redis.data_dir to a shorter path"
            )
    return socket


async def ask(socket: Path | None) -> Answer:
    """Say PING to a server."""
    if socket is None:
        return Answer.NONE
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(b"PING\r\n")
                said = await reader.readline()
            finally:
                writer.close()
        if said.startswith(b"+PONG"):
            return Answer.READY
        if said.startswith(b"-LOADING"):
            return Answer.LOADING
    return Answer.NONE


async def listens(socket: Path) -> bool:
    """True while somebody accepts connections, however busy he is."""
    try:
        async with asyncio.timeout(ANSWER_S):
            _, writer = await asyncio.open_unix_connection(socket)
        writer.close()
    except TimeoutError:
        return True
    except OSError:
        return False
    return True


def _fits(socket: Path) -> bool:
    return len(os.fsencode(socket)) <= MAX_SOCKET_PATH_BYTES


def _short_name(folder: Path) -> str:
    return "fpserver-" + hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]


def _short_socket(folder: Path) -> Path:
    for base in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):
        socket = Path(base or "/tmp") / _short_name(folder) / "s"
        if os.access(socket.parent.parent, os.W_OK) and _fits(socket):
            return socket
    raise StoreUnavailable(
        f"embedded store in {folder}: its path is too long for a socket ({MAX_SOCKET_PATH_BYTES} bytes), "
        "and no folder for temporary files is short enough; set redis.data_dir to a shorter path"
    )
