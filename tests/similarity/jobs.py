"""What the tests of telling jobs ask a child to do: functions that can be imported by their name."""

import os
import signal
import time
from collections.abc import Callable
from typing import NoReturn

import numpy as np


def count(n: int, pause_s: float, *, tell: Callable[[int], None]) -> int:
    for i in range(n):
        tell(i)
        time.sleep(pause_s)
    return os.getpid()


def say_nothing(seconds: float, *, tell: Callable[[int], None]) -> None:
    tell(os.getpid())
    time.sleep(seconds)


def eat(n_bytes: int, *, tell: Callable[[int], None]) -> int:
    tell(0)
    return int(np.ones(n_bytes, np.uint8).sum())


def die(*, tell: Callable[[int], None]) -> NoReturn:
    tell(0)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")
