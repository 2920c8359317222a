"""The catalogue file's walk: submitted, heard, indexed; and taken out again.

A track that is not `indexed` is never an answer, and every step can be repeated: a worker killed between two
steps leaves nothing visible, and whoever takes the track over walks the whole way again.
"""

import asyncio
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from fpserver import metrics
from fpserver.config import Config
from fpserver.errors import (
    AudioCrash,
    AudioSilent,
    Conflict,
    FpserverError,
    Overloaded,
    SourceMissing,
    StoreUnavailable,
    TrackNotFound,
)
from fpserver.fingerprint import wire
from fpserver.hearing import hear_track
from fpserver.keeping import Keeper, add_together, all_of, claim_audio, commit, cut
from fpserver.services import Services
from fpserver.terms import (
    PENDING,
    DescriptionStatus,
    Fingerprint,
    Heard,
    Metadata,
    Submission,
    Submitted,
    Track,
    TrackStatus,
)
from fpserver.tracks.catalogue import TrackFilter

log = structlog.get_logger()

MAX_LIGHT_BYTES = 2**20  # of a fingerprint: an hour of music
SPOOL_KEPT_S = 3600.0  # an upload is younger than this while it is being submitted
NOT_THE_RECORDINGS_FAULT = (StoreUnavailable, Overloaded)
MAY_PASS = (
    AudioCrash,
    Conflict,
)  # a process killed from outside; another worker that has the same track in hand


def spool_dir(config: Config) -> Path:
    """Where uploads wait for a worker of this place."""
    return Path(config.redis.data_dir).resolve() / "spool"


def place_of(config: Config) -> str:
    """The machine whose workers can read a file named here."""
    return config.worker.place or socket.gethostname()


async def submit(
    services: Services, files: Sequence[tuple[str, str, Metadata]], *, batch_id: str | None = None
) -> list[Submitted]:
    """Register recordings as queued tracks of this place, in order.

    Args:
        services: the open rooms.
        files: (source, SHA-256 of the bytes, metadata); a source is "file:/path" (stays) or "spool:/path"
            (deleted when its track has ended, or at once when the catalogue holds the same bytes already).
        batch_id: the batch they belong to.
    """
    place = place_of(services.config)
    submissions = [
        Submission(source=source, place=place, content_sha256=sha256, metadata=metadata)
        for source, sha256, metadata in files
    ]
    submitted = await services.tracks.submit(submissions, now=time.time(), batch_id=batch_id)
    for submission, outcome in zip(submissions, submitted, strict=True):
        if outcome.duplicate:
            drop_spooled(submission.source)
    return submitted


async def index_track(services: Services, track: Track, *, keeper: Keeper) -> TrackStatus:
    """Hear a claimed track and put it into the index; returns how it ended.

    Whatever is wrong with the recording ends the track as failed, with the reason. Only an error that says
    nothing about the recording is raised. Callers that index several at once share one `keeper`.

    Raises:
        StoreUnavailable, Overloaded: the track has not ended; it must be tried again.
        AudioCrash, Conflict: the same, as long as it has attempts left.
    """
    next_: DescriptionStatus | None = None
    try:
        status, next_ = await _index(services, track, keeper)
        code = ""
    except NOT_THE_RECORDINGS_FAULT:
        raise
    except FpserverError as error:
        if isinstance(error, MAY_PASS) and track.attempts < services.config.tracks.max_attempts:
            raise
        status, code = TrackStatus.FAILED, error.code
        await services.tracks.mark_failed(track.track_id, error, now=time.time())
        log.info(
            "ingest.failed", track_id=track.track_id, source=track.source, code=code, reason=error.message
        )
    if next_ is not DescriptionStatus.WAITING:
        drop_spooled(track.source)
    metrics.INGESTED.labels(status.value, code).inc()
    return status


async def _index(
    services: Services, track: Track, keeper: Keeper
) -> tuple[TrackStatus, DescriptionStatus | None]:
    """How it ended, and what comes next if it is indexed."""
    config, track_id = services.config, track.track_id
    path = path_of(track.source)
    if not await asyncio.to_thread(path.is_file):
        raise SourceMissing(f"track {track_id}: {path} is not there, it must stay until its track has ended")
    hearing, fingerprint = await services.pool.run(
        hear_track, path, config.audio, config.fingerprint, timeout_s=config.audio.track_timeout_s
    )
    if not len(fingerprint.landmarks):
        raise AudioSilent(
            f"recording of {hearing.duration_s:.1f} s has no landmarks, only {len(hearing.constellation)} peaks: "
            "silence, steady tones and single sounds cannot be recognised"
        )
    description = _description(services, is_audio=hearing.is_audio)
    status = await keeper.keep(
        Heard(
            track_id=track_id,
            fingerprint=fingerprint,
            constellation=hearing.constellation,
            duration_s=hearing.duration_s,
            description=description,
        )
    )
    if status is TrackStatus.INDEXED:
        for stage, seconds in hearing.timings_s.items():
            metrics.STAGE_SECONDS.labels("ingest", stage).observe(seconds)
        metrics.INGESTED_AUDIO_SECONDS.inc(hearing.duration_s)
        return status, description
    return status, None


