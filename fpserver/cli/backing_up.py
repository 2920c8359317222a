"""`backup` and `restore`: all that the store holds into a folder, and an empty store filled from one."""

import argparse
import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from fpserver.backup.manifest import Manifest
from fpserver.backup.restoring import restore as restored
from fpserver.backup.taking import take
from fpserver.config import Config

NOT_HELD = "Not in it: the settings, uploads that wait to be indexed and source files (the spool in the data folder)."


def backup(arguments: argparse.Namespace, config: Config) -> int:
    """Write a backup."""
    begin = time.monotonic()
    with _telling("backup", lambda n, s: f"{n / 1e6:,.0f} MB, {n / 1e6 / s:,.0f} MB/s") as tell:
        taken = asyncio.run(take(config.redis, arguments.folder, tell=tell))
    whole = taken.manifest
    print(
        f"{arguments.folder}: {_held(whole)}, as of {whole.at}; {len(whole.files)} files, "
        f"{whole.n_bytes / 1e6:,.1f} MB, {time.monotonic() - begin:.1f} s, "
        f"in which nothing could be written for {1000 * taken.paused_s:.0f} ms"
    )
    print(NOT_HELD)
    return 0


def restore(arguments: argparse.Namespace, config: Config) -> int:
    """Fill the store."""
    begin = time.monotonic()
    with _telling("restore", lambda n, s: f"{n:,} keys, {n / s:,.0f} a second") as tell:
        whole = asyncio.run(restored(config, arguments.folder, tell=tell))
    print(f"restored: {_held(whole)}, as of {whole.at}; {time.monotonic() - begin:.1f} s")
    return 0


def _held(whole: Manifest) -> str:
    counts = whole.counts
    tracks = ", ".join(f"{n:,} {status}" for status, n in counts.tracks.items()) or "no tracks"
    return f"tracks: {tracks}; {counts.n_postings:,} postings; feedback of {counts.n_users:,} users"


@contextmanager
def _telling(name: str, words: Callable[[int, float], str]) -> Iterator[Callable[[int], None]]:
    """How far it has come, on standard error when that is a terminal."""
    n_done, begin = 0, time.monotonic()
    with Console(stderr=True).status(name) as status:

        def tell(n_more: int) -> None:
            nonlocal n_done
            n_done += n_more
            status.update(f"{name}: {words(n_done, max(time.monotonic() - begin, 1e-3))}")

        yield tell
