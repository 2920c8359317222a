"""What next, over HTTP: every parameter, every way to be refused."""

import json
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any, get_args
from urllib.parse import quote
from uuid import uuid4

import msgpack
import msgspec
import pytest
from yarl import URL

from fpserver.errors import Overloaded
from fpserver.recommend.blend import STRATEGIES
from fpserver.recommend.reasons import Why
from fpserver.suggest import Standing
from fpserver.web import openapi
from fpserver.web.door import Door
from fpserver.web.recommend_schemas import RecommendationsRequest, RecommendQuery
from tests.recommend.asking import Named, add, catalogue, made_ready
from tests.web.conftest import Web
from tests.web.helpers import refused

PATH = "/v1/recommendations"
MSGPACK = "application/msgpack"


@pytest.fixture
def genre() -> str:
    """Of this test's tracks, and of no others."""
    return uuid4().hex


@pytest.fixture
async def ids(door: Door, genre: str) -> AsyncIterator[dict[str, int]]:
    """Tracks by title, on the desk; gone after the test."""
    tracks = [
        Named(title=each.title, artist=f"{each.artist} {genre}", genre=genre, tags=each.tags)
        for each in catalogue()
    ]
    ids = await add(door.services, tracks)
    await made_ready(door.desk)
    yield ids
    for track_id in ids.values():
        await door.services.tracks.mark_deleting(track_id, now=1.0)
        await door.services.tracks.forget(track_id)
    await made_ready(door.desk)


@pytest.fixture
def user() -> str:
    return f"user {uuid4().hex}"


def path(user: str, **query: Any) -> URL:
    url = URL(f"/v1/users/{quote(user, safe='')}/recommendations", encoded=True)
    return url.with_query(query) if query else url


async def of_user(web: Web, user: str, **query: Any) -> dict[str, Any]:
    response = await web.get(path(user, **query))
    body: dict[str, Any] = await response.json()
    assert response.status == 200, body
    return body


async def of_tracks(web: Web, **body: Any) -> dict[str, Any]:
    response = await web.post(PATH, json=body)
    answer: dict[str, Any] = await response.json()
    assert response.status == 200, answer
    return answer


async def does(web: Web, user: str, kind: str, *track_ids: int, **more: Any) -> None:
    events = [{"user": user, "track_id": track_id, "kind": kind, **more} for track_id in track_ids]
    response = await web.post("/v1/feedback", json={"events": events})
    assert (await response.json())["n_taken"] == len(events)


def titles(body: dict[str, Any]) -> list[str]:
    return [each["title"] for each in body["recommendations"]]


def score(body: dict[str, Any], title: str) -> float:
    (found,) = [each["score"] for each in body["recommendations"] if each["title"] == title]
    return float(found)


def artists(body: dict[str, Any]) -> list[str]:
    return [each["artist"] for each in body["recommendations"]]


async def test_somebody_new_gets_a_varied_start_and_is_told(
    web: Web, ids: dict[str, int], genre: str, user: str
) -> None:
    body = await of_user(web, user, genre=genre)
    assert (body["user"], body["standing"], body["n_liked"], body["strategy"]) == (
        user,
        "unknown",
        0,
        "hybrid",
    )
    assert len(body["recommendations"]) == 6 == len(set(artists(body))), "one track of each artist"
    assert set(body) == {
        "request_id",
        "user",
        "standing",
        "n_liked",
        "strategy",
        "model",
        "recommendations",
        "timings_ms",
    }
    for each in body["recommendations"]:
        assert each["reasons"] and each["track_id"] in ids.values() and each["genre"] == genre
        assert all(reason["text"] and reason["track_id"] is None for reason in each["reasons"])


async def test_a_like_counts_in_the_very_next_answer_and_is_the_reason(
    web: Web, ids: dict[str, int], genre: str, user: str
) -> None:
    await does(web, user, "like", ids["song 2.0"])
    body = await of_user(web, user, genre=genre, strategy="content", diversity=0)
    assert (body["standing"], body["n_liked"]) == ("new", 1)
    assert titles(body)[0] == "song 2.2" and "song 2.0" not in titles(body)
    reason = body["recommendations"][0]["reasons"][0]
    assert (reason["kind"], reason["track_id"], reason["same_artist"]) == ("like", ids["song 2.0"], True)
    assert (reason["same_genre"], reason["tags"], reason["similar"]) == (True, ["tag 2", "tag 2.0"], {})
    assert reason["text"] == (
        f"because you like “song 2.0” by Artist 2 {genre}: same artist, also tagged tag 2, tag 2.0"
    )
    assert 0 < reason["share"] <= 1


