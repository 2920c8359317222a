"""What people did with tracks, from a CSV table into the store of feedback.

Reading a table again changes nothing: a row without `event_id` is named after what it says, and without `at` too after
its place in this very file; another file, by as little as a byte, has other such rows.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fpserver.errors import InvalidRequest, TableInvalid
from fpserver.feedback import Outcome, event_of, take
from fpserver.files import sha256_of
from fpserver.naming import NAMES, Naming
from fpserver.services import Services
from fpserver.tables import Row, Table, open_table
from fpserver.terms import FeedbackEvent, FeedbackKind

COLUMNS = ("user", *NAMES, "kind", "fraction", "rating", "at", "event_id")
NEEDED = (("user",), NAMES, ("kind",))
AT_ONCE = 1000  # rows
SHOWN_CHARS = 100  # of what somebody has written
ID_CHARS = 24


@dataclass(slots=True, kw_only=True)
class Counts:
    """What became of a table's rows."""

    n_rows: int = 0
    n_taken: int = 0
    n_known: int = 0  # their users have events of these ids
    n_bad: int = 0


@contextmanager
def open_feedback(path: Path, *, bad_rows: Path | None = None) -> Iterator[Table]:
    """A table of what people did; arguments and errors as of `tables.open_table`."""
    with open_table(path, columns=COLUMNS, needed=NEEDED, bad_rows=bad_rows) as table:
        yield table


async def import_feedback(
    services: Services, table: Table, *, watch: Callable[[Table], None] = lambda table: None
) -> Counts:
    """Keep what a table says; rows that are at fault are listed.

    Raises:
        TableInvalid: it cannot be read further; rows before the fault are in.
        StoreUnavailable: repeat it later.
    """
    counts, naming, now = Counts(), Naming(services), time.time()
    file = await asyncio.to_thread(_digest, table)
    while rows := await asyncio.to_thread(table.read, AT_ONCE):
        events, told = [], []
        for row, track in zip(rows, await naming.tracks(rows), strict=True):
            try:
                events.append(_event(row, track, file=file, now=now))
                told.append(row)
            except InvalidRequest as error:
                table.refuse(row, error.message)
        _count(table, told, await take(services, events), counts)
        watch(table)
    counts.n_rows, counts.n_bad = table.n_rows, table.n_bad
    return counts


def _digest(table: Table) -> str:
    """What tells this file from others."""
    try:
        return sha256_of(table.path)
    except OSError as error:
        raise TableInvalid(f"{table.path} cannot be read: {error.strerror}") from error


def _count(table: Table, rows: Sequence[Row], outcomes: Sequence[Outcome], counts: Counts) -> None:
    for row, outcome in zip(rows, outcomes, strict=True):
        if outcome is Outcome.REFUSED:
            table.refuse(row, "its track was removed just now")
        elif outcome is Outcome.TAKEN:
            counts.n_taken += 1
        else:
            counts.n_known += 1


def _event(row: Row, track: int | str, *, file: str, now: float) -> FeedbackEvent:
    """The event that a row tells of.

    Raises:
        InvalidRequest: it tells of none; the reason.
    """
    if isinstance(track, str):
        raise InvalidRequest(track)
    cells = row.cells
    at = _moment(cells.get("at", ""))
    event_id = cells.get("event_id") or None
    if event_id is None and at is None:
        event_id = hashlib.sha256(f"{file} {row.line}".encode()).hexdigest()[:ID_CHARS]
    return event_of(
        user=cells["user"],
        track_id=track,
        kind=_kind(cells["kind"]),
        fraction=_number("fraction", cells.get("fraction", "")),
        rating=_number("rating", cells.get("rating", "")),
        at=at,
        event_id=event_id,
        now=now,
    )


def _kind(text: str) -> FeedbackKind:
    try:
        return FeedbackKind(text.lower())
    except ValueError:
        raise InvalidRequest(
            f"kind is {text[:SHOWN_CHARS]!r}, must be one of {', '.join(FeedbackKind)}"
        ) from None


def _number(field: str, text: str) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise InvalidRequest(f"{field} is {text[:SHOWN_CHARS]!r}, must be a number") from None


def _moment(text: str) -> float | None:
    """Seconds since 1970 of what is such a number, or ISO 8601 with its zone."""
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidRequest(
            f"at is {text[:SHOWN_CHARS]!r}, must be ISO 8601 with its zone, or seconds since 1970"
        )
    return moment.timestamp()
