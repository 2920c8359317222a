"""What a likeness is made of: which groups count, how much, and how their difference is measured.

A mix is what somebody asks for; it is checked once, here, and everything that measures takes it as it is.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Literal, TypeAlias

from fpserver.errors import InvalidRequest
from fpserver.terms import Group

Metric: TypeAlias = Literal["euclidean", "cosine"]
DEFAULT_WEIGHTS = {  # what finds tracks of one album best (docs/decisions/0028), all counting
    Group.TEMPORAL: 1.0,
    Group.SPECTRAL: 2.0,
    Group.RHYTHM: 0.5,
    Group.TONAL: 0.5,
    Group.TIMBRE: 2.0,
}

METRICS: tuple[Metric, ...] = ("euclidean", "cosine")


def usual(groups: Collection[Group]) -> dict[Group, float]:
    """The weights of whoever says none, where there are only these groups."""
    return {group: weight for group, weight in DEFAULT_WEIGHTS.items() if group in groups}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Groups with their weights: what share each has of the squared distance between two random tracks.

    Raises:
        InvalidRequest: no weight is above 0, one is negative or no number, or there is no such metric.
    """

    weights: Mapping[Group, float]
    metric: Metric = "euclidean"
    transpose: bool = False  # tonal: as near as the best of twelve transpositions

    def __post_init__(self) -> None:
        for group, weight in self.weights.items():
            if not isfinite(weight) or weight < 0:
                raise InvalidRequest(f"weight of {group} is {weight}, needs a number of at least 0")
        if not any(self.weights.values()):
            raise InvalidRequest("no group has a weight above 0, at least one needs it")
        if self.metric not in METRICS:
            raise InvalidRequest(f"metric is {self.metric!r}, needs one of {', '.join(METRICS)}")

    @property
    def shares(self) -> dict[Group, float]:
        """Groups that count, in the order of `Group`, with weights that sum to 1."""
        total = sum(self.weights.values())
        return {group: self.weights[group] / total for group in Group if self.weights.get(group)}

    def of(self, group: Group) -> "Mix":
        """One of its groups alone, measured the same way."""
        return Mix(weights={group: 1.0}, metric=self.metric, transpose=self.transpose)
