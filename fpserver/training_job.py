"""What a process does that trains: from files of feedback and a shelf to a model, packed."""

import resource
import sys
from pathlib import Path

from fpserver.config import RecommendConfig
from fpserver.recommend import histories
from fpserver.recommend.shelf import Shelf

NO_MODEL = b""  # of people none of whom has liked anything
SEED = 0


def train_model(folder: Path, shelf: Shelf, settings: RecommendConfig) -> tuple[bytes, int]:
    """A packed model of the history in a folder, and the most memory that this process has held, in bytes."""
    from fpserver.recommend.train import Size, train  # noqa: PLC0415 – its libraries are for the child alone

    size = Size(n_factors=settings.n_factors, n_neighbors=settings.n_neighbors)
    model = train(histories.read(folder), shelf, size=size, seed=SEED)
    return NO_MODEL if model is None else model.pack(), peak_memory_bytes()


def peak_memory_bytes() -> int:
    """The most memory that this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
