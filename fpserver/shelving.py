"""From what is stored of tracks to what a shelf holds of them: one way for who recommends and who trains.

A track can be recommended once it is indexed. Its audio vector is that by which engines find neighbours: of all groups
that the catalogue has scales for, or none.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import structlog

from fpserver.errors import FpserverError, InvalidRequest
from fpserver.recommend import shelf
from fpserver.recommend.shelf import Described, Shelf
from fpserver.services import Services
from fpserver.similarity.engines.engine import MIXED
from fpserver.similarity.scales import Scales, unpack
from fpserver.terms import Group, Track, TrackStatus, Vector
from fpserver.thinking import think

log = structlog.get_logger()

AT_ONCE = 500  # tracks


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A track that can be recommended."""

    track: Track
    described: Described


async def scales_of(services: Services) -> Scales | None:
    """The scales in force; None: nothing is described yet, or they are of another version of this program.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    packed = await services.descriptions.scales()
    try:
        return None if packed is None else await think(unpack, packed)
    except InvalidRequest as error:
        log.warning("shelving.without_audio", reason=error.message)
        return None


async def held(services: Services, track_ids: Sequence[int], scales: Scales | None) -> dict[int, Held]:
    """What there is now of those tracks that can be recommended, by id.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    tracks = {
        track_id: track
        for track_id, track in (await services.tracks.get(track_ids)).items()
        if track.status is TrackStatus.INDEXED
    }
    vectors: Mapping[int, Mapping[Group, Vector]] = {}
    if scales is not None:
        described = [track_id for track_id, track in tracks.items() if track.described]
        vectors = await services.descriptions.vectors(described, list(scales.groups))
    audio = await think(_audio_of, vectors, scales)
    return {
        track_id: Held(track=track, described=shelf.described(track_id, track.metadata, audio.get(track_id)))
        for track_id, track in tracks.items()
    }


async def pages(services: Services, scales: Scales | None) -> AsyncIterator[list[Held]]:
    """All tracks that can be recommended, some at a time, each once.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    after, seen = 0, set[int]()  # a track that changes meanwhile comes again, further on
    while changes := await services.tracks.changes(after=after, limit=AT_ONCE):
        after = changes[-1][1]
        new = [track_id for track_id, _ in changes if track_id not in seen]
        seen.update(new)
        if found := await held(services, new, scales):
            yield list(found.values())


async def whole_shelf(services: Services) -> Shelf:
    """All tracks that can be recommended, by ascending id: the same catalogue gives the same shelf.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    scales = await scales_of(services)
    described: list[Described] = []
    async for page in pages(services, scales):
        described += [each.described for each in page]
    return await think(_built, described, scales)


def n_dimensions(scales: Scales | None) -> int:
    """Of audio vectors by these scales."""
    return 0 if scales is None else scales.sizes().get(MIXED, 0)


def _built(described: list[Described], scales: Scales | None) -> Shelf:
    described.sort(key=lambda each: each.track_id)
    version = "" if scales is None else scales.version
    return shelf.build(described, n_dimensions=n_dimensions(scales), scales=version)


def _audio_of(vectors: Mapping[int, Mapping[Group, Vector]], scales: Scales | None) -> dict[int, Vector]:
    """Audio vectors of those tracks that have all groups, by id."""
    if scales is None or not scales.groups:
        return {}
    whole = [
        track_id for track_id, groups in vectors.items() if all(each in groups for each in scales.groups)
    ]
    try:
        return _embedded(whole, vectors, scales)
    except (
        InvalidRequest,
        ValueError,
    ):  # one is of another size, or holds what is no number: each for itself
        audio: dict[int, Vector] = {}
        for track_id in whole:
            try:
                audio |= _embedded([track_id], vectors, scales)
            except FpserverError as error:
                log.warning("shelving.without_audio", track_id=track_id, reason=error.message)
        return audio


def _embedded(
    track_ids: Sequence[int], vectors: Mapping[int, Mapping[Group, Vector]], scales: Scales
) -> dict[int, Vector]:
    if not track_ids:
        return {}
    columns = {group: np.stack([vectors[each][group] for each in track_ids]) for group in scales.groups}
    return dict(zip(track_ids, scales.searched_all(columns), strict=True))
