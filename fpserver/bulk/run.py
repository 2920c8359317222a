"""Many files into a catalogue: hashed, sent unless it holds them already, and watched to their end.

A second run over the same files sends nothing; what an interrupted run has left is ended by the next.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fpserver.audio.tags import read_tags
from fpserver.files import sha256_of
from fpserver.terms import Metadata

CHUNK_FILES = 16
CHUNK_BYTES = 64 * 2**20  # one request of a bulk upload; a larger file goes alone
WATCH_S = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A file to send."""

    path: Path
    sha256: str
    metadata: Metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run's batch has come."""

    n_pending: int = 0
    n_indexed: int = 0
    n_duplicates: int = 0
    n_failed: int = 0
    n_cancelled: int = 0
    audio_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class Report:
    """What a run has done so far, and at its end what became of every file."""

    n_files: int
    progress: Progress = field(default_factory=Progress)
    known: dict[Path, int] = field(
        default_factory=dict
    )  # there before this run, and the track that holds them
    duplicates: dict[str, int] = field(default_factory=dict)  # the same recording as this track
    failures: list[tuple[str, str]] = field(default_factory=list)  # file or title, reason
    n_unreadable: int = 0
    elapsed_s: float = 0.0

    @property
    def n_ended(self) -> int:
        """Files of which it is known what became of them."""
        ended = self.progress
        n_sent = ended.n_indexed + ended.n_duplicates + ended.n_failed + ended.n_cancelled
        return len(self.known) + self.n_unreadable + n_sent


class Catalogue(Protocol):
    """Where a run's files go."""

    async def known(self, sha256s: Sequence[str]) -> dict[str, int]:
        """Those contents that the catalogue holds, with their tracks."""

    async def send(self, recordings: Sequence[Recording]) -> dict[Path, int]:
        """Submit recordings to the run's batch; returns those that turn out to be there, and their tracks."""

    async def progress(self) -> Progress:
        """How far what was sent has come."""

    async def failures(self) -> list[tuple[str, str]]:
        """(file or title, reason) of what has failed."""

    async def duplicates(self) -> dict[str, int]:
        """Title of what turned out to be a recording that was there, and the track that holds it."""


async def ingest(
    catalogue: Catalogue, paths: Sequence[Path], *, watch: Callable[[Report], None] = lambda report: None
) -> Report:
    """Send files, and wait until all have ended; `watch` sees the report several times a second."""
    report, begun = Report(n_files=len(paths)), time.monotonic()
    sending = asyncio.create_task(_send(catalogue, paths, report))
    try:
        while True:
            sent = sending.done()  # before asking: what is asked then covers all of it
            if sent:
                sending.result()
            report.progress = await catalogue.progress()
            report.elapsed_s = time.monotonic() - begun
            watch(report)
            if sent and not report.progress.n_pending:
                break
            await asyncio.sleep(WATCH_S)
    finally:
        sending.cancel()
    report.failures += await catalogue.failures()
    report.duplicates |= await catalogue.duplicates()
    return report


async def _send(catalogue: Catalogue, paths: Sequence[Path], report: Report) -> None:
    """Hash files, leave out what is known, send the rest in chunks."""
    seen: dict[
        str, Path
    ] = {}  # this run's contents: the same file twice is sent twice, and told to be a duplicate
    for chunk in _chunks(paths):
        hashed = await asyncio.gather(*(asyncio.to_thread(_hash, path) for path in chunk))
        shas = [found for found in hashed if not isinstance(found, OSError) and found not in seen]
        known = await catalogue.known(shas) if shas else {}
        recordings = []
        for path, sha256 in zip(chunk, hashed, strict=True):
            if isinstance(sha256, OSError):
                report.failures.append((str(path), f"cannot be read: {sha256.strerror or sha256}"))
                report.n_unreadable += 1
            elif sha256 in known:
                report.known[path] = known[sha256]
            else:
                seen[sha256] = path
                metadata = await asyncio.to_thread(read_tags, path)
                recordings.append(Recording(path=path, sha256=sha256, metadata=metadata))
        if recordings:
            report.known |= await catalogue.send(recordings)


def _hash(path: Path) -> str | OSError:
    try:
        return sha256_of(path)
    except OSError as error:
        return error


def _chunks(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Files in order, at most CHUNK_FILES and (of more than one) CHUNK_BYTES at a time."""
    chunk: list[Path] = []
    n_bytes = 0
    for path in paths:
        size = path.stat().st_size if path.exists() else 0
        if chunk and (len(chunk) == CHUNK_FILES or n_bytes + size > CHUNK_BYTES):
            yield chunk
            chunk, n_bytes = [], 0
        chunk.append(path)
        n_bytes += size
    if chunk:
        yield chunk
