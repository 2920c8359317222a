"""What the tests of the pool ask its children to do: functions that can be imported by their name."""

import os
import signal
import time
from pathlib import Path
from typing import NoReturn

import numpy as np

from fpserver.errors import AudioTooShort


def pid() -> int:
    return os.getpid()


def add(left: int, right: int) -> int:
    return left + right


def hang(note: Path | None = None) -> NoReturn:
    """Never end; with a note, write the process id into it first."""
    if note is not None:
        note.write_text(str(os.getpid()))
    while True:
        time.sleep(60)


def doze(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError("still alive")


def eat(n_bytes: int) -> int:
    return int(np.ones(n_bytes, np.uint8).sum())


def refuse() -> NoReturn:
    raise AudioTooShort("clip is 0.3 s, need at least 1 s")


class OddError(Exception):
    """Takes other arguments than it keeps, so it cannot be unpickled."""

    def __init__(self, left: int, right: int) -> None:
        super().__init__(f"{left}{right}")


def raise_odd() -> NoReturn:
    raise OddError(4, 2)


def raise_key_error() -> NoReturn:
    raise KeyError("a fault of ours")


def numeric_threads() -> list[str | None]:
    return [os.environ.get("OMP_NUM_THREADS"), os.environ.get("OPENBLAS_NUM_THREADS")]


def n_descriptors(folder: Path, n_files: int) -> int:
    files = [(folder / str(i)).open("w") for i in range(n_files)]
    return len(files)
