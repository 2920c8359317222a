"""An indexed track's way to its description: waiting, described, kept; and back among those that wait.

Descriptions are made when a track is identifiable already, by processes that give way to all others, from a decoding
of their own: so they never delay what is to be identified. Every step can be repeated; the record of the track, which
is written last, says what is stored.
"""

import asyncio
import time
from dataclasses import dataclass, field

import structlog

from fpserver import metrics
from fpserver.config import Config
from fpserver.describing import describe_track
from fpserver.descriptors import VERSION
from fpserver.dsp_pool import DspPool
from fpserver.errors import AudioCrash, FpserverError, Overloaded, SourceMissing, StoreUnavailable
from fpserver.ingest import drop_spooled, path_of, place_of
from fpserver.services import Services
from fpserver.terms import SEGMENTS, Description, DescriptionStatus, Group, Track, TrackStatus
from fpserver.tracks.catalogue import TrackFilter

log = structlog.get_logger()

LOWEST_PRIORITY = 19
PAGE = 200


def describing_pool(config: Config, *, processes: int) -> DspPool:
    """Processes that describe tracks while nobody else needs the machine."""
    return DspPool(
        processes=processes, memory_limit_bytes=config.audio.memory_limit_bytes, niceness=LOWEST_PRIORITY
    )


def missing(track: Track, config: Config) -> frozenset[str]:
    """The parts that an indexed track should have by these settings, and does not."""
    return config.features.parts - _stored(track)


def _stored(track: Track) -> frozenset[str]:
    """The parts that are kept in the layout of today."""
    return track.described if track.description_version == VERSION else frozenset()


async def describe(services: Services, track: Track, *, pool: DspPool) -> DescriptionStatus:
    """Describe a claimed track by all that the settings ask for; returns how it ended.

    Raises:
        StoreUnavailable, Overloaded: it has not ended; it must be tried again.
        AudioCrash: the same, as long as it has attempts left.
    """
    try:
        status, code = await _describe(services, track, pool), ""
    except (StoreUnavailable, Overloaded):
        raise
    except SourceMissing as error:
        status, code = await _end(services, track, DescriptionStatus.NO_AUDIO, error)
    except FpserverError as error:
        status, code = await _end(services, track, DescriptionStatus.FAILED, error)
    drop_spooled(track.source)
    metrics.DESCRIBED.labels(status.value, code).inc()
    return status


async def _describe(services: Services, track: Track, pool: DspPool) -> DescriptionStatus:
    config, path = services.config, path_of(track.source)
    if not await asyncio.to_thread(path.is_file):
        raise SourceMissing(
            f"track {track.track_id}: {path} is not there any more, so it cannot be described"
        )
    parts, start = config.features.parts, time.perf_counter()
    description = await pool.run(
        describe_track, path, config.audio, config.features, parts, timeout_s=config.audio.track_timeout_s
    )
    made = time.perf_counter()
    await keep(services, track, description)
    metrics.STAGE_SECONDS.labels("describe", "describe").observe(made - start)
    metrics.STAGE_SECONDS.labels("describe", "similarity").observe(time.perf_counter() - made)
    return DescriptionStatus.DONE


async def keep(services: Services, track: Track, description: Description) -> None:
    """Keep the description of an indexed track, beside the parts it had and has not now; nothing if it is removed.

    Raises:
        StoreUnavailable: repeat it.
    """
    await services.descriptions.put(track.track_id, description)
    parts = {group.value for group in description.vectors}
    parts |= {SEGMENTS} if description.moments is not None else set()
    before = _stored(track)
    committed = await services.undescribed.mark_described(
        track.track_id,
        sorted(before | parts),
        facts={**track.facts, **description.facts} if before - parts else description.facts,
        key=description.key if Group.TONAL in parts else track.key,
        version=VERSION,
        now=time.time(),
    )
    if not committed:
        await services.descriptions.remove(track.track_id)


async def _end(
    services: Services, track: Track, status: DescriptionStatus, error: FpserverError
) -> tuple[DescriptionStatus, str]:
    if isinstance(error, AudioCrash):  # killed from outside, perhaps: it is claimed again, a few times
        raise error
    await services.undescribed.mark_undescribable(track.track_id, status, error)
    log.info("describe.failed", track_id=track.track_id, status=status.value, reason=error.message)
    return status, error.code


@dataclass(slots=True)
class Wanted:
    """What became of the indexed tracks of a catalogue."""

    n_complete: int = 0
    track_ids: list[int] = field(default_factory=list)  # wait now
    n_no_audio: int = 0  # came as fingerprints, or their files are gone
    n_elsewhere: int = 0  # their files are for workers of another place


async def want_missing(services: Services, *, again: bool = False) -> Wanted:
    """Let all indexed tracks of this place wait whose descriptions lack something; with `again`, all."""
    wanted, after = Wanted(), 0
    place = place_of(services.config)
    while True:
        filters = TrackFilter(status=TrackStatus.INDEXED)
        tracks, next_ = await services.tracks.page(after=after, limit=PAGE, filters=filters)
        for track in tracks:
            if not (again or missing(track, services.config)):
                wanted.n_complete += 1
            elif track.place != place:
                wanted.n_elsewhere += 1
            elif not await asyncio.to_thread(path_of(track.source).is_file):
                wanted.n_no_audio += 1
            else:
                await services.undescribed.want(track.track_id, now=time.time())
                wanted.track_ids.append(track.track_id)
        if next_ is None:
            return wanted
        after = next_
