"""The catalogue over HTTP: what goes in comes out, and what cannot go in is told why."""

import asyncio
import hashlib
import json
import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import pytest
from aiohttp import FormData

from fpserver.audio.encode import encode
from fpserver.web.door import Door
from tests.synth import silence
from tests.web.conftest import RATE_HZ, Web
from tests.web.helpers import FINGERPRINT, audio_form, refused

KEYS = {
    *(
        "track_id",
        "status",
        "external_id",
        "title",
        "artist",
        "album",
        "isrc",
        "genre",
        "tags",
        "duration_s",
        "n_landmarks",
    ),
    *("duplicate_of", "error", "batch_id", "described", "description", "features", "key"),
    *("created_at", "updated_at"),
}


async def add(web: Web, body: bytes | None = None, **metadata: str) -> int:
    """A queued track of bytes that nobody decodes."""
    form = FormData()
    form.add_field("audio", body or os.urandom(100), filename="some song.mp3")
    if metadata:
        form.add_field("metadata", json.dumps(metadata), content_type="application/json")
    response = await web.post("/v1/tracks", data=form)
    assert response.status == 202
    answer = await response.json()
    assert answer == {"track_id": answer["track_id"], "status": "queued", "duplicate": False}
    assert response.headers["Location"] == f"/v1/tracks/{answer['track_id']}"
    return int(answer["track_id"])


async def test_what_is_not_given_is_taken_from_the_tags(web: Web) -> None:
    body = encode(
        silence(1.0, RATE_HZ), RATE_HZ, metadata={"title": "Tagged", "artist": "Bin Day", "genre": "Dub"}
    )
    track_id = await add(web, body, title="Given")
    track = await (await web.get(f"/v1/tracks/{track_id}")).json()
    assert (track["title"], track["artist"], track["genre"]) == ("Given", "Bin Day", "Dub")


async def test_an_added_track_is_queued_and_can_be_read(web: Web) -> None:
    track_id = await add(web, title="Amber Tide", artist="Bin Day", isrc="XX0000000001")
    response = await web.get(f"/v1/tracks/{track_id}")
    track = await response.json()
    assert response.status == 200 and set(track) == KEYS
    assert (track["title"], track["artist"], track["isrc"]) == ("Amber Tide", "Bin Day", "XX0000000001")
    assert (track["status"], track["album"], track["error"], track["batch_id"]) == (
        "queued",
        None,
        None,
        None,
    )
    assert track["created_at"].endswith("Z")


async def test_a_track_without_title_is_called_after_its_file(web: Web) -> None:
    track = await (await web.get(f"/v1/tracks/{await add(web)}")).json()
    assert track["title"] == "some song"


async def test_the_file_of_a_queued_track_waits_in_the_spool_and_leaves_with_it(web: Web, door: Door) -> None:
    body = os.urandom(100)
    track_id = await add(web, body)
    source = (await door.services.tracks.get([track_id]))[track_id].source
    assert source.startswith("spool:")
    path = door.spool.folder / Path(source).name
    assert path.read_bytes() == body
    assert (await web.delete(f"/v1/tracks/{track_id}")).status == 204
    assert not path.exists()


async def test_metadata_may_come_after_the_audio(web: Web) -> None:
    form = FormData()
    form.add_field("audio", os.urandom(50), filename="x.mp3")
    form.add_field("metadata", '{"title": "Late"}', content_type="application/json")
    track_id = (await (await web.post("/v1/tracks", data=form)).json())["track_id"]
    assert (await (await web.get(f"/v1/tracks/{track_id}")).json())["title"] == "Late"


async def test_a_raw_body_is_taken_too(web: Web) -> None:
    response = await web.post("/v1/tracks", data=os.urandom(50), headers={"Content-Type": "audio/flac"})
    assert response.status == 202


