"""What can be recommended: a copy of all indexed tracks, kept up to date by the catalogue's log of changes.

Of every indexed track it holds what people call it, the facts that people filter by and, once it is described, how it
sounds, as the scales learned last make it comparable. Who asks gets a value (`Stocked`): shelf, metadata and filter of
one moment. It is made anew when something has changed, on a thread, so seldom that it takes a twentieth of the time.
Where other scales are learned, another copy is filled beside the one that answers, and then takes its place.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import structlog

from fpserver import metrics
from fpserver.errors import InvalidRequest, Overloaded
from fpserver.follower import Follower
from fpserver.recommend.filling import Filling, Stocked
from fpserver.services import Services
from fpserver.similarity.engines.engine import MIXED
from fpserver.similarity.scales import Scales, unpack
from fpserver.terms import Group, Track, TrackStatus, Vector

log = structlog.get_logger()

AT_ONCE = 200  # tracks
SHARE = 0.05  # of the time that may be spent on laying down


@dataclass(slots=True, kw_only=True)
class _Copy:
    """A copy on its way: which catalogue it is of, by which scales, and the last change that is in it."""

    identity: str
    scales: Scales | None  # None: nothing is learned yet
    version: str | None
    filling: Filling
    change: int = 0
    is_new: bool = True  # something is in it that is not laid down


class Stock:
    """The copy of one process; `async with` opens it, and follows the catalogue until the end."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._latest: Stocked | None = None
        self.scales: Scales | None = None  # those that the sounds of the latest are made with
        self._copy: _Copy | None = None
        self._not_before = 0.0  # monotonic: when it is laid down again
        self._is_there = asyncio.Event()
        self._turn = asyncio.Lock()
        self._follower = Follower("stocking", self._look)

    async def __aenter__(self) -> Self:
        """Begin to follow."""
        await self._follower.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Follow no more."""
        await self._follower.__aexit__()

    @property
    def latest(self) -> Stocked:
        """What there is; ask once for all that must belong together.

        Raises:
            Overloaded: it is still being filled for the first time.
        """
        if self._latest is None:
            raise Overloaded(
                "what can be recommended is being made ready from the catalogue; try again in a moment"
            )
        return self._latest

    async def filled(self) -> Stocked:
        """What there is, as soon as it is filled for the first time."""
        await self._is_there.wait()
        return self.latest

    async def catch_up(self) -> None:
        """Bring it up to date with the catalogue, and lay it down if it is time.

        Raises:
            StoreUnavailable: repeat it later.
        """
        async with self._turn:
            copy = await self._current()
            n_changes = AT_ONCE
            while n_changes == AT_ONCE:  # a few that come meanwhile are for the next look
                n_changes = await self._take_changes(copy)
            if copy.is_new and time.monotonic() >= self._not_before:
                await self._lay_down(copy)

    async def _look(self) -> float:
        await self.catch_up()
        return self.services.config.recommend.follow_s

    async def _current(self) -> _Copy:
        """The copy of this catalogue by the scales of today: the one there is, or a new one."""
        descriptions = self.services.descriptions
        identity = await self.services.tracks.identity()
        version = await descriptions.scales_version()
        if self._copy is not None and (self._copy.identity, self._copy.version) == (identity, version):
            return self._copy
        await self.services.tracks.tell_of_all()  # what an earlier version has indexed
        self._copy = await asyncio.to_thread(_begun, identity, await descriptions.scales())
        self._not_before = 0.0
        return self._copy

    async def _take_changes(self, copy: _Copy) -> int:
        """The next changes, AT_ONCE at most, into the copy; how many there were."""
        changes = await self.services.tracks.all_changes(after=copy.change, limit=AT_ONCE)
        if changes:
            await self._take(copy, [track_id for track_id, _ in changes])
            copy.change, copy.is_new = changes[-1][1], True
        return len(changes)

    async def _take(self, copy: _Copy, track_ids: Sequence[int]) -> None:
        """What these tracks are now, into the copy."""
        tracks, vectors = await indexed(self.services, track_ids, copy.scales)
        await asyncio.to_thread(_put, copy, track_ids, tracks, vectors)

    async def _lay_down(self, copy: _Copy) -> None:
        start = time.monotonic()
        self._latest = await asyncio.to_thread(copy.filling.laid_down)
        self.scales = copy.scales
        copy.is_new = False
        end = time.monotonic()
        self._not_before = end + max(self.services.config.recommend.follow_s, (end - start) / SHARE)
        metrics.STOCKED_TRACKS.set(len(copy.filling))
        if not self._is_there.is_set():
            log.info("stocking.is_ready", n_tracks=len(copy.filling), scales=copy.version)
            self._is_there.set()


def _begun(identity: str, packed: bytes | None) -> _Copy:
    """A copy that holds nothing yet."""
    scales = None if packed is None else unpack(packed)
    version = None if scales is None else scales.version
    filling = Filling(n_dimensions=n_dimensions(scales), scales=version or "")
    return _Copy(identity=identity, scales=scales, version=version, filling=filling)


def _put(
    copy: _Copy,
    track_ids: Sequence[int],
    tracks: Mapping[int, Track],
    vectors: Mapping[int, Mapping[Group, Vector]],
) -> None:
    audio = {} if copy.scales is None else audio_of(vectors, copy.scales)
    for track_id in track_ids:
        if track_id not in tracks:
            copy.filling.remove(track_id)
            continue
        track = tracks[track_id]
        copy.filling.put(
            track_id=track_id,
            metadata=track.metadata,
            facts=track.facts,
            key=track.key,
            audio=audio.get(track_id),
            added_at=track.created_at,
        )


async def indexed(
    services: Services, track_ids: Sequence[int], scales: Scales | None
) -> tuple[dict[int, Track], dict[int, dict[Group, Vector]]]:
    """Those of some tracks that are indexed, and of these what the described ones are described by.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    found = await services.tracks.get(track_ids)
    tracks = {track_id: track for track_id, track in found.items() if track.status is TrackStatus.INDEXED}
    described = [track_id for track_id, track in tracks.items() if track.described]
    groups = [] if scales is None else list(scales.groups)
    return tracks, await services.descriptions.vectors(described, groups)


def n_dimensions(scales: Scales | None) -> int:
    """Of the audio vectors that these scales make."""
    return 0 if scales is None else scales.sizes().get(MIXED, 0)


def audio_of(vectors: Mapping[int, Mapping[Group, Vector]], scales: Scales) -> dict[int, Vector]:
    """Comparable vectors of those tracks that are described by all groups; what is no description is left out."""
    whole = [track_id for track_id, each in vectors.items() if all(group in each for group in scales.groups)]
    if not whole or not scales.groups:
        return {}
    try:
        embedded = {
            group: scales.embed_all(group, [vectors[track_id][group] for track_id in whole])
            for group in scales.groups
        }
    except InvalidRequest as error:
        if len(whole) == 1:
            log.warning("stocking.left_out", track_id=whole[0], reason=error.message)
            return {}
        half = len(whole) // 2
        parts = ({each: vectors[each] for each in part} for part in (whole[:half], whole[half:]))
        return {track_id: vector for part in parts for track_id, vector in audio_of(part, scales).items()}
    rows = scales.searched_all(embedded)
    return dict(zip(whole, rows, strict=True))
