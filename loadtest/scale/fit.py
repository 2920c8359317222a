"""How like real tracks synthetic ones are: how dense, how long, how crowded their hashes, how often wrong by chance."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fpserver.config import FingerprintConfig
from fpserver.fingerprint.constellation import frames_per_s
from fpserver.fingerprint.landmarks import HASH_BITS
from fpserver.terms import TrackPeaks
from loadtest.scale.among import Chance

Integers = npt.NDArray[np.int64]
TOP_SHARES = (0.001, 0.01, 0.1)
QUANTILES = (0.5, 0.9, 0.99)


def shape(tracks: Sequence[TrackPeaks], n_postings: int, config: FingerprintConfig) -> dict[str, Any]:
    """How dense and how long tracks are."""
    seconds = np.array([each.n_frames for each in tracks]) / frames_per_s(config)
    return {
        "tracks": len(tracks),
        "hours": round(float(seconds.sum()) / 3600, 2),
        "peaks_per_s": round(sum(map(len, tracks)) / float(seconds.sum()), 2),
        "landmarks_per_s": round(n_postings / float(seconds.sum()), 2),
        "length_s": np.round(np.quantile(seconds, (0.1, 0.25, 0.5, 0.75, 0.9)), 1).tolist(),
    }


def top_shares(hashes: Integers, *, n_hashes: int, n_postings: int, rng: np.random.Generator) -> list[float]:
    """Share of `n_postings` of the postings, drawn, under the most frequent 0.1, 1 and 10 % of `n_hashes` hashes."""
    drawn = rng.choice(hashes, n_postings, replace=False)
    counts = np.sort(np.bincount(drawn))[::-1]
    return [round(float(counts[: int(share * n_hashes)].sum()) / n_postings, 4) for share in TOP_SHARES]


def met(ours: tuple[Integers, Integers], theirs: tuple[Integers, Integers], *, of: float = 1e6) -> float:
    """Expected length of the list that one of our postings meets, among `of` of theirs.

    Args:
        ours, theirs: (hash, group) of postings; those of one group do not meet.
        of: postings.
    """
    a, b = (np.bincount(hashes, minlength=1 << HASH_BITS).astype(np.float64) for hashes, _ in (ours, theirs))
    pairs = float(a @ b)
    n_pairs = float(len(ours[0])) * len(theirs[0])
    within, ours_of, theirs_of = _common(
        (ours[1] << HASH_BITS) | ours[0], (theirs[1] << HASH_BITS) | theirs[0]
    )
    if len(within):
        pairs -= float(ours_of @ theirs_of)
    _, ours_in, theirs_in = _common(ours[1], theirs[1])
    n_pairs -= float(ours_in @ theirs_in)
    return of * pairs / n_pairs


def by_chance(found: Mapping[str, Sequence[Sequence[Chance]]]) -> dict[str, Any]:
    """By step: what clips found among tracks that they are not of, by kind of track."""
    steps = [chance.step for chance in next(iter(found.values()))[0]]
    return {
        step: {
            kind: {
                name: np.round(np.quantile([getattr(clip[i], name) for clip in clips], QUANTILES), 4).tolist()
                for name in ("hits_per_lookup", "score")
            }
            for kind, clips in found.items()
        }
        for i, step in enumerate(steps)
    }


def _common(
    ours: Integers, theirs: Integers
) -> tuple[Integers, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(value, times in ours, times in theirs) of the values that are in both."""
    a, n_a = np.unique(ours, return_counts=True)
    b, n_b = np.unique(theirs, return_counts=True)
    both, at_a, at_b = np.intersect1d(a, b, assume_unique=True, return_indices=True)
    return both, n_a[at_a].astype(np.float64), n_b[at_b].astype(np.float64)
