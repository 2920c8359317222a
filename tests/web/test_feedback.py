"""What people did with tracks, over HTTP: taken once, listed, erased."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import msgpack
import pytest
from yarl import URL

from fpserver.web import events
from fpserver.web.door import Door
from fpserver.web.handlers import feedback as handler
from tests.tracks.offers import submit
from tests.web.conftest import Web
from tests.web.helpers import NDJSON, refused

MSGPACK = "application/msgpack"


@pytest.fixture
async def track_id(door: Door) -> int:
    (track_id,) = await submit(door.services.tracks, uuid4().hex)
    return track_id


@pytest.fixture
def user() -> str:
    return f"user {uuid4().hex}"


async def taken(web: Web, data: Any, kind: str = "application/json") -> dict[str, Any]:
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    response = await web.post("/v1/feedback", data=body, headers={"Content-Type": kind})
    answer: dict[str, Any] = await response.json()
    assert response.status == 200, answer
    assert set(answer) == {"request_id", "n_taken", "n_known", "n_refused", "errors"}
    return answer


def counts(answer: dict[str, Any]) -> tuple[int, int, int]:
    return answer["n_taken"], answer["n_known"], answer["n_refused"]


def lines(*events: Any) -> bytes:
    return b"\n".join(each if isinstance(each, bytes) else json.dumps(each).encode() for each in events)


def path(user: str, **query: str | int) -> URL:
    return URL(f"/v1/users/{quote(user, safe='')}", encoded=True) % query


async def listed(web: Web, user: str, **query: str | int) -> dict[str, Any]:
    response = await web.get(path(user, **query))
    answer: dict[str, Any] = await response.json()
    assert response.status == 200, answer
    return answer


async def test_one_event_is_taken_and_can_be_read(web: Web, track_id: int, user: str) -> None:
    event = {"user": user, "track_id": track_id, "kind": "play", "fraction": 0.4, "event_id": "e-1"}
    at = {"at": "2026-01-31T13:00:00.5+01:00"}
    assert counts(await taken(web, event | at)) == (1, 0, 0)
    assert counts(await taken(web, event | {"fraction": 0.9})) == (0, 1, 0)
    assert await listed(web, user) == {
        "user": user,
        "n_events": 1,
        "events": [
            {
                "event_id": "e-1",
                "track_id": track_id,
                "kind": "play",
                "fraction": 0.4,
                "rating": None,
                "at": "2026-01-31T12:00:00.500Z",
            }
        ],
        "next_cursor": None,
    }


async def test_an_event_without_a_moment_is_of_now(web: Web, track_id: int, user: str) -> None:
    before = time.time()
    await taken(web, {"user": user, "track_id": track_id, "kind": "rating", "rating": 4})
    (event,) = (await listed(web, user))["events"]
    assert event["rating"] == 4.0 and event["fraction"] is None
    assert event["at"][:16] >= time.strftime("%Y-%m-%dT%H:%M", time.gmtime(before))


async def test_a_batch_takes_the_good_ones_and_names_the_others(web: Web, track_id: int, user: str) -> None:
    good = {"user": user, "track_id": track_id, "kind": "like", "at": 1000}
    batch = [
        good,
        good | {"track_id": 2**27},
        good | {"kind": "loved"},
        {"user": user},
        7,
        good | {"user": "a\nb"},
        good | {"at": "2026-01-31T12:00:00"},
        good | {"colour": "red"},
        good | {"at": 1001.5},
        good,
    ]
    for body, kind in (
        (json.dumps({"events": batch}).encode(), "application/json"),
        (msgpack.packb({"events": batch}), MSGPACK),
        (lines(*batch), NDJSON),
    ):
        answer = await taken(web, body, kind)
        assert sum(counts(answer)) == 10 and answer["n_refused"] == 7
        assert [(error["item"], error["code"]) for error in answer["errors"]] == [
            (2, "track_not_found"),
            *((item, "invalid_request") for item in range(3, 9)),
        ]
    assert [event["at"][17:23] for event in (await listed(web, user))["events"]] == ["41.500", "40.000"]


async def test_a_stream_may_have_empty_lines_and_lines_that_are_no_json(
    web: Web, track_id: int, user: str
) -> None:
    good = {"user": user, "track_id": track_id, "kind": "like", "event_id": "1"}
    answer = await taken(web, lines(b"", good, b"  \r", b'{"user":', good | {"event_id": "2"}, b""), NDJSON)
    assert counts(answer) == (2, 0, 1)
    assert [error["item"] for error in answer["errors"]] == [4]


async def test_a_long_stream_is_taken_whole_in_blocks(
    web: Web, track_id: int, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "BLOCK_BYTES", 2000)
    batch = [
        {"user": f"{user} {i % 10}", "track_id": track_id if i % 100 else 2**27, "kind": "skip", "at": i}
        for i in range(1, 3001)
    ]
    answer = await taken(web, lines(*batch), NDJSON)
    assert counts(answer) == (2970, 0, 30)
    assert [error["item"] for error in answer["errors"]] == list(range(100, 3001, 100))
    assert counts(await taken(web, lines(*batch), NDJSON)) == (0, 2970, 30)
    assert (await listed(web, f"{user} 1"))["n_events"] == 300


async def test_no_more_than_a_thousand_errors_are_listed(
    web: Web, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "MAX_ERRORS", 3)
    answer = await taken(web, lines(*[b"no"] * 10), NDJSON)
    assert answer["n_refused"] == 10 and [error["item"] for error in answer["errors"]] == [1, 2, 3]


@pytest.mark.parametrize(
    ("body", "kind", "status", "code", "said"),
    [
        (b"", NDJSON, 422, "invalid_request", "no events"),
        (b"\n\n", NDJSON, 422, "invalid_request", "no events"),
        (b"", "application/json", 422, "invalid_request", "malformed"),
        (b"[]", "application/json", 422, "invalid_request", "object"),
        (b'{"events": []}', "application/json", 422, "invalid_request", "events"),
        (b'{"events": 3}', "application/json", 422, "invalid_request", "events"),
        (b'{"user": "ann", "events": [3]}', "application/json", 422, "invalid_request", "user"),
        (b'{"user": "ann", "kind": "like"}', "application/json", 422, "invalid_request", "track_id"),
        (
            b'{"user": "ann", "kind": "like", "track_id": 134217728}',
            "application/json",
            404,
            "track_not_found",
            "134217728",
        ),
        (
            b'{"user": "ann", "kind": "like", "track_id": 1, "at": 1e12}',
            "application/json",
            422,
            "invalid_request",
            "at is",
        ),
        (b"\x81\xa4user\xc1", MSGPACK, 422, "invalid_request", "malformed"),
        (b"user,track", "text/csv", 415, "media_type_unsupported", "text/csv"),
        (b" " * (2**20 + 1), "application/json", 413, "body_too_large", "1048576"),
    ],
)
async def test_what_is_no_event_is_refused(
    web: Web, body: bytes, kind: str, status: int, code: str, said: str
) -> None:
    response = await web.post("/v1/feedback", data=BytesIO(body), headers={"Content-Type": kind})
    assert said in await refused(response, status, code)


async def test_numbers_that_are_none_are_refused(web: Web, track_id: int, user: str) -> None:
    for value in (float("nan"), float("inf"), -1.0):
        body = msgpack.packb({"user": user, "track_id": track_id, "kind": "like", "at": value})
        response = await web.post("/v1/feedback", data=body, headers={"Content-Type": MSGPACK})
        await refused(response, 422, "invalid_request")


async def test_a_line_without_an_end_is_refused_and_what_came_before_it_is_stored(
    web: Web, track_id: int, user: str
) -> None:
    good = json.dumps({"user": user, "track_id": track_id, "kind": "like", "event_id": "1"}).encode()
    body = good + b"\n" + b" " * events.BLOCK_BYTES * 3
    response = await web.post("/v1/feedback", data=body, headers={"Content-Type": NDJSON})
    assert "line 2 has more than" in await refused(response, 422, "invalid_request")
    assert (await listed(web, user))["n_events"] == 1


async def test_a_stream_that_stands_still_is_given_up_and_what_came_is_stored(
    web: Web, track_id: int, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "BLOCK_BYTES", 10)
    good = json.dumps({"user": user, "track_id": track_id, "kind": "like", "event_id": "1"}).encode()

    async def slowly() -> AsyncIterator[bytes]:
        yield good + b"\n"
        await asyncio.sleep(1.0)

    response = await web.post("/v1/feedback", data=slowly(), headers={"Content-Type": NDJSON})
    await refused(response, 408, "upload_timeout")
    assert (await listed(web, user))["n_events"] == 1


async def test_a_stream_does_not_hold_up_others(web: Web, track_id: int, user: str) -> None:
    body = lines(*({"user": user, "track_id": track_id, "kind": "like", "at": i} for i in range(5000)))
    taking = asyncio.create_task(taken(web, body, NDJSON))
    slowest_s = 0.0
    while not taking.done():
        start = time.perf_counter()
        assert (await web.get("/healthz")).status == 200
        slowest_s = max(slowest_s, time.perf_counter() - start)
    assert counts(await taking) == (5000, 0, 0)
    assert slowest_s < 0.5


async def test_a_user_is_listed_page_by_page_newest_first(web: Web, track_id: int, user: str) -> None:
    batch = [
        {"user": user, "track_id": track_id, "kind": "like", "at": i // 3, "event_id": f"e{i:02d}"}
        for i in range(25)
    ]
    await taken(web, {"events": batch})
    wanted = [f"e{i:02d}" for i in sorted(range(25), key=lambda i: (-(i // 3), i))]
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await listed(web, user, limit=4, **cursor)
        assert page["n_events"] == 25
        found += [event["event_id"] for event in page["events"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
        assert len(page["events"]) == 4
    assert found == wanted


@pytest.mark.parametrize("name", ["a/b", "ä ö", "50%", "a?b#c", "{x}", "...", "a+b", "%2F", "\u2028", "~"])
async def test_a_user_may_be_called_anything(web: Web, track_id: int, name: str) -> None:
    await taken(web, {"user": name, "track_id": track_id, "kind": "like", "at": 5})
    assert (await listed(web, name))["user"] == name
    response = await web.delete(path(name))
    assert (response.status, await response.json()) == (200, {"user": name, "n_events": 1})


async def test_who_is_erased_is_not_known_any_more(web: Web, track_id: int, user: str) -> None:
    await taken(
        web, {"events": [{"user": user, "track_id": track_id, "kind": "like", "at": i} for i in (1, 2)]}
    )
    assert await (await web.delete(path(user))).json() == {"user": user, "n_events": 2}
    assert user in await refused(await web.get(path(user)), 404, "user_not_found")
    await refused(await web.delete(path(user)), 404, "user_not_found")


async def test_nobody_has_a_name_that_nobody_can_have(web: Web) -> None:
    for name in ("x" * 201, "a%00b", "a%0Ab"):
        await refused(await web.get(URL(f"/v1/users/{name}", encoded=True)), 404, "user_not_found")


async def test_a_cursor_that_is_none_is_refused(web: Web, track_id: int, user: str) -> None:
    await taken(web, {"user": user, "track_id": track_id, "kind": "like"})
    for cursor in ("x", "!!!", "ü", "AAAA"):
        assert "cursor" in await refused(await web.get(path(user, cursor=cursor)), 422, "invalid_request")
    await refused(await web.get(path(user, limit=0)), 422, "invalid_request")
    await refused(await web.delete(path(user, limit=1)), 422, "invalid_request")
