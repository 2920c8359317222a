"""`import-metadata`, `import-feedback`: tables into the store, with a bar that says how far it is."""

import argparse
import asyncio
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fpserver import feedback_table
from fpserver.config import Config
from fpserver.labelling import Counts, open_metadata
from fpserver.labelling import import_metadata as read_in
from fpserver.services import open_services
from fpserver.tables import Table


class TableBar(AbstractContextManager["TableBar"]):
    """How far a table is read, and its bad rows: on standard error, when that is a terminal."""

    def __init__(self, what: str) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn(what),
            BarColumn(),
            TextColumn("{task.fields[told]} ·"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task(what, total=None, told="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, table: Table) -> None:
        """Move the bar."""
        told = f"{table.n_rows:,} rows, {table.n_bad:,} bad"
        self._bar.update(self._task, total=table.n_bytes, completed=table.n_bytes_read, told=told)


def bad_rows(table: Table) -> str:
    """The end of a summary: how many rows were bad, and where they are listed."""
    return f"{table.n_bad} bad rows, listed in {table.bad_rows}" if table.n_bad else "0 bad rows"


def import_metadata(arguments: argparse.Namespace, config: Config) -> int:
    """Change metadata as a table says; 1 when some rows were bad."""

    async def read() -> Counts:
        async with open_services(config, pool_processes=0) as services:
            return await read_in(services, table, watch=bar.show)

    with (
        open_metadata(arguments.file, bad_rows=arguments.bad_rows) as table,
        TableBar("import-metadata") as bar,
    ):
        counts = asyncio.run(read())
    print(
        f"{counts.n_rows} rows: {counts.n_changed} changed their track, {counts.n_same} found it so; "
        f"{bad_rows(table)}"
    )
    return 1 if counts.n_bad else 0


def import_feedback(arguments: argparse.Namespace, config: Config) -> int:
    """Keep what people did, as a table says; 1 when some rows were bad."""

    async def read() -> feedback_table.Counts:
        async with open_services(config, pool_processes=0) as services:
            return await feedback_table.import_feedback(services, table, watch=bar.show)

    with (
        feedback_table.open_feedback(arguments.file, bad_rows=arguments.bad_rows) as table,
        TableBar("import-feedback") as bar,
    ):
        counts = asyncio.run(read())
    print(f"{counts.n_rows} rows: {counts.n_taken} taken, {counts.n_known} there already; {bad_rows(table)}")
    return 1 if counts.n_bad else 0