async def test_a_dislike_counts_in_the_very_next_answer(
    web: Web, ids: dict[str, int], genre: str, user: str
) -> None:
    asked: dict[str, Any] = {"genre": genre, "strategy": "content", "diversity": 0}
    await does(web, user, "like", ids["song 2.0"])
    first = titles(await of_user(web, user, **asked))[0]
    await does(web, user, "dislike", ids[first])
    after = await of_user(web, user, **asked, k=24)
    assert first not in titles(after)
    again = await of_user(web, user, **asked, k=24, again=1)
    assert first not in titles(again)


async def test_a_user_who_is_erased_is_unknown_again(
    web: Web, ids: dict[str, int], genre: str, user: str
) -> None:
    before = await of_user(web, user, genre=genre)
    await does(web, user, "like", *list(ids.values())[:6])
    assert (await of_user(web, user, genre=genre))["standing"] == "known"
    await web.delete(URL(f"/v1/users/{quote(user, safe='')}", encoded=True))
    after = await of_user(web, user, genre=genre)
    assert (after["standing"], after["recommendations"]) == ("unknown", before["recommendations"])


@pytest.mark.parametrize("how", ["query", "body"])
async def test_every_wish_is_granted(web: Web, ids: dict[str, int], genre: str, user: str, how: str) -> None:
    liked = [ids["song 0.0"], ids["song 1.0"], ids["song 4.0"]]
    await does(web, user, "like", *liked, at=1000)

    async def asked(**wish: Any) -> dict[str, Any]:
        if how == "query":
            return await of_user(web, user, **{"genre": genre} | wish)
        names = set(RecommendationsRequest.__struct_fields__)
        rest = {name: value for name, value in wish.items() if name in names}
        sieve = {name: value for name, value in wish.items() if name not in names}
        if "again" in rest:
            rest["again"] = bool(rest["again"])
        return await of_tracks(web, user=user, filter={"genre": genre} | sieve, **rest)

    assert len(titles(await asked(k=3))) == 3
    assert len(titles(await asked(k=200, max_per_artist=1))) == 6
    everything = await asked(k=200, max_per_artist=1000)
    assert len(titles(everything)) == 24 - 3
    assert set(titles(await asked(k=200))) <= set(titles(everything))
    assert max(map(artists(await asked(k=200)).count, artists(everything))) == 2, "as is set"
    for strategy in STRATEGIES:
        answer = await asked(strategy=strategy)
        assert answer["strategy"] == strategy and answer["recommendations"]
    by_score = [each["score"] for each in (await asked(diversity=0, k=20))["recommendations"]]
    assert by_score == sorted(by_score, reverse=True)
    assert len(set(artists(await asked(diversity=1, k=6)))) == 6
    one, same, other = [titles(await asked(seed=seed, k=20)) for seed in (1, 1, 2)]
    assert one == same != other
    again = titles(await asked(again=1, k=24, max_per_artist=24))
    assert {"song 0.0", "song 1.0", "song 4.0"} < set(again)
    assert titles(await asked(artist=f"artist 3 {genre}", k=24, max_per_artist=24, diversity=0)) == titles(
        await asked(q=f"Artist 3 {genre}", k=24, max_per_artist=24, diversity=0)
    )
    assert set(titles(await asked(tag="Tag 3.1", k=24))) == {"song 3.1", "song 3.3"}
    for nothing in (
        {"album": "none"},
        {"external_id": "none"},
        {"isrc": "none"},
        {"key": "A minor"},
        {"tempo_bpm_min": 1},
        {"loudness_db_max": 0},
    ):
        assert titles(await asked(**nothing)) == []


async def test_tracks_are_gone_on_from(web: Web, ids: dict[str, int], genre: str) -> None:
    asked: dict[str, Any] = {"filter": {"genre": genre}, "strategy": "content", "diversity": 0, "k": 24}
    body = await of_tracks(web, track_ids=[ids["song 3.0"], ids["song 3.1"]], **asked)
    assert (body["user"], body["standing"], body["n_liked"]) == (None, "new", 2)
    assert set(titles(body)[:2]) == {"song 3.2", "song 3.3"}
    assert not {"song 3.0", "song 3.1"} & set(titles(body))
    playlist = await of_tracks(web, track_ids=list(ids.values())[:8], **asked)
    assert playlist["standing"] == "known"