async def test_the_same_bytes_again_answer_with_the_existing_track(web: Web, door: Door) -> None:
    body = os.urandom(100)
    track_id = await add(web, body)
    n_files = len(list(door.spool.folder.iterdir()))
    response = await web.post("/v1/tracks", data=body)
    assert response.status == 200
    assert await response.json() == {"track_id": track_id, "status": "queued", "duplicate": True}
    assert len(list(door.spool.folder.iterdir())) == n_files


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({}, "no part named 'audio'"),
        ({"clip": b"x"}, "form part 'clip'"),
        (
            {"metadata": b'{"colour": "red"}', "audio": b"x"},
            "metadata: object contains unknown field `colour`",
        ),
        ({"metadata": b'{"title": 5}', "audio": b"x"}, "field title: expected `str | null`, got `int`"),
        (
            {"metadata": b'{"title": "' + b"x" * 1001 + b'"}', "audio": b"x"},
            "field title: expected `str` of length <= 1000",
        ),
        ({"metadata": b"[]", "audio": b"x"}, "metadata: expected `object`, got `array`"),
        ({"metadata": b"{", "audio": b"x"}, "metadata: malformed"),
        ({"metadata": b'{"title": "\xff"}', "audio": b"x"}, "metadata: malformed"),
        ({"audio": b"x", "more": b"y"}, "form part 'more'"),
    ],
)
async def test_a_form_that_is_not_as_it_should_be_is_refused(
    web: Web, form: Mapping[str, bytes], sentence: str
) -> None:
    data = FormData(default_to_multipart=True)
    for name, value in form.items():
        data.add_field(name, value, filename="f")
    assert sentence in await refused(await web.post("/v1/tracks", data=data), 422, "invalid_request")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"no boundary in sight", "multipart/form-data; boundary=b"),
        (b"x", "multipart/form-data"),
        (
            b'--b\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\ncut off',
            "multipart/form-data; boundary=b",
        ),
    ],
)
async def test_a_malformed_form_is_refused(web: Web, body: bytes, kind: str) -> None:
    response = await web.post("/v1/tracks", data=body, headers={"Content-Type": kind})
    message = await refused(response, 422, "invalid_request")
    assert "form" in message or "multipart" in message


async def test_an_empty_file_is_refused(web: Web) -> None:
    await refused(await web.post("/v1/tracks", data=audio_form(b"")), 422, "audio_empty")
    await refused(await web.post("/v1/tracks"), 422, "audio_empty")


async def test_a_file_over_the_limit_is_refused(web: Web) -> None:
    for data in (BytesIO(bytes(2**21 + 1)), audio_form(bytes(2**21 + 1))):
        message = await refused(await web.post("/v1/tracks", data=data), 413, "audio_too_large")
        assert "2097152 bytes" in message


async def test_bytes_that_are_called_a_fingerprint_and_are_none_are_refused(web: Web) -> None:
    response = await web.post("/v1/tracks", data=b"\x05", headers={"Content-Type": FINGERPRINT})
    await refused(response, 422, "fingerprint_invalid")


async def test_metadata_is_changed_cleared_and_left_alone(web: Web) -> None:
    track_id = await add(web, title="Old", artist="Somebody", album="Album")
    response = await web.patch(f"/v1/tracks/{track_id}", json={"title": "New", "album": None})
    changed = await response.json()
    assert response.status == 200 and set(changed) == KEYS
    assert (changed["title"], changed["artist"], changed["album"]) == ("New", "Somebody", None)
    assert changed == await (await web.get(f"/v1/tracks/{track_id}")).json()


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b'{"status": "indexed"}', "application/json", 422, "invalid_request"),
        (b'{"title": ["a"]}', "application/json", 422, "invalid_request"),
        (b"", "application/json", 422, "invalid_request"),
        (b"title=x", "application/x-www-form-urlencoded", 415, "media_type_unsupported"),
        (b'{"title": "' + b"x" * 2**20 + b'"}', "application/json", 413, "body_too_large"),
        (b"\xc1", "application/msgpack", 422, "invalid_request"),
    ],
)
async def test_changes_that_break_a_rule_are_refused(
    web: Web, body: bytes, kind: str, status: int, code: str
) -> None:
    track_id = await add(web)
    response = await web.patch(f"/v1/tracks/{track_id}", data=BytesIO(body), headers={"Content-Type": kind})
    await refused(response, status, code)


