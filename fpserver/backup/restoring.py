"""Make a store of a backup: into an empty one of any shape.

Everything that can be known to be wrong is looked at before anything is written. While it is being written, a note
lies in the stamp's place, at which every server refuses to start; the stamp itself comes last, when what there is has
been counted. So a restore that was interrupted is known as one, and is ended by doing it once more.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from fpserver.backup import manifest as manifests
from fpserver.backup.counting import count, read_stamp
from fpserver.backup.manifest import File, Manifest
from fpserver.config import Config
from fpserver.errors import Conflict, InvalidRequest, StoreUnavailable
from fpserver.fingerprint.stamp import stamp as fingerprint_stamp
from fpserver.index import keys as index_keys
from fpserver.index import stamp as stamps
from fpserver.run_folder import running_server
from fpserver.store.connect import EMBEDDED, open_store
from fpserver.store.copying import copy_keys, takes_dumps_of
from fpserver.store.loading import Loaded, NotLoaded, loaded, n_lasting, programs
from fpserver.store.nodes import Call, Nodes
from fpserver.store.turns import turn

OURS = "fp:*"
TURN = "fp:restoring"  # there while somebody restores; it expires
PROBE = "fp:restoring:probe"
TURN_S = 60.0


async def restore(config: Config, folder: Path, *, tell: Callable[[int], None]) -> Manifest:
    """Fill the configured store, which must hold nothing of fpserver, from a backup.

    Args:
        config: all settings: they must be those of the backup's index.
        folder: the backup.
        tell: called with the number of keys that have been written further.

    Raises:
        InvalidRequest: the folder holds no whole backup, or no server program reads it.
        ForeignIndex: the settings are not those that the index was made with.
        Conflict: the store holds something already, or a server or another restore is at work.
        StoreUnavailable, EmbeddedStoreMissing: the store does not answer, or does not take what is in the backup.
    """
    backup = manifests.read(folder)
    ours = stamps.complete(fingerprint_stamp(config.fingerprint), n_shards=config.index.n_shards)
    stamps.check(stamps.write(backup.stamp), ours)
    manifests.check(folder, backup)
    _check_alone(config)
    timeout_s = config.redis.timeout_s
    async with open_store(config.redis) as client:
        nodes = Nodes(client, functions="")
        async with turn(nodes, TURN, for_s=TURN_S, timeout_s=timeout_s, renewed=True) as mine:
            if not mine:
                raise Conflict("another restore into this store is going on, or died within the last minute")
            await _check_empty(nodes, backup, timeout_s=timeout_s)
            note = stamps.unfinished(backup.id, str(folder))
            for file in backup.files:
                async with _read_by_a_server(folder / file.name, file, nodes) as source:
                    await _stamp(nodes, note, timeout_s=timeout_s)
                    await copy_keys(source, nodes, pattern=OURS, without=index_keys.STAMP.encode(), tell=tell)
            await _compare(nodes, backup, timeout_s=timeout_s)
            await _stamp(nodes, stamps.write(backup.stamp), timeout_s=timeout_s)
    return backup


def _check_alone(config: Config) -> None:
    """No server of the data folder runs: it would begin to index in the middle."""
    if config.redis.url != EMBEDDED:
        return
    if server := running_server(Path(config.redis.data_dir).resolve()):
        raise Conflict(
            f"a server of data folder {config.redis.data_dir} runs at {server.address} (pid {server.pid}): "
            "stop it before restoring"
        )


async def _check_empty(nodes: Nodes, backup: Manifest, *, timeout_s: float) -> None:
    """Nothing of fpserver is there, or what an interrupted restore of this backup has left.

    Raises:
        Conflict: something else is; says what.
    """
    stamp = await read_stamp(nodes, timeout_s=timeout_s)
    if stamp is not None and stamps.restored_from(stamp) == backup.id:
        return
    what = None
    if stamp is not None and stamps.restored_from(stamp):
        what = "an interrupted restore of another backup"
    elif stamp is not None:
        counts = await count(nodes, stamp, timeout_s=timeout_s)
        tracks = ", ".join(f"{n} {status}" for status, n in counts.tracks.items()) or "none"
        what = (
            f"an index (tracks: {tracks}; {counts.n_postings:,} postings; feedback of {counts.n_users} users)"
        )
    else:
        async for names in nodes.scan(OURS, timeout_s=timeout_s):
            if others := [name for name in names if name != TURN.encode()]:
                what = f"keys of fpserver ({others[0].decode(errors='backslashreplace')} and maybe others)"
                break
    if what:
        raise Conflict(
            f"the store holds {what}: a backup is restored into an empty store only; name an empty data folder "
            "(--data), or an empty server or Cluster (redis.url)"
        )


@asynccontextmanager
async def _read_by_a_server(path: Path, file: File, nodes: Nodes) -> AsyncIterator[Loaded]:
    """The first server program that reads a file, and whose writing the store reads, with that file.

    Raises:
        InvalidRequest: there is no such program, or the file holds another number of keys than it should.
    """
    tried = []
    for program in programs():
        async with AsyncExitStack() as stack:
            try:
                source = await stack.enter_async_context(loaded(path, program=program, db=file.db))
            except NotLoaded as error:
                tried.append(f"{program} does not read it: {error}")
                continue
            if not await takes_dumps_of(source, nodes, probe=PROBE):
                tried.append(f"{program} reads it, but the store is too old for what that writes")
                continue
            if (n_there := await n_lasting(source, db=file.db)) != file.n_lasting:
                raise InvalidRequest(
                    f"{path} holds {n_there} keys that do not expire, should hold {file.n_lasting}"
                )
            yield source
            return
    raise InvalidRequest(
        f"{path} was written by {file.server}: {'; '.join(tried)}. Install a server of that version on PATH "
        "(valkey-server or redis-server), or restore into a store of that version or newer"
    )


async def _compare(nodes: Nodes, backup: Manifest, *, timeout_s: float) -> None:
    counts = await count(nodes, backup.stamp, timeout_s=timeout_s)
    if counts != backup.counts:
        raise StoreUnavailable(
            f"the restored store holds {counts}, the backup {backup.counts}: somebody else writes to it; "
            "stop all servers and workers, empty it and restore again"
        )


async def _stamp(nodes: Nodes, text: bytes, *, timeout_s: float) -> None:
    call = Call(key=index_keys.STAMP, command=("SET", index_keys.STAMP, text))
    await nodes.demand([call], timeout_s=timeout_s)
