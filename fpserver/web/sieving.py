"""From the filters of a request, a query's or a body's, to a `Sieve`.

    {"genre": "jazz", "key": "A minor", "q": "amber", "tempo_bpm_min": 100, "tempo_bpm_max": 120}

Equal to: the metadata fields and `key`. Ranges: each fact of `descriptors.FACTS` with `_min` or `_max` behind it,
both ends included.
"""

import math
from collections.abc import Mapping

from fpserver.descriptors import FACTS
from fpserver.errors import InvalidRequest
from fpserver.terms import METADATA_FIELDS, Sieve
from fpserver.web.reading import shown
from fpserver.web.schemas import MAX_FILTER_CHARS

EQUAL = (*METADATA_FIELDS, "key")
ENDS = ("_min", "_max")


def sieve_of(filters: Mapping[str, str | float], *, what: str = "filter") -> Sieve:
    """The sieve that filters ask for; a number may be given as text. `what` names them in a refusal.

    Raises:
        InvalidRequest: a filter is unknown, or its value breaks its rule.
    """
    equal: dict[str, str] = {}
    ranges: dict[str, tuple[float | None, float | None]] = {}
    q = None
    for name, value in filters.items():
        if name == "q":
            q = _text(name, value, what)
        elif name in EQUAL:
            equal[name] = _text(name, value, what)
        elif name.endswith(ENDS) and name[:-4] in FACTS:
            least, most = ranges.get(name[:-4], (None, None))
            number = _number(name, value, what)
            ranges[name[:-4]] = (number, most) if name.endswith("_min") else (least, number)
        else:
            facts = ", ".join(FACTS)
            raise InvalidRequest(
                f"{what} {shown(name)} is unknown: there are q, {', '.join(EQUAL)}, "
                f"and with _min or _max behind them {facts}"
            )
    for fact, (least, most) in ranges.items():
        if least is not None and most is not None and least > most:
            raise InvalidRequest(
                f"{what} {fact}_min is {least:g}: must be at most {fact}_max, which is {most:g}"
            )
    return Sieve(equal=equal, ranges=ranges, q=q)


def _text(name: str, value: str | float, what: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_FILTER_CHARS:
        raise InvalidRequest(
            f"{what} {name} is {shown(str(value))}: must be text of 1 to {MAX_FILTER_CHARS} characters"
        )
    return value


def _number(name: str, value: str | float, what: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidRequest(f"{what} {name} is {shown(str(value))}: must be a number")
    return number
