"""Engines to test: each kind on a folder or a server of its own, and each opened again as after a restart."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from fpserver.config import RedisConfig, SimilarityConfig
from fpserver.similarity.engine import Engine
from fpserver.similarity.engines import open_engine

Opening = Callable[[], AbstractAsyncContextManager[Engine]]
KINDS = ("embedded, exact", "embedded, by lists")


@pytest.fixture(params=KINDS)
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    """Opens an engine of each kind, which holds what it held when it was closed."""
    redis = RedisConfig(data_dir=str(tmp_path))
    exact_below = 100 if request.param.endswith("by lists") else 20_000
    similarity = SimilarityConfig(exact_below=exact_below)
    return lambda: open_engine(similarity, redis)
