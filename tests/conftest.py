"""Fixtures for every room: one real embedded server per session, emptied for each test that asks for it."""

import os
from collections.abc import AsyncIterator

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # as in a server's processes

import librosa
import numpy as np
import pytest

from fpserver.config import RedisConfig
from fpserver.store.connect import Client, open_store

for _name in [name for name in os.environ if name.startswith("FPSERVER_")]:
    del os.environ[_name]  # the settings of whoever runs the tests are not theirs


def pytest_configure(config: pytest.Config) -> None:
    """Let librosa compile its loops before several processes do: their writing into one cache at once can break it."""
    if getattr(config.option, "numprocesses", None):
        noise = np.random.default_rng(0).standard_normal(22050)
        librosa.estimate_tuning(y=noise)
        librosa.onset.onset_detect(y=noise)
        librosa.feature.zero_crossing_rate(noise)


@pytest.fixture(scope="session")
def store_config(tmp_path_factory: pytest.TempPathFactory) -> RedisConfig:
    """Settings of the session's embedded store, on a folder of its own."""
    return RedisConfig(data_dir=str(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="session")
async def session_client(store_config: RedisConfig) -> AsyncIterator[Client]:
    """A client of the session's embedded server, which lives while this is open."""
    async with open_store(store_config) as client:
        yield client


@pytest.fixture
async def client(session_client: Client) -> Client:
    """A client of an empty database."""
    await session_client.flushall()
    return session_client


@pytest.fixture
def rng() -> np.random.Generator:
    """The same numbers in every run."""
    return np.random.default_rng(20261122)
