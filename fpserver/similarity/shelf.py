"""The vectors of one space in memory: those sorted into lists, and behind them those that came since.

Removing marks a track's slot in the roster, and `passes` leaves it out of every search: a removed vector is never
found, and its room is won back when the lists are sorted anew. What is handed to `sort`, in another thread, never
changes: lists are replaced, and the tail is only added to.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from fpserver.similarity.lists import Lists, Part, n_lists_for, sort, unsorted
from fpserver.similarity.scan import Indices, Passes, Slots, Stock, empty_best, scan, scan_likely
from fpserver.similarity.trying import tried
from fpserver.terms import TrackIds, Vector, Vectors

MIN_TAIL = 4096  # vectors: so few are not worth sorting
TAIL_SHARE = 0.02  # of the sorted ones: so many unsorted are compared with every query
DEAD_SHARE = 0.25  # of all vectors: so many removed ones are worth clearing out
ENOUGH_PER_K = 20  # vectors compared at least, for each that is wanted
UNEVEN_RATIO = 4.0  # times as many, with weights: they make another order than the lists'
COSINE_RATIO = 2.0  # times as many, by cosine


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorting:
    """What is sorted anew, as it was when that began."""

    lists: Lists
    tail: Stock
    known: Lists | None
    n_lists: int

    def run(self, alive: Passes) -> Lists:
        """The sorted vectors of living tracks; takes seconds, anywhere."""
        both = ((self.lists.stock, self.lists.order), (self.tail, np.arange(len(self.lists.order))))
        parts = [
            Part(stock=stock, order=order, chosen=np.flatnonzero(alive[stock[1]])) for stock, order in both
        ]
        lists = sort(parts, known=self.known, n_lists=self.n_lists)
        if self.known is None and len(lists.centroids) > 1:
            return replace(lists, n_enough=tried(lists, alive))
        return lists


class Shelf:
    """The vectors of one space."""

    def __init__(
        self, n_dimensions: int, *, exact_below: int, lists: Lists | None = None, tail: Stock | None = None
    ) -> None:
        self.n_dimensions = n_dimensions
        self.lists = lists or unsorted(n_dimensions)
        self._exact_below = exact_below
        self._tail = tail or unsorted(n_dimensions).stock
        self._n_tail = len(self._tail[0])  # so many of it are filled
        self._n_of: dict[int, int] = _counts(self.lists.slots) | _counts(
            self._tail[1]
        )  # by slot that is held
        self.n_alive = len(self)  # vectors of tracks that are held

    def __len__(self) -> int:
        """Vectors, those of removed tracks too."""
        return len(self.lists) + self._n_tail

    @property
    def tail(self) -> Stock:
        """What is not sorted."""
        vectors, slots, rows = self._tail
        return vectors[: self._n_tail], slots[: self._n_tail], rows[: self._n_tail]

    @property
    def memory_bytes(self) -> int:
        """Of all arrays."""
        lists = self.lists
        sorted_ = (*lists.stock, lists.bounds, lists.centroids, lists.order)
        return sum(array.nbytes for array in (*sorted_, *self._tail))

    def add(self, slot: int, vectors: Vectors) -> None:
        """Hold the vectors of a track."""
        first, last = self._n_tail, self._n_tail + len(vectors)
        if last > len(self._tail[0]):
            self._tail = _grown(self._tail, first, max(last, 2 * len(self._tail[0]), 64))
        of_tail, slots, rows = self._tail
        of_tail[first:last], slots[first:last], rows[first:last] = vectors, slot, np.arange(len(vectors))
        self._n_tail = last
        self._n_of[slot] = len(vectors)
        self.n_alive += len(vectors)

    def drop(self, slot: int) -> None:
        """A track is held no more."""
        self.n_alive -= self._n_of.pop(slot, 0)

    def renumber(self, new: Slots) -> None:
        """Every slot becomes another; what others read stays as it is."""
        self.lists = replace(self.lists, slots=new[self.lists.slots])
        vectors, slots, rows = self.tail
        self._tail = vectors, new[slots], rows
        self._n_of = {int(new[slot]): n_rows for slot, n_rows in self._n_of.items()}

    def nearest(
        self,
        query: Vector,
        *,
        k: int,
        weights: Vector,
        cosine: bool,
        passes: Passes,
        tracks: TrackIds,
        exact: bool,
    ) -> tuple[Vector, TrackIds, Indices]:
        """Squared distance or 1 − cosine, track and row of the nearest, nearest first."""
        best, n_best = empty_best(min(k, len(self))), 0
        lists, enough = self.lists, self._enough(k, weights, cosine)
        n_passing = len(self) * np.count_nonzero(passes) / max(1, len(passes))  # about
        if self._n_tail:
            bounds = np.array([0, self._n_tail])
            n_best = scan(self.tail, passes, tracks, bounds, query, weights, cosine, best, n_best)
        query, weights = query[lists.order], weights[lists.order]
        if exact or len(lists.centroids) <= 1 or n_passing <= enough:
            bounds = np.array([0, len(lists)])
            n_best = scan(lists.stock, passes, tracks, bounds, query, weights, cosine, best, n_best)
        else:
            where = lists.bounds, lists.centroids
            n_best = scan_likely(
                lists.stock, passes, tracks, *where, query, weights, cosine, enough, best, n_best
            )
        told, track_ids, rows = best
        return told[:n_best], track_ids[:n_best], rows[:n_best]

    def _enough(self, k: int, weights: Vector, cosine: bool) -> int:
        """How many vectors are compared."""
        ratio = math.sqrt(len(self.lists) / max(1, self.lists.n_trained))
        if cosine:
            ratio *= COSINE_RATIO
        if np.ptp(weights) > 0:
            ratio *= UNEVEN_RATIO
        return max(round(ratio * self.lists.n_enough), ENOUGH_PER_K * k)

    def of_slots(self, wanted: Passes) -> tuple[Vectors, Indices, Indices]:
        """Vectors of these slots, with slot and row of each, by slot and row."""
        found = [(stock, np.flatnonzero(wanted[stock[1]])) for stock in (self.lists.stock, self.tail)]
        vectors, slots, rows = ([stock[i][chosen] for stock, chosen in found] for i in range(3))
        vectors[0] = vectors[0][:, np.argsort(self.lists.order)]
        order = np.lexsort((np.concatenate(rows), np.concatenate(slots)))
        of_slot, of_row = (np.concatenate(each)[order].astype(np.int64) for each in (slots, rows))
        return np.asarray(np.concatenate(vectors)[order], np.float32), of_slot, of_row

    def sorting(self) -> Sorting | None:
        """What is to be sorted anew, when it is time to."""
        n_alive = self.n_alive
        n_lists = 1 if n_alive < self._exact_below else n_lists_for(n_alive)
        trained = len(self.lists.centroids) > 1
        anew = n_lists > 1 and (not trained or n_alive >= 2 * self.lists.n_trained)
        long_tail = n_lists > 1 and self._n_tail > max(MIN_TAIL, TAIL_SHARE * len(self.lists))
        many_dead = len(self) - n_alive > max(MIN_TAIL, DEAD_SHARE * len(self))
        if not (anew or long_tail or many_dead):
            return None
        return Sorting(
            lists=self.lists,
            tail=self.tail,
            known=self.lists if trained and n_lists > 1 and not anew else None,
            n_lists=n_lists,
        )

    def replace(self, sorting: Sorting, lists: Lists) -> None:
        """Take what became of a sorting; what has come since stays behind it."""
        n_sorted = len(sorting.tail[0])
        vectors, slots, rows = self.tail
        self._tail = (vectors[n_sorted:].copy(), slots[n_sorted:].copy(), rows[n_sorted:].copy())
        self.lists, self._n_tail = lists, len(vectors) - n_sorted


def _counts(slots: Slots) -> dict[int, int]:
    """How many vectors each slot has."""
    counts = np.bincount(slots)
    held = np.flatnonzero(counts)
    return dict(zip(held.tolist(), counts[held].tolist(), strict=True))


def _grown(stock: Stock, n_used: int, capacity: int) -> Stock:
    """A copy with more room: others may be reading this one."""
    grown = (
        np.empty((capacity, stock[0].shape[1]), np.float32),
        np.empty(capacity, np.int32),
        np.empty(capacity, np.int32),
    )
    for new, old in zip(grown, stock, strict=True):
        new[:n_used] = old[:n_used]
    return grown
