"""The model over HTTP: what it was trained on, what is on the way, and asking for another."""

from collections.abc import AsyncIterator

import pytest

from fpserver.recommend.models import Failure
from fpserver.web.door import Door
from tests.recommend.putting import FIGURES
from tests.web.conftest import Web
from tests.web.helpers import refused

PATH = "/v1/recommendations/model"


@pytest.fixture(autouse=True)
async def nothing_trained(door: Door) -> AsyncIterator[None]:
    await _forget(door)
    yield
    await _forget(door)


async def _forget(door: Door) -> None:
    names = [name async for name in door.services.client.scan_iter(match="fp:recommend:*")]
    if names:
        await door.services.client.delete(*names)


async def test_before_anything_is_trained_there_is_no_model(web: Web) -> None:
    body = await (await web.get(PATH)).json()
    request_id = body.pop("request_id")
    assert request_id
    assert body == {"model": None, "wanted": False, "training": False, "failure": None}


async def test_asking_is_taken_up_and_told(web: Web, door: Door) -> None:
    response = await web.post(PATH)
    assert response.status == 202
    assert (await response.json())["wanted"] is True
    async with door.services.models.turn():
        body = await (await web.get(PATH)).json()
    assert (body["wanted"], body["training"]) == (True, True)


async def test_a_model_is_told_with_its_figures(web: Web, door: Door) -> None:
    version = await door.services.models.put(b"", figures=FIGURES)
    body = await (await web.get(PATH)).json()
    assert body["model"] == {
        "version": version,
        "n_bytes": 0,
        "trained_at": "1970-01-01T00:16:40.000Z",
        "reading_s": 1.0,
        "training_s": 2.0,
        "training_cpu_s": 1.5,
        "n_users": 3,
        "n_tracks": 4,
        "n_events": 5,
        "peak_memory_bytes": 7,
    }


async def test_why_a_training_failed_is_told(web: Web, door: Door) -> None:
    failure = Failure(at=0.0, code="training_failed", message="training took longer than 3 s, the limit")
    await door.services.models.served(0, failure=failure)
    body = await (await web.get(PATH)).json()
    assert body["failure"] == {
        "at": "1970-01-01T00:00:00.000Z",
        "code": "training_failed",
        "message": "training took longer than 3 s, the limit",
    }


async def test_parameters_are_refused(web: Web) -> None:
    await refused(await web.get(PATH, params={"now": "1"}), 422, "invalid_request")
    await refused(await web.post(PATH, params={"now": "1"}), 422, "invalid_request")
