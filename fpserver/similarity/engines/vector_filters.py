"""What vector sets know of a vector's track, and how a sieve is asked of them.

Attributes are JSON, kept with every vector, so numbers have seven digits; filters are a small language of Redis's own.
Text is compared by a digest of it, folded, so nothing that people write needs escaping in either. Text that is searched
for a part of it is folded, and every byte that is no small letter, digit or space is written as % and two capitals:
equal parts stay equal parts, and no part of one sign is part of another.
"""

import json
import math
from collections.abc import Iterator
from hashlib import blake2b
from itertools import product

import numpy as np

from fpserver.descriptors import FACTS
from fpserver.errors import InvalidRequest
from fpserver.roster import FIELDS, KEY, SEARCHED, TAG
from fpserver.similarity.engines.engine import Entry
from fpserver.terms import Sieve, fold, tags_of

TRACK, TEXT = "t", "q"  # attributes: the track's id, the text that is searched
MOST_ASKED = "tempo_bpm"  # of the facts: the first
BETWEEN = "|"  # texts that are searched together, and around each tag; no sign is written so
PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789 ")
SIGNS = ["".join(two) for two in product("ABCDEFGHIJKLMNOP", repeat=2)]  # by byte
MOST_PRECISE = 15  # digits behind the point
LARGEST = 1e15  # numbers beyond are told with an exponent


def attributes(entry: Entry) -> str:
    """Of every vector of a track, as JSON.

    Numbers are last: a filter reads a vector's attributes up to the field it asks for, and passing over a number takes
    it some ten times as long as passing over a text.
    """
    texts = {**dict(entry.metadata.items()), KEY: entry.key}
    told: dict[str, str | int | float] = {TRACK: entry.track_id}
    told |= {
        _of_field(name): _digest(text) for name, text in texts.items() if text is not None and name in FIELDS
    }
    if tags := tags_of(entry.metadata.tags):
        told[_of_field(TAG)] = _around(*tags)
    told[TEXT] = BETWEEN.join(_written(texts[name] or "") for name in SEARCHED)
    facts = sorted(entry.facts.items(), key=lambda fact: fact[0] != MOST_ASKED)
    told |= {_of_fact(name): float(f"{value:.7g}") for name, value in facts if math.isfinite(value)}
    return json.dumps(told, separators=(",", ":"))


def expression(sieve: Sieve | None) -> str | None:
    """The filter that only vectors pass whose tracks pass the sieve; None: all do.

    Raises:
        InvalidRequest: there is no such field.
    """
    return " and ".join(_parts(sieve)) or None if sieve else None


def _parts(sieve: Sieve) -> Iterator[str]:
    if sieve.without:
        yield f"(not (.{TRACK} in [{','.join(map(str, sorted(sieve.without)))}]))"
    for name, value in sieve.equal.items():
        if name not in FIELDS:
            raise InvalidRequest(f'"{name}" is no field to filter by; there are {", ".join(FIELDS)}')
        if name == TAG:
            yield f'"{_around(fold(value).strip())}" in .{_of_field(TAG)}'
        else:
            yield f'.{_of_field(name)} == "{_digest(value)}"'
    for name, (least, most) in sieve.ranges.items():
        yield f".{_of_fact(name)} >= {_number(-math.inf if least is None else least)}"
        if most is not None:
            yield f".{_of_fact(name)} <= {_number(most)}"
    if sieve.q:
        yield f'"{_written(sieve.q)}" in .{TEXT}'


def _of_field(name: str) -> str:
    return f"m{FIELDS.index(name)}"


def _of_fact(name: str) -> str:
    """A short name for those that every track has; of others, one that can be said."""
    return f"f{list(FACTS).index(name)}" if name in FACTS else f"x{name.encode().hex()}"


def _digest(text: str) -> str:
    return blake2b(fold(text).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _around(*texts: str) -> str:
    return BETWEEN + "".join(_written(text) + BETWEEN for text in texts)


def _written(text: str) -> str:
    folded = fold(text).encode("utf-8", "surrogatepass")
    return "".join(chr(byte) if byte in PLAIN else "%" + SIGNS[byte] for byte in folded)


def _number(value: float) -> str:
    """As the filter's language reads it: no sign in an exponent."""
    if abs(value) < LARGEST:
        return np.format_float_positional(value, precision=MOST_PRECISE, trim="-")
    return f"{min(max(value, -1e300), 1e300):e}".replace("e+", "e")
