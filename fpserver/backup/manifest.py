"""What a backup holds, in words: `manifest.json`, written when all else is there.

It names every file with its size and digest, so that what is missing or damaged is known before anything is restored.
"""

from pathlib import Path

import msgspec

from fpserver.backup.counting import Counts
from fpserver.errors import InvalidRequest
from fpserver.files import appearing, sha256_of

NAME = "manifest.json"
FORMAT = 1  # of the folder; a change that old backups do not survive gets the next number


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One master's copy."""

    name: str
    node: str
    server: str
    slots: str  # "0-5460"; empty where there was no Cluster
    db: int
    n_lasting: int  # keys of that database that do not expire
    n_bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A whole backup."""

    format: int
    id: str  # random: tells it from any other
    fpserver: str  # version that made it
    at: str  # the moment it is of
    stamp: dict[str, str]  # the index's
    counts: Counts
    files: list[File]

    @property
    def n_bytes(self) -> int:
        """Of all files."""
        return sum(file.n_bytes for file in self.files)


def write(folder: Path, manifest: Manifest) -> None:
    """The folder is a backup from now on.

    Raises:
        InvalidRequest: it cannot be written.
    """
    with appearing(folder / NAME, lasting=True) as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")


def read(folder: Path) -> Manifest:
    """The manifest of a folder, whose files are not looked at.

    Raises:
        InvalidRequest: the folder holds no whole backup, or one of another format.
    """
    path = folder / NAME
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InvalidRequest(
            f"{folder} holds no whole backup: {NAME} cannot be read: {error.strerror}; it is written last"
        ) from error
    try:
        format_ = msgspec.json.decode(text, type=dict[str, object]).get("format")
        if format_ != FORMAT:
            raise InvalidRequest(f"{path} is of format {format_}, this version of fpserver reads {FORMAT}")
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"{path} is damaged: {error}") from error
    for file in manifest.files:
        if Path(file.name).name != file.name:
            raise InvalidRequest(f"{path} is damaged: it names the file {file.name!r}, which lies elsewhere")
    return manifest


def check(folder: Path, manifest: Manifest) -> None:
    """Compare the files with what the manifest says of them.

    Raises:
        InvalidRequest: one is missing, or holds something else.
    """
    for file in manifest.files:
        path = folder / file.name
        try:
            n_bytes, sha256 = path.stat().st_size, sha256_of(path)
        except OSError as error:
            raise InvalidRequest(
                f"{path} cannot be read: {error.strerror}; the backup is not whole"
            ) from error
        if n_bytes != file.n_bytes:
            raise InvalidRequest(f"{path} has {n_bytes} bytes, should have {file.n_bytes}: it is damaged")
        if sha256 != file.sha256:
            raise InvalidRequest(f"{path} has the SHA-256 {sha256}, should have {file.sha256}: it is damaged")
