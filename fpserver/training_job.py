"""What a process does that trains: from files of feedback and a shelf to a model, packed."""

import resource
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from fpserver.config import RecommendConfig
from fpserver.recommend import histories
from fpserver.recommend.shelf import Shelf

NO_MODEL = b""  # of people none of whom has liked anything
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What came of a training, and what it took."""

    packed: bytes  # the model, or NO_MODEL
    cpu_s: float  # of the process that trained
    peak_memory_bytes: int


def train_model(folder: Path, shelf: Shelf, settings: RecommendConfig) -> Learned:
    """A model of the history in a folder."""
    from tqdm import tqdm  # noqa: PLC0415

    # The progress bars of implicit lock: by a semaphore, which a process that is killed would leave behind.
    tqdm.set_lock(threading.RLock())
    from fpserver.recommend.train import Size, train  # noqa: PLC0415 – its libraries are for the child alone

    size = Size(n_factors=settings.n_factors, n_neighbors=settings.n_neighbors)
    model = train(histories.read(folder), shelf, size=size, seed=SEED)
    return learned(NO_MODEL if model is None else model.pack())


def learned(packed: bytes) -> Learned:
    """The same, with what this process has taken so far."""
    return Learned(packed=packed, cpu_s=time.process_time(), peak_memory_bytes=peak_memory_bytes())


def peak_memory_bytes() -> int:
    """The most memory that this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
