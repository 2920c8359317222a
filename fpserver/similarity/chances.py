"""Turn a distance into a likeness: the share of random pairs of the catalogue that are farther apart.

1 for what is identical, falling with distance, never quite 0. What is kept is a sample of random pairs, group by group,
so that any mix of groups is judged by the same pairs. A catalogue of a few tracks has few pairs: `N_ASSUMED` assumed
ones, with the distances of a chi-squared variable whose median is 1, as the scales make them, are always among them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from fpserver.similarity.mix import Mix
from fpserver.similarity.transforms import Reals
from fpserver.terms import Group, Vector, Vectors

N_ASSUMED = 31
_TINY = 1e-12
_FREEDOM = 8  # of the chi-squared variable: how much distances vary, as measured on real tracks


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Random pairs of tracks, as far as one group goes; NaN where a track of the pair lacks it."""

    squared: Vector  # (n_pairs,) squared distances
    transposed: Vector  # the same at the best of twelve transpositions; other groups: `squared`
    lengths: Vectors  # (n_pairs, 2) squared lengths of the two vectors


def assumed() -> Reals:
    """Squared distances of pairs before any are known, (N_ASSUMED,): Wilson and Hilferty's quantiles."""
    z = ndtri((np.arange(N_ASSUMED) + 0.5) / N_ASSUMED)
    share = 2 / (9 * _FREEDOM)
    return np.asarray(((1 - share + z * np.sqrt(share)) / (1 - share)) ** 3)


def distances_of(pairs: Mapping[Group, Pairs], mix: Mix) -> Reals:
    """How far apart random pairs are by this mix, ascending; with the assumed ones among them."""
    shares = mix.shares
    squared = np.zeros(len(next(iter(pairs.values())).squared))
    lengths = np.zeros((len(squared), 2))
    for group, share in shares.items():
        of_group = pairs[group]
        squared += share * (of_group.transposed if mix.transpose else of_group.squared)
        lengths += share * of_group.lengths
    there = np.isfinite(squared)
    squared = np.concatenate((squared[there], assumed()))
    if mix.metric == "euclidean":
        return np.sort(np.sqrt(squared))
    lengths = np.concatenate((lengths[there], np.full((N_ASSUMED, 2), 0.5)))
    return np.sort(cosine_distances(squared, lengths[:, 0], lengths[:, 1]))


def cosine_distances(squared: Reals, a: Reals, b: Reals) -> Reals:
    """1 − cosine, 0..2, of vectors of which the squared distance and the squared lengths are known.

    A vector of length 0 has no direction: 0 from another such, 1 from all others.
    """
    product = np.sqrt(a * b)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = 1 - (a + b - squared) / (2 * product)
    distance = np.where(product > 0, distance, np.where(squared > 0, 1.0, 0.0))
    return np.asarray(np.where(squared > 0, np.clip(distance, 0, 2), 0.0))


def share_farther(distances: Reals, *, random: Reals) -> Reals:
    """Share of `random` (ascending) that is farther than each distance, between the steps of the sample.

    Beyond the farthest it goes on falling, as the square of the distance grows.
    """
    n = len(random)
    known = np.concatenate(([0.0], random))
    farther = 1 - np.arange(n + 1) / (n + 1)
    within = np.interp(distances, known, farther)
    beyond = (max(random[-1], _TINY) / np.maximum(distances, _TINY)) ** 2 / (n + 1)
    return np.asarray(np.where(distances <= 0, 1.0, np.where(distances > random[-1], beyond, within)))
