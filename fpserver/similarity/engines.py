"""The engines there are, by the name that `similarity.engine` of the settings gives."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from fpserver.config import RedisConfig, SimilarityConfig
from fpserver.similarity import embedded, vector_sets
from fpserver.similarity.engine import Engine


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of engine."""

    open: Opener
    shared: bool  # all processes use one, and fill it in turns; else each has its own


ENGINES: dict[str, Kind] = {
    "embedded": Kind(open=embedded.open_engine, shared=False),
    "vector_sets": Kind(open=vector_sets.open_engine, shared=True),
}


def open_engine(
    similarity: SimilarityConfig, redis: RedisConfig, *, name: str = "near"
) -> AbstractAsyncContextManager[Engine]:
    """The engine that the settings name, opened as `Opener` says."""
    return ENGINES[similarity.engine].open(similarity, redis, name=name)
