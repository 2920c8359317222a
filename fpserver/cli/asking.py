"""`identify` and `fingerprint`: a file in, an answer or a fingerprint out."""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec

from fpserver import words
from fpserver.audio.tags import read_tags
from fpserver.config import Config
from fpserver.dsp_pool import DspPool
from fpserver.errors import InvalidRequest, SourceMissing
from fpserver.fingerprint import wire
from fpserver.hearing import hear_recording
from fpserver.identify import IdentifyOptions, identify_file
from fpserver.services import open_services
from fpserver.web import convert
from fpserver.web.client import Client


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
    async with Client(arguments.server) as client:
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
    """Write a file's fingerprint, as `POST /v1/identify` and the ingest stream take it."""
    _must_exist(arguments.file)
    body = asyncio.run(_fingerprint(arguments.file, config))
    if arguments.out == Path("-"):
        sys.stdout.buffer.write(body)
        return 0
    out = arguments.out or arguments.file.with_name(arguments.file.name + wire.SUFFIX)
    try:
        out.write_bytes(body)
    except OSError as error:
        raise InvalidRequest(f"{out} cannot be written: {error.strerror}") from error
    print(f"{out}: {len(body):,} bytes")
    return 0


async def _fingerprint(path: Path, config: Config) -> bytes:
    async with DspPool(processes=1, memory_limit_bytes=config.audio.memory_limit_bytes) as pool:
        hearing = await pool.run(
            hear_recording, path, config.audio, config.fingerprint, timeout_s=config.audio.track_timeout_s
        )
    return wire.pack(hearing, config.fingerprint, metadata=read_tags(path))


def _must_exist(path: Path) -> None:
    if not path.is_file():
        raise SourceMissing(f"{path} is not there, or is no file")
