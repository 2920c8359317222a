"""Clips over HTTP: audio or a fingerprint in, the track and the place in it out."""

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import msgpack
import pytest
from aiohttp import FormData

from fpserver.audio.encode import encode
from fpserver.demo.songs import song
from fpserver.errors import AudioEmpty
from fpserver.fingerprint import wire
from fpserver.hearing import hear_clip
from fpserver.web.door import Door
from fpserver.web.handlers import identify
from fpserver.web.places import Places
from tests.synth import at_snr, silence
from tests.web.conftest import RATE_HZ, SONG_S, Web
from tests.web.helpers import FINGERPRINT, audio_form, refused, until

SEED = 5
START_S, CLIP_S = 6.0, 8.0


@pytest.fixture(scope="module")
def clip() -> bytes:
    """Eight seconds from the middle of a song, with noise."""
    samples = song(SEED, SONG_S, RATE_HZ)[round(START_S * RATE_HZ) : round((START_S + CLIP_S) * RATE_HZ)]
    return encode(at_snr(samples, 10.0, seed=1), RATE_HZ, container="webm", bitrate=32_000)


@pytest.fixture
async def track_id(web: Web, worker: None, recordings: dict[int, bytes]) -> int:
    form = audio_form(recordings[SEED], '{"title": "Found", "artist": "Band", "external_id": "x-5"}')
    answer = await (await web.post("/v1/tracks?wait=1", data=form)).json()
    return int(answer["track_id"])


def is_the_song(answer: dict[str, Any], track_id: int) -> bool:
    (match,) = answer["matches"]
    assert (match["track_id"], match["title"], match["artist"]) == (track_id, "Found", "Band")
    assert (match["external_id"], match["isrc"], match["album"]) == ("x-5", None, None)
    assert abs(match["track_offset_s"] - START_S) < 0.1
    assert 0 <= match["clip_start_s"] < match["clip_end_s"] <= CLIP_S + 0.5
    assert match["speed"] == match["pitch"] == 1.0
    assert match["confidence"] > 0.9 and match["false_accept_rate"] < 1e-4 and match["score"] > 0
    return True


async def test_a_clip_is_found_at_its_place_in_the_track(web: Web, track_id: int, clip: bytes) -> None:
    response = await web.post("/v1/identify", data=clip)
    answer = await response.json()
    assert response.status == 200, answer
    assert set(answer) == {"request_id", "clip", "matches", "degraded", "timings_ms"}
    assert answer["request_id"] == response.headers["X-Request-Id"]
    assert is_the_song(answer, track_id)
    assert answer["degraded"] is False
    assert abs(answer["clip"]["duration_s"] - CLIP_S) < 0.1 and answer["clip"]["n_landmarks"] > 10
    assert {"audio", "fingerprint", "index", "matching", "tracks"} <= set(answer["timings_ms"])


@pytest.mark.parametrize("kind", ["form", "chunked", "urlencoded", "fingerprint"])
async def test_a_clip_may_come_in_any_of_the_ways(
    web: Web, door: Door, track_id: int, clip: bytes, kind: str, tmp_path: Path
) -> None:
    data: Any = clip
    headers = {}
    if kind == "form":
        data = FormData()
        data.add_field("clip", BytesIO(clip), filename="clip.webm", content_type="audio/webm")
    elif kind == "chunked":
        data = pieces(clip)
    elif kind == "urlencoded":  # what curl calls a --data-binary
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
    else:
        (tmp_path / "clip").write_bytes(clip)
        hearing = hear_clip(tmp_path / "clip", door.config.audio, door.config.fingerprint)
        data, headers = wire.pack(hearing, door.config.fingerprint), {"Content-Type": FINGERPRINT}
    answer = await (await web.post("/v1/identify", data=data, headers=headers)).json()
    assert is_the_song(answer, track_id)


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 4096):
        yield body[start : start + 4096]


async def test_the_answer_is_the_same_document_in_msgpack(web: Web, track_id: int, clip: bytes) -> None:
    response = await web.post("/v1/identify", data=clip, headers={"Accept": "application/msgpack"})
    assert response.headers["Content-Type"] == "application/msgpack"
    assert is_the_song(msgpack.unpackb(await response.read()), track_id)


async def test_an_explanation_is_given_when_it_is_asked_for(web: Web, track_id: int, clip: bytes) -> None:
    answer = await (await web.post("/v1/identify?explain=1", data=clip)).json()
    assert answer["explanation"] and is_the_song(answer, track_id)


