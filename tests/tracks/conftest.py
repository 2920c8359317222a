"""The catalogue and its backlog on an empty store."""

import pytest

from fpserver.store.connect import Client, load_functions
from fpserver.tracks.backlog import Backlog
from fpserver.tracks.catalogue import FUNCTIONS, Tracks
from tests.tracks.offers import CONFIG


@pytest.fixture
async def tracks(client: Client) -> Tracks:
    await load_functions(client, FUNCTIONS)
    return Tracks(client, CONFIG)


@pytest.fixture
def backlog(client: Client, tracks: Tracks) -> Backlog:
    return Backlog(client, CONFIG)
