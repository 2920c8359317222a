"""Intervals, paired differences and fitted curves; every interval is at 95 %."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.stats import beta

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
    x, y = np.asarray(snr_db, float), np.asarray(right, float)
    levels = np.unique(x)
    shares = [y[x == level].mean() for level in levels]
    if len(levels) < 3 or not min(shares) < 0.5 < max(shares):
        return None
    rng, names = np.random.default_rng(seed), sorted(set(clusters))
    rows = [np.flatnonzero(np.asarray(clusters) == name) for name in names]
    refitted = []
    for _ in range(N_REFITTED):
        drawn = np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])
        refitted.append(_fit(x[drawn], y[drawn]))
    low, high = np.quantile(refitted, (0.025, 0.975))
    return Interval(_fit(x, y), float(low), float(high))


def threshold_at(unknown_scores: Sequence[float], rate: float) -> float:
    """The score that at most a share `rate` of unknown clips exceeds."""
    ordered = np.sort(np.asarray(unknown_scores))[::-1]
    n_allowed = int(rate * len(ordered))
    return float(ordered[n_allowed]) if n_allowed < len(ordered) else -np.inf


def _fit(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    """Middle of the logistic curve with the greatest likelihood; its slope is kept between 0.5 and 10 dB."""

    def loss(parameters: npt.NDArray[np.float64]) -> float:
        z = (x - parameters[0]) / np.exp(parameters[1])
        return float(np.sum(np.logaddexp(0, -z) * y + np.logaddexp(0, z) * (1 - y)))

    bounds = ((x.min() - 10, x.max() + 10), (np.log(0.5), np.log(10)))
    fitted = minimize(loss, np.array([np.median(x), 1.0]), method="L-BFGS-B", bounds=bounds)
    return float(fitted.x[0])


def _by_cluster(
    values: npt.NDArray[np.float64], clusters: Sequence[str]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(sum, size) of each cluster."""
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    return np.bincount(index, values).astype(np.float64), np.bincount(index).astype(np.float64)
