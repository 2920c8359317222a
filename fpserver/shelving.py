"""The whole catalogue as a shelf, read once: for who trains. Who answers keeps a copy up to date (stocking.py).

Both hold the same of a track, by the same scales; here no name and no filter is held.
"""

from collections.abc import AsyncIterator, Mapping, Sequence

from fpserver.recommend import shelf
from fpserver.recommend.shelf import Described, Shelf
from fpserver.services import Services
from fpserver.similarity.scales import Scales, unpack
from fpserver.stocking import audio_of, indexed, n_dimensions
from fpserver.terms import Group, Track, Vector
from fpserver.thinking import think

AT_ONCE = 500  # tracks


async def whole_shelf(services: Services) -> Shelf:
    """All indexed tracks by ascending id, each with its sound if it is described by all groups.

    Raises:
        StoreUnavailable: the store does not answer.
        InvalidRequest: its scales are of another version of this program.
    """
    await services.tracks.tell_of_all()  # what an earlier version has indexed
    packed = await services.descriptions.scales()
    scales = None if packed is None else await think(unpack, packed)
    described: list[Described] = []
    async for track_ids in _pages(services):
        tracks, vectors = await indexed(services, track_ids, scales)
        described += await think(_described, tracks, vectors, scales)
    return await think(_built, described, scales)


async def _pages(services: Services) -> AsyncIterator[Sequence[int]]:
    """Ids of all tracks that were ever indexed, some at a time, each once."""
    after, seen = 0, set[int]()  # a track that changes meanwhile comes again, further on
    while changes := await services.tracks.all_changes(after=after, limit=AT_ONCE):
        after = changes[-1][1]
        new = [track_id for track_id, _ in changes if track_id not in seen]
        seen.update(new)
        yield new


def _described(
    tracks: Mapping[int, Track], vectors: Mapping[int, Mapping[Group, Vector]], scales: Scales | None
) -> list[Described]:
    audio = {} if scales is None else audio_of(vectors, scales)
    return [
        shelf.described(track_id, track.metadata, audio.get(track_id), added_at=track.created_at)
        for track_id, track in tracks.items()
    ]


def _built(described: list[Described], scales: Scales | None) -> Shelf:
    version = "" if scales is None else scales.version
    return shelf.build(described, n_dimensions=n_dimensions(scales), scales=version)
