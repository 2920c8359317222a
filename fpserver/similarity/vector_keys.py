"""Every key of the vector sets, so that their server can be read with this page at hand.

    fp:{v3}:near            hash        state: how far set 3 has come, and, of set 0, what all sets hold
    fp:{v3}:near:tracks     hash        track_id → msgpack {space: number of vectors}
    fp:{v3}:near:<space>    vector set  elements "<track_id>:<row>", attributes as in vector_filters.py

A track is in set track_id modulo n_sets. All keys of set 3 carry the hash tag {v3}, so they share a slot of a Cluster:
what a set says of how far it has come is lost, if it is, with its vectors.

Fields of the state: `step` and `position` (of the last `advance`; steps count them), `n_sets`, `sizes` (JSON, by space)
and `radius:<space>` (see lifted.py).
"""

from collections.abc import Iterable


def state(set_: int) -> str:
    """What a set says of itself."""
    return f"fp:{{v{set_}}}:near"


def tracks(set_: int) -> str:
    """The tracks of a set."""
    return f"fp:{{v{set_}}}:near:tracks"


def vectors(set_: int, space: str) -> str:
    """The vectors of a set's tracks."""
    return f"fp:{{v{set_}}}:near:{space}"


def all_of(set_: int, spaces: Iterable[str]) -> tuple[str, ...]:
    """Everything of a set, its state first."""
    return (state(set_), tracks(set_), *(vectors(set_, space) for space in spaces))


def element(track_id: int, row: int) -> str:
    """Name of a vector in its set."""
    return f"{track_id}:{row}"


def of_element(name: bytes) -> tuple[int, int]:
    """Track and row of a vector."""
    track_id, _, row = name.partition(b":")
    return int(track_id), int(row)
