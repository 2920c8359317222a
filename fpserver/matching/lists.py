"""The posting lists that one search has read: each once, however many of its steps ask for the hash.

Steps ask alike. Pairs of a clip's highest peaks are part of its dense query, too, and pairs of low frequencies have the
same hash under many warps. What was read for an earlier step is known, and costs neither a look-up nor a posting again;
a list that was left out is asked for again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fpserver.terms import Hashes, Lookup


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """What was read so far.

    Attributes:
        hashes: whose lists were read, sorted; an empty list is read, too.
        answers: the hashes asked for, sorted, and what was found; no hash was read twice.
    """

    hashes: Hashes = field(default_factory=lambda: np.zeros(0, np.uint32))
    answers: Sequence[tuple[Hashes, Lookup]] = ()

    def unread(self, hashes: Hashes) -> Hashes:
        """Those that must be asked for."""
        return np.setdiff1d(hashes, self.hashes, assume_unique=True)

    def and_of(self, asked: Hashes, found: Lookup) -> "Lists":
        """These, and those that were read just now: of an answer that misses a shard none, as it does not say which."""
        if found.degraded:
            return self
        read = np.union1d(self.hashes, asked[found.left_out == 0])
        return Lists(hashes=read, answers=[*self.answers, (asked, found)])

    def together(self, hashes: Hashes, asked: Hashes, found: Lookup) -> Lookup:
        """What is known of hashes, as one look-up would have told it.

        Args:
            hashes: sorted and distinct.
            asked: those of them that are asked for just now.
            found: of these.
        """
        left_out = np.zeros(len(hashes), np.int64)
        place = np.searchsorted(hashes, asked)
        left_out[place] = found.left_out
        pieces = [_within(hashes, *answer) for answer in self.answers]
        pieces.append((place[found.hash_index], found.track_id, found.offset))
        hash_index, track_id, offset = (np.concatenate(columns) for columns in zip(*pieces, strict=True))
        return Lookup(
            hash_index=hash_index,
            track_id=track_id,
            offset=offset,
            left_out=left_out,
            n_indexed=found.n_indexed,
            degraded=found.degraded,
        )


def _within(
    hashes: Hashes, asked: Hashes, found: Lookup
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Columns of the postings found for those of `asked` that are among `hashes`, which are sorted."""
    place = np.searchsorted(hashes, asked).astype(np.int64)
    among = np.isin(asked, hashes, assume_unique=True)
    kept = among[found.hash_index]
    return place[found.hash_index[kept]], found.track_id[kept], found.offset[kept]
