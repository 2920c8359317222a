"""What people call tracks, from a CSV table into the catalogue.

A row names a track and gives fields of its metadata: an empty cell leaves the field as it is, `-` removes it. Reading a
table again changes nothing.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fpserver.errors import TableInvalid
from fpserver.naming import NAMES, Naming
from fpserver.services import Services
from fpserver.tables import LISTED, Row, Table, open_table
from fpserver.terms import MAX_METADATA_CHARS, METADATA_FIELDS
from fpserver.tracks.catalogue import Edited

COLUMNS = ("track_id", *METADATA_FIELDS)
REMOVED = "-"  # a cell that removes
AT_ONCE = 500  # rows


@dataclass(slots=True, kw_only=True)
class Counts:
    """What became of a table's rows."""

    n_rows: int = 0
    n_changed: int = 0  # rows that changed their track
    n_same: int = 0  # rows whose track was so already
    n_bad: int = 0


@contextmanager
def open_metadata(path: Path, *, bad_rows: Path | None = None) -> Iterator[Table]:
    """A table that names tracks and what they are called; arguments and errors as of `tables.open_table`."""
    with open_table(path, columns=COLUMNS, needed=(NAMES, METADATA_FIELDS), bad_rows=bad_rows) as table:
        if set(table.columns) <= {"external_id", *LISTED}:
            raise TableInvalid(f"{path}: there is no column to change, such as title or genre")
        yield table


async def import_metadata(
    services: Services, table: Table, *, watch: Callable[[Table], None] = lambda table: None
) -> Counts:
    """Change metadata as a table says; rows that are at fault are listed.

    Raises:
        TableInvalid: it cannot be read further; rows before the fault are in.
        StoreUnavailable: repeat it later.
    """
    counts, naming = Counts(), Naming(services)
    while rows := await asyncio.to_thread(table.read, AT_ONCE):
        await _edit(services, table, rows, naming, counts)
        watch(table)
    counts.n_rows, counts.n_bad = table.n_rows, table.n_bad
    return counts


async def _edit(services: Services, table: Table, rows: list[Row], naming: Naming, counts: Counts) -> None:
    edits: list[tuple[int, dict[str, str | None]]] = []
    edited: list[Row] = []
    for row, track in zip(rows, await naming.tracks(rows), strict=True):
        fault = track if isinstance(track, str) else _fault(row)
        if fault is not None:
            table.refuse(row, fault)
        elif isinstance(track, int):
            edits.append((track, _changes(row)))
            edited.append(row)
    outcomes = await services.tracks.edit_all(edits, now=time.time())
    for row, outcome in zip(edited, outcomes, strict=True):
        if outcome is Edited.NONE:
            table.refuse(row, "its track was removed just now")
        elif outcome is Edited.CHANGED:
            counts.n_changed += 1
        else:
            counts.n_same += 1


def _changes(row: Row) -> dict[str, str | None]:
    """The fields that a row sets or removes; an external id that names the track is none."""
    given = {name: text for name, text in row.cells.items() if name in METADATA_FIELDS and text}
    if not row.cells.get("track_id"):
        given.pop("external_id", None)
    return {name: None if text == REMOVED else text for name, text in given.items()}


def _fault(row: Row) -> str | None:
    for name in METADATA_FIELDS:
        if len(text := row.cells.get(name, "")) > MAX_METADATA_CHARS:
            return f"{name} has {len(text)} characters, must have at most {MAX_METADATA_CHARS}"
    return None
