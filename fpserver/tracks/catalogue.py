"""The catalogue: which tracks there are, what people call them, and how far each has come.

Every question is one round trip, and every change is one function call (functions.lua): it happens as a
whole or not at all, and happens once even when a lost connection makes the client send it again.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from redis.asyncio import Redis, RedisCluster

from fpserver.config import TracksConfig
from fpserver.errors import FpserverError, InvalidRequest
from fpserver.terms import (
    METADATA_FIELDS,
    Batch,
    DescriptionStatus,
    Submission,
    Submitted,
    Track,
    TrackStatus,
)
from fpserver.tracks import codec, keys
from fpserver.tracks.calls import FUNCTIONS, call, command

__all__ = ["FUNCTIONS", "Edited", "TrackFilter", "Tracks"]

FEW = 20  # records: read in a millisecond
MAX_SUBMISSIONS = 100  # per function call: a few milliseconds of the server's time
MAX_KNOWN = 1000
MAX_MISSING = 2000  # ids per function call: some milliseconds of the server's time
MAX_TRACK_ID = 2**32 - 1
MAX_EDITS = 100  # per function call
MAX_NAMED = 1000  # tracks per function call
MAX_EXAMINED = 1000  # tracks per function call of a page
MAX_PAGE_CALLS = 20  # per page
MAX_CANCELLED = 200  # tracks per function call of a batch's cancel
MAX_MESSAGE_CHARS = 1000  # of an error; a record stays in the compact encoding


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackFilter:
    """Which tracks a page holds: those that agree with everything that is not None. Letter case never counts."""

    q: str | None = None  # part of the title, artist, album, external_id or isrc
    status: TrackStatus | None = None
    artist: str | None = None
    genre: str | None = None
    tag: str | None = None  # one of its tags
    batch_id: str | None = None
    external_id: str | None = None
    isrc: str | None = None
    ranges: Mapping[str, tuple[float | None, float | None]] = field(
        default_factory=dict
    )  # fact → least, most

    def packed(self) -> bytes:
        """As the function `page` reads it; `equal` maps the place of a piece in `search` to what it must be."""
        equal = {
            place: codec.piece(wanted)
            for place, name in enumerate(METADATA_FIELDS, start=1)
            if (wanted := getattr(self, name, None)) is not None
        }
        rest = {
            "q": codec.piece(self.q) if self.q else None,
            "tag": None if self.tag is None else _sought(self.tag),
            "status": self.status.value if self.status else None,
            "batch_id": self.batch_id,
        }
        ranges = {
            name: [False if bound is None else bound for bound in range_]
            for name, range_ in self.ranges.items()
        }
        given = {name: value for name, value in rest.items() if value is not None}
        return codec.pack({"equal": equal, "ranges": ranges, **given})


class Edited(StrEnum):
    """What became of an edit."""

    NONE = "none"  # there is no such track
    SAME = "same"  # it was so before
    CHANGED = "changed"


def _changed(changes: Mapping[str, str | None]) -> dict[str, Any]:
    """Changes of metadata as functions read them.

    Raises:
        InvalidRequest: a field is not one of METADATA_FIELDS.
    """
    for name in changes:
        if name not in METADATA_FIELDS:
            raise InvalidRequest(f"field {name} of a track: must be one of {', '.join(METADATA_FIELDS)}")
    return {
        "set": {name: value for name, value in changes.items() if value},
        "drop": [name for name, value in changes.items() if not value],
        "pieces": {METADATA_FIELDS.index(n) + 1: codec.piece_of(n, value) for n, value in changes.items()},
    }


def _numbered(flat: Sequence[bytes]) -> list[tuple[int, int]]:
    return [(int(track_id), int(number)) for track_id, number in zip(flat[::2], flat[1::2], strict=True)]


def _sought(tag: str) -> str:
    """A tag as it stands in the piece of `search` that holds them; what cannot be one stands in none."""
    alone = codec.piece(tag).strip()
    return f",{alone}," if alone and "," not in alone else codec.SEPARATOR


class Tracks:
    """The catalogue in Redis."""

    def __init__(self, client: Redis | RedisCluster, config: TracksConfig) -> None:
        self._client = client
        self._config = config

    async def submit(
        self, submissions: Sequence[Submission], *, now: float, batch_id: str | None = None
    ) -> list[Submitted]:
        """Register recordings as queued tracks and put them into the backlog of their places, in order.

        Bytes that a living track has already are its duplicate, and nothing is queued; bytes of a track that
        has failed or was cancelled queue that track again, from the new source.

        Raises:
            BatchNotFound, Conflict: there is no such batch, or it is cancelled.
        """
        submitted = []
        for first in range(0, len(submissions), MAX_SUBMISSIONS):
            records = [
                codec.record(submission) for submission in submissions[first : first + MAX_SUBMISSIONS]
            ]
            nonce = secrets.token_hex(8)
            rows = await call(self._client, "submit", repr(now), batch_id or "", nonce, codec.pack(records))
            submitted += [
                Submitted(track_id=int(row[0]), status=TrackStatus(row[1].decode()), duplicate=bool(row[2]))
                for row in rows
            ]
        return submitted

    async def known(self, sha256s: Sequence[str]) -> dict[str, int]:
        """Living tracks by the SHA-256 of their file's bytes; a duplicate is known as the track it repeats."""
        known = {}
        for first in range(0, len(sha256s), MAX_KNOWN):
            chunk = sha256s[first : first + MAX_KNOWN]
            track_ids = await call(self._client, "known", *chunk)
            known.update(
                {sha256: int(found) for sha256, found in zip(chunk, track_ids, strict=True) if found}
            )
        return known

    async def get(self, track_ids: Sequence[int]) -> dict[int, Track]:
        """The tracks that there are, by id; one round trip."""
        if not track_ids:
            return {}
        rows = await call(self._client, "read", *map(int, track_ids))
        found = codec.tracks(rows) if len(rows) <= FEW else await asyncio.to_thread(codec.tracks, rows)
        return {track.track_id: track for track in found}

    async def missing(self, track_ids: Collection[int]) -> set[int]:
        """Those that are no tracks, or are being deleted; one round trip per MAX_MISSING different ids."""
        possible = {track_id for track_id in track_ids if 0 < track_id <= MAX_TRACK_ID}
        absent = set(track_ids) - possible
        packed = np.array(sorted(possible), "<u4")
        for first in range(0, len(packed), MAX_MISSING):
            absent.update(await call(self._client, "missing", packed[first : first + MAX_MISSING].tobytes()))
        return absent

    async def page(
        self, *, after: int = 0, limit: int = 50, filters: TrackFilter
    ) -> tuple[list[Track], int | None]:
        """At most `limit` tracks with ids above `after`, ascending, and the `after` of the next page.

        A page examines at most MAX_EXAMINED · MAX_PAGE_CALLS tracks: it may be short, or empty, and still
        lead on.
        """
        found: list[Track] = []
        packed = filters.packed()
        for _ in range(MAX_PAGE_CALLS):
            rows, after, more = await call(
                self._client, "page", after, limit - len(found), MAX_EXAMINED, packed
            )
            found += codec.tracks(rows)
            if not more:
                return found, None
            if len(found) >= limit:
                break
        return found, after

    async def edit(self, track_id: int, changes: Mapping[str, str | None], *, now: float) -> Track:
        """Change metadata; None removes a field.

        Raises:
            TrackNotFound: no track has this id.
            InvalidRequest: a field is not one of METADATA_FIELDS.
        """
        packed = codec.pack(_changed(changes))
        return codec.track(*await call(self._client, "edit", track_id, repr(now), packed))

    async def edit_all(
        self, edits: Sequence[tuple[int, Mapping[str, str | None]]], *, now: float
    ) -> list[Edited]:
        """Change metadata of tracks, in order, as `edit` does; what became of each. What was so already stays.

        Raises:
            InvalidRequest: a field is not one of METADATA_FIELDS.
        """
        packed = [{"id": track_id, **_changed(changes)} for track_id, changes in edits]
        outcomes: list[Edited] = []
        for first in range(0, len(packed), MAX_EDITS):
            some = codec.pack(packed[first : first + MAX_EDITS])
            outcomes += [
                Edited(outcome.decode()) for outcome in await call(self._client, "edit_all", repr(now), some)
            ]
        return outcomes

    async def external_ids(self) -> AsyncIterator[tuple[int, str]]:
        """(track, its external id) of all tracks that have one, ascending by track; one round trip for many."""
        after, more = 0, True
        while more:
            flat, after, more = await call(self._client, "external_ids", after, MAX_NAMED)
            for track_id, external_id in zip(flat[::2], flat[1::2], strict=True):
                yield int(track_id), external_id.decode("utf-8", "surrogateescape")

    async def claim_audio(self, track_id: int, audio_sha256: str) -> int:
        """The track that holds this audio: this one from now on, or an earlier one that lives.

        Raises:
            TrackNotFound: no track has this id.
        """
        return int(await call(self._client, "claim_audio", track_id, audio_sha256))

    async def mark_indexed(
        self,
        track_id: int,
        *,
        n_landmarks: int,
        duration_s: float,
        now: float,
        description: DescriptionStatus | None = None,
    ) -> bool:
        """The commit point: from here on the track is an answer; and waits to be described, or cannot be.

        False when the track is meanwhile cancelled, deleted or otherwise ended: then what was written of it
        must be removed.
        """
        fields = {"n_landmarks": str(n_landmarks), "duration_s": repr(float(duration_s))}
        if description:
            fields["description"] = description.value
        return await self._mark(track_id, TrackStatus.INDEXED, fields, now)

    async def mark_failed(self, track_id: int, error: FpserverError, *, now: float) -> bool:
        """End a track with a reason. False when it has ended otherwise."""
        fields = {"error_code": error.code, "error_message": error.message[:MAX_MESSAGE_CHARS]}
        return await self._mark(track_id, TrackStatus.FAILED, fields, now)

    async def mark_duplicate(self, track_id: int, of: int, *, now: float) -> bool:
        """End a track as the same recording as another. False when it has ended otherwise."""
        return await self._mark(track_id, TrackStatus.DUPLICATE, {"duplicate_of": str(of)}, now)

    async def mark_deleting(self, track_id: int, *, now: float) -> Track:
        """Begin a delete: from here on the track is no answer. Can be said again.

        Raises:
            TrackNotFound: no track has this id.
        """
        return codec.track(*await call(self._client, "delete", track_id, repr(now)))

    async def forget(self, track_id: int) -> None:
        """The last step of a delete: the record is gone. Nothing happens to a track that is not being deleted."""
        await call(self._client, "forget", track_id)

    async def deleting(self) -> list[int]:
        """Tracks whose delete was begun and has not ended."""
        key = keys.status(TrackStatus.DELETING.value)
        return [int(track_id) for track_id in await command(self._client, "ZRANGE", key, 0, -1)]

    async def counts(self) -> dict[TrackStatus, int]:
        """How many tracks there are in each status, zeros included."""
        counts = codec.counts(await call(self._client, "counts"))
        return {TrackStatus(name): n_tracks for name, n_tracks in counts.items()}

    async def identity(self) -> str:
        """A text that tells this catalogue from any other, also from one that takes its place in the store."""
        known = await command(self._client, "GET", keys.IDENTITY)
        if known is None:
            await command(self._client, "SET", keys.IDENTITY, secrets.token_hex(8), "NX")
            known = await command(self._client, "GET", keys.IDENTITY)
        return bytes(known).decode()

    async def n_changed(self) -> int:
        """How many tracks are or were described."""
        return int(await command(self._client, "ZCARD", keys.CHANGES))

    async def changes(self, *, after: int, limit: int) -> list[tuple[int, int]]:
        """Tracks that were described, edited or removed since: (id, number of its last change), ascending by number."""
        return _numbered(await call(self._client, "changes", "changes", after, limit))

    async def all_changes(self, *, after: int, limit: int) -> list[tuple[int, int]]:
        """The same of tracks that were indexed, described, edited or removed since, described or not."""
        return _numbered(await call(self._client, "changes", "all_changes", after, limit))

    async def tell_of_all(self) -> int:
        """Let `all_changes` tell of indexed tracks that it lacks, since an earlier version indexed them; how many."""
        n_told, after, more = 0, 0, True
        while more:
            n, after, more = await call(self._client, "tell_of_all", after, MAX_EXAMINED)
            n_told += int(n)
        return n_told

    async def create_batch(self, *, now: float) -> str:
        """A new batch; it expires seven days after its last change."""
        batch_id = secrets.token_hex(8)
        await call(self._client, "create_batch", batch_id, repr(now), self._config.max_batch_errors)
        return batch_id

    async def batch(self, batch_id: str) -> Batch:
        """How far a batch has come.

        Raises:
            BatchNotFound: no batch has this id, or it has expired.
        """
        figures, errors = await call(self._client, "batch", batch_id)
        return codec.batch(batch_id, figures, errors)

    async def add_batch_error(self, batch_id: str, item: str, error: FpserverError, *, now: float) -> None:
        """Count an item that never became a track as failed, with its reason.

        Raises:
            BatchNotFound: no batch has this id, or it has expired.
        """
        fault = {"item": item, "code": error.code, "message": error.message[:MAX_MESSAGE_CHARS]}
        nonce = secrets.token_hex(8)
        await call(self._client, "batch_error", batch_id, repr(now), nonce, codec.pack(fault))

    async def cancel_batch(self, batch_id: str, *, now: float) -> int:
        """Cancel the tracks of a batch that have not ended; returns how many. From now on it takes no more.

        Said again after it was broken off, it cancels the rest; until then, no worker takes what is left.

        Raises:
            BatchNotFound: no batch has this id, or it has expired.
        """
        n_cancelled, after, more = 0, 0, True
        while more:
            n, after, more = await call(
                self._client, "cancel_batch", batch_id, repr(now), after, MAX_CANCELLED
            )
            n_cancelled += int(n)
        return n_cancelled

    async def _mark(self, track_id: int, status: TrackStatus, fields: Mapping[str, str], now: float) -> bool:
        packed = codec.pack(fields)
        return bool(await call(self._client, "mark", track_id, repr(now), status.value, packed))
