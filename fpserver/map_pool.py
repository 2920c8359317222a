"""One child process that computes maps, kept warm.

It is started when the first map is asked for: it needs a second and 300 MB to load umap-learn (the first time ever on
a machine, while that is compiled, half a minute), which a server that is never asked for a map does not spend. One map
at a time: two would only take twice as long each.
"""

import asyncio
from typing import Self

from fpserver.config import SimilarityConfig
from fpserver.dsp_child import Purpose
from fpserver.dsp_pool import DspPool
from fpserver.errors import MapFailed, Overloaded
from fpserver.similarity.coordinates import Metric, Points, Progress, coordinates, prepare
from fpserver.terms import Vectors

MAPPING = Purpose(name="computing", crash=MapFailed, late=MapFailed)
TURN_S = 3.0  # longest wait for another map to end: a map of 5,000 tracks takes 2 s
PREPARE_S = (
    120.0  # for loading umap-learn where nothing of it is compiled yet; does not count as time of a map
)


class MapPool:
    """The child's owner; `async with` ends it, nothing starts it but the first map."""

    def __init__(self, config: SimilarityConfig) -> None:
        self._config = config
        self._pool = DspPool(
            processes=1, memory_limit_bytes=config.map_memory_bytes, lazy=True, purpose=MAPPING
        )
        self._turn = asyncio.Lock()
        self._preparing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Be ready to start the child."""
        await self._pool.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the child; a map that is being computed fails as `Overloaded`."""
        await self._pool.__aexit__()
        if self._preparing is not None:
            await asyncio.gather(self._preparing, return_exceptions=True)

    @property
    def n_running(self) -> int:
        """Jobs of the child, 0 or 1."""
        return self._pool.n_running

    async def coordinates(
        self,
        vectors: Vectors,
        *,
        n_neighbors: int,
        min_dist: float,
        metric: Metric,
        seed: int,
        on_progress: Progress,
    ) -> Points:
        """`similarity.coordinates`, in the child. Cancelling the caller ends the work, and keeps the child.

        Raises:
            MapFailed: it took longer than `similarity.map_timeout_s`, needed more memory than
                `similarity.map_memory_bytes`, or its process died.
            Overloaded: another map is being computed, or the pool was closed.
        """
        await self._take_turn()
        try:
            await self._prepared()
            return await self._pool.run_telling(
                draw,
                vectors,
                n_neighbors,
                min_dist,
                metric,
                seed,
                timeout_s=self._config.map_timeout_s,
                on_told=on_progress,
            )
        except MapFailed as error:
            raise MapFailed(f"map of {len(vectors)} tracks: {error}; fewer tracks need less") from error
        finally:
            self._turn.release()

    async def _take_turn(self) -> None:
        try:
            async with asyncio.timeout(TURN_S):
                await self._turn.acquire()
        except TimeoutError:
            raise Overloaded(
                f"another map is being computed, and was not done within {TURN_S:g} s; try again"
            ) from None

    async def _prepared(self) -> None:
        """Wait until the child has loaded what it needs. It goes on with that when whoever asked has left."""
        if self._preparing is None or self._preparing.done():
            self._preparing = asyncio.create_task(self._pool.run(prepare, timeout_s=PREPARE_S))
        await asyncio.shield(self._preparing)


def draw(
    vectors: Vectors, n_neighbors: int, min_dist: float, metric: Metric, seed: int, *, tell: Progress
) -> Points:
    """What the child does."""
    return coordinates(
        vectors, n_neighbors=n_neighbors, min_dist=min_dist, metric=metric, seed=seed, on_progress=tell
    )
