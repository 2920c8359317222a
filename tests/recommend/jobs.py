"""What tests ask a child to do in place of a training: functions that can be imported by their name."""

import asyncio
import os
import pickle
import signal
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from fpserver.config import RecommendConfig
from fpserver.recommend import histories
from fpserver.recommend.shelf import Shelf
from fpserver.training_job import Learned, learned


def told(folder: Path, shelf: Shelf, settings: RecommendConfig) -> Learned:
    """What it was given."""
    history = histories.read(folder)
    document = {
        "history": {name: getattr(history, name) for name in histories.COLUMNS},
        "track_id": shelf.track_id,
        "audio": shelf.audio,
        "has_audio": shelf.has_audio,
        "artists": shelf.artists,
        "scales": shelf.scales,
        "settings": settings,
        "niceness": os.nice(0),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "pid": os.getpid(),
    }
    return learned(pickle.dumps(document))


def what_was_told(packed: bytes) -> dict[str, Any]:
    document: dict[str, Any] = pickle.loads(packed)
    return document


def begun_in(data_dir: Path) -> Coroutine[Any, Any, int]:
    """Wait until one of the next two jobs has begun; says the pid of its process."""
    (data_dir / "begun").unlink(missing_ok=True)

    async def wait() -> int:
        async with asyncio.timeout(30):
            while not (data_dir / "begun").exists() or not (data_dir / "begun").read_text():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return int((data_dir / "begun").read_text())

    return wait()


def slowly(folder: Path, shelf: Shelf, settings: RecommendConfig) -> Learned:
    """The same after a second; a file beside the folder says that it has begun, and in which process."""
    (folder.parent / "begun").write_text(str(os.getpid()))
    time.sleep(1.0)
    return told(folder, shelf, settings)


def never(folder: Path, shelf: Shelf, settings: RecommendConfig) -> NoReturn:
    (folder.parent / "begun").write_text(str(os.getpid()))
    time.sleep(600)
    raise AssertionError


def die(folder: Path, shelf: Shelf, settings: RecommendConfig) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def eat(folder: Path, shelf: Shelf, settings: RecommendConfig) -> Learned:
    return learned(bytes(int(np.ones(16 * 2**30, np.uint8).sum()) and 1))


def stumble(folder: Path, shelf: Shelf, settings: RecommendConfig) -> NoReturn:
    raise ZeroDivisionError("a fault of ours")


def nothing(folder: Path, shelf: Shelf, settings: RecommendConfig) -> Learned:
    return learned(b"")
