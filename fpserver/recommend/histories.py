"""A history in files, a column each: written some events at a time by one process, read whole by another.

So whoever writes holds a page of it in memory, however long it is. Numbers are in the machine's own byte order: the
files are read by a child of who wrote them, and gone afterwards.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fpserver.terms import History

COLUMNS: dict[str, np.dtype[Any]] = {
    "user": np.dtype(np.int32),
    "track_id": np.dtype(np.int64),
    "kind": np.dtype(np.uint8),
    "value": np.dtype(np.float32),
    "at": np.dtype(np.float64),
}
assert set(COLUMNS) == {each.name for each in fields(History)}


class Writer:
    """Open files, a column each."""

    def __init__(self, files: dict[str, BinaryIO]) -> None:
        self._files = files
        self.n_events = 0
        self.n_users = 0

    def append(self, page: History) -> None:
        """Add events; their users come after those that are there, but for the last, who may go on."""
        for name, file in self._files.items():
            np.ascontiguousarray(getattr(page, name), COLUMNS[name]).tofile(file)
        self.n_events += len(page)
        self.n_users = max(self.n_users, int(page.user.max(initial=-1)) + 1)


@contextmanager
def writing(folder: Path) -> Iterator[Writer]:
    """Files in a folder; they are whole when the context has ended."""
    with ExitStack() as stack:
        yield Writer({name: stack.enter_context((folder / name).open("wb")) for name in COLUMNS})


def read(folder: Path) -> History:
    """All that was written."""
    return History(**{name: np.fromfile(folder / name, kind) for name, kind in COLUMNS.items()})
