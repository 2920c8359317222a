"""What was heard, into the index: compared with what is there, written, committed; several tracks at once.

Tracks that are ready at the same moment make a company. One company is dealt with after the other, and a track that
sounds like another of its company waits for the next: so each is compared with all that came before it. Every step
can be repeated; a company that broke off is begun anew by whoever has its tracks in hand then.
"""

import asyncio
import hashlib
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from fpserver import duplicates, metrics
from fpserver.errors import Conflict, StoreUnavailable
from fpserver.fingerprint.landmarks import track_landmarks
from fpserver.services import Services
from fpserver.terms import DescriptionStatus, Fingerprint, Heard, TrackPeaks, TrackStatus
from fpserver.thinking import think

T = TypeVar("T")

AT_ONCE = 64  # tracks


@dataclass(slots=True)
class _Place:
    """A track that waits to be kept, and what became of it."""

    heard: Heard
    outcome: TrackStatus | Exception | None = None


class Keeper:
    """Keeps the tracks of one process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._waiting: list[_Place] = []
        self._turn = asyncio.Lock()

    async def keep(self, heard: Heard) -> TrackStatus:
        """Put a track into the index with all others that wait, or find that it is there; how it ended.

        Raises:
            AudioTooLong, InvalidRequest: the index cannot hold it.
            TrackNotFound: it was removed meanwhile.
            StoreUnavailable: it has not ended.
        """
        place = _Place(heard)
        self._waiting.append(place)
        try:
            while place.outcome is None:
                async with self._turn:
                    if place.outcome is None:  # nobody has kept it meanwhile: lead the next company
                        await self._keep([each for each in self._waiting if each.outcome is None][:AT_ONCE])
        finally:
            self._waiting.remove(place)
        if isinstance(place.outcome, Exception):
            raise place.outcome
        return place.outcome

    async def _keep(self, company: Sequence[_Place]) -> None:
        """Give those an outcome that need not wait for another of them."""
        try:
            ended = await _keep_together(self._services, [each.heard for each in company])
        except Exception as error:
            if len(company) == 1 or isinstance(error, StoreUnavailable):
                for place in company:
                    place.outcome = error
            else:  # something is wrong with one of them
                for place in company:
                    await self._keep([place])
            return
        for place in company:
            place.outcome = ended.get(place.heard.track_id)


async def _keep_together(services: Services, company: Sequence[Heard]) -> dict[int, TrackStatus]:
    """How each has ended; without those that must wait for another."""
    by_id = {each.track_id: each for each in company}
    holders = await claim_audio(services, {track_id: each.fingerprint for track_id, each in by_id.items()})
    found = await duplicates.find(services, [by_id[track_id] for track_id in _own(holders)])
    holders |= found.holders
    holders = {track_id: holders.get(holder, holder) for track_id, holder in holders.items()}
    ending = {track_id: each for track_id, each in by_id.items() if track_id not in found.twins}
    start = time.perf_counter()
    new = [track_id for track_id in _own(holders) if track_id in ending]
    await add_together(services, {track_id: by_id[track_id].fingerprint for track_id in new})
    commits = [
        commit(
            services,
            track_id,
            each.fingerprint,
            each.duration_s,
            holder=holders[track_id],
            description=each.description,
        )
        for track_id, each in ending.items()
    ]
    statuses = await all_of(commits)
    if new:
        metrics.STAGE_SECONDS.labels("ingest", "index").observe(time.perf_counter() - start)
    return dict(zip(ending, statuses, strict=True))


def _own(holders: Mapping[int, int]) -> list[int]:
    """Tracks that no other holds."""
    return [track_id for track_id, holder in holders.items() if holder == track_id]


async def claim_audio(services: Services, fingerprints: Mapping[int, Fingerprint]) -> dict[int, int]:
    """By track, the one that holds these peaks: itself, or an earlier one that lives.

    Raises:
        TrackNotFound: one of the tracks is no more.
    """
    claims = [
        services.tracks.claim_audio(track_id, audio_digest(each.peaks))
        for track_id, each in fingerprints.items()
    ]
    return dict(zip(fingerprints, await all_of(claims), strict=True))


async def add_together(services: Services, fingerprints: Mapping[int, Fingerprint]) -> None:
    """Write some dozens of tracks into the index, whatever earlier attempts have left of them there."""
    try:
        await services.index.add_together(fingerprints)
    except Conflict:  # in other company, with another file or decoder
        for track_id, fingerprint in fingerprints.items():
            await _add(services, track_id, fingerprint)


async def _add(services: Services, track_id: int, fingerprint: Fingerprint) -> None:
    try:
        await services.index.add(track_id, fingerprint)
    except Conflict:
        await cut(services, track_id)
        await services.index.add(track_id, fingerprint)


async def cut(services: Services, track_id: int) -> None:
    """Take all of a track out of the index; its peaks, which go last, say what there is."""
    peaks = (await services.index.peaks([track_id])).get(track_id)
    if peaks is None:  # never begun, or wholly removed
        return
    landmarks = await think(track_landmarks, peaks, services.config.fingerprint)
    await services.index.remove(track_id, landmarks)


async def commit(
    services: Services,
    track_id: int,
    fingerprint: Fingerprint,
    duration_s: float,
    *,
    holder: int,
    description: DescriptionStatus | None,
) -> TrackStatus:
    """Make a track whose fingerprint is written an answer; or a duplicate of its holder."""
    if holder != track_id:
        await services.tracks.mark_duplicate(track_id, holder, now=time.time())
        return TrackStatus.DUPLICATE
    committed = await services.tracks.mark_indexed(
        track_id,
        n_landmarks=len(fingerprint.landmarks),
        duration_s=duration_s,
        now=time.time(),
        description=description,
    )
    if not committed:  # cancelled or deleted while it was heard
        await services.index.remove(track_id, fingerprint.landmarks)
        return TrackStatus.CANCELLED
    return TrackStatus.INDEXED


async def all_of(steps: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Take all steps at once; an error is raised when the others have ended."""
    outcomes = await asyncio.gather(*steps, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return cast(list[T], outcomes)


def audio_digest(peaks: TrackPeaks) -> str:
    """SHA-256 of what was heard: equal for the same sound in another container or under other tags."""
    digest = hashlib.sha256(peaks.n_frames.to_bytes(8, "little"))
    for column in (peaks.frame, peaks.bin, peaks.strong):
        digest.update(column.tobytes())
    return digest.hexdigest()
