"""How many vectors must be compared with a query, until nearly all of its nearest are among them? That is tried out.

It depends on what the vectors are: where they lie in dense groups, a list or two have all that is near; where they fill
their space evenly, it is many. So some of the sorted vectors are asked for, exactly and then among more and more.
"""

import numpy as np

from fpserver.roster import Passes
from fpserver.similarity.engines.lists import GoOn, Lists
from fpserver.similarity.engines.scan import Best, empty_best, scan, scan_likely

N_TRIED = 150  # vectors that are asked for
K = 10  # nearest ones of each, besides itself
RECALL = 0.985  # of those, found: with the error of so few questions, 0.97 of all
LEAST = 500  # vectors compared
STEP = 1.3  # times as many, until it is enough
SEED = 77


def tried(lists: Lists, alive: Passes, go_on: GoOn) -> int:
    """So many of these vectors are to be compared; takes seconds for a million."""
    rng = np.random.default_rng(SEED)
    chosen = rng.choice(len(lists), min(N_TRIED, len(lists)), replace=False)
    slots = np.arange(len(alive), dtype=np.int64)
    ones = np.ones(len(lists.order), np.float32)
    everything = np.array([0, len(lists)])
    k = min(K + 1, len(lists))

    def exactly(i: int) -> set[tuple[int, int]]:
        go_on()
        best, query = empty_best(k), lists.vectors[i]
        return _pairs(best, scan(lists.stock, alive, slots, everything, query, ones, False, best, 0))

    def likely(i: int, enough: int) -> set[tuple[int, int]]:
        best, query = empty_best(k), lists.vectors[i]
        where = lists.bounds, lists.centroids
        n_best = scan_likely(lists.stock, alive, slots, *where, query, ones, False, enough, best, 0)
        return _pairs(best, n_best)

    expected = [exactly(i) for i in chosen]
    enough = float(LEAST)
    while enough < len(lists):
        missed = sum(
            len(of_one - likely(i, round(enough))) for i, of_one in zip(chosen, expected, strict=True)
        )
        if missed <= (1 - RECALL) * K * len(chosen):
            break
        enough *= STEP
    return min(round(enough), len(lists))


def _pairs(best: Best, n_best: int) -> set[tuple[int, int]]:
    _, slots, rows = best
    return set(zip(slots[:n_best].tolist(), rows[:n_best].tolist(), strict=True))
