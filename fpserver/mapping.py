"""Lay tracks out in the plane: chosen, vectors → a child process → coordinates. Nothing is stored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from fpserver import similar
from fpserver.comparable import Likeness
from fpserver.errors import InvalidRequest
from fpserver.following import Neighbourhood, is_described
from fpserver.services import Services
from fpserver.similarity.coordinates import Metric, Points, neighbors_used
from fpserver.similarity.engines.engine import MIXED
from fpserver.similarity.mix import Mix, usual
from fpserver.stages import measured
from fpserver.terms import Group, Metadata, Sieve, Track, TrackIds, Vector, Vectors
from fpserver.thinking import think

AT_ONCE = 500  # tracks whose records are read in one round trip


@dataclass(frozen=True, slots=True, kw_only=True)
class MapOptions:
    """How a map is drawn; the words are UMAP's."""

    n_neighbors: int = 15
    min_dist: float = 0.1
    metric: Metric = "euclidean"
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MapResult:
    """A map."""

    points: Points  # (n_tracks, 2), as the vectors were given
    n_neighbors: int  # that there were to look at
    seconds: float


async def map_of(
    services: Services, vectors: Vectors, options: MapOptions, *, on_progress: Callable[[float], None]
) -> MapResult:
    """The map of vectors between which Euclidean distances (or cosines) mean something.

    Cancelling ends the computation.

    Raises:
        InvalidRequest: there are more than `similarity.max_map_tracks`.
        MapFailed: it was not done within the limits of time and memory.
        Overloaded: another map is being computed.
    """
    check_size(services, len(vectors))
    start = perf_counter()
    with measured("map", "similarity"):
        points = await services.maps.coordinates(
            vectors,
            n_neighbors=options.n_neighbors,
            min_dist=options.min_dist,
            metric=options.metric,
            seed=options.seed,
            on_progress=on_progress,
        )
    seconds = perf_counter() - start
    return MapResult(
        points=points, n_neighbors=neighbors_used(len(vectors), options.n_neighbors), seconds=seconds
    )


def check_size(services: Services, n_tracks: int) -> None:
    """Refuse more tracks than a map may have.

    Raises:
        InvalidRequest: there are more than `similarity.max_map_tracks`.
    """
    most = services.config.similarity.max_map_tracks
    if n_tracks > most:
        raise InvalidRequest(f"map of {n_tracks} tracks: at most {most} (similarity.max_map_tracks)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictured:
    """What a map shows of a track besides its place."""

    metadata: Metadata
    facts: Mapping[str, float]
    key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Tracks for a map, as columns by ascending track id: the same set gives the same picture."""

    track_ids: TrackIds
    vectors: Vectors
    pictured: Sequence[Pictured]
    left_out: Sequence[int]  # asked for by id, but not described


async def choose_for_map(
    near_by: Neighbourhood,
    *,
    ids: Sequence[int] | None,
    like: int | None,
    sieve: Sieve | None,
    limit: int,
    mix: Mapping[Group, float] | None,
) -> Chosen:
    """The tracks of a map: at most one of `ids`, `like` and `sieve` is given; of none, all that are described.

    Of more than `limit` that pass a sieve, those nearest to the middle of the catalogue are chosen.

    Raises:
        TrackNotFound: there is no track `like`.
        NotDescribed: no track is described, or `like` is not, or not by what counts.
        StoreUnavailable: the store or the engine does not answer.
    """
    near = near_by.near
    wanted_mix = Mix(weights=mix or usual(near.scales.groups))
    weights = near.scales.search_weights(wanted_mix)
    if ids is not None:
        wanted = list(ids)
    elif like is not None:
        found = await similar.ids_like_track(
            near_by, like, Likeness(mix=wanted_mix), k=max(1, limit - 1), sieve=Sieve()
        )
        wanted = [like, *found][:limit]
    else:
        middle = np.zeros((1, near.scales.sizes()[MIXED]), np.float32)
        (nearest,) = await near.engine.nearest(
            MIXED, middle, k=limit, weights=weights, sieve=sieve, exact=True
        )
        wanted = nearest.track_id.tolist()
    held = await near.engine.vectors(MIXED, wanted)
    tracks: dict[int, Track] = {}
    for first in range(0, len(wanted), AT_ONCE):
        tracks |= await near_by.services.tracks.get(wanted[first : first + AT_ONCE])
    chosen = sorted(each for each in held if each in tracks and is_described(tracks[each]))
    return Chosen(
        track_ids=np.array(chosen, np.int64),
        vectors=await think(_weighted, [held[each][0] for each in chosen], weights),
        pictured=[
            Pictured(metadata=tracks[each].metadata, facts=tracks[each].facts, key=tracks[each].key)
            for each in chosen
        ],
        left_out=sorted(set(wanted) - set(chosen)) if ids is not None else [],
    )


def _weighted(vectors: Sequence[Vector], weights: Vector | None) -> Vectors:
    """Vectors between which plain distances are those of the mix; dimensions that do not count are left out."""
    if not vectors:
        return np.empty((0, 0), np.float32)
    rows = np.array(vectors, np.float32).reshape(len(vectors), -1)
    if weights is None:
        return rows
    counts = weights > 0
    return np.ascontiguousarray(rows[:, counts] * np.sqrt(weights[counts]))