def _description(services: Services, *, is_audio: bool) -> DescriptionStatus | None:
    """What comes next for an indexed track."""
    if not services.config.features.parts:
        return None
    return DescriptionStatus.WAITING if is_audio else DescriptionStatus.NO_AUDIO


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A recording whose fingerprint is known, and no audio is here."""

    submission: Submission
    fingerprint: Fingerprint
    duration_s: float


async def adopt(services: Services, recordings: Sequence[Known]) -> list[Submitted]:
    """Put some dozens of recordings into the catalogue by their fingerprints.

    Repeating it changes nothing, also after a crash in the middle. Other tracks with the same peaks are found, those
    that only sound the same are not: that takes more than a fingerprint holds.

    Returns:
        In order, each track and its status; `duplicate` if the catalogue held these bytes, or others with these peaks.

    Raises:
        AudioTooLong, InvalidRequest: the index cannot hold one of them.
        StoreUnavailable: repeat it later.
    """
    outcomes = await services.tracks.submit([each.submission for each in recordings], now=time.time())
    records = await services.tracks.get([each.track_id for each in outcomes if each.duplicate])
    to_add: dict[int, Known] = {}
    for recording, submitted in zip(recordings, outcomes, strict=True):
        track = records.get(submitted.track_id)
        if submitted.duplicate and (
            track is None or track.status not in PENDING or track.place != recording.submission.place
        ):
            continue  # nobody has to do anything for it, or its own worker
        to_add.setdefault(submitted.track_id, recording)
    holders = await claim_audio(services, {track_id: each.fingerprint for track_id, each in to_add.items()})
    own = {track_id: each for track_id, each in to_add.items() if holders[track_id] == track_id}
    await add_together(services, {track_id: each.fingerprint for track_id, each in own.items()})
    commits = [
        commit(
            services,
            track_id,
            each.fingerprint,
            each.duration_s,
            holder=holders[track_id],
            description=_description(services, is_audio=False),
        )
        for track_id, each in to_add.items()
    ]
    ended = {
        track_id: Submitted(
            track_id=holders[track_id], status=status, duplicate=status is TrackStatus.DUPLICATE
        )
        for track_id, status in zip(to_add, await all_of(commits), strict=True)
    }
    return [
        ended.pop(each.track_id, each) for each in outcomes
    ]  # the second of the same bytes repeats the first


async def delete_track(services: Services, track_id: int) -> None:
    """Take a track out: postings, peaks, record. Needs no audio; can be repeated after a crash.

    Raises:
        TrackNotFound: no track has this id.
        StoreUnavailable: begun and not ended; a worker goes on with it.
    """
    track = await services.tracks.mark_deleting(track_id, now=time.time())
    await cut(services, track_id)
    await services.descriptions.remove(track_id)
    await services.tracks.forget(track_id)
    drop_spooled(track.source)


async def resume_deletes(services: Services) -> int:
    """End deletes that somebody began and did not end; returns how many."""
    track_ids = await services.tracks.deleting()
    for track_id in track_ids:
        try:
            await delete_track(services, track_id)
        except TrackNotFound:  # ended meanwhile by whoever began it
            continue
    return len(track_ids)


async def sweep_spool(services: Services, *, now: float) -> int:
    """Remove uploads that nobody needs any more: a worker that died at the wrong moment has left them. How many."""
    old = await asyncio.to_thread(_kept_since, spool_dir(services.config), now - SPOOL_KEPT_S)
    if not old:
        return 0
    for status in PENDING:
        after: int | None = 0
        while after is not None:
            filters = TrackFilter(status=status)
            tracks, after = await services.tracks.page(after=after, limit=200, filters=filters)
            old -= {path_of(track.source) for track in tracks}
    waiting = await services.undescribed.waiting(place_of(services.config))
    for first in range(0, len(waiting), 200):
        tracks_here = await services.tracks.get(waiting[first : first + 200])
        old -= {path_of(track.source) for track in tracks_here.values()}
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def _kept_since(spool: Path, before: float) -> set[Path]:
    """Whole uploads (the web process looks after partial ones) that were last written to before then."""
    return {path for path in spool.glob("*") if not path.suffix and path.stat().st_mtime < before}


def is_light(track: Track) -> bool:
    """Whether a track takes next to nothing to hear: a fingerprint, and no long one. Reads its file's first bytes."""
    path = path_of(track.source)
    try:
        return path.is_file() and path.stat().st_size <= MAX_LIGHT_BYTES and wire.is_fingerprint(path)
    except OSError:
        return False


def path_of(source: str) -> Path:
    """The file a source names."""
    return Path(source.partition(":")[2])


def drop_spooled(source: str) -> None:
    """Remove the file of a source that was uploaded."""
    if source.startswith("spool:"):
        path_of(source).unlink(missing_ok=True)