async def test_nothing_found_is_an_answer(web: Web, track_id: int) -> None:
    foreign = encode(song(99, 6.0, RATE_HZ), RATE_HZ, container="mp3")
    for body in (foreign, encode(silence(5.0), RATE_HZ, container="wav")):
        response = await web.post("/v1/identify", data=body)
        assert response.status == 200
        assert (await response.json())["matches"] == []


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("limit=0", "query parameter limit is '0': expected `int` >= 1"),
        ("limit=101", "expected `int` <= 100"),
        ("max_false_accept_rate=0", "query parameter max_false_accept_rate is '0': expected `float` > 0"),
        ("max_false_accept_rate=1", "expected `float` < 1"),
        ("max_false_accept_rate=nan", "query parameter max_false_accept_rate is 'nan'"),
        ("max_false_accept_rate=", "query parameter max_false_accept_rate is ''"),
        ("speed=fast", "query parameter speed is 'fast'"),
        ("explain=2", "query parameter explain is '2': expected `bool`"),
        ("colour=red", "query parameter 'colour' is unknown: /v1/identify takes limit"),
        ("limit=1&limit=2", "limit is given more than once"),
    ],
)
async def test_parameters_that_break_their_rule_are_refused(web: Web, query: str, sentence: str) -> None:
    assert sentence in await refused(
        await web.post(f"/v1/identify?{query}", data=b"x"), 422, "invalid_request"
    )


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"", "audio/webm", 422, "audio_empty"),
        (b"this is no audio" * 100, "audio/webm", 415, "audio_unsupported"),
        (b"\x89PNG\r\n\x1a\n" + bytes(2000), "audio/mpeg", 415, "audio_unsupported"),
        (bytes(2**20 + 1), "audio/webm", 413, "audio_too_large"),
        (b"\x80", FINGERPRINT, 422, "fingerprint_invalid"),
        (b"", FINGERPRINT, 422, "audio_empty"),
        (
            msgpack.packb({"format": "fpserver-fingerprint", "version": 1, "stamp": "another"}),
            FINGERPRINT,
            422,
            "fingerprint_foreign",
        ),
        (encode(silence(0.3), RATE_HZ, container="wav"), "audio/wav", 422, "clip_too_short"),
    ],
)
async def test_clips_that_cannot_be_used_are_refused(
    web: Web, body: bytes, kind: str, status: int, code: str
) -> None:
    response = await web.post("/v1/identify", data=BytesIO(body), headers={"Content-Type": kind})
    await refused(response, status, code)


async def test_a_clip_over_the_limit_is_refused_in_every_form(web: Web) -> None:
    form = FormData()
    form.add_field("clip", BytesIO(bytes(2**20 + 1)), filename="x")
    await refused(await web.post("/v1/identify", data=form), 413, "audio_too_large")
    chunked = pieces(bytes(2**20 + 1))
    await refused(await web.post("/v1/identify", data=chunked), 413, "audio_too_large")


async def test_a_form_without_the_clip_is_refused(web: Web) -> None:
    form = FormData(default_to_multipart=True)
    await refused(await web.post("/v1/identify", data=form), 422, "invalid_request")
    form = FormData()
    form.add_field("audio", BytesIO(b"x"), filename="x")
    assert "named 'clip'" in await refused(await web.post("/v1/identify", data=form), 422, "invalid_request")


async def test_a_clip_that_stands_still_is_given_up(web: Web) -> None:
    async def stalling() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(2)

    response = await web.post("/v1/identify", data=stalling())
    assert "stood still for 0.4 s" in await refused(response, 408, "upload_timeout")
    response.close()


async def test_a_clip_that_drips_is_given_up(web: Web) -> None:
    async def dripping() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x"
            await asyncio.sleep(0.1)

    response = await web.post("/v1/identify", data=dripping())
    assert "longer than 1 s" in await refused(response, 408, "upload_timeout")
    response.close()


async def test_a_clip_without_a_place_is_told_to_come_again_before_it_is_read(
    web: Web, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "places", Places(n_at_once=1, max_wait_s=0))

    async def never_ending() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0.01)

    async with door.places.taken():
        response = await web.post("/v1/identify", data=never_ending())
        assert "all 1 places" in await refused(response, 503, "overloaded")
        assert int(response.headers["Retry-After"]) >= 1
        response.close()
    await refused(await web.post("/v1/identify", data=b"y"), 415, "audio_unsupported")


async def test_a_clip_that_comes_slowly_takes_no_place(web: Web, door: Door) -> None:
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x"
        await go_on.wait()

    sending = asyncio.create_task(web.post("/v1/identify", data=slow()))
    await until(lambda: door.n_requests == 1)
    await asyncio.sleep(0.05)
    assert door.places.n_inside == 0
    go_on.set()
    await refused(await sending, 415, "audio_unsupported")


async def test_a_form_of_lines_without_end_is_refused(web: Web) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    response = await web.post("/v1/identify", data=b"\n" * 100_000, headers=headers)
    assert "more than 100 lines" in await refused(response, 422, "invalid_request")


async def test_a_clip_whose_client_left_while_it_waited_is_not_looked_at(
    web: Web, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "places", Places(n_at_once=1, max_wait_s=5))
    n_looked_at = 0

    async def look(*_: object, **__: object) -> None:
        nonlocal n_looked_at
        n_looked_at += 1
        raise AudioEmpty("nothing")

    monkeypatch.setattr(identify, "identify_file", look)
    async with door.places.taken():
        asking = [asyncio.create_task(web.post("/v1/identify", data=b"y")) for _ in range(3)]
        await until(lambda: door.places.n_inside == 4)
        asking[0].cancel()
        asking[1].cancel()
        await asyncio.sleep(0.05)
    await refused(await asking[2], 422, "audio_empty")
    assert n_looked_at == 1


async def test_a_clip_that_takes_long_is_looked_for_in_a_place_among_its_like(
    web: Web, door: Door, track_id: int, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = encode(song(77, CLIP_S, RATE_HZ), RATE_HZ, container="mp3", bitrate=64_000)
    monkeypatch.setattr(door, "long_places", Places(n_at_once=1, max_wait_s=0))
    async with door.long_places.taken():
        await refused(await web.post("/v1/identify", data=unknown), 503, "overloaded")
        found = await web.post("/v1/identify", data=clip)
        assert is_the_song(await found.json(), track_id)
    response = await web.post("/v1/identify", data=unknown)
    assert response.status == 200 and (await response.json())["matches"] == []
    assert door.places.n_inside == door.long_places.n_inside == 0
