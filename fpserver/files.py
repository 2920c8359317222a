"""Files on this machine: recordings, found and told apart by their bytes; and what appears when it is whole."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from fpserver.errors import InvalidRequest

AUDIO_SUFFIXES = frozenset(
    {".mp3", ".mp2", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".m4b", ".mp4", ".aac", ".wav", ".wave"}
    | {".aif", ".aiff", ".aifc", ".webm", ".mka", ".wma", ".wv", ".ape"}
    | {".fingerprint"}  # as `fpserver fingerprint` writes them
)


def find_audio(paths: Iterable[Path]) -> Iterator[Path]:
    """Files named, and below folders named those with an audio suffix; in order of name, each once.

    Raises:
        InvalidRequest: a path is neither a file nor a folder.
    """
    seen: set[Path] = set()
    for named in paths:
        path = named.expanduser()
        if path.is_dir():
            found: Iterable[Path] = sorted(
                file for file in path.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file()
            )
        elif path.is_file():
            found = [path]
        else:
            raise InvalidRequest(f"{named} is neither a file nor a folder")
        for file in found:
            whole = file.resolve()
            if whole not in seen:
                seen.add(whole)
                yield whole


def sha256_of(path: Path) -> str:
    """Of a file's bytes, hex.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def appearing(path: Path, *, lasting: bool = False) -> Iterator[BinaryIO]:
    """A file to write that appears under its name when it is whole, and never otherwise.

    With `lasting`, when it is on the disk, too: a power cut does not take it back.

    Raises:
        InvalidRequest: it cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
        if lasting:
            _sync_folder(path.parent)
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
