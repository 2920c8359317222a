"""The engines there are, by the name that `similarity.engine` of the settings gives."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from fpserver.config import RedisConfig, SimilarityConfig
from fpserver.similarity.engines import embedded, vector_sets
from fpserver.similarity.engines.engine import Engine


class Opener(Protocol):
    """Opens an engine."""

    def __call__(
        self, similarity: SimilarityConfig, redis: RedisConfig, *, name: str = "near"
    ) -> AbstractAsyncContextManager[Engine]:
        """The engine of this name, with what it held when it was last closed.

        Args:
            similarity: what it needs to know.
            redis: the store's settings, with the data folder.
            name: tells engines apart of which one is to take the place of another.

        Raises (when entered):
            ConfigInvalid: its settings cannot be right.
            StoreUnavailable: its server does not answer.
        """


ENGINES: dict[str, Opener] = {
    "embedded": embedded.open_engine,
    "vector_sets": vector_sets.open_engine,
}


def open_engine(
    similarity: SimilarityConfig, redis: RedisConfig, *, name: str = "near"
) -> AbstractAsyncContextManager[Engine]:
    """The engine that the settings name, opened as `Opener` says."""
    return ENGINES[similarity.engine](similarity, redis, name=name)
