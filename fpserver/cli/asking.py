"""`identify` and `fingerprint`: a file in, an answer or fingerprints out."""

import argparse
import asyncio
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from fpserver import words
from fpserver.audio.tags import read_tags
from fpserver.cli.remote import client_of
from fpserver.config import Config
from fpserver.dsp_pool import DspPool
from fpserver.errors import FpserverError, SourceMissing
from fpserver.files import appearing, find_audio
from fpserver.fingerprint import wire
from fpserver.hearing import hear_recording
from fpserver.identify import IdentifyOptions, identify_file
from fpserver.services import open_services
from fpserver.web import convert


def identify(arguments: argparse.Namespace, config: Config) -> int:
    """Say which track a clip is from; 1 when there is none."""
    _must_exist(arguments.file)
    asked = _ask_server(arguments) if arguments.server else _ask_store(arguments, config)
    document = asyncio.run(asked)
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode(document)).decode())
    else:
        print(words.answer(document))
    return 0 if document["matches"] else 1


async def _ask_server(arguments: argparse.Namespace) -> dict[str, Any]:
    async with client_of(arguments) as client:
        return await client.identify(arguments.file, limit=arguments.limit)


async def _ask_store(arguments: argparse.Namespace, config: Config) -> dict[str, Any]:
    async with open_services(config, pool_processes=1) as services:
        found = await identify_file(services, arguments.file, IdentifyOptions(limit=arguments.limit))
    document: dict[str, Any] = msgspec.to_builtins(
        convert.identification(found, request_id="", explain=False)
    )
    del document["request_id"]
    return document


def fingerprint(arguments: argparse.Namespace, config: Config) -> int:
    """Write files' fingerprints end to end: one as `POST /v1/identify` takes it, any number as the ingest stream.

    1 when some files have none; of the others all is written.
    """
    paths = list(find_audio(arguments.paths))
    if not paths:
        print("no audio files there")
        return 0
    if arguments.out == Path("-"):
        return 1 if _write_fingerprints(paths, sys.stdout.buffer, config) else 0
    named = arguments.paths[0].expanduser()
    out = arguments.out or named.with_name(named.name + wire.SUFFIX)
    with appearing(out) as file:
        n_failed = _write_fingerprints(paths, file, config)
        n_bytes = file.tell()
    print(f"{out}: {len(paths) - n_failed} of {len(paths)} files, {n_bytes:,} bytes")
    return 1 if n_failed else 0


def _write_fingerprints(paths: Sequence[Path], file: BinaryIO, config: Config) -> int:
    """All in order; how many files have none, which is an error where there is one file only."""
    failures = asyncio.run(_heard_and_written(paths, file, config))
    if len(paths) == 1 and failures:
        raise failures[0][1]
    for path, error in failures:
        print(f"fpserver: {path}: {error.message}", file=sys.stderr)
    return len(failures)


async def _heard_and_written(
    paths: Sequence[Path], file: BinaryIO, config: Config
) -> list[tuple[Path, FpserverError]]:
    n_processes = min(len(paths), config.worker.n_processes)
    failures = []
    async with (
        DspPool(processes=n_processes, memory_limit_bytes=config.audio.memory_limit_bytes) as pool,
        asyncio.TaskGroup() as group,
    ):
        bodies: deque[tuple[Path, asyncio.Task[bytes | FpserverError]]] = deque()
        for i, path in enumerate(paths, 1):
            bodies.append((path, group.create_task(_body(pool, path, config))))
            while bodies and (len(bodies) > 2 * n_processes or i == len(paths)):
                of, task = bodies.popleft()
                body = await task
                if isinstance(body, FpserverError):
                    failures.append((of, body))
                else:
                    file.write(body)
    return failures


async def _body(pool: DspPool, path: Path, config: Config) -> bytes | FpserverError:
    try:
        hearing = await pool.run(
            hear_recording, path, config.audio, config.fingerprint, timeout_s=config.audio.track_timeout_s
        )
        return wire.pack(hearing, config.fingerprint, metadata=read_tags(path))
    except FpserverError as error:
        return error


def _must_exist(path: Path) -> None:
    if not path.is_file():
        raise SourceMissing(f"{path} is not there, or is no file")
