"""From an input to a strange one like it: bytes turned about, or a document's values replaced, its form kept.

A chance that is handed in decides everything.
"""

import json
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import msgpack

Mutator: TypeAlias = Callable[[bytes, random.Random], bytes]

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 255, 65536, 2**28, 2**31, 2**32, 2**53, 2**63 - 1, -(2**63), 2**64 - 1),
    *(0.5, 1.0, -0.0, 1e-320, 1e308, -1e308, float("nan"), float("inf"), float("-inf")),
    *(
        "",
        "0",
        "null",
        "nan",
        "a",
        "\x00",
        "..",
        "../..",
        "/etc/passwd",
        "ü",
        "\U0001f600",
        "\u202e",
        "a" * 1001,
    ),
    *("2026-01-31T12:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "like", "timbre:2,tonal"),
    *(b"", b"\x00", b"\xff" * 9, [], [[]], [[[[[[[[]]]]]]]], {}, {"": {}}),
)
WORDS = tuple(
    word.encode()
    for word in (
        "\r\n",
        "\r\n\r\n",
        "--",
        "; ",
        ",",
        "=",
        "%00",
        "%2e%2e%2f",
        "%",
        "&",
        "null",
        "NaN",
        "1e999",
        "-1",
    )
)
MAX_DEEP = 300


def bytes_mutated(data: bytes, chance: random.Random) -> bytes:
    """A few places changed, doubled, cut out, moved or filled."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(changed) + 1)
        n_bytes = chance.choice((1, 1, 2, 4, 16, 64, max(1, len(changed) // 4)))
        match chance.randrange(8):
            case 0 if changed:
                changed[at % len(changed)] ^= 1 << chance.randrange(8)
            case 1 if changed:
                changed[at % len(changed)] = chance.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))
            case 2:
                changed[at : at + n_bytes] = chance.randbytes(n_bytes)
            case 3:
                del changed[at : at + n_bytes]
            case 4:
                changed[at:at] = changed[at : at + n_bytes]
            case 5:
                source = chance.randrange(len(changed) + 1)
                changed[at : at + n_bytes] = changed[source : source + n_bytes]
            case 6:
                changed[at:at] = chance.choice(WORDS)
            case _:
                del changed[at:]
    return bytes(changed)


def blocks_mutated(marks: Sequence[bytes]) -> Mutator:
    """A mutator of files of blocks, each of which begins with a mark: whole blocks are doubled, moved or left out."""

    def mutated(data: bytes, chance: random.Random) -> bytes:
        mark = next((mark for mark in marks if data.count(mark) > 1), None)
        if mark is None or chance.random() < 0.5:
            return bytes_mutated(data, chance)
        head, *blocks = data.split(mark)
        place = chance.randrange(len(blocks))
        match chance.randrange(4):
            case 0:
                blocks.insert(place, blocks[chance.randrange(len(blocks))])
            case 1:
                del blocks[place]
            case 2:
                chance.shuffle(blocks)
            case _:
                blocks[place] = bytes_mutated(blocks[place], chance)
        return mark.join((head, *blocks))

    return mutated


def json_mutated(data: bytes, chance: random.Random) -> bytes:
    """The same document with other values, names or forms; what is no JSON, as bytes."""
    with suppress(ValueError, RecursionError):
        return json.dumps(_changed(json.loads(data), chance), default=repr).encode()
    return bytes_mutated(data, chance)


def msgpack_mutated(data: bytes, chance: random.Random) -> bytes:
    """The same of msgpack."""
    with suppress(Exception):  # msgpack fails in many ways, and whatever it cannot read or write are bytes
        packed: bytes = msgpack.packb(_changed(msgpack.unpackb(data, strict_map_key=False), chance))
        return packed
    return bytes_mutated(data, chance)


def lines_mutated(inner: Mutator) -> Mutator:
    """A mutator of lines, each mutated by `inner`, doubled, joined or left out."""

    def mutated(data: bytes, chance: random.Random) -> bytes:
        lines = data.split(b"\n")
        place = chance.randrange(len(lines))
        match chance.randrange(5):
            case 0:
                del lines[place]
            case 1:
                lines.insert(place, lines[chance.randrange(len(lines))])
            case 2:
                return b" ".join(lines)
            case _:
                lines[place] = inner(lines[place], chance)
        return b"\n".join(lines)

    return mutated


def headed(n_bytes: int, inner: Mutator) -> Mutator:
    """A mutator of inputs whose first bytes choose how the rest is read."""

    def mutated(data: bytes, chance: random.Random) -> bytes:
        head, rest = data[:n_bytes], data[n_bytes:]
        return chance.randbytes(n_bytes) + rest if chance.random() < 0.1 else head + inner(rest, chance)

    return mutated


def mostly(inner: Mutator) -> Mutator:
    """Now and then bytes, else the mutator."""

    def mutated(data: bytes, chance: random.Random) -> bytes:
        return (bytes_mutated if chance.random() < 0.3 else inner)(data, chance)

    return mutated


def _changed(value: Any, chance: random.Random) -> Any:
    """The value with one thing in it changed, or itself."""
    inside = chance.random() < 0.95
    if isinstance(value, dict) and value and inside:
        return _other_map(value, chance)
    if isinstance(value, list) and value and inside:
        return _other_list(value, chance)
    return _other(value, chance)


def _other_map(value: dict[Any, Any], chance: random.Random) -> dict[Any, Any]:
    changed = dict(value)
    name = chance.choice(list(changed))
    match chance.randrange(6):
        case 0:
            del changed[name]
        case 1:
            changed[chance.choice(("", "user", "title", "x", "metadata"))] = changed.pop(name)
        case _:
            changed[name] = _changed(changed[name], chance)
    return changed


def _other_list(value: list[Any], chance: random.Random) -> list[Any]:
    place = chance.randrange(len(value))
    match chance.randrange(5):
        case 0:
            return value[:place] + value[place + 1 :]
        case 1:
            return value + value[place:]
        case _:
            return [*value[:place], _changed(value[place], chance), *value[place + 1 :]]


def _other(value: Any, chance: random.Random) -> Any:
    other = chance.choice(ODD)
    match chance.randrange(8):
        case 0 if isinstance(value, bytes):
            other = bytes_mutated(value, chance)
        case 1 if isinstance(value, str):
            other = bytes_mutated(value.encode("utf-8", "surrogatepass"), chance).decode("utf-8", "replace")
        case 2 if isinstance(value, int | float):
            other = value + chance.choice((-1, 1, 0.5, 1000))
        case 3:
            other = [value] * chance.choice((0, 1, 2, 50))
        case 4 if chance.random() < 0.1:
            other = _deep(value, chance.randrange(MAX_DEEP))
        case 5:
            other = {chance.choice(("", "a", "events")): value}
    return other


def _deep(value: Any, n_levels: int) -> Any:
    for _ in range(n_levels):
        value = [value]
    return value
