"""What every engine must answer, in a few plain lines: the slow twin."""

from collections.abc import Sequence

import numpy as np

from fpserver.similarity.engines.engine import Entry
from fpserver.terms import Sieve, Vector, Vectors, fold, tags_of

SEARCHED = ("title", "artist", "album", "external_id", "isrc")


class Model:
    """Tracks in a dictionary."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}

    def put(self, entries: Sequence[Entry]) -> None:
        self.entries |= {entry.track_id: entry for entry in entries}

    def remove(self, track_ids: Sequence[int]) -> None:
        for track_id in track_ids:
            self.entries.pop(track_id, None)

    def nearest(
        self,
        space: str,
        query: Vector,
        *,
        k: int,
        weights: Vector | None = None,
        metric: str = "euclidean",
        sieve: Sieve | None = None,
    ) -> list[tuple[float, int, int]]:
        """(distance, track, row), sorted."""
        weights = np.ones(len(query), np.float32) if weights is None else weights
        found = [
            (distance(query, vector, weights, metric), entry.track_id, row)
            for entry in self.entries.values()
            if passes(entry, sieve or Sieve())
            for row, vector in enumerate(entry.vectors.get(space, np.empty((0, len(query)), np.float32)))
        ]
        return sorted(found)[:k]

    def vectors(self, space: str, track_ids: Sequence[int]) -> dict[int, Vectors]:
        held = {track_id: self.entries[track_id] for track_id in track_ids if track_id in self.entries}
        return {track_id: entry.vectors[space] for track_id, entry in held.items() if space in entry.vectors}


def distance(query: Vector, vector: Vector, weights: Vector, metric: str) -> float:
    a, b, w = (each.astype(np.float64) for each in (query, vector, weights))
    if metric == "euclidean":
        return float(np.sqrt(np.sum(w * (a - b) ** 2)))
    lengths = np.sqrt(np.sum(w * a * a) * np.sum(w * b * b))
    return float(1 - np.sum(w * a * b) / lengths) if lengths > 0 else 1.0


def passes(entry: Entry, sieve: Sieve) -> bool:
    texts = {**dict(entry.metadata.items()), "key": entry.key}
    equal = dict(sieve.equal)
    tag = equal.pop("tag", None)
    return (
        (tag is None or fold(tag) in tags_of(entry.metadata.tags))
        and all(texts[name] is not None and fold(texts[name]) == fold(value) for name, value in equal.items())
        and all(
            name in entry.facts
            and (least is None or entry.facts[name] >= least)
            and (most is None or entry.facts[name] <= most)
            for name, (least, most) in sieve.ranges.items()
        )
        and (not sieve.q or any(fold(sieve.q) in fold(texts[name]) for name in SEARCHED))
        and entry.track_id not in sieve.without
    )
