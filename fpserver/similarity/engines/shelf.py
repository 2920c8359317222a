"""The vectors of one space in memory: those sorted into lists, and behind them, in tails, those that came since.

Removing marks a track's slot in the roster, and `passes` leaves it out of every search: a removed vector is never
found, and its room is won back when the lists are sorted anew. What is handed to `sort`, in another thread, never
changes: lists are replaced, and tails only added to.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fpserver.roster import Passes, Slots
from fpserver.similarity.engines.lists import GoOn, Lists, Part, n_lists_for, sort, unsorted
from fpserver.similarity.engines.scan import Indices, Stock, empty_best, scan, scan_likely
from fpserver.similarity.engines.trying import tried
from fpserver.terms import TrackIds, Vector, Vectors

MIN_TAIL = 1024  # vectors: so few are not worth sorting
TAIL_SHARE = 0.01  # of the sorted ones: so many unsorted are compared with every query
DEAD_SHARE = 0.25  # of all vectors: so many removed ones are worth clearing out
MAX_GROWN = 1 << 15  # vectors: a tail with more is left as it is, and another begun
ENOUGH_PER_K = 20  # vectors compared at least, for each that is wanted
UNEVEN_RATIO = 4.0  # times as many, with weights: they make another order than the lists'
COSINE_RATIO = 2.0  # times as many, by cosine


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorting:
    """What is sorted anew, as it was when that began."""

    lists: Lists
    tails: Sequence[Stock]
    known: Lists | None
    n_lists: int

    def run(self, alive: Passes, go_on: GoOn) -> Lists:
        """The sorted vectors of living tracks; takes seconds, anywhere.

        Raises:
            Stopped: `go_on` has.
        """
        plain = np.arange(len(self.lists.order))
        every = [(self.lists.stock, self.lists.order), *((tail, plain) for tail in self.tails)]
        parts = [
            Part(stock=stock, order=order, chosen=np.flatnonzero(alive[stock[1]])) for stock, order in every
        ]
        lists = sort(parts, known=self.known, n_lists=self.n_lists, go_on=go_on)
        if self.known is None and len(lists.centroids) > 1:
            return replace(lists, n_enough=tried(lists, alive, go_on))
        return lists


class Shelf:
    """The vectors of one space."""

    def __init__(
        self, n_dimensions: int, *, exact_below: int, lists: Lists | None = None, tails: Sequence[Stock] = ()
    ) -> None:
        self.n_dimensions = n_dimensions
        self.lists = lists or unsorted(n_dimensions)
        self._exact_below = exact_below
        self._full = list(tails)  # tails that are left as they are
        self._last = unsorted(n_dimensions).stock  # the tail that is added to
        self._n_last = 0  # so many of it are filled
        slots = np.concatenate([self.lists.slots, *(tail[1] for tail in self._full)])
        self._n_of = _counts(slots)  # by slot of a track that is held
        self.n_alive = len(self)  # vectors of tracks that are held

    def __len__(self) -> int:
        """Vectors, those of removed tracks too."""
        return len(self.lists) + self.n_unsorted

    @property
    def n_unsorted(self) -> int:
        """Vectors in tails."""
        return self._n_last + sum(len(slots) for _, slots, _ in self._full)

    @property
    def tails(self) -> list[Stock]:
        """What is not sorted, in the order in which it came."""
        vectors, slots, rows = self._last
        n = self._n_last
        return [*self._full, (vectors[:n], slots[:n], rows[:n])] if n else list(self._full)

    @property
    def memory_bytes(self) -> int:
        """Of all arrays."""
        lists = (self.lists.bounds, self.lists.centroids, self.lists.order)
        stocks = (array for stock in (self.lists.stock, *self._full, self._last) for array in stock)
        return sum(array.nbytes for array in (*lists, *stocks))

    def add(self, slot: int, vectors: Vectors) -> None:
        """Hold the vectors of a track."""
        self._make_room(len(vectors))
        of_tail, slots, rows = self._last
        place = slice(self._n_last, self._n_last + len(vectors))
        of_tail[place], slots[place], rows[place] = vectors, slot, np.arange(len(vectors))
        self._n_last += len(vectors)
        self._n_of[slot] = len(vectors)
        self.n_alive += len(vectors)

    def drop(self, slot: int) -> None:
        """A track is held no more."""
        self.n_alive -= self._n_of.pop(slot, 0)

    def renumber(self, new: Slots) -> None:
        """Every slot becomes another; what others read stays as it is."""
        self._full = [(vectors, new[slots], rows) for vectors, slots, rows in self.tails]
        self._last, self._n_last = unsorted(self.n_dimensions).stock, 0
        self.lists = replace(self.lists, slots=new[self.lists.slots])
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
        for tail in self.tails:
            bounds = np.array([0, len(tail[1])])
            n_best = scan(tail, passes, tracks, bounds, query, weights, cosine, best, n_best)
        lists, enough = self.lists, self._enough(k, weights, cosine)
        n_passing = len(self) * np.count_nonzero(passes) / max(1, len(passes))  # about
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

    def of_slots(self, wanted: Passes) -> tuple[Vectors, Indices, Indices]:
        """Vectors of these slots, with slot and row of each, by slot and row."""
        found = [(stock, np.flatnonzero(wanted[stock[1]])) for stock in (self.lists.stock, *self.tails)]
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
        long_tail = n_lists > 1 and self.n_unsorted > max(MIN_TAIL, TAIL_SHARE * len(self.lists))
        many_dead = len(self) - n_alive > max(MIN_TAIL, DEAD_SHARE * len(self))
        if not (anew or long_tail or many_dead):
            return None
        return Sorting(
            lists=self.lists,
            tails=self.tails,
            known=self.lists if trained and n_lists > 1 and not anew else None,
            n_lists=n_lists,
        )

    def replace(self, sorting: Sorting, lists: Lists) -> None:
        """Take what became of a sorting; what has come since stays behind it."""
        n_sorted = sum(len(slots) for _, slots, _ in sorting.tails)
        rest: list[Stock] = []
        for vectors, slots, rows in self.tails:
            if n_sorted < len(slots):
                rest.append((vectors[n_sorted:], slots[n_sorted:], rows[n_sorted:]))
            n_sorted = max(0, n_sorted - len(slots))
        self.lists, self._full = lists, rest
        self._last, self._n_last = unsorted(self.n_dimensions).stock, 0

    def _enough(self, k: int, weights: Vector, cosine: bool) -> int:
        """How many vectors are compared."""
        ratio = math.sqrt(len(self.lists) / max(1, self.lists.n_trained))
        if cosine:
            ratio *= COSINE_RATIO
        if np.ptp(weights) > 0:
            ratio *= UNEVEN_RATIO
        return max(round(ratio * self.lists.n_enough), ENOUGH_PER_K * k)

    def _make_room(self, n_more: int) -> None:
        """Have room in the last tail; others may be reading it, so it is copied, or left as it is if it is long."""
        needed = self._n_last + n_more
        if needed <= len(self._last[1]):
            return
        if self._n_last > MAX_GROWN:
            self._full, self._n_last, needed = self.tails, 0, n_more
        before = self._last
        capacity = max(needed, min(2 * len(before[1]), 2 * MAX_GROWN), 64)
        self._last = (
            np.empty((capacity, self.n_dimensions), np.float32),
            np.empty(capacity, np.int32),
            np.empty(capacity, np.int32),
        )
        for new, old in zip(self._last, before, strict=True):
            new[: self._n_last] = old[: self._n_last]


def _counts(slots: Slots) -> dict[int, int]:
    """How many vectors each slot has."""
    counts = np.bincount(slots)
    held = np.flatnonzero(counts)
    return dict(zip(held.tolist(), counts[held].tolist(), strict=True))
