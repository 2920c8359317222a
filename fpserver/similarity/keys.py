"""Every key of descriptions, so that the store can be read with this page at hand.

    fp:{7}:d:<track_id>     hash     a track's description: a field per part (codec.py)
    fp:similarity:scales    hash     what was learned (scales.py), its version, and n_tracks that there were
    fp:similarity:learning  string   there while somebody learns; it expires
    fp:similarity:filling   string   there while somebody fills an engine that all share; it expires
    fp:similarity:engines   set      names of engines that all share and that hold something

<track_id> is 4 bytes, big endian. A track's description lies in the shard that its peaks are in (index/keys.py).
"""

SCALES = "fp:similarity:scales"
LEARNING = "fp:similarity:learning"
FILLING = "fp:similarity:filling"
ENGINES = "fp:similarity:engines"


def description(track_id: int, *, n_shards: int) -> bytes:
    """Key of a track's description."""
    return shard(track_id, n_shards=n_shards).encode() + track_id.to_bytes(4, "big")


def shard(track_id: int, *, n_shards: int) -> str:
    """Beginning of the keys of the descriptions in a track's shard."""
    return f"fp:{{{track_id % n_shards}}}:d:"
