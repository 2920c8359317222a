"""Every key of the vector sets, so that their server can be read with this page at hand.

    fp:{v3}:near:<name>           hash        state: how far set 3 has come, and, of set 0, what all sets hold
    fp:{v3}:near:<name>:tracks    hash        track_id → msgpack {space: number of vectors}
    fp:{v3}:near:<name>:<space>   vector set  elements "<track_id>:<row>", attributes as in vector_filters.py

<name> tells engines on one server apart: that which answers, and the one that is filled to take its place.

A track is in set track_id modulo n_sets. All keys of set 3 carry the hash tag {v3}, so they share a slot of a Cluster:
what a set says of how far it has come is lost, if it is, with its vectors.

Fields of the state: `step` and `position` (of the last `advance`; steps count them), `n_sets`, `sizes` (JSON, by space)
and `radius:<space>` (see lifted.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one engine."""

    name: str

    def state(self, set_: int) -> str:
        """What a set says of itself."""
        return f"fp:{{v{set_}}}:near:{self.name}"

    def tracks(self, set_: int) -> str:
        """The tracks of a set."""
        return f"{self.state(set_)}:tracks"

    def vectors(self, set_: int, space: str) -> str:
        """The vectors of a set's tracks."""
        return f"{self.state(set_)}:{space}"

    def all_of(self, set_: int, spaces: Iterable[str]) -> tuple[str, ...]:
        """Everything of a set, its state first."""
        return (self.state(set_), self.tracks(set_), *(self.vectors(set_, space) for space in spaces))


def element(track_id: int, row: int) -> str:
    """Name of a vector in its set."""
    return f"{track_id}:{row}"


def of_element(name: bytes) -> tuple[int, int]:
    """Track and row of a vector."""
    track_id, _, row = name.partition(b":")
    return int(track_id), int(row)
