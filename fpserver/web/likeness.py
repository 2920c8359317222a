"""From what a request says of likeness to what the journeys take."""

from collections.abc import Collection, Mapping

from fpserver.comparable import Likeness
from fpserver.errors import InvalidRequest
from fpserver.similarity.mix import Metric, Mix, usual
from fpserver.terms import Group

MAX_WEIGHT = 1000  # of a group


def likeness_of(
    weights: Mapping[Group, float] | None,
    *,
    metric: Metric | str,
    transpose: bool,
    exact: bool = False,
    known: Collection[Group],
) -> Likeness:
    """What is meant by near.

    Args:
        weights: of groups; None: the usual ones of those that are known.
        metric: euclidean, cosine or dtw.
        transpose: whether tonal likeness is that of the best transposition.
        exact: whether every track is compared.
        known: groups that the catalogue is described by.

    Raises:
        InvalidRequest: no weight is above 0.
    """
    warped = metric == "dtw"
    mix = Mix(
        weights=usual(known) if weights is None else weights,
        metric="cosine" if metric == "cosine" else "euclidean",
        transpose=transpose,
    )
    return Likeness(mix=mix, warped=warped, exact=exact)


def weights_in(features: Collection[Group] | Mapping[Group, float] | None) -> dict[Group, float] | None:
    """The weights above 0 that a body's `features` gives; None: the usual ones.

    Raises:
        InvalidRequest: there are none.
    """
    if features is None:
        return None
    weights = features if isinstance(features, Mapping) else dict.fromkeys(features, 1.0)
    counting = {group: float(weight) for group, weight in weights.items() if weight > 0}
    if not counting:
        raise InvalidRequest("features: no group has a weight above 0, at least one needs it")
    return counting


def weights_of(features: str | None) -> dict[Group, float] | None:
    """The weights that a query's `features` gives, as `timbre:2,rhythm`; None: the usual ones.

    Raises:
        InvalidRequest: a group is unknown, named twice, or its weight is none.
    """
    if features is None:
        return None
    weights: dict[Group, float] = {}
    for item in features.split(","):
        name, _, weight = item.strip().partition(":")
        if name not in set(Group):
            raise InvalidRequest(f"features has {name!r}, must be of {', '.join(Group)}")
        if name in weights:
            raise InvalidRequest(f"features names {name} more than once")
        try:
            weights[Group(name)] = given = float(weight or 1)
        except ValueError:
            raise InvalidRequest(f"features gives {name} the weight {weight!r}, must be a number") from None
        if given > MAX_WEIGHT:
            raise InvalidRequest(f"features gives {name} the weight {weight}, at most {MAX_WEIGHT} counts")
    return weights