async def test_changes_may_come_as_msgpack(web: Web) -> None:
    track_id = await add(web)
    response = await web.patch(
        f"/v1/tracks/{track_id}", data=b"\x81\xa5title\xa1X", headers={"Content-Type": "application/msgpack"}
    )
    assert (await response.json())["title"] == "X"


@pytest.mark.parametrize(
    ("track_id", "status", "code"),
    [
        ("999999", 404, "track_not_found"),
        ("0", 404, "track_not_found"),
        (str(2**28), 404, "track_not_found"),
        (str(2**64), 404, "track_not_found"),
        ("9" * 5000, 404, "track_not_found"),
        ("-1", 422, "invalid_request"),
        ("x", 422, "invalid_request"),
        ("1.5", 422, "invalid_request"),
        ("%D9%A3", 422, "invalid_request"),
    ],
)
async def test_ids_that_no_track_has_are_refused(web: Web, track_id: str, status: int, code: str) -> None:
    await refused(await web.get(f"/v1/tracks/{track_id}"), status, code)
    await refused(await web.patch(f"/v1/tracks/{track_id}", json={}), status, code)
    await refused(await web.delete(f"/v1/tracks/{track_id}"), status, code)


async def test_a_removed_track_is_gone(web: Web) -> None:
    track_id = await add(web)
    response = await web.delete(f"/v1/tracks/{track_id}")
    assert response.status == 204 and await response.read() == b""
    for call in (web.get, web.delete):
        await refused(await call(f"/v1/tracks/{track_id}"), 404, "track_not_found")


async def test_a_listing_is_walked_by_its_cursor(web: Web) -> None:
    wanted = [await add(web, genre="walked") for _ in range(5)]
    seen: list[int] = []
    cursor: str | None = None
    while True:
        params = {"genre": "Walked", "limit": "2", **({"cursor": cursor} if cursor else {})}
        page = await (await web.get("/v1/tracks", params=params)).json()
        assert set(page) == {"tracks", "next_cursor"} and len(page["tracks"]) <= 2
        seen += [track["track_id"] for track in page["tracks"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == wanted


@pytest.mark.parametrize(
    "filters",
    [
        {"q": "needle"},
        {"artist": "the filtered"},
        {"genre": "filter-genre"},
        {"tag": "Rainy"},
        {"external_id": "ext-7"},
        {"isrc": "ZZ0000000007"},
        {"status": "queued", "q": "NEEDLE"},
    ],
)
async def test_each_filter_finds_its_track(web: Web, filters: dict[str, str]) -> None:
    track_id = await add(
        web,
        title="a Needle in hay",
        artist="The Filtered",
        genre="filter-genre",
        tags="calm, rainy",
        external_id="ext-7",
        isrc="ZZ0000000007",
    )
    page = await (await web.get("/v1/tracks", params={**filters, "limit": "200"})).json()
    assert track_id in [track["track_id"] for track in page["tracks"]]
    nothing = {**filters, "q": "no such thing anywhere"}
    assert (await (await web.get("/v1/tracks", params=nothing)).json())["tracks"] == []


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("colour=red", "query parameter 'colour' is unknown"),
        ("limit=0", "query parameter limit is '0': expected `int` >= 1"),
        ("limit=201", "expected `int` <= 200"),
        ("limit=ten", "query parameter limit is 'ten': expected `int`"),
        ("limit=1&limit=2", "limit is given more than once"),
        ("status=lost", "query parameter status is 'lost'"),
        ("cursor=abc", "query parameter cursor is 'abc'"),
        ("cursor=-1", "query parameter cursor"),
        ("cursor=99999999999", "query parameter cursor"),
        ("q=", "query parameter q is ''"),
        ("batch_id=a/b", "query parameter batch_id"),
        ("q=" + "x" * 1001, "query parameter q is 'xxx"),
    ],
)
async def test_listings_refuse_what_they_do_not_understand(web: Web, query: str, sentence: str) -> None:
    assert sentence in await refused(await web.get(f"/v1/tracks?{query}"), 422, "invalid_request")