async def test_what_is_disliked_or_excluded_is_not_named_and_only_the_first_lowers_its_like(
    web: Web, ids: dict[str, int], genre: str
) -> None:
    asked: dict[str, Any] = {
        "filter": {"genre": genre},
        "strategy": "content",
        "diversity": 0,
        "k": 24,
        "max_per_artist": 24,
    }
    likes = {"track_ids": [ids["song 3.0"], ids["song 0.0"]]}
    plain = await of_tracks(web, **likes, **asked)
    excluded = await of_tracks(web, **likes, exclude=[ids["song 3.2"]], **asked)
    assert titles(excluded) == [title for title in titles(plain) if title != "song 3.2"]
    disliked = await of_tracks(web, **likes, disliked=[ids["song 3.2"]], **asked)
    assert "song 3.2" not in titles(disliked) and disliked["n_liked"] == 2
    assert score(disliked, "song 3.3") < score(excluded, "song 3.3")


async def test_a_question_for_a_user_counts_what_he_did_and_keeps_nothing(
    web: Web, ids: dict[str, int], genre: str, user: str
) -> None:
    await does(web, user, "dislike", ids["song 5.2"])
    asked: dict[str, Any] = {"filter": {"genre": genre}, "k": 24, "max_per_artist": 24}
    body = await of_tracks(web, user=user, track_ids=[ids["song 5.0"]], **asked)
    assert (body["user"], body["n_liked"]) == (user, 1)
    assert not {"song 5.0", "song 5.2"} & set(titles(body))
    kept = await (await web.get(URL(f"/v1/users/{quote(user, safe='')}", encoded=True))).json()
    assert kept["n_events"] == 1


async def test_a_question_without_anything_and_tracks_that_are_none_get_a_start(
    web: Web, ids: dict[str, int], genre: str
) -> None:
    for body in ({}, {"track_ids": [2**28 - 1], "disliked": [2**28 - 2], "exclude": [2**28 - 3]}):
        answer = await of_tracks(web, filter={"genre": genre}, **body)
        assert answer["recommendations"], body
        assert all(
            reason["track_id"] is None for each in answer["recommendations"] for reason in each["reasons"]
        )
    assert (await of_tracks(web))["standing"] == "unknown"


async def test_the_same_is_told_as_msgpack(web: Web, ids: dict[str, int], genre: str) -> None:
    body = {"track_ids": [ids["song 1.1"]], "filter": {"genre": genre}, "seed": 3}
    as_json = await of_tracks(web, **body)
    response = await web.post(
        PATH, data=msgpack.packb(body), headers={"Content-Type": MSGPACK, "Accept": MSGPACK}
    )
    assert (response.status, response.content_type) == (200, MSGPACK)
    packed = msgpack.unpackb(await response.read())
    assert packed["recommendations"] == as_json["recommendations"]
    got = await web.get(path("nobody", genre=genre), headers={"Accept": MSGPACK})
    assert msgpack.unpackb(await got.read())["recommendations"]


@pytest.mark.parametrize(
    "name", ["a/b", "ä ö", "50%", "a?b#c", "{x}", "...", "a+b", "%2F", "\u2028", "~", "x" * 200]
)
async def test_a_user_may_be_called_anything(web: Web, ids: dict[str, int], genre: str, name: str) -> None:
    await does(web, name, "like", ids["song 0.0"])
    try:
        body = await of_user(web, name, genre=genre)
        assert (body["user"], body["n_liked"]) == (name, 1)
        assert await of_tracks(web, user=name, filter={"genre": genre}) | {
            "request_id": "",
            "timings_ms": {},
        } == body | {"request_id": "", "timings_ms": {}}
    finally:
        await web.delete(URL(f"/v1/users/{quote(name, safe='')}", encoded=True))


@pytest.mark.parametrize(
    ("name", "rule"),
    [("x" * 201, "200"), ("a\x00b", "control characters"), ("a\nb", "control"), ("a\x85b", "control")],
)
async def test_a_name_that_nobody_can_have_is_refused(web: Web, name: str, rule: str) -> None:
    for response in (await web.get(path(name)), await web.post(PATH, json={"user": name})):
        message = await refused(response, 422, "invalid_request")
        assert "user" in message and rule in message


@pytest.mark.parametrize(("name", "rule"), [("", "1"), (".", "no path"), ("..", "no path")])
async def test_a_name_that_no_path_can_say_is_refused_in_a_body(web: Web, name: str, rule: str) -> None:
    message = await refused(await web.post(PATH, json={"user": name}), 422, "invalid_request")
    assert "user" in message and rule in message


