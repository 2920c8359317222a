"""Intervals, paired differences and fitted curves; every interval is at 95 %."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

Reals: TypeAlias = npt.NDArray[np.float64]

Z = 1.96
N_RESAMPLED = 1000
N_REFITTED = 200


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and where it probably lies."""

    value: float
    low: float
    high: float


def wilson(n_right: int, n: int) -> Interval:
    """A share (Wilson 1927)."""
    if n == 0:
        return Interval(float("nan"), 0.0, 1.0)
    p = n_right / n
    centre, half = p + Z * Z / 2 / n, Z * sqrt(p * (1 - p) / n + Z * Z / 4 / n / n)
    low, high = ((centre + sign * half) / (1 + Z * Z / n) for sign in (-1, 1))
    return Interval(p, max(0.0, low), min(1.0, high))


def clopper_pearson(n_events: int, n: int) -> Interval:
    """A rate of rare events, never too narrow (Clopper and Pearson 1934)."""
    if n == 0:
        return Interval(float("nan"), 0.0, 1.0)
    low = float(beta.ppf(0.025, n_events, n - n_events + 1)) if n_events else 0.0
    high = float(beta.ppf(0.975, n_events + 1, n - n_events)) if n_events < n else 1.0
    return Interval(n_events / n, low, high)


def paired_difference(
    ours: Sequence[bool], theirs: Sequence[bool], clusters: Sequence[str], *, seed: int = 0
) -> Interval:
    """Share of `ours` less share of `theirs` on the same clips; whole clusters are resampled (bootstrap)."""
    difference = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    sums, sizes = _by_cluster(difference, clusters)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(N_RESAMPLED, len(sums)))
    resampled = sums[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Interval(float(difference.mean()), float(low), float(high))


def mcnemar(ours: Sequence[bool], theirs: Sequence[bool]) -> tuple[int, int]:
    """Clips that only we, and that only they had right: all that a paired test looks at (McNemar 1947)."""
    a, b = np.asarray(ours, bool), np.asarray(theirs, bool)
    return int((a & ~b).sum()), int((~a & b).sum())


def half_point(
    snr_db: Sequence[float], right: Sequence[bool], clusters: Sequence[str], *, seed: int = 0
) -> Interval | None:
    """The signal-to-noise ratio at which half is right: a logistic curve, fitted by likelihood.

    None where the half is not between the lowest and the highest share, or there are fewer than three ratios.
    """
    levels, level = np.unique(np.asarray(snr_db, np.float64), return_inverse=True)
    names, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    n_right = np.zeros((len(names), len(levels)))
    n_clips = np.zeros((len(names), len(levels)))
    np.add.at(n_right, (cluster, level), np.asarray(right, np.float64))
    np.add.at(n_clips, (cluster, level), 1.0)
    shares = n_right.sum(0) / n_clips.sum(0)
    if len(levels) < 3 or not shares.min() < 0.5 < shares.max():
        return None
    drawn = np.random.default_rng(seed).integers(len(names), size=(N_REFITTED, len(names)))
    fitted = _fit(levels, n_right[drawn].sum(1), n_clips[drawn].sum(1))
    low, high = np.quantile(fitted, (0.025, 0.975))
    best = _fit(levels, n_right.sum(0)[None], n_clips.sum(0)[None])[0]
    return Interval(float(best), float(low), float(high))


def threshold_at(unknown_scores: Sequence[float], rate: float) -> float:
    """The score that at most a share `rate` of unknown clips exceeds."""
    ordered = np.sort(np.asarray(unknown_scores))[::-1]
    n_allowed = int(rate * len(ordered))
    return float(ordered[n_allowed]) if n_allowed < len(ordered) else -np.inf


def _fit(levels: Reals, n_right: Reals, n_clips: Reals) -> Reals:
    """Middles of the logistic curves of greatest likelihood, (n_samples,), from counts (n_samples, n_levels).

    Sought on a grid: middles every 0.05 dB, from 10 dB below to 10 dB above; twenty widths from 0.5 to 10 dB.
    """
    middles = np.arange(levels.min() - 10, levels.max() + 10, 0.05)
    widths = np.geomspace(0.5, 10, 20)
    z = (levels - middles[:, None, None]) / widths[:, None]  # (n_middles, n_widths, n_levels)
    likelihood = -np.logaddexp(0, -z) @ n_right.T - np.logaddexp(0, z) @ (n_clips - n_right).T
    return np.asarray(middles[likelihood.max(axis=1).argmax(axis=0)])


def _by_cluster(values: Reals, clusters: Sequence[str]) -> tuple[Reals, Reals]:
    """(sum, size) of each cluster."""
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    return np.bincount(index, values).astype(np.float64), np.bincount(index).astype(np.float64)
