"""A request that was slow says where its time went; and every word in the log says of which request it is."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict

from fpserver import log as logs
from fpserver.config import LogConfig
from fpserver.errors import StoreUnavailable
from fpserver.index.store import Index
from fpserver.stages import UPLOAD, WAIT
from fpserver.tracks.catalogue import Tracks
from fpserver.web.door import Door
from fpserver.web.slow import tell_if_slow
from tests.web.conftest import Web


@contextmanager
def heard() -> Iterator[list[EventDict]]:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        yield lines


@contextmanager
def limit(door: Door, seconds: float, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(door, "config", door.config.with_values(log={"slow_request_s": seconds}))
        yield


def slow_ones(lines: list[EventDict]) -> list[EventDict]:
    return [line for line in lines if line["event"] == "web.slow_request"]


async def test_an_identification_says_what_every_stage_took(
    web: Web, door: Door, recordings: dict[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with limit(door, 0.001, monkeypatch), heard() as lines:
        response = await web.post("/v1/identify", data=recordings[3])
    assert response.status == 200
    (line,) = slow_ones(lines)
    assert (line["route"], line["status"], line["log_level"]) == ("/v1/identify", 200, "warning")
    assert line["request_id"] == response.headers["X-Request-Id"]
    assert {UPLOAD, "pool", "audio", "fingerprint", "index", "matching"} <= set(line["stages_s"])
    for stage, ms in (await response.json())["timings_ms"].items():
        assert line["stages_s"][stage] == pytest.approx(ms / 1000, abs=0.002), stage
    assert 0 <= line["other_s"] <= line["seconds"]


async def test_the_stage_that_is_slow_is_the_one_that_is_named(
    web: Web, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(*_: object, **__: object) -> dict[int, Any]:
        await asyncio.sleep(0.1)
        raise StoreUnavailable("redis did not answer within 0.1 s")

    monkeypatch.setattr(Tracks, "get", late)
    document = {"track_ids": [1]}
    with limit(door, 0.05, monkeypatch), heard() as lines:
        for _ in range(100):  # until the copy of the catalogue is there
            response = await web.post("/v1/recommendations", json=document)
            if (await response.json())["error"]["code"] != "overloaded":
                break
            await asyncio.sleep(0.05)
    assert response.status == 503
    line = slow_ones(lines)[-1]
    assert line["route"] == "/v1/recommendations" and line["status"] == 503
    assert max(line["stages_s"], key=line["stages_s"].__getitem__) == "tracks"
    assert line["stages_s"]["tracks"] >= 0.1


async def test_a_client_that_sends_slowly_is_not_our_slowness(
    web: Web, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(0.3)
        yield b"}"

    with limit(door, 0.2, monkeypatch), heard() as lines:
        await web.post("/v1/tracks/known", data=body(), headers={"Content-Type": "application/json"})
    assert [line["event"] for line in lines] == ["web.request"]
    assert lines[0]["ms"] >= 250


async def test_with_a_limit_of_0_none_is_told(
    web: Web, door: Door, recordings: dict[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with limit(door, 0.0, monkeypatch), heard() as lines:
        await web.post("/v1/identify", data=recordings[3])
    assert slow_ones(lines) == []


@pytest.mark.parametrize(("seconds", "n_told"), [(1.5, 0), (5.5, 1)])
def test_what_the_client_let_us_wait_does_not_count(seconds: float, n_told: int) -> None:
    with heard() as lines:
        tell_if_slow("/v1/tracks", 201, seconds, {UPLOAD: 0.4, WAIT: 4.0, "tracks": 0.01}, limit_s=1.0)
    assert len(lines) == n_told


async def test_every_word_during_a_request_has_its_id(
    web: Web, recordings: dict[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fault(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    asked = [
        ("POST", "/v1/identify", recordings[2]),
        ("POST", "/v1/identify", b"no sound"),
        ("POST", "/v1/tracks", recordings[2]),
        ("GET", "/v1/tracks/999999", None),
        ("GET", "/metrics", None),
    ]
    for i, (method, path, data) in enumerate(asked):
        with heard() as lines:
            await web.request(method, path, data=data, headers={"X-Request-Id": f"asked-{i}"})
        told = [line for line in lines if line["event"].split(".")[0] not in ("following", "stocking")]
        assert told and {line["request_id"] for line in told} == {f"asked-{i}"}, lines
    monkeypatch.setattr(Index, "stats", fault)
    with heard() as lines:
        await web.get("/readyz", headers={"X-Request-Id": "faulty"})
    assert {(line["event"], line["request_id"]) for line in lines} >= {("web.unexpected", "faulty")}


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_shows_where_and_never_what_variables_held(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        logs.configure(LogConfig(format=form))
        try:
            held = "kept " + "secret"
            raise ZeroDivisionError(len(held))
        except ZeroDivisionError:
            structlog.get_logger().exception("web.unexpected")
        told = capsys.readouterr().err
    finally:
        structlog.reset_defaults()
    assert "ZeroDivisionError" in told and "test_slow.py" in told
    assert "kept secret" not in told


def test_a_line_of_json_has_the_id_and_one_line_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        logs.configure(LogConfig(format="json"))
        with structlog.contextvars.bound_contextvars(request_id="abc"):
            structlog.get_logger().warning("web.slow_request", stages_s={"index": 1.2})
            try:
                raise ValueError("two\nlines")
            except ValueError:
                structlog.get_logger().exception("web.unexpected")
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    finally:
        structlog.reset_defaults()
    assert [(line["event"], line["request_id"]) for line in lines] == [
        ("web.slow_request", "abc"),
        ("web.unexpected", "abc"),
    ]
    assert lines[0]["stages_s"] == {"index": 1.2} and "ValueError" in lines[1]["exception"]
