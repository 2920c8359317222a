"""From what a request says of likeness to what the journeys take."""

from collections.abc import Collection
from typing import Any

from fpserver.errors import InvalidRequest
from fpserver.similar import Likeness
from fpserver.similarity.mix import Mix
from fpserver.terms import Group


def likeness_of(
    features: str | None, *, metric: str, transpose: bool, exact: bool = False, known: Collection[Group]
) -> Likeness:
    """What is meant by near.

    Args:
        features: `timbre:2,rhythm`; None: all groups that are known.
        metric: euclidean, cosine or dtw.
        transpose: whether tonal likeness is that of the best transposition.
        exact: whether every track is compared.
        known: groups that the catalogue is described by.

    Raises:
        InvalidRequest: a group is unknown, named twice, or its weight is none.
    """
    warped = metric == "dtw"
    how: dict[str, Any] = {"metric": "euclidean" if warped else metric, "transpose": transpose}
    weights = dict.fromkeys(known, 1.0) if features is None else _weights(features)
    return Likeness(mix=Mix(weights=weights, **how), warped=warped, exact=exact)


def _weights(features: str) -> dict[Group, float]:
    weights: dict[Group, float] = {}
    for item in features.split(","):
        name, _, weight = item.strip().partition(":")
        if name not in set(Group):
            raise InvalidRequest(f"features has {name!r}, must be of {', '.join(Group)}")
        if name in weights:
            raise InvalidRequest(f"features names {name} more than once")
        try:
            weights[Group(name)] = float(weight or 1)
        except ValueError:
            raise InvalidRequest(f"features gives {name} the weight {weight!r}, must be a number") from None
    return weights
