"""Turn descriptors into numbers whose differences mean the same everywhere: before anything is learned of a catalogue.

Frequencies, tempi and rates become logarithms, since an octave is an octave anywhere. The mean and covariance of
timbre, a Gaussian, become the logarithm of a matrix, since a variance is no length: embedded as the symmetric positive
matrix [[Σ + μμᵀ, μ], [μᵀ, 1]], whose logarithm is an ordinary vector (the lower triangle, off-diagonal times √2).
Everything else stays. No result is ever infinite, silence included.

Lovrić, Min-Oo, Ruh, "Multivariate normal distributions parametrized as a Riemannian symmetric space", 2000;
Arsigny et al., "Log-Euclidean metrics for fast and simple calculus on diffusion tensors", 2006.
"""

from collections.abc import Sequence
from math import isqrt
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from fpserver.descriptors import LAYOUT
from fpserver.terms import Group

Reals: TypeAlias = npt.NDArray[np.float64]
Real = TypeVar("Real", np.float32, np.float64)

LOGARITHMIC = {"Hz": 100.0, "1/min": 30.0, "1/s": 0.5}  # unit → what is added first: below it, linear
# What each dimension's standard deviation among tracks is taken to be before any are known: as measured on real music.
TYPICAL_SPREAD = {
    "Hz": 0.4,
    "1/min": 0.2,
    "1/s": 0.5,
    "dB": 4.5,
    "LUFS": 4.5,
}  # by unit; of logarithms, where there are
TYPICAL_SHARE = 0.4  # of it: how much deviations within a track differ among tracks
TYPICAL = {Group.TEMPORAL: 0.03, Group.RHYTHM: 0.2}  # of numbers without a unit
TYPICAL_CHROMA = (0.14, 0.07)  # of the blocks of means and deviations, and …
TYPICAL_COVARIANCE = 0.016  # … of the others
LEAST_SPREAD = 0.3  # of a timbre dimension: what has less is taken to have so much
RIDGE = 0.05  # added to each variance, in units of the typical one: keeps logarithms finite


def n_means(n_numbers: int) -> int:
    """Dimensions of a Gaussian of which there are so many means and covariances, end to end."""
    return (isqrt(9 + 8 * n_numbers) - 3) // 2


def comparable(group: Group, vectors: Reals) -> Reals:
    """Frequencies and rates as logarithms, (n, n_dimensions); other numbers as they are."""
    columns = vectors.copy()
    for index, unit in enumerate(units(group, vectors.shape[1])):
        if unit in LOGARITHMIC:
            columns[:, index] = np.log(np.maximum(vectors[:, index], 0) + LOGARITHMIC[unit])
    return columns


def typical_spread(group: Group, n_dimensions: int) -> Reals:
    """What each dimension's standard deviation among tracks is expected to be, (n_dimensions,)."""
    if group is Group.TONAL:
        others = (TYPICAL_COVARIANCE,) * (n_dimensions // 12)
        return np.repeat((*TYPICAL_CHROMA, *others)[: n_dimensions // 12], 12)
    layout = LAYOUT[group]
    if len(layout) != n_dimensions:
        return np.ones(n_dimensions)
    without_unit = TYPICAL.get(group, 1.0)
    return np.array(
        [
            TYPICAL_SPREAD.get(each.unit, without_unit) * (TYPICAL_SHARE if each.name.endswith("_std") else 1)
            for each in layout
        ]
    )


def units(group: Group, n_dimensions: int) -> Sequence[str]:
    """Of each dimension of a group."""
    layout = LAYOUT[group]
    return [each.unit for each in layout] if len(layout) == n_dimensions else [""] * n_dimensions


def inner_scale(vectors: Reals) -> tuple[Reals, Reals]:
    """(centre, spread) of the sounds that timbre vectors sum up: mean of the means, mean deviation within tracks."""
    n = n_means(vectors.shape[1])
    upper = np.triu_indices(n)
    variances = vectors[:, n:][:, upper[0] == upper[1]]
    return vectors[:, :n].mean(0), np.maximum(np.sqrt(np.maximum(variances, 0).mean(0)), LEAST_SPREAD)


def log_gaussians(vectors: Reals, *, centre: Reals, spread: Reals) -> Reals:
    """Logarithms of the matrices of Gaussians.

    Args:
        vectors: (n, d + d(d+1)/2), the means, then the upper triangle of the covariance by row.
        centre, spread: (d,), by which sounds are moved and scaled first.

    Returns:
        (n, (d+1)(d+2)/2); the Euclidean distance of two rows is the log-Euclidean distance of their matrices.
    """
    n = len(centre)
    upper = np.triu_indices(n)
    means = (vectors[:, :n] - centre) / spread
    matrices = np.empty((len(vectors), n + 1, n + 1))
    matrices[:, upper[0], upper[1]] = vectors[:, n:] / (spread[upper[0]] * spread[upper[1]])
    matrices[:, upper[1], upper[0]] = matrices[:, upper[0], upper[1]]
    matrices[:, :n, :n] += means[:, :, None] * means[:, None, :] + RIDGE * np.eye(n)
    matrices[:, n, :n] = matrices[:, :n, n] = means
    matrices[:, n, n] = 1.0
    values, directions = np.linalg.eigh(matrices)
    logarithms = (directions * np.log(np.maximum(values, RIDGE / 10))[:, None, :]) @ directions.transpose(
        0, 2, 1
    )
    rows, columns = np.triu_indices(n + 1)
    return np.asarray(logarithms[:, rows, columns] * np.where(rows == columns, 1.0, np.sqrt(2.0)))


def turn(tonal: npt.NDArray[Real], semitones: int) -> npt.NDArray[Real]:
    """Tonal vectors, raw or comparable, of the same music so many semitones higher, (…, 12 · n_blocks)."""
    blocks = tonal.reshape(*tonal.shape[:-1], tonal.shape[-1] // 12, 12)
    return np.roll(blocks, semitones, axis=-1).reshape(tonal.shape)
