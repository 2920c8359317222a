"""Intervals by resampling users (Efron 1979); every interval is at 95 %.

A user is the unit: his questions of several folds are averaged first. A difference is paired: both recommenders were
asked the same of the same users.
"""

from dataclasses import dataclass

import numpy as np

from loadtest.accuracy.statistics import Interval
from loadtest.recommend.data import Places, Reals

N_RESAMPLED = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """One figure of every user who has it."""

    user: Places  # ascending, each once
    value: Reals

    def __len__(self) -> int:
        return len(self.user)


def by_user(user: Places, value: Reals) -> Values:
    """Average the values of each user; those that are not a number are left out."""
    known = ~np.isnan(value)
    users, place = np.unique(user[known], return_inverse=True)
    sums = np.bincount(place, value[known], minlength=len(users))
    return Values(user=users, value=sums / np.maximum(np.bincount(place, minlength=len(users)), 1))


def mean(values: Values, *, seed: int = 0) -> Interval:
    """Mean over users."""
    if not len(values):
        return Interval(float("nan"), float("nan"), float("nan"))
    drawn = np.random.default_rng(seed).integers(len(values), size=(N_RESAMPLED, len(values)))
    low, high = np.quantile(values.value[drawn].mean(axis=1), (0.025, 0.975))
    return Interval(float(values.value.mean()), float(low), float(high))


def difference(ours: Values, theirs: Values, *, seed: int = 0) -> Interval:
    """Mean of ours less theirs over the users who have both."""
    users, mine, other = np.intersect1d(ours.user, theirs.user, return_indices=True)
    return mean(Values(user=users, value=ours.value[mine] - theirs.value[other]), seed=seed)


def ratio(ours: Values, theirs: Values, *, seed: int = 0) -> Interval:
    """Mean of ours over mean of theirs, of the users who have both; samples where theirs is 0 are left out."""
    users, mine, other = np.intersect1d(ours.user, theirs.user, return_indices=True)
    if not len(users) or not theirs.value[other].any():
        return Interval(float("nan"), float("nan"), float("nan"))
    drawn = np.random.default_rng(seed).integers(len(users), size=(N_RESAMPLED, len(users)))
    above, below = ours.value[mine], theirs.value[other]
    over, under = above[drawn].mean(axis=1), below[drawn].mean(axis=1)
    low, high = np.quantile(over[under > 0] / under[under > 0], (0.025, 0.975))
    return Interval(float(above.mean() / below.mean()), float(low), float(high))
