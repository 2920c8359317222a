"""A CSV table, some rows at a time; what is wrong with a row is listed beside it.

The first line names the columns, in any order; `,`, `;` or tab parts the cells, whichever the first line uses. UTF-8,
with or without a byte order mark; quotes as of RFC 4180. A row with a fault never ends the reading: it goes, with its
line and the reason, into a second table, which can be corrected and read like the first.
"""

import csv
import io
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import IO, BinaryIO, Protocol

from fpserver.errors import TableInvalid

DELIMITERS = ",;\t"
MAX_LINE_CHARS = 2**20  # a file without line ends is no table, and shall not fill the memory
LISTED = ("line", "reason")  # columns of a list of bad rows, before those of the rows
LIST_SUFFIX = ".bad.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row whose cells are as many as its table's columns."""

    line: int  # of the file, on which it begins; the first is 1
    cells: dict[str, str]  # column → text without space around it; "" where nothing stands


class Written(Protocol):
    """What csv.writer gives."""

    def writerow(self, row: Sequence[str | int], /) -> object:
        """Write a row."""


class Table:
    """A table that is open. Not for several threads at once."""

    def __init__(self, path: Path, binary: BinaryIO, *, bad_rows: Path, n_bytes: int) -> None:
        self.path = path
        self.bad_rows = bad_rows  # where the bad rows are listed; not there when there are none
        self.columns: tuple[str, ...] = ()
        self.n_bytes = n_bytes
        self.n_rows = 0  # read so far, the bad ones included
        self.n_bad = 0
        self._binary = binary
        self._file = io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")
        self._line = 0
        self._rows: Iterator[list[str]] = iter(())
        self._listed: IO[str] | None = None
        self._list: Written | None = None

    @property
    def n_bytes_read(self) -> int:
        """How far it has come, of `n_bytes`."""
        return self._binary.tell()

    def read_header(self, columns: Sequence[str], needed: Sequence[Collection[str]]) -> None:
        """Read the first line. Arguments and errors as of `open_table`."""
        lines = self._lines()
        first = next(lines, "")
        if not first.strip():
            raise TableInvalid(f"{self.path}: its first line is empty, must name columns")
        delimiter = max(
            DELIMITERS, key=lambda sign: sum(name in columns for name in _names(first, delimiter=sign))
        )
        self.columns = tuple(_names(first, delimiter=delimiter))
        self._rows = csv.reader(lines, delimiter=delimiter, strict=True)
        self._check(columns, needed)

    def _check(self, known: Sequence[str], needed: Sequence[Collection[str]]) -> None:
        for name in self.columns:
            if name not in known and name not in LISTED:
                raise TableInvalid(
                    f"{self.path}: column {name[:100]!r} is unknown, must be one of {_or(known)}"
                )
            if self.columns.count(name) > 1:
                raise TableInvalid(f"{self.path}: column {name!r} is there {self.columns.count(name)} times")
        for alternatives in needed:
            if not set(alternatives) & set(self.columns):
                raise TableInvalid(f"{self.path}: there is no column {_or(alternatives)}")

    def read(self, n_rows: int) -> list[Row]:
        """The next rows that are well formed, at most `n_rows`; none at the end. Reads the file: call it on a thread.

        Raises:
            TableInvalid: it cannot be read further: it is not UTF-8 from here on, or a line has no end.
        """
        rows: list[Row] = []
        while len(rows) < n_rows:
            line = self._line + 1
            try:
                cells = next(self._rows, None)
            except csv.Error as error:
                self.n_rows += 1
                self._note(line, f"the row is no CSV: {error}", [])
                continue
            if cells is None:
                break
            if any(map(str.strip, cells)):
                self.n_rows += 1
                if self._has_shape(line, cells):
                    rows.append(Row(line=line, cells=self._kept(cells)))
        return rows

    def _kept(self, cells: list[str]) -> dict[str, str]:
        named = zip(self.columns, cells, strict=False)
        return {name: text.strip() for name, text in named if name not in LISTED}

    def refuse(self, row: Row, reason: str) -> None:
        """List a row as bad."""
        self._note(row.line, reason, [row.cells.get(name, "") for name in self._told()])

    def _has_shape(self, line: int, cells: list[str]) -> bool:
        """Whether there is a cell for each column; empty ones behind the last are no matter."""
        n_columns = len(self.columns)
        if len(cells) >= n_columns and not any(cells[n_columns:]):
            return True
        told = [cell for name, cell in zip_longest(self.columns, cells) if name not in LISTED]
        self._note(line, f"the row has {len(cells)} cells, the first line {n_columns}", told)
        return False

    def _told(self) -> list[str]:
        return [name for name in self.columns if name not in LISTED]

    def _note(self, line: int, reason: str, cells: Sequence[str]) -> None:
        self.n_bad += 1
        try:
            if self._list is None:
                self._listed = self.bad_rows.open("w", encoding="utf-8", newline="")
                self._list = csv.writer(self._listed)
                self._list.writerow([*LISTED, *self._told()])
            self._list.writerow([line, reason, *cells])
        except OSError as error:
            raise TableInvalid(f"{self.bad_rows} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Close the file, and the list of bad rows."""
        self._file.close()
        if self._listed is not None:
            self._listed.close()

    def _lines(self) -> Iterator[str]:
        while True:
            try:
                line = self._file.readline(MAX_LINE_CHARS)
            except UnicodeDecodeError as error:
                raise TableInvalid(
                    f"{self.path} is not UTF-8, somewhere after line {self._line}: {error.reason}"
                ) from error
            except OSError as error:
                raise TableInvalid(f"{self.path} cannot be read: {error.strerror}") from error
            if not line:
                return
            self._line += 1
            if len(line) == MAX_LINE_CHARS:
                raise TableInvalid(
                    f"{self.path}: line {self._line} has more than {MAX_LINE_CHARS - 1:,} characters"
                )
            yield line


@contextmanager
def open_table(
    path: Path,
    *,
    columns: Sequence[str],
    needed: Sequence[Collection[str]] = (),
    bad_rows: Path | None = None,
) -> Iterator[Table]:
    """A table whose header was checked. A list of bad rows that an earlier run has left is removed.

    Args:
        path: the file.
        columns: all that it may have, by their names in lower case.
        needed: of each of these, one must be there.
        bad_rows: where bad rows are listed; None: beside the file, its name with `.bad.csv`.

    Raises:
        TableInvalid: it cannot be read, is empty, not UTF-8, or a column is unknown, missing or there twice; or the
            list of bad rows would take the place of a file that is none.
    """
    listed = path.with_name(path.name + LIST_SUFFIX) if bad_rows is None else bad_rows
    with ExitStack() as stack:
        try:
            binary = stack.enter_context(path.open("rb"))
            n_bytes = binary.seek(0, io.SEEK_END)
            binary.seek(0)
        except OSError as error:
            raise TableInvalid(f"{path} cannot be read: {error.strerror or error}") from error
        _make_way(listed, path)
        table = Table(path, binary, bad_rows=listed, n_bytes=n_bytes)
        stack.callback(table.close)
        table.read_header(columns, needed)
        yield table


def _make_way(listed: Path, path: Path) -> None:
    """Remove the list of an earlier run; nothing else."""
    mark = ",".join(LISTED).encode()
    try:
        if listed.exists():
            if listed.samefile(path):
                raise TableInvalid(f"{listed} cannot be both the table and the list of its bad rows")
            with listed.open("rb") as file:
                if file.read(len(mark)) != mark:
                    raise TableInvalid(f"{listed} is there already, and is no list of bad rows")
            listed.unlink()
    except OSError as error:
        raise TableInvalid(f"{listed} cannot be written: {error.strerror}") from error


def _names(line: str, *, delimiter: str) -> list[str]:
    """The cells of a header, without space around them, in lower case; an unnamed one at the end is none."""
    try:
        names = [name.strip().lower() for name in next(csv.reader([line], delimiter=delimiter))]
    except csv.Error:
        return [line.strip()]
    while names and not names[-1]:
        names.pop()
    return names


def _or(names: Collection[str]) -> str:
    *first, last = sorted(names) if isinstance(names, set | frozenset) else names
    return f"{', '.join(first)} or {last}" if first else last
