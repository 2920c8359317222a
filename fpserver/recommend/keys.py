"""Every key of recommendation, so that the store can be read with this page at hand.

    fp:{7}:f:<user>        hash        a user's events: event id → event (codec.py)
    fp:{7}:users           sorted set  the shard's users that have events → number of the last change to them
    fp:{7}:n_feedback      string      the last number given: events ever put and erased

A user's shard is the CRC-32 of the name (zlib, UTF-8) modulo the number of shards; all keys of shard 7 carry the hash
tag {7}, as those of the index do (index/keys.py).
"""

from zlib import crc32


def shard_of(user: bytes, *, n_shards: int) -> int:
    """Shard that keeps what a user did."""
    return crc32(user) % n_shards


def n_changes(shard: int) -> str:
    """The last number of a change in a shard."""
    return f"fp:{{{shard}}}:n_feedback"


def users(shard: int) -> str:
    """The users of a shard."""
    return f"fp:{{{shard}}}:users"


def events(shard: int) -> str:
    """Beginning of the keys of what users did; the rest is the user's name."""
    return f"fp:{{{shard}}}:f:"


def of_shard(shard: int) -> tuple[str, str, str]:
    """What the functions may touch: two whole keys, then the beginning of the keys of events."""
    return n_changes(shard), users(shard), events(shard)