WRONG: list[tuple[str, Any]] = [
    ("k", 0),
    ("k", 201),
    ("k", "ten"),
    ("strategy", "popular"),
    ("diversity", -0.1),
    ("diversity", 1.1),
    ("diversity", "much"),
    ("max_per_artist", 0),
    ("max_per_artist", 1001),
    ("seed", -1),
    ("seed", 2**32),
    ("seed", 1.5),
    ("again", "maybe"),
    ("colour", "red"),
]


@pytest.mark.parametrize(
    ("name", "value"), [*WRONG, ("diversity", "nan"), ("tempo_bpm_min", "x"), ("key", "H")]
)
async def test_a_parameter_that_breaks_its_rule_is_named(web: Web, name: str, value: Any) -> None:
    message = await refused(await web.get(path("ann", **{name: value})), 422, "invalid_request")
    assert name in message and (str(value) in message or name == "colour")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *WRONG,
        ("track_ids", 7),
        ("track_ids", ["7"]),
        ("track_ids", [0]),
        ("track_ids", [2**28]),
        ("track_ids", [1] * 1001),
        ("disliked", [-1]),
        ("disliked", [1] * 1001),
        ("exclude", [1.5]),
        ("exclude", [1] * 1001),
        ("user", 7),
        ("filter", "jazz"),
        ("filter", {"colour": "red"}),
        ("filter", {"key": "H"}),
        ("filter", {"tempo_bpm_min": "x"}),
    ],
)
async def test_a_field_that_breaks_its_rule_is_named(web: Web, name: str, value: Any) -> None:
    message = await refused(await web.post(PATH, json={name: value}), 422, "invalid_request")
    assert name in message


async def test_numbers_that_are_none_are_refused(web: Web) -> None:
    for value in (float("nan"), float("inf"), -float("inf")):
        response = await web.post(
            PATH, data=msgpack.packb({"diversity": value}), headers={"Content-Type": MSGPACK}
        )
        assert "diversity" in await refused(response, 422, "invalid_request")


@pytest.mark.parametrize(
    ("body", "kind", "status", "code", "said"),
    [
        (b"", "application/json", 422, "invalid_request", "malformed"),
        (b"[]", "application/json", 422, "invalid_request", "object"),
        (b'{"k": 3', "application/json", 422, "invalid_request", "malformed"),
        (b"\x81\xa1k\xc1", MSGPACK, 422, "invalid_request", "malformed"),
        (b"k=3", "application/x-www-form-urlencoded", 415, "media_type_unsupported", "must be"),
        (b" " * (2**20 + 1), "application/json", 413, "body_too_large", "1048576"),
    ],
)
async def test_a_body_that_is_none_is_refused(
    web: Web, body: bytes, kind: str, status: int, code: str, said: str
) -> None:
    response = await web.post(PATH, data=BytesIO(body), headers={"Content-Type": kind})
    assert said in await refused(response, status, code)


async def test_parameters_beside_a_body_and_given_twice_are_refused(web: Web) -> None:
    await refused(await web.post(PATH, params={"k": "3"}, json={}), 422, "invalid_request")
    twice = URL("/v1/users/ann/recommendations?k=3&k=4")
    assert "more than once" in await refused(await web.get(twice), 422, "invalid_request")


async def test_until_the_catalogue_is_known_the_answer_is_to_come_again(
    web: Web, door: Door, ids: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def not_yet() -> None:
        raise Overloaded("still filling")

    monkeypatch.setattr(door.desk, "make_ready", not_yet)
    monkeypatch.setattr(door.desk, "_ready", None)
    for response in (await web.get(path("ann")), await web.post(PATH, json={})):
        assert "made ready" in await refused(response, 503, "overloaded")
        assert int(response.headers["Retry-After"]) > 0


def test_the_document_knows_every_kind_of_reason_and_standing_and_strategy() -> None:
    schemas = json.loads(json.dumps(openapi.document()))["components"]["schemas"]
    assert set(schemas["ReasonAnswer"]["properties"]["kind"]["enum"]) == {why.value for why in Why}
    standings = schemas["RecommendationsAnswer"]["properties"]["standing"]["enum"]
    assert set(standings) == {standing.value for standing in Standing}
    for kind in (RecommendQuery, RecommendationsRequest):
        (strategy,) = [field for field in msgspec.structs.fields(kind) if field.name == "strategy"]
        assert set(get_args(get_args(strategy.type)[0])) == set(STRATEGIES)