async def test_known_files_are_told_from_unknown_ones(web: Web) -> None:
    body = os.urandom(64)
    track_id = await add(web, body)
    here, elsewhere = hashlib.sha256(body).hexdigest(), hashlib.sha256(b"elsewhere").hexdigest()
    response = await web.post("/v1/tracks/known", json={"sha256": [here, elsewhere]})
    assert await response.json() == {"known": {here: track_id}}
    assert await (await web.post("/v1/tracks/known", json={"sha256": []})).json() == {"known": {}}


@pytest.mark.parametrize(
    "body", [{}, {"sha256": ["x"]}, {"sha256": ["A" * 64]}, {"sha256": "x"}, {"sha256": ["0" * 64] * 10_001}]
)
async def test_questions_for_known_files_are_checked(web: Web, body: object) -> None:
    await refused(await web.post("/v1/tracks/known", json=body), 422, "invalid_request")


async def test_waiting_for_a_track_answers_when_it_is_indexed(
    web: Web, worker: None, recordings: dict[int, bytes]
) -> None:
    response = await web.post("/v1/tracks?wait=1", data=audio_form(recordings[0], '{"title": "Waited for"}'))
    answer = await response.json()
    assert response.status == 201, answer
    assert (answer["status"], answer["duplicate"]) == ("indexed", False)
    track = await (await web.get(f"/v1/tracks/{answer['track_id']}")).json()
    assert track["n_landmarks"] > 0 and abs(track["duration_s"] - 20) < 0.5


async def test_the_same_recording_in_another_file_answers_with_the_existing_track(
    web: Web, worker: None, recordings: dict[int, bytes]
) -> None:
    first = await (await web.post("/v1/tracks?wait=1", data=recordings[1])).json()
    tagged = b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10) + recordings[1]  # other bytes, the same sound
    response = await web.post("/v1/tracks?wait=1", data=tagged)
    assert response.status == 200
    assert await response.json() == {"track_id": first["track_id"], "status": "indexed", "duplicate": True}


async def test_waiting_for_a_file_that_cannot_be_used_says_why(web: Web, worker: None) -> None:
    await refused(await web.post("/v1/tracks?wait=1", data=os.urandom(5000)), 415, "audio_unsupported")
    quiet = encode(silence(5.0), RATE_HZ, container="wav")
    message = await refused(await web.post("/v1/tracks?wait=1", data=quiet), 422, "audio_silent")
    assert message.startswith("track ")
    short = encode(silence(0.3), RATE_HZ, container="wav")
    await refused(await web.post("/v1/tracks?wait=1", data=short), 422, "clip_too_short")


async def test_a_wait_without_an_end_becomes_a_202(
    web: Web, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "config", door.config.with_values(web={"max_wait_s": 0.2}))
    response = await web.post("/v1/tracks?wait=1", data=os.urandom(40))
    assert response.status == 202 and (await response.json())["status"] == "queued"


async def test_a_wait_ends_when_its_track_is_removed(web: Web) -> None:
    form = audio_form(os.urandom(41), '{"title": "Removed meanwhile"}')
    waiting = asyncio.create_task(web.post("/v1/tracks?wait=1", data=form))
    await asyncio.sleep(0.1)
    (track,) = (await (await web.get("/v1/tracks?q=removed+meanwhile")).json())["tracks"]
    assert (await web.delete(f"/v1/tracks/{track['track_id']}")).status == 204
    await refused(await waiting, 404, "track_not_found")
