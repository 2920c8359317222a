"""What the catalogue itself says of distances: scales, learned from its descriptions, and learned anew as it grows.

Small catalogues are learned whole, large ones from tracks evenly spread over their ids: so the same catalogue gives the
same scales. Learning anew changes all distances a little; it happens whenever the catalogue has grown by half.
"""

import asyncio

import structlog

from fpserver.services import Services
from fpserver.similarity import keys
from fpserver.similarity.scales import MAX_LEARNED, learn
from fpserver.terms import Group, Vector, Vectors

log = structlog.get_logger()

GROWN = 1.5
MAX_MOMENTS = 200  # tracks whose moments are looked at
PAGE = 10_000  # changes
AT_ONCE = 200  # tracks
LEARNING_S = 120.0  # longer than it takes
SEED = 0


async def learn_if_grown(services: Services) -> bool:
    """Learn scales when there are none, or the catalogue has grown; True when they are new.

    Of several who ask at the same time one does it.

    Raises:
        StoreUnavailable: repeat it later.
    """
    n_tracks = await services.tracks.n_changed()
    if not n_tracks or n_tracks < GROWN * await services.descriptions.n_learned():
        return False
    async with services.descriptions.turn(keys.LEARNING, for_s=LEARNING_S) as mine:
        return mine and await _learn(services, n_tracks)


async def _learn(services: Services, n_tracks: int) -> bool:
    track_ids = await _spread(services)
    described: list[dict[Group, Vector]] = []
    moments: list[Vectors] = []
    for first in range(0, len(track_ids), AT_ONCE):
        some = track_ids[first : first + AT_ONCE]
        vectors = await services.descriptions.vectors(some, list(Group))
        described += [each for each in vectors.values() if each]
        if len(moments) < MAX_MOMENTS:
            moments += [each.timbre for each in (await services.descriptions.moments(some)).values()]
    if not described:
        return False
    scales = await asyncio.to_thread(learn, described, moments[:MAX_MOMENTS], seed=SEED)
    await services.descriptions.put_scales(scales.pack(), version=scales.version, n_tracks=n_tracks)
    log.info("learning.learned", n_tracks=n_tracks, n_learned=len(described), version=scales.version)
    return True


async def _spread(services: Services) -> list[int]:
    """At most MAX_LEARNED tracks that are or were described, evenly spread over all of them."""
    track_ids: list[int] = []
    after = 0
    while changes := await services.tracks.changes(after=after, limit=PAGE):
        track_ids += [track_id for track_id, _ in changes]
        after = changes[-1][1]
    track_ids.sort()
    step = max(1.0, len(track_ids) / MAX_LEARNED)
    return [track_ids[int(i * step)] for i in range(min(len(track_ids), MAX_LEARNED))]
