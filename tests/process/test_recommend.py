"""From what people do to what is recommended, as an operator sees it: a server, its worker, and `fpserver train`."""

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.process.running import serving, started, store_of
from tests.recommend.asking import add, catalogue

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


async def test_feedback_is_trained_on_and_a_dislike_changes_the_next_answer(data_dir: Path) -> None:
    async with store_of(data_dir) as services:
        ids = await add(services, catalogue())
    with serving(data_dir) as server:
        async with aiohttp.ClientSession(server.address) as session:
            start = await until(session, "ann", lambda body: len(body["recommendations"]) == 6)
            assert (start["standing"], start["n_liked"], start["model"]) == ("unknown", 0, None)

            await does(session, *others(ids))
            done = await asyncio.to_thread(said, "train", "--data", data_dir)
            assert re.search(r"^model [0-9a-f]+, .* events of 30 users and 24 tracks", done, re.M), done
            await does(session, {"user": "ann", "track_id": ids["song 0.0"], "kind": "like"})
            body = await until(session, "ann", lambda body: body["model"] is not None)
            assert (body["standing"], body["n_liked"]) == ("new", 1)
            first = body["recommendations"][0]
            assert first["artist"] in ("Artist 0", "Artist 3"), "which the same people like"
            reasons = [reason for each in body["recommendations"] for reason in each["reasons"]]
            assert "people" in {reason["kind"] for reason in reasons}
            assert {reason["track_id"] for reason in reasons} <= {None, ids["song 0.0"]}

            await does(session, {"user": "ann", "track_id": first["track_id"], "kind": "dislike"})
            after = await recommended(session, "ann")
            assert first["track_id"] not in {each["track_id"] for each in after["recommendations"]}
            async with session.get("/v1/recommendations/model") as response:
                assert (await response.json())["model"]["n_users"] >= 30
        assert server.stop() == 0


def others(ids: dict[str, int]) -> list[dict[str, Any]]:
    """People who like artists 0 and 3, or 1 and 4, or 2 and 5."""
    return [
        {"user": f"user {user}", "track_id": ids[f"song {artist}.{i}"], "kind": "like", "at": 1000 + user}
        for user in range(30)
        for artist in (user % 3, user % 3 + 3)
        for i in range(4)
        if (user + i) % 4
    ]


async def does(session: aiohttp.ClientSession, *events: dict[str, Any]) -> None:
    async with session.post("/v1/feedback", json={"events": events}) as response:
        assert (await response.json())["n_taken"] == len(events)


async def recommended(session: aiohttp.ClientSession, user: str) -> dict[str, Any]:
    async with session.get(f"/v1/users/{user}/recommendations", params={"diversity": "0"}) as response:
        body: dict[str, Any] = await response.json()
        assert response.status == 200, body
        return body


async def until(
    session: aiohttp.ClientSession, user: str, true: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """The first answer of which this is true; a server that has just started may be filling its copy."""
    give_up = time.monotonic() + 30
    while True:
        async with session.get(f"/v1/users/{user}/recommendations", params={"diversity": "0"}) as response:
            body: dict[str, Any] = await response.json()
        if response.status == 200 and true(body):
            return body
        assert response.status in (200, 503), body
        assert time.monotonic() < give_up, body
        await asyncio.sleep(0.05)


def said(*arguments: str | Path) -> str:
    """What a command says that ends well."""
    with started(*arguments) as process:
        text, _ = process.communicate(timeout=60)
    assert process.returncode == 0, text
    return text
