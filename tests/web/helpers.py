"""What the tests of the door say more than once."""

import asyncio
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

from aiohttp import ClientResponse, FormData

from tests.web.conftest import Web

FINGERPRINT = "application/vnd.fpserver.fingerprint+msgpack"
NDJSON = "application/x-ndjson"


async def refused(response: ClientResponse, status: int, code: str) -> str:
    """Check that an answer is the one error body; returns its sentence."""
    body = await response.json()
    assert (response.status, body["error"]["code"]) == (status, code), body
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "request_id"}
    assert body["error"]["request_id"] == response.headers["X-Request-Id"]
    message: str = body["error"]["message"]
    assert message and "Traceback" not in message
    return message


def audio_form(body: bytes, metadata: str | None = None, *, name: str = "song.mp3") -> FormData:
    form = FormData()
    if metadata is not None:
        form.add_field("metadata", metadata, content_type="application/json")
    form.add_field("audio", BytesIO(body), filename=name, content_type="audio/mpeg")
    return form


async def until(condition: Callable[[], bool], *, within_s: float = 5.0) -> None:
    """Wait for something that nobody signals."""
    give_up = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up, condition
        await asyncio.sleep(0.01)


async def batch_done(web: Web, batch_id: str, *, within_s: float = 20.0) -> dict[str, Any]:
    """The batch, once nothing of it is pending."""
    give_up = time.monotonic() + within_s
    while True:
        batch: dict[str, Any] = await (await web.get(f"/v1/ingest/{batch_id}")).json()
        if batch["done"]:
            return batch
        assert time.monotonic() < give_up, batch
        await asyncio.sleep(0.1)
