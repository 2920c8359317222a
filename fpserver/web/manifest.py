"""From a path in a manifest to a file below a manifest root, or to a refusal that tells nothing about other files.

A path is resolved, symbolic links and all, before anything else is asked of it.
"""

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from fpserver.errors import AudioEmpty, InvalidRequest, SourceMissing
from fpserver.web.reading import shown
from fpserver.web.uploads import too_large


def file_below(roots: Sequence[str], named: str, *, max_bytes: int) -> tuple[Path, str]:
    """(real path, SHA-256 hex) of a manifest's file; reads the file, so it runs in a thread.

    Args:
        roots: `web.manifest_roots`; a relative path is looked for below each, in order.
        named: the path of a manifest line.
        max_bytes: limit for its size.

    Raises:
        InvalidRequest: it is not below a root, or not a regular file.
        SourceMissing: there is no such file below the roots.
        AudioEmpty, AudioTooLarge: its size breaks a limit.
    """
    below = [Path(root).resolve() for root in roots]
    path = _resolve(below, named)
    try:
        descriptor = os.open(
            path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW
        )  # never wait for a pipe's writer
        try:
            if not _is_below(_opened(descriptor, path), below):  # a folder has become a link meanwhile
                raise _outside(named)
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise InvalidRequest(f"path {shown(named)} is not a regular file")
            if not facts.st_size:
                raise AudioEmpty(f"path {shown(named)} is empty: 0 bytes")
            if facts.st_size > max_bytes:
                raise too_large(f"path {shown(named)}", max_bytes)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return path, hashlib.file_digest(file, "sha256").hexdigest()
        finally:
            os.close(descriptor)  # fdopen leaves it open when it refuses, as it does a folder
    except OSError as error:
        raise SourceMissing(f"path {shown(named)} cannot be read: {error.strerror}") from error


def _resolve(roots: Sequence[Path], named: str) -> Path:
    if "\0" in named:
        raise InvalidRequest("path holds a zero byte")
    allowed: list[Path] = []
    for root in roots:
        try:
            real = (root / named).resolve()
        except (OSError, RuntimeError):  # a loop of links
            continue
        if _is_below(real, roots):
            allowed.append(real)
    if not allowed:
        raise _outside(named)
    return next((path for path in allowed if _is_there(path)), allowed[0])


def _is_below(path: Path, roots: Sequence[Path]) -> bool:
    return any(path.is_relative_to(root) for root in roots)


def _outside(named: str) -> InvalidRequest:
    return InvalidRequest(f"path {shown(named)} is not below a folder of web.manifest_roots")


def _opened(descriptor: int, path: Path) -> Path:
    """Where an open file lies, as the kernel says (Linux); elsewhere `path`."""
    try:
        return Path(f"/proc/self/fd/{descriptor}").readlink()
    except OSError:
        return path


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, a folder that may not be read
        return False
