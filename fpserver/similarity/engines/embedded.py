"""The engine of a server that needs no other: vectors in this process's memory, kept in a file between runs.

Questions and changes are taken one after the other by the process's thinking thread. What takes seconds, sorting
vectors into lists and writing the file, is done beside it, on what does not change any more, and taken over when it
is ready: nobody waits for it. Processes on one data folder have a copy each; one of them at a time writes the file.

    <data>/similarity/<name>/vectors   what is held (saved.py)
    <data>/similarity/<name>/begun     who has begun anew last; who holds something older does not write it any more
    <data>/similarity/<name>/lock      held by the process that writes them
"""

import asyncio
import fcntl
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import ClassVar, ParamSpec, TypeVar

import structlog

from fpserver.config import RedisConfig, SimilarityConfig
from fpserver.similarity.engines import saved
from fpserver.similarity.engines.checks import checked_entries
from fpserver.similarity.engines.engine import EngineStats, Entry, Found
from fpserver.similarity.engines.holdings import Holdings
from fpserver.similarity.engines.lists import Stopped
from fpserver.similarity.engines.scan import warm
from fpserver.terms import Sieve, Vector, Vectors
from fpserver.thinking import think

AT_A_TIME = 5000  # vectors that are added at a time: questions come in between
SAVE_EVERY_S = 60.0
VECTORS, BEGUN, LOCK = "vectors", "begun", "lock"
OLD_S = 86400.0
SAVING_SHARE = 0.05  # of all time, at most, is spent on writing the file

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger()


class Embedded:
    """Vectors in memory."""

    shared: ClassVar[bool] = False

    def __init__(self, folder: Path, config: SimilarityConfig) -> None:
        self._folder = folder
        self._exact_below = config.exact_below
        self.holdings = Holdings({}, exact_below=config.exact_below)
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="sorting")
        self._sorting: asyncio.Task[None] | None = None
        self._saving: asyncio.Task[None] | None = None
        self._saved_position: str | None = None
        self._begun = b""  # what the file of that name says, for what is held
        self._next_save = 0.0
        self._closing = False

    async def open(self) -> None:
        """Take what the file holds, if there is one that can be read."""
        self._begun = await asyncio.to_thread(_read_begun, self._folder)
        try:
            loaded = await asyncio.to_thread(_load, self._folder / VECTORS, self._exact_below)
        except saved.Lost as reason:
            log.info("similarity.begins_empty", reason=str(reason))
        else:
            self.holdings, self._saved_position = loaded, loaded.position
        await self._run_beside(warm)

    async def close(self) -> None:
        """Write what is not written, and stop."""
        self._closing = True
        if self._sorting:
            await asyncio.gather(self._sorting, return_exceptions=True)
        if self._saving:
            await asyncio.gather(self._saving, return_exceptions=True)
        if self.holdings.position != self._saved_position:
            await self._save(closing=True)
        self._beside.shutdown(wait=False)

    async def position(self) -> str | None:
        """As `Engine.position`."""
        return self.holdings.position

    async def begin(self, sizes: Mapping[str, int]) -> None:
        """As `Engine.begin`."""
        self.holdings = Holdings(sizes, exact_below=self._exact_below)  # first: the old are not written now
        self._saved_position = None
        self._begun = secrets.token_hex(8).encode()
        await asyncio.to_thread(_forget, self._folder, self._begun)

    async def put(self, entries: Sequence[Entry]) -> None:
        """As `Engine.put`."""
        holdings = self.holdings
        await asyncio.to_thread(checked_entries, entries, holdings.sizes)
        for some in _portions(entries):
            await think(holdings.put, some)
        self._sort_soon()

    async def remove(self, track_ids: Sequence[int]) -> None:
        """As `Engine.remove`."""
        await think(self.holdings.remove, track_ids)
        self._sort_soon()

    async def advance(self, position: str) -> None:
        """As `Engine.advance`; the file is written every so often, with the vectors as they are then."""
        self.holdings.position = position
        if self._saving is None and time.monotonic() >= self._next_save:
            self._saving = asyncio.create_task(self._save(), name="similarity.save")

    async def nearest(
        self,
        space: str,
        queries: Vectors,
        *,
        k: int,
        weights: Vector | None = None,
        metric: str = "euclidean",
        sieve: Sieve | None = None,
        exact: bool = False,
    ) -> list[Found]:
        """As `Engine.nearest`."""
        return await think(
            self.holdings.nearest,
            space,
            queries,
            k=k,
            weights=weights,
            metric=metric,
            sieve=sieve,
            exact=exact,
        )

    async def vectors(self, space: str, track_ids: Sequence[int]) -> dict[int, Vectors]:
        """As `Engine.vectors`."""
        return await think(self.holdings.vectors, space, track_ids)

    async def stats(self) -> EngineStats:
        """As `Engine.stats`."""
        return await think(self.holdings.stats)

    async def settled(self) -> None:
        """Wait until all that is due to be sorted is sorted."""
        while self._sorting:
            await self._sorting

    async def saved(self) -> None:
        """Wait until a file that is being written is there."""
        if self._saving:
            await self._saving

    def _go_on(self) -> None:
        if self._closing:
            raise Stopped

    def _sort_soon(self) -> None:
        if self._sorting is None:
            self._sorting = asyncio.create_task(self._sort(), name="similarity.sort")

    async def _sort(self) -> None:
        try:
            while due := await think((holdings := self.holdings).sorting):
                space, sorting, alive = due
                start = time.monotonic()
                lists = await self._run_beside(sorting.run, alive, self._go_on)
                if holdings is self.holdings:
                    await think(holdings.replace, space, sorting, lists)
                log.info(
                    "similarity.sorted",
                    space=space,
                    n_vectors=len(lists),
                    anew=sorting.known is None,
                    seconds=round(time.monotonic() - start, 3),
                )
        except Stopped:
            pass
        except Exception as error:  # what is not sorted is still found, only slower
            log.error("similarity.not_sorted", error=f"{type(error).__name__}: {error}")
        finally:
            self._sorting = None

    async def _save(self, *, closing: bool = False) -> None:
        start = time.monotonic()
        try:
            arrays, document = await think((holdings := self.holdings).columns)
            unless_written_s = 0.0 if closing else SAVE_EVERY_S / 2
            if holdings is self.holdings and await asyncio.to_thread(
                _save, self._folder, self._begun, unless_written_s, arrays, document
            ):
                self._saved_position = document["position"]
        except OSError as error:
            log.error("similarity.not_saved", folder=str(self._folder), error=str(error))
        finally:
            self._saving = None
            took_s = time.monotonic() - start
            self._next_save = time.monotonic() + max(SAVE_EVERY_S, took_s / SAVING_SHARE)

    async def _run_beside(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        work = partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._beside, work)


