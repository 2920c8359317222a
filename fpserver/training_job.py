"""What a process does that trains: from files of feedback and a shelf to a model, packed."""

import resource
import sys
from pathlib import Path

from fpserver.config import RecommendConfig
from fpserver.recommend import histories
from fpserver.recommend.shelf import Shelf
from fpserver.recommend.train import train

SEED = 0


def train_model(folder: Path, shelf: Shelf, settings: RecommendConfig) -> tuple[bytes, int]:
    """A packed model of the histories in a folder, and the most memory that this process has held, in bytes."""
    packed = train(histories.read(folder), shelf, settings=settings, seed=SEED).pack()
    return packed, peak_memory_bytes()


def peak_memory_bytes() -> int:
    """The most memory that this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
