"""What an engine that searches vectors must do; `opening.py` lists those there are.

An engine holds *spaces*: sets of vectors of one size, under the name of a group, `mixed` (those of all groups, end to
end) or `segments`. It is a copy that may be lost: the truth is in the store, and whoever fills an engine
(`following.py`) finds in `position()` how far it has come. Adding one is a file with a class like this, and a line in
`opening.py`; one contract test runs on every engine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from fpserver.terms import Metadata, Sieve, TrackIds, Vector, Vectors

MIXED = "mixed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A described track, as an engine holds it."""

    track_id: int
    metadata: Metadata
    facts: Mapping[str, float]
    key: str | None
    vectors: Mapping[str, Vectors]  # by space; one row, but for segments: one per moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Vectors near a query, nearest first; equal distances by track, then row."""

    track_id: TrackIds
    row: npt.NDArray[np.int64]  # which of the track's vectors: for segments the moment, else 0
    distance: npt.NDArray[np.float32]  # Euclidean, or 1 − cosine


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """How much an engine holds."""

    n_tracks: int
    n_vectors: Mapping[str, int]  # by space
    memory_bytes: int


class Engine(Protocol):
    """An engine that searches vectors."""

    shared: ClassVar[bool]  # one for all processes, who fill it in turns; else each process has its own

    async def position(self) -> str | None:
        """What `advance` was last told; None: nothing, or what there was is lost."""

    async def begin(self, sizes: Mapping[str, int]) -> None:
        """Forget everything, and be ready for vectors of these sizes, by space."""

    async def put(self, entries: Sequence[Entry]) -> None:
        """Hold these tracks, in the place of what was held of them.

        Raises:
            InvalidRequest: there is no such space, or vectors are of another size, or no numbers; none is held then.
        """

    async def remove(self, track_ids: Sequence[int]) -> None:
        """Hold these tracks no more; those that are not held are passed over."""

    async def advance(self, position: str) -> None:
        """Everything up to this position is in: keep it, as durably as vectors are kept."""

    async def nearest(
        self,
        space: str,
        queries: Vectors,
        *,
        k: int,
        weights: Vector | None = None,
        metric: str = "euclidean",
        sieve: Sieve | None = None,
        exact: bool = False,
    ) -> list[Found]:
        """For each query, its `k` nearest vectors among tracks that pass the sieve; fewer where there are no more.

        A vector of nothing but zeros is at a cosine distance of 1 from all. A fact or text that a track does not have
        never passes a range of it, or equals anything.

        Args:
            space: whose vectors are searched.
            queries: (n_queries, size of the space).
            k: most vectors per query.
            weights: by which squared differences of each dimension are multiplied (and products, for cosine).
            metric: "euclidean" or "cosine".
            sieve: which tracks may be found.
            exact: compare with every vector, instead of those that an index holds likely.

        Raises:
            InvalidRequest: there is no such space or field, or queries or weights are of another size, or no numbers.
            StoreUnavailable: the engine's server does not answer.
        """

    async def vectors(self, space: str, track_ids: Sequence[int]) -> dict[int, Vectors]:
        """The vectors of these tracks, without those that are not held."""

    async def stats(self) -> EngineStats:
        """How much it holds."""