@asynccontextmanager
async def open_engine(
    similarity: SimilarityConfig, redis: RedisConfig, *, name: str = "near"
) -> AsyncIterator[Embedded]:
    """An engine of a data folder; one that has no file yet, or a damaged one, begins empty.

    Files of other names that nobody has written for OLD_S are removed: others have taken the place of those engines.
    """
    folder = Path(redis.data_dir) / "similarity" / name
    await asyncio.to_thread(_forget_old, folder)
    engine = Embedded(folder, similarity)
    await engine.open()
    try:
        yield engine
    finally:
        await engine.close()


def _portions(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """In the same order, some thousand vectors each."""
    first, n_vectors = 0, 0
    for last, entry in enumerate(entries, 1):
        n_vectors += 1 + sum(map(len, entry.vectors.values()))
        if n_vectors >= AT_A_TIME or last == len(entries):
            yield entries[first:last]
            first, n_vectors = last, 0


def _load(path: Path, exact_below: int) -> Holdings:
    arrays, document = saved.load(path)
    try:
        return Holdings.restored(arrays, document, exact_below=exact_below)
    except (KeyError, ValueError, TypeError) as error:
        raise saved.Lost(f"{path} holds something else: {type(error).__name__}: {error}") from error


def _read_begun(folder: Path) -> bytes:
    try:
        return (folder / BEGUN).read_bytes()
    except OSError:
        return b""


def _save(
    folder: Path, begun: bytes, unless_written_s: float, arrays: saved.Arrays, document: object
) -> bool:
    """Write the file; False when that is another process's: it is at it, has done so lately, or has begun anew."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / VECTORS
    with _locked(folder / LOCK, wait=False) as mine:
        if not mine or _read_begun(folder) != begun:
            return False
        if path.exists() and time.time() - path.stat().st_mtime < unless_written_s:
            return False
        saved.save(path, arrays, document)
        return True


def _forget_old(own: Path) -> None:
    before = time.time() - OLD_S
    for path in own.parent.glob(f"*/{VECTORS}"):
        if path.parent != own and path.stat().st_mtime < before:
            path.unlink(missing_ok=True)


def _forget(folder: Path, begun: bytes) -> None:
    """Have no file; who holds what was in it writes none any more."""
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / LOCK, wait=True):
        (folder / BEGUN).write_bytes(begun)
        (folder / VECTORS).unlink(missing_ok=True)


@contextmanager
def _locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the folder's lock, or say that another process does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
