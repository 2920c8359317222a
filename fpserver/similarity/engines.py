"""The engines there are, by the name that `similarity.engine` of the settings gives."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fpserver.config import RedisConfig, SimilarityConfig
from fpserver.similarity import embedded, vector_sets
from fpserver.similarity.engine import Engine

Opener = Callable[[SimilarityConfig, RedisConfig], AbstractAsyncContextManager[Engine]]

ENGINES: dict[str, Opener] = {
    "embedded": embedded.open_engine,
    "vector_sets": vector_sets.open_engine,
}


def open_engine(similarity: SimilarityConfig, redis: RedisConfig) -> AbstractAsyncContextManager[Engine]:
    """The engine that the settings name.

    Args:
        similarity: which it is, and what it needs to know.
        redis: the store's settings, with the data folder.

    Raises (when entered):
        ConfigInvalid: its settings cannot be right.
        StoreUnavailable: its server does not answer.
    """
    return ENGINES[similarity.engine](similarity, redis)
