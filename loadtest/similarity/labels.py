"""Are the nearest tracks of the same album? Labels that nobody tuned to: the package, and the artist if one is known.

A track is asked about if another one has its label. Candidates are all other tracks of the corpus but those that share
material with it. Chance is what five random candidates would show.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from loadtest.accuracy.statistics import Interval, wilson
from loadtest.corpus import Recording

N_NEAREST = 5
N_RESAMPLED = 2000

Distances = npt.NDArray[np.float64]  # (n_tracks, n_tracks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Of the tracks asked about."""

    n: int
    share: Interval  # of the five nearest, those with the same label
    any: Interval  # tracks that have one among the five nearest


def artists(corpus: Path, recordings: Sequence[Recording]) -> list[str]:
    """Of each recording, in small letters; empty where none is known."""
    table = corpus / "tracks.csv"
    if not table.is_file():
        return [""] * len(recordings)
    with table.open(newline="", encoding="utf-8") as file:
        known = {row["path"]: row["artist"].strip().casefold() for row in csv.DictReader(file)}
    return [known.get(each.name, "") for each in recordings]


def asked(labels: Sequence[str], among: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Tracks to ask about."""
    names, index, counts = np.unique(np.array(labels), return_inverse=True, return_counts=True)
    return np.flatnonzero(among & (counts[index] > 1) & (names[index] != ""))


def shown(
    distances: Distances, labels: Sequence[str], queries: npt.NDArray[np.int64], near: npt.NDArray[np.bool_]
) -> Shown:
    """What the five nearest of each query are.

    Args:
        distances: of all tracks.
        labels: of all tracks.
        queries: which are asked about.
        near: pairs that are the same or share material, (n_tracks, n_tracks).
    """
    names = np.array(labels)
    rows = np.where(near[queries], np.inf, distances[queries])
    nearest = np.argsort(rows, axis=1, kind="stable")[:, :N_NEAREST]
    right = names[nearest] == names[queries, None]
    return Shown(
        n=len(queries), share=_resampled(right.mean(axis=1)), any=wilson(_n(right.any(axis=1)), len(right))
    )


def by_chance(labels: Sequence[str], queries: npt.NDArray[np.int64]) -> tuple[float, float]:
    """(share, any) of five random others."""
    names = np.array(labels)
    p = np.array([(np.count_nonzero(names == names[query]) - 1) / (len(names) - 1) for query in queries])
    return float(p.mean()), float((1 - (1 - p) ** N_NEAREST).mean())


def _resampled(shares: npt.NDArray[np.float64]) -> Interval:
    """A mean; tracks are resampled (bootstrap)."""
    drawn = np.random.default_rng(0).integers(len(shares), size=(N_RESAMPLED, len(shares)))
    low, high = np.quantile(shares[drawn].mean(axis=1), (0.025, 0.975))
    return Interval(float(shares.mean()), float(low), float(high))


def _n(flags: npt.NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(flags))
