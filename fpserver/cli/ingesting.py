"""`ingest`: files and folders into the catalogue, with a bar that says how far it is."""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fpserver.bulk.catalogues import RemoteCatalogue, own_catalogue
from fpserver.bulk.run import Catalogue, Report, ingest
from fpserver.bulk.telling import IngestBar, summary
from fpserver.cli.remote import client_of
from fpserver.config import Config
from fpserver.files import find_audio
from fpserver.services import open_services


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Ingest; 1 when some files failed."""
    paths = list(find_audio(arguments.paths))
    if not paths:
        print("no audio files there")
        return 0
    report = asyncio.run(_ingest(arguments, config, paths))
    print(summary(report))
    return 1 if report.failures else 0


async def _ingest(arguments: argparse.Namespace, config: Config, paths: list[Path]) -> Report:
    with IngestBar(len(paths)) as bar:
        async with _open(arguments, config) as catalogue:
            return await ingest(catalogue, paths, watch=bar.show)


@asynccontextmanager
async def _open(arguments: argparse.Namespace, config: Config) -> AsyncIterator[Catalogue]:
    if arguments.server:
        async with client_of(arguments) as client:
            yield RemoteCatalogue(client)
        return
    async with (
        open_services(config, pool_processes=config.worker.n_processes) as services,
        own_catalogue(services) as own,
    ):
        yield own
