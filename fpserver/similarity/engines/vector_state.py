"""What the vector sets say of themselves: what they hold, and how far all of them have come.

Each set keeps how far it has come beside its vectors. One that has lost them, a server that came back empty, has lost
that too, and then all begin anew. Where `advance` was broken off in between, the set that is furthest behind counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from fpserver.similarity.engines.lifted import LAYOUT, Parts, parts_of

RADIUS = b"radius:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A space, as sets hold it."""

    space: str
    size: int
    parts: Parts
    radius: float


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What all sets hold."""

    n_sets: int
    sizes: Mapping[str, int]  # by space
    radii: Mapping[str, float]  # by space that has had a vector
    step: int  # how often they were advanced
    position: str | None

    @staticmethod
    def nothing() -> "State":
        """Of no sets."""
        return State(n_sets=0, sizes={}, radii={}, step=0, position=None)

    def place(self, space: str) -> Place | None:
        """How sets hold a space; None: it never had a vector."""
        if space not in self.radii:
            return None
        parts = parts_of(space, self.sizes)
        return Place(space=space, size=self.sizes[space], parts=parts, radius=self.radii[space])

    def advanced(self, position: str) -> "State":
        """One step further."""
        return replace(self, step=self.step + 1, position=position)


def read_state(replies: Sequence[Sequence[bytes] | Mapping[bytes, bytes]], *, n_sets: int) -> State:
    """What the sets' states, set 0's first, say together; as if nothing was held when it was made for another
    number of sets, or lies otherwise than lifted.py says."""
    each = [_fields(reply) for reply in replies]
    first = each[0]
    if b"sizes" not in first:
        return State.nothing()
    made_for = int(first.get(b"n_sets", b"0"))
    sizes = msgspec.json.decode(first[b"sizes"], type=dict[str, int])
    if made_for != n_sets or int(first.get(b"layout", b"1")) != LAYOUT:
        return State(n_sets=made_for, sizes=sizes, radii={}, step=0, position=None)
    steps = [(int(fields[b"step"]), fields[b"position"].decode()) for fields in each if b"step" in fields]
    behind = min(steps) if len(steps) == n_sets else (max(steps, default=(0, ""))[0], None)
    radii = {
        name.removeprefix(RADIUS).decode(): float(value)
        for name, value in first.items()
        if name.startswith(RADIUS)
    }
    return State(n_sets=n_sets, sizes=sizes, radii=radii, step=behind[0], position=behind[1])


def _fields(reply: Sequence[bytes] | Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Of a hash: clients of one server give a dictionary, of a Cluster's node what it said."""
    if isinstance(reply, Mapping):
        return dict(reply)
    return dict(zip(reply[::2], reply[1::2], strict=True))
