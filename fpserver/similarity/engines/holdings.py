"""All that the embedded engine holds: a roster of tracks, a shelf of vectors per space, and how far it has come.

Nothing here waits or locks: one thread at a time calls it. What is wrong with a request is said before anything
is changed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fpserver.roster import Passes, Roster
from fpserver.similarity.engines.checks import checked_query, size_of
from fpserver.similarity.engines.engine import EngineStats, Entry, Found
from fpserver.similarity.engines.lists import Lists
from fpserver.similarity.engines.shelf import Shelf, Sorting
from fpserver.terms import Sieve, Vector, Vectors

MIN_DEAD = 1000  # slots of tracks that were removed or replaced: so few may stay
DEAD_SHARE = 0.5  # of tracks that are held

Arrays = Mapping[str, npt.NDArray[Any]]


class Holdings:
    """Tracks and vectors in memory."""

    def __init__(self, sizes: Mapping[str, int], *, exact_below: int) -> None:
        self.position: str | None = None
        self._exact_below = exact_below
        self._roster = Roster()
        self._shelves = {space: Shelf(size, exact_below=exact_below) for space, size in sizes.items()}

    @property
    def sizes(self) -> dict[str, int]:
        """Dimensions, by space."""
        return {space: shelf.n_dimensions for space, shelf in self._shelves.items()}

    def put(self, entries: Sequence[Entry]) -> None:
        """Hold these tracks, which were checked, in the place of what was held of them."""
        for entry in entries:
            self.remove([entry.track_id])
            slot = self._roster.add(
                track_id=entry.track_id, metadata=entry.metadata, facts=entry.facts, key=entry.key
            )
            for space, vectors in entry.vectors.items():
                self._shelves[space].add(slot, np.asarray(vectors, np.float32))

    def remove(self, track_ids: Sequence[int]) -> None:
        """Hold these tracks no more."""
        for track_id in track_ids:
            if (slot := self._roster.remove(track_id)) is not None:
                for shelf in self._shelves.values():
                    shelf.drop(slot)

    def nearest(
        self,
        space: str,
        queries: Vectors,
        *,
        k: int,
        weights: Vector | None,
        metric: str,
        sieve: Sieve | None,
        exact: bool,
    ) -> list[Found]:
        """As `Engine.nearest`."""
        size_of(space, self.sizes)
        shelf = self._shelves[space]
        asked = checked_query(
            queries, size=shelf.n_dimensions, space=space, k=k, weights=weights, metric=metric
        )
        passes = self._roster.passing(sieve)
        found = []
        for query in asked.queries:
            told, track_ids, rows = shelf.nearest(
                query,
                k=k,
                weights=asked.weights,
                cosine=asked.cosine,
                passes=passes,
                tracks=self._roster.ids,
                exact=exact,
            )
            distance = told if asked.cosine else np.sqrt(told)
            found.append(Found(track_id=track_ids, row=rows, distance=distance))
        return found

    def vectors(self, space: str, track_ids: Sequence[int]) -> dict[int, Vectors]:
        """As `Engine.vectors`."""
        size_of(space, self.sizes)
        vectors, slots, _ = self._shelves[space].of_slots(self._roster.wanted(track_ids))
        held, first = np.unique(slots, return_index=True)
        ids = self._roster.ids[held].tolist()
        return dict(zip(ids, np.split(vectors, first[1:]), strict=True)) if ids else {}

    def stats(self) -> EngineStats:
        """How much is held."""
        return EngineStats(
            n_tracks=len(self._roster),
            n_vectors={space: shelf.n_alive for space, shelf in self._shelves.items()},
            memory_bytes=self._roster.memory_bytes
            + sum(shelf.memory_bytes for shelf in self._shelves.values()),
        )

    def sorting(self) -> tuple[str, Sorting, Passes] | None:
        """The space that is to be sorted anew first, and what is to be sorted; None: all are well.

        Not while another is being sorted: slots change.
        """
        if self._roster.n_dead > max(MIN_DEAD, DEAD_SHARE * len(self._roster)):
            self._roster, new = self._roster.compacted()
            for shelf in self._shelves.values():
                shelf.renumber(new)
        for space, shelf in self._shelves.items():
            if sorting := shelf.sorting():
                return space, sorting, self._roster.alive.copy()
        return None

    def replace(self, space: str, sorting: Sorting, lists: Lists) -> None:
        """Take what became of a sorting."""
        self._shelves[space].replace(sorting, lists)

    def columns(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """All that is held, as arrays by name and a document; the arrays do not change any more."""
        arrays, roster = self._roster.columns()
        spaces = {}
        for space, shelf in self._shelves.items():
            lists, tails = shelf.lists, shelf.tails
            parts: dict[str, npt.NDArray[Any]] = {
                "vectors": lists.vectors,
                "slots": lists.slots,
                "rows": lists.rows,
                "order": lists.order,
                "bounds": lists.bounds,
                "centroids": lists.centroids,
            }
            for i, (vectors, slots, rows) in enumerate(tails):
                parts |= {f"vectors{i}": vectors, f"slots{i}": slots, f"rows{i}": rows}
            arrays |= {f"{space}:{name}": array for name, array in parts.items()}
            spaces[space] = {
                "size": shelf.n_dimensions,
                "n_trained": lists.n_trained,
                "n_enough": lists.n_enough,
                "n_tails": len(tails),
            }
        return arrays, {"position": self.position, "roster": roster, "spaces": spaces}

    @classmethod
    def restored(cls, arrays: Arrays, document: Mapping[str, Any], *, exact_below: int) -> "Holdings":
        """What `columns` told; sorted vectors stay where the arrays lie.

        Raises:
            KeyError, ValueError: something is missing, or does not fit together.
        """
        spaces = document["spaces"]
        holdings = cls({space: told["size"] for space, told in spaces.items()}, exact_below=exact_below)
        holdings.position = document["position"]
        holdings._roster = Roster.restored(arrays, document["roster"])
        for space, told in spaces.items():
            lists = Lists(
                vectors=arrays[f"{space}:vectors"],
                slots=arrays[f"{space}:slots"],
                rows=arrays[f"{space}:rows"],
                order=arrays[f"{space}:order"],
                bounds=arrays[f"{space}:bounds"],
                centroids=arrays[f"{space}:centroids"],
                n_trained=told["n_trained"],
                n_enough=told["n_enough"],
            )
            tails = [
                (arrays[f"{space}:vectors{i}"], arrays[f"{space}:slots{i}"], arrays[f"{space}:rows{i}"])
                for i in range(told["n_tails"])
            ]
            shelf = Shelf(told["size"], exact_below=exact_below, lists=lists, tails=tails)
            for slot in np.flatnonzero(~holdings._roster.alive).tolist():
                shelf.drop(slot)
            holdings._shelves[space] = shelf
        return holdings
