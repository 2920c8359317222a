"""The catalogue and its backlog on an empty store, and a way to offer many recordings."""

import hashlib

import pytest

from fpserver.config import TracksConfig
from fpserver.store.connect import Client, load_functions
from fpserver.terms import Metadata, Submission
from fpserver.tracks.backlog import Backlog
from fpserver.tracks.catalogue import FUNCTIONS, Tracks

PLACE = "here"
CONFIG = TracksConfig(claim_idle_s=0.05, max_attempts=3, max_batch_errors=5)


def submission(name: str, *, place: str = PLACE, source: str = "", **metadata: str) -> Submission:
    """A recording whose bytes are its name."""
    return Submission(
        source=source or f"file:/music/{name}.mp3",
        place=place,
        content_sha256=hashlib.sha256(name.encode()).hexdigest(),
        metadata=Metadata(**{"title": name, **metadata}),
    )


@pytest.fixture
async def tracks(client: Client) -> Tracks:
    await load_functions(client, FUNCTIONS)
    return Tracks(client, CONFIG)


@pytest.fixture
async def backlog(client: Client, tracks: Tracks) -> Backlog:
    return Backlog(client, CONFIG)
