"""The two places a bulk run sends its files to: a running server, or the configured store with workers of our own."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from fpserver.bulk.run import Progress, Recording
from fpserver.ingest import submit
from fpserver.services import Services
from fpserver.terms import PENDING, TrackStatus
from fpserver.tracks.catalogue import TrackFilter
from fpserver.web.client import Client, RemoteError
from fpserver.worker.loop import work

T = TypeVar("T")

PASSING = {"server_unreachable", "store_unavailable", "overloaded"}  # codes of what may be over in a moment
PATIENCE_S = 30.0  # a server that was killed is back within ten seconds
ASK_AGAIN_S = 0.5


class RemoteCatalogue:
    """A running server's."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._batch_id: str | None = None
        self._path_of_title: dict[str | None, Path | None] = {}  # None: several files have this title

    async def known(self, sha256s: Sequence[str]) -> dict[str, int]:
        """Those contents that the catalogue holds, with their tracks."""
        return await _patiently(lambda: self._client.known(sha256s))

    async def send(self, recordings: Sequence[Recording]) -> dict[Path, int]:
        """Upload recordings into the run's batch; after a failure, those that had not arrived."""
        arrived: dict[Path, int] = {}
        tried = False

        async def send() -> None:
            nonlocal tried
            if tried:
                known = await self._client.known([recording.sha256 for recording in recordings])
                arrived.update({each.path: known[each.sha256] for each in recordings if each.sha256 in known})
            tried = True
            await self._send([recording for recording in recordings if recording.path not in arrived])

        await _patiently(send)
        return arrived

    async def _send(self, recordings: Sequence[Recording]) -> None:
        if not recordings:
            return
        files = [(recording.path, recording.path.name, recording.metadata) for recording in recordings]
        for recording in recordings:
            title = recording.metadata.title
            other = self._path_of_title.get(title, recording.path)
            self._path_of_title[title] = recording.path if other == recording.path else None
        answer = await self._client.ingest(files, batch_id=self._batch_id)
        self._batch_id = answer["batch_id"]

    async def progress(self) -> Progress:
        """How far what was sent has come."""
        if self._batch_id is None:
            return Progress()
        batch_id = self._batch_id
        batch = await _patiently(lambda: self._client.batch(batch_id))
        return _progress({TrackStatus(status): n for status, n in batch["counts"].items()}, batch["audio_s"])

    async def failures(self) -> list[tuple[str, str]]:
        """(file, reason) of what has failed."""
        if self._batch_id is None:
            return []
        errors = (await self._client.batch(self._batch_id))["errors"]
        return [(self._shown(error["item"]), error["message"]) for error in errors]

    async def duplicates(self) -> dict[str, int]:
        """File or title of what turned out to be a recording that was there, and the track that holds it."""
        if self._batch_id is None:
            return {}
        found: dict[str, int] = {}
        cursor: str | None = None
        while True:
            page = await self._client.tracks(
                batch_id=self._batch_id, status="duplicate", limit=200, cursor=cursor
            )
            found |= {self._shown(track["title"]): track["duplicate_of"] for track in page["tracks"]}
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def _shown(self, title: str) -> str:
        """The file of a title where it is clear, else the title."""
        return str(self._path_of_title.get(title) or title)


class OwnCatalogue:
    """The configured store's, with a worker in this process."""

    def __init__(self, services: Services, batch_id: str) -> None:
        self._services = services
        self._batch_id = batch_id
        self._sources: dict[int, Path] = {}
        self._same_bytes: dict[str, int] = {}
        self._left_over: set[int] = set()  # tracks an earlier run has queued

    async def known(self, sha256s: Sequence[str]) -> dict[str, int]:
        """Those contents that the catalogue holds, with their tracks."""
        known = await self._services.tracks.known(sha256s)
        self._left_over |= set(known.values())
        return known

    async def send(self, recordings: Sequence[Recording]) -> dict[Path, int]:
        """Queue recordings in the run's batch."""
        files = [(f"file:{found.path}", found.sha256, found.metadata) for found in recordings]
        submitted = await submit(self._services, files, batch_id=self._batch_id)
        for recording, outcome in zip(recordings, submitted, strict=True):
            if outcome.duplicate:
                self._same_bytes[str(recording.path)] = outcome.track_id
            else:
                self._sources[outcome.track_id] = recording.path
        return {}

    async def progress(self) -> Progress:
        """How far what was sent has come, and what earlier runs have left waiting."""
        batch = await self._services.tracks.batch(self._batch_id)
        if self._left_over:
            tracks = await self._services.tracks.get(list(self._left_over))
            self._left_over = {track.track_id for track in tracks.values() if track.status in PENDING}
        return _progress(batch.counts, batch.audio_s, n_left_over=len(self._left_over))

    async def failures(self) -> list[tuple[str, str]]:
        """(file, reason) of what has failed."""
        batch = await self._services.tracks.batch(self._batch_id)
        return [
            (str(self._sources.get(error["track_id"], error["item"])), error["message"])
            for error in batch.errors
        ]

    async def duplicates(self) -> dict[str, int]:
        """File that turned out to be a recording that was there, and the track that holds it."""
        found, after = dict(self._same_bytes), 0
        filters = TrackFilter(batch_id=self._batch_id, status=TrackStatus.DUPLICATE)
        while True:
            tracks, cursor = await self._services.tracks.page(after=after, limit=200, filters=filters)
            for track in tracks:
                if track.duplicate_of is not None:
                    found[track.source.partition(":")[2]] = track.duplicate_of
            if cursor is None:
                return found
            after = cursor


@asynccontextmanager
async def own_catalogue(services: Services) -> AsyncIterator[OwnCatalogue]:
    """The configured store's catalogue, and a worker on it for as long as the context lasts."""
    stop = asyncio.Event()
    batch_id = await services.tracks.create_batch(now=time.time())
    working = asyncio.create_task(work(services, stop=stop))
    try:
        yield OwnCatalogue(services, batch_id)
    finally:
        stop.set()
        await working


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again, for PATIENCE_S, while a server is being started again or has too much to do."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await ask()
        except RemoteError as error:
            if error.code not in PASSING or time.monotonic() > give_up:
                raise
            await asyncio.sleep(ASK_AGAIN_S)


def _progress(counts: Mapping[TrackStatus, int], audio_s: float, *, n_left_over: int = 0) -> Progress:
    return Progress(
        n_pending=n_left_over + sum(counts.get(status, 0) for status in PENDING),
        n_indexed=counts.get(TrackStatus.INDEXED, 0),
        n_duplicates=counts.get(TrackStatus.DUPLICATE, 0),
        n_failed=counts.get(TrackStatus.FAILED, 0),
        n_cancelled=counts.get(TrackStatus.CANCELLED, 0),
        audio_s=audio_s,
    )
