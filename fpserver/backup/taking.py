"""Make a backup of a store, which may be written to meanwhile.

Files appear under their names when they are whole and on the disk, the manifest after them. What was begun and not
ended is taken away again; nothing that was there before is touched.
"""

import asyncio
import hashlib
import importlib.metadata
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fpserver.backup import manifest
from fpserver.backup.counting import Counts, count, read_stamp
from fpserver.backup.manifest import FORMAT, File, Manifest
from fpserver.config import RedisConfig
from fpserver.errors import Conflict, InvalidRequest
from fpserver.files import appearing
from fpserver.store.connect import open_store
from fpserver.store.moment import Copy, Moment, one_moment, together
from fpserver.store.nodes import Nodes

OWNER_ONLY = 0o700  # what users did is in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A backup, and what it cost those who write."""

    manifest: Manifest
    paused_s: float


async def take(config: RedisConfig, folder: Path, *, tell: Callable[[int], None]) -> Taken:
    """Write a backup of the configured store into a folder of its own.

    Args:
        config: where the store is.
        folder: made if it is not there; else it must be empty.
        tell: called with the number of bytes that have been written further.

    Raises:
        InvalidRequest: the folder holds something, or cannot be written.
        Conflict: the store holds no catalogue, or half of one.
        StoreUnavailable, EmbeddedStoreMissing: the store does not answer, or refuses.
    """
    made = _prepare(folder)
    try:
        async with open_store(config) as client:
            nodes = Nodes(client, functions="")
            stamp = await _stamp(nodes, config.timeout_s)

            async def look() -> Counts:
                return await count(nodes, stamp, timeout_s=config.timeout_s)

            async with one_moment(client, look) as moment:
                whole = await _write(folder, moment, stamp, tell)
                return Taken(manifest=whole, paused_s=moment.paused_s)
    except BaseException:
        _take_away(folder, itself=made)
        raise


def _prepare(folder: Path) -> bool:
    """Have an empty folder; whether it was made."""
    try:
        made = not folder.exists()
        folder.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)
        there = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise InvalidRequest(f"the folder {folder} cannot be used: {error.strerror}") from error
    if there:
        kind = "a backup" if manifest.NAME in there else f"{there[0]}"
        raise InvalidRequest(f"the folder {folder} holds {kind}: name a new one, a backup has its own")
    return made


async def _stamp(nodes: Nodes, timeout_s: float) -> dict[str, str]:
    stamp = await read_stamp(nodes, timeout_s=timeout_s)
    if stamp is None:
        raise Conflict("the store holds no catalogue: there is nothing to back up")
    if "index.n_shards" not in stamp:
        raise Conflict("the store holds half of a restore: end that first (`fpserver restore`, once more)")
    return stamp


async def _write(
    folder: Path, moment: Moment[Counts], stamp: dict[str, str], tell: Callable[[int], None]
) -> Manifest:
    files = await together(
        _write_copy(folder / f"node-{i}.rdb", copy, tell) for i, copy in enumerate(moment.copies, 1)
    )
    whole = Manifest(
        format=FORMAT,
        id=secrets.token_hex(8),
        fpserver=importlib.metadata.version("fpserver"),
        at=datetime.fromtimestamp(moment.at, UTC).isoformat(timespec="milliseconds"),
        stamp=stamp,
        counts=moment.told,
        files=files,
    )
    manifest.write(folder, whole)
    return whole


async def _write_copy(path: Path, copy: Copy, tell: Callable[[int], None]) -> File:
    digest, n_bytes = hashlib.sha256(), 0
    with appearing(path, lasting=True) as file:
        os.fchmod(file.fileno(), OWNER_ONLY & ~0o111)
        async for piece in copy.pieces:
            await asyncio.to_thread(file.write, piece)
            digest.update(piece)
            n_bytes += len(piece)
            tell(len(piece))
    return File(
        name=path.name,
        node=copy.node,
        server=copy.server,
        slots=copy.slots,
        db=copy.db,
        n_lasting=copy.n_lasting,
        n_bytes=n_bytes,
        sha256=digest.hexdigest(),
    )


def _take_away(folder: Path, *, itself: bool) -> None:
    with suppress(OSError):
        for path in folder.glob("node-*.rdb*"):
            path.unlink()
        if itself:
            folder.rmdir()
