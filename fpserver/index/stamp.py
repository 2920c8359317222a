"""The stamp of an index: every setting that changes hashes or their place, as text; how two stamps differ."""

import json
from collections.abc import Mapping

from fpserver.errors import ForeignIndex

LAYOUT = "4"  # of keys and packed values; a change that old data does not survive gets the next number
_RESTORED = "restored from"


def complete(stamp: Mapping[str, str], *, n_shards: int) -> dict[str, str]:
    """A fingerprint's stamp with what the index itself adds, sorted by name."""
    own = {"index.layout": LAYOUT, "index.n_shards": str(n_shards)}
    return dict(sorted({**stamp, **own}.items()))


def write(stamp: Mapping[str, str]) -> bytes:
    """The stamp as JSON."""
    return json.dumps(stamp).encode()


def unfinished(backup_id: str, place: str) -> bytes:
    """What lies in the stamp's place while a backup is being restored."""
    return json.dumps({_RESTORED: backup_id, "place": place}).encode()


def restored_from(stored: Mapping[str, str]) -> str | None:
    """Id of the backup whose restore is not ended; None of a whole index."""
    return stored.get(_RESTORED)


def check(stored: bytes, ours: Mapping[str, str]) -> None:
    """Compare the index's stamp with this server's.

    Raises:
        ForeignIndex: half restored; of another layout; or naming the first setting that differs.
    """
    theirs = json.loads(stored)
    if restored_from(theirs):
        raise ForeignIndex(
            f"the store holds half of a backup: a restore from {theirs.get('place')} was interrupted; run "
            "`fpserver restore` with it again, or name an empty store"
        )
    if theirs.get("index.layout") != LAYOUT:
        raise ForeignIndex(
            f"the index has layout {theirs.get('index.layout', 'unknown')}, this version of fpserver reads layout "
            f"{LAYOUT}: put the recordings into an empty store, the old index cannot be carried over"
        )
    for name in sorted({*theirs, *ours}):
        if theirs.get(name) != ours.get(name):
            raise ForeignIndex(
                f"the index was made with {name} = {theirs.get(name, 'nothing')}, this server has "
                f"{ours.get(name, 'nothing')}: give it the index's settings, or another store"
            )
