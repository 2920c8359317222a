"""Lay tracks out in the plane: vectors → a child process → coordinates. Nothing is stored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

from fpserver import metrics
from fpserver.errors import InvalidRequest
from fpserver.services import Services
from fpserver.similarity.coordinates import Metric, Points, neighbors_used
from fpserver.terms import Group, Metadata, Sieve, TrackIds, Vectors


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
    points = await services.maps.coordinates(
        vectors,
        n_neighbors=options.n_neighbors,
        min_dist=options.min_dist,
        metric=options.metric,
        seed=options.seed,
        on_progress=on_progress,
    )
    seconds = perf_counter() - start
    metrics.STAGE_SECONDS.labels("map", "similarity").observe(seconds)
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
    services: Services,
    *,
    ids: Sequence[int] | None,
    like: int | None,
    sieve: Sieve | None,
    limit: int,
    mix: Mapping[Group, float] | None,
) -> Chosen:
    """PLACEHOLDER of `similar.choose_for_map`: at most one of `ids`, `like` and `sieve` is given."""
    raise NotImplementedError("similar.choose_for_map")
