"""From what the sets say to the nearest vectors, by their true distances."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fpserver.similarity.engines.checks import Asked
from fpserver.similarity.engines.engine import Found
from fpserver.similarity.engines.lifted import lowered
from fpserver.similarity.engines.scan import distances
from fpserver.terms import TrackIds, Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What VSIM says: names, best first, and how alike each seems."""

    names: list[bytes]
    likeness: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a function of vector_functions.lua says: vectors, and whose they are."""

    track_id: TrackIds
    row: npt.NDArray[np.int64]
    vectors: Vectors

    def __len__(self) -> int:
        return len(self.track_id)


def seen(reply: Sequence[bytes]) -> Seen:
    """Of VSIM with scores."""
    return Seen(names=list(reply[::2]), likeness=[float(likeness) for likeness in reply[1::2]])


def best(of_sets: Sequence[Seen], n_wanted: int) -> list[bytes]:
    """The names that seem most alike, of all sets."""
    likeness = np.concatenate([of_set.likeness for of_set in of_sets])
    names = [name for of_set in of_sets for name in of_set.names]
    return [names[i] for i in np.argsort(-likeness, kind="stable")[:n_wanted]]


def held(replies: Iterable[Sequence[Any]], size: int) -> Held:
    """All that some calls have told, as one; what several tell, once."""
    names, lengths, raw = (b"".join(part) for part in zip(*_spaced(replies), strict=True))
    pairs = np.array(names.replace(b":", b" ").split(), np.int64).reshape(-1, 2)
    vectors = lowered(raw, np.frombuffer(lengths, "<f8"), size) if raw else np.empty((0, size), np.float32)
    _, once = np.unique(pairs, axis=0, return_index=True)
    return Held(track_id=pairs[once, 0], row=pairs[once, 1], vectors=vectors[once])


def nearest_of(told: Held, asked: Asked, k: int) -> Found:
    """The nearest of these vectors to the one query that is asked."""
    (query,) = asked.queries
    distance = distances(told.vectors, query, asked.weights, asked.cosine)
    order = np.lexsort((told.row, told.track_id, distance))[:k]
    true = distance if asked.cosine else np.sqrt(distance)
    return Found(track_id=told.track_id[order], row=told.row[order], distance=true[order])


def none_found() -> Found:
    """Of no vectors."""
    nothing = np.empty(0, np.int64)
    return Found(track_id=nothing, row=nothing, distance=np.empty(0, np.float32))


def merged(one: Found, other: Found, k: int) -> Found:
    """The nearest of both."""
    track_id, row, distance = (
        np.concatenate([getattr(one, name), getattr(other, name)]) for name in ("track_id", "row", "distance")
    )
    order = np.lexsort((row, track_id, distance))[:k]
    return Found(track_id=track_id[order], row=row[order], distance=distance[order])


def _spaced(replies: Iterable[Sequence[Any]]) -> list[tuple[bytes, bytes, bytes]]:
    return [(b"", b"", b""), *((names + b" ", lengths, raw) for names, lengths, raw in replies)]
