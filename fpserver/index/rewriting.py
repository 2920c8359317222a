"""Which posting lists get others in their place, and these.

A list is read, another is made, and it is put in the place of the one that was read if that still begins as it did: so
removing and sealing need no locks, and a crash leaves either list, whole (docs/decisions/0022).
"""

import numpy as np

from fpserver.index import codec, lists
from fpserver.index.keys import Indices
from fpserver.terms import Hashes

# How much one call may do, so that it holds a node up for some tens of milliseconds at most.
MAX_LISTS = 512
MAX_POSTINGS = 65_536


def pieces(hashes: Hashes, sizes: lists.Sizes) -> list[Hashes]:
    """Hashes that have lists, in pieces of at most so many hashes and, but for a piece of one, postings."""
    hashes, sizes = hashes[sizes > 0], sizes[sizes > 0]
    some, first, n_postings = [], 0, 0
    for i, size in enumerate(sizes.tolist()):
        n_postings += size
        if i > first and (i - first == MAX_LISTS or n_postings > MAX_POSTINGS):
            some.append(hashes[first:i])
            first, n_postings = i, size
    return [*some, hashes[first:]]


def replacements(
    answer: codec.Answer, without: int | None
) -> tuple[Indices, list[codec.Replacement], lists.Sizes]:
    """Which lists get another in their place, these, and how many postings each has less.

    Without a track, those that it is in; else those that are worth sealing.
    """
    stored = lists.unpack(answer.lists, answer.sizes)
    list_of = np.repeat(np.arange(len(stored.size)), stored.size)
    keep = stored.track_id != (without or 0)  # no track has the id 0
    n_less = stored.size - np.bincount(list_of[keep], minlength=len(stored.size))
    changes = stored.worth_sealing if without is None else n_less > 0
    keep &= changes[list_of]
    track_id, offset = lists.in_order(list_of[keep], stored.track_id[keep], stored.offset[keep])
    new = lists.packed(track_id, offset, (stored.size - n_less)[changes])
    ends, heads = np.cumsum(stored.n_bytes), stored.head_bytes
    changed = np.flatnonzero(changes)
    new_ones = [
        codec.Replacement(
            read=answer.lists[ends[i] - stored.n_bytes[i] : ends[i]], n_head=int(heads[i]), new=each
        )
        for i, each in zip(changed.tolist(), new, strict=True)
    ]
    return changed, new_ones, n_less[changed]
