"""Every key of the catalogue and its backlog; with this page one can read the database.

All begin with `ROOT`, whose hash tag puts them into one slot, so that one function can touch them together.
Functions are called with `ROOT` as their one key, and name the others by the same rules.

| key | type | holds |
|---|---|---|
| `…:next_id` | string | the last id given to a track |
| `…:track:<id>` | hash | the record (codec.py) |
| `…:status:<status>` | sorted set | ids of the tracks in this status; its size is the count of them |
| `…:content` | hash | SHA-256 of a file's bytes → id |
| `…:audio` | hash | SHA-256 of what was heard → id |
| `…:places` | set | places that have or had a backlog |
| `…:backlog:<place>` | stream | tickets of the tracks to be done at a place; consumer group `workers` |
| `…:undescribed:<place>` | sorted set | ids of tracks to be described there → moment from which one may be taken |
| `…:changes` | sorted set | ids of tracks that are or were described → number of the last change |
| `…:all_changes` | sorted set | ids of tracks that are or were indexed → number of the last change |
| `…:n_changes` | string | the last number given |
| `…:identity` | string | random, made once: tells this catalogue from any other |
| `…:batch:<id>` | hash | created_at, updated_at, n_items, audio_s, cancelled, max_errors, n:<status> |
| `…:batch:<id>:tracks` | sorted set | ids of its tracks |
| `…:batch:<id>:errors` | list | msgpack {item, code, message, track_id} |
| `…:request:<nonce>` | string | msgpack of what was answered to a request that may be sent twice |
"""

ROOT = "fp:{tracks}"
GROUP = "workers"


def track(track_id: int) -> str:
    """A track's record."""
    return f"{ROOT}:track:{track_id}"


def status(name: str) -> str:
    """Ids of the tracks in a status."""
    return f"{ROOT}:status:{name}"


def backlog(place: str) -> str:
    """The tickets of a place."""
    return f"{ROOT}:backlog:{place}"


def undescribed(place: str) -> str:
    """Tracks of a place that are to be described."""
    return f"{ROOT}:undescribed:{place}"


CHANGES = f"{ROOT}:changes"
IDENTITY = f"{ROOT}:identity"


def batch(batch_id: str) -> str:
    """How far a batch has come."""
    return f"{ROOT}:batch:{batch_id}"


def batch_errors(batch_id: str) -> str:
    """What went wrong in a batch."""
    return f"{ROOT}:batch:{batch_id}:errors"
