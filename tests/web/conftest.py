"""The real app on a real store of its own, with a worker beside it when a test asks for one."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeAlias

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from fpserver.audio.encode import encode
from fpserver.config import Config
from fpserver.demo.songs import song
from fpserver.terms import PARTS
from fpserver.web.app import create_app
from fpserver.web.door import DOOR, Door
from fpserver.worker.loop import work

RATE_HZ = 22050
SONG_S = 20.0

Web: TypeAlias = TestClient[Request, Application]


def pytest_configure(config: pytest.Config) -> None:
    """aiohttp's own form reader now and then calls what aiohttp deprecates."""
    config.addinivalue_line("filterwarnings", r"ignore:unread_data\(\) is deprecated:DeprecationWarning")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("web")


@pytest.fixture(scope="session")
def config(folder: Path) -> Config:
    (folder / "music").mkdir()
    return Config().with_values(
        redis={"data_dir": str(folder / "data"), "timeout_s": 5.0},
        audio={"max_clip_bytes": 2**20, "max_track_bytes": 2**21, "max_clip_s": 30.0},
        index={"n_shards": 4},
        web={
            "processes": 64,  # so that the one there is has one decoding process
            "clip_upload_timeout_s": 1.0,
            "upload_idle_timeout_s": 0.4,
            "max_wait_s": 20.0,
            "max_batch_files": 12,
            "manifest_roots": [str(folder / "music")],
            "drain_s": 1.0,
        },
        worker={"processes": 1, "poll_s": 0.1},
        features=dict.fromkeys(PARTS, False),  # a test that asks about likeness says what there is
        similarity={"follow_s": 0.05},
    )


@pytest.fixture(scope="session")
async def session_web(config: Config) -> AsyncIterator[Web]:
    """A client of the app; nothing works on its backlog."""
    async with TestClient(TestServer(create_app(config))) as client:
        yield client


@pytest.fixture
def door(session_web: Web) -> Door:
    return session_web.app[DOOR]


@pytest.fixture
async def web(session_web: Web, door: Door) -> AsyncIterator[Web]:
    """The same; and whatever a test did, no partial upload and no taken place outlives it."""
    yield session_web
    give_up = time.monotonic() + 3.0
    while door.places.n_inside or list(door.spool.folder.glob("*.part")):
        assert time.monotonic() < give_up, (door.places.n_inside, list(door.spool.folder.glob("*.part")))
        await asyncio.sleep(0.02)


@pytest.fixture
async def worker(door: Door) -> AsyncIterator[None]:
    """A worker, for as long as the test runs."""
    stop = asyncio.Event()
    working = asyncio.create_task(work(door.services, stop=stop))
    yield
    stop.set()
    await working


@pytest.fixture(scope="session")
def recordings() -> dict[int, bytes]:
    """Small songs as mp3, by seed."""
    return {
        seed: encode(song(seed, SONG_S, RATE_HZ), RATE_HZ, container="mp3", bitrate=64_000)
        for seed in range(7)
    }
