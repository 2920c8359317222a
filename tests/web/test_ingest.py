"""Bulk over HTTP: many items in one request, none of which can spoil the others."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import msgpack
import pytest
from aiohttp import FormData

from fpserver.fingerprint import wire
from fpserver.hearing import hear_track
from fpserver.terms import Metadata
from fpserver.web.door import Door
from tests.web.conftest import Web
from tests.web.helpers import FINGERPRINT, NDJSON, batch_done, refused, until

KEYS = {
    *(
        "batch_id",
        "n_items",
        "counts",
        "n_pending",
        "done",
        "cancelled",
        "audio_s",
        "rate_x_realtime",
        "time_left_s",
    ),
    *("n_errors", "errors", "created_at", "updated_at"),
}
SILENT_FINGERPRINT = {"format": "fpserver-fingerprint", "version": 1}


def files_form(*items: tuple[str, bytes | dict[str, Any]]) -> FormData:
    """Files by name, and before some a dict of metadata."""
    form = FormData(default_to_multipart=True)
    for name, value in items:
        if isinstance(value, dict):
            form.add_field("metadata", json.dumps(value), content_type="application/json")
        else:
            form.add_field("file", BytesIO(value), filename=name)
    return form


async def taken(web: Web, data: Any, kind: str | None = None, query: str = "") -> dict[str, Any]:
    response = await web.post(f"/v1/ingest{query}", data=data, headers={"Content-Type": kind} if kind else {})
    batch: dict[str, Any] = await response.json()
    assert response.status == 202, batch
    assert set(batch) == KEYS
    assert response.headers["Location"] == f"/v1/ingest/{batch['batch_id']}"
    return batch


async def titles(web: Web, batch_id: str) -> list[str]:
    page = await (await web.get(f"/v1/tracks?batch_id={batch_id}")).json()
    return [track["title"] for track in page["tracks"]]


async def test_each_file_of_a_form_becomes_a_track_with_the_metadata_before_it(web: Web) -> None:
    form = files_form(
        ("one.mp3", os.urandom(50)),
        ("", {"title": "Two", "artist": "Somebody"}),
        ("two.mp3", os.urandom(50)),
        ("three.flac", os.urandom(50)),
    )
    batch = await taken(web, form)
    assert (batch["n_items"], batch["n_pending"], batch["done"], batch["errors"]) == (3, 3, False, [])
    assert batch["counts"]["queued"] == 3
    assert await titles(web, batch["batch_id"]) == ["one", "Two", "three"]


async def test_what_is_wrong_with_one_file_does_not_lose_the_others(web: Web) -> None:
    form = files_form(
        ("good.mp3", os.urandom(50)),
        ("empty.mp3", b""),
        ("large.mp3", bytes(2**21 + 5)),
        ("", {"colour": "red"}),
        ("odd.mp3", os.urandom(50)),
        ("last.mp3", os.urandom(50)),
    )
    batch = await taken(web, form)
    assert [(error["item"], error["code"]) for error in batch["errors"]] == [
        ("empty.mp3", "audio_empty"),
        ("large.mp3", "audio_too_large"),
        ("odd.mp3", "invalid_request"),
    ]
    assert (batch["n_items"], batch["n_pending"], batch["counts"]["failed"]) == (5, 2, 3)
    assert await titles(web, batch["batch_id"]) == ["good", "last"]


async def test_a_part_that_is_no_file_is_an_error_of_its_own(web: Web) -> None:
    form = FormData(default_to_multipart=True)
    form.add_field("comment", "hello")
    form.add_field("file", os.urandom(20), filename="a.mp3")
    batch = await taken(web, form)
    assert [error["item"] for error in batch["errors"]] == ["comment"]
    assert batch["n_pending"] == 1


async def test_a_form_that_breaks_off_keeps_what_came_before(web: Web) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n%s'
    body = part % (b"whole.mp3", os.urandom(30).hex().encode()) + b"\r\n" + part % (b"cut.mp3", b"cut off")
    batch = await taken(web, body, "multipart/form-data; boundary=b")
    assert batch["counts"]["queued"] == 1
    assert [(error["item"], error["code"]) for error in batch["errors"]] == [
        ("request body", "invalid_request")
    ]


async def test_more_files_than_allowed_are_not_read(web: Web) -> None:
    batch = await taken(web, files_form(*((f"{n}.mp3", os.urandom(20)) for n in range(14))))
    assert batch["counts"]["queued"] == 12
    (error,) = batch["errors"]
    assert error["item"] == "request body" and "more than 12 items" in error["message"]


async def test_the_same_bytes_twice_are_counted_as_a_duplicate(web: Web) -> None:
    body = os.urandom(50)
    batch = await taken(web, files_form(("a.mp3", body), ("b.mp3", body)))
    assert (batch["counts"]["queued"], batch["counts"]["duplicate"]) == (1, 1)


async def test_a_later_request_can_add_to_a_batch(web: Web) -> None:
    first = await taken(web, files_form(("a.mp3", os.urandom(20))))
    second = await taken(web, files_form(("b.mp3", os.urandom(20))), query=f"?batch_id={first['batch_id']}")
    assert second["batch_id"] == first["batch_id"] and second["n_items"] == 2


async def test_a_batch_that_is_not_there_takes_nothing(web: Web) -> None:
    form = files_form(("a.mp3", b"x"))
    await refused(await web.post("/v1/ingest?batch_id=nobody", data=form), 404, "batch_not_found")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", NDJSON),
        (b"\n \n", NDJSON),
        (b"", FINGERPRINT),
        (b"--b--\r\n", "multipart/form-data; boundary=b"),
    ],
)
async def test_a_body_without_items_is_refused(web: Web, body: bytes, kind: str) -> None:
    response = await web.post("/v1/ingest", data=body, headers={"Content-Type": kind})
    await refused(response, 422, "invalid_request")


@pytest.mark.parametrize("kind", ["audio/mpeg", "application/json", "text/plain"])
async def test_bodies_of_other_types_are_refused(web: Web, kind: str) -> None:
    response = await web.post("/v1/ingest", data=b"x", headers={"Content-Type": kind})
    assert "must be multipart/form-data" in await refused(response, 415, "media_type_unsupported")


async def test_a_manifest_names_files_below_its_roots(web: Web, door: Door, folder: Path) -> None:
    music = folder / "music"
    for name in ("a.mp3", "b.mp3"):
        (music / name).write_bytes(os.urandom(30))
    (folder / "outside.mp3").write_bytes(b"x")
    (music / "escape.mp3").symlink_to(folder / "outside.mp3")
    manifest = [
        json.dumps({"path": str(music / "a.mp3"), "title": "A", "genre": "jazz"}),
        json.dumps({"path": "b.mp3"}),
        "",
        json.dumps({"path": "../outside.mp3"}),
        json.dumps({"path": "escape.mp3"}),
        json.dumps({"path": "none.mp3"}),
        json.dumps({"path": "a.mp3", "colour": "red"}),
        "not json",
    ]
    batch = await taken(web, "\n".join(manifest).encode(), NDJSON)
    assert [(error["item"], error["code"]) for error in batch["errors"]] == [
        ("../outside.mp3", "invalid_request"),
        ("escape.mp3", "invalid_request"),
        ("none.mp3", "source_missing"),
        ("line 6", "invalid_request"),
        ("line 7", "invalid_request"),
    ]
    page = await (await web.get(f"/v1/tracks?batch_id={batch['batch_id']}")).json()
    assert [(track["title"], track["genre"]) for track in page["tracks"]] == [("A", "jazz"), ("b", None)]
    first = page["tracks"][0]["track_id"]
    assert (await door.services.tracks.get([first]))[first].source == f"file:{music / 'a.mp3'}"


async def test_manifests_are_refused_where_no_roots_are_configured(
    web: Web, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "config", door.config.with_values(web={"manifest_roots": []}))
    response = await web.post("/v1/ingest", data=b'{"path": "/etc/passwd"}', headers={"Content-Type": NDJSON})
    assert "manifest_roots" in await refused(response, 422, "invalid_request")


async def test_a_stream_of_fingerprints_is_split_into_tracks(
    web: Web, door: Door, worker: None, recordings: dict[int, bytes], tmp_path: Path
) -> None:
    config = door.config
    bodies = []
    for seed in (2, 3):
        (tmp_path / "song").write_bytes(recordings[seed])
        hearing, _ = hear_track(tmp_path / "song", config.audio, config.fingerprint)
        bodies.append(wire.pack(hearing, config.fingerprint, metadata=Metadata(title=f"Song {seed}")))

    async def drip() -> AsyncIterator[bytes]:
        stream = bodies[0] + msgpack.packb("no fingerprint") + bodies[1] + b"\xa5cut"
        for start in range(0, len(stream), 1000):
            yield stream[start : start + 1000]

    batch = await taken(web, drip(), FINGERPRINT)
    assert [(error["item"], error["code"]) for error in batch["errors"]] == [
        ("fingerprint 2", "fingerprint_invalid"),
        ("request body", "fingerprint_invalid"),
    ]
    batch = await batch_done(web, batch["batch_id"])
    assert batch["counts"]["indexed"] == 2, batch
    assert await titles(web, batch["batch_id"]) == ["Song 2", "Song 3"]


async def test_a_batch_is_told_with_counts_errors_and_rate_when_it_is_done(
    web: Web, worker: None, recordings: dict[int, bytes]
) -> None:
    batch = await taken(web, files_form(("song.mp3", recordings[4]), ("noise.mp3", os.urandom(3000))))
    done = await batch_done(web, batch["batch_id"])
    assert (done["n_items"], done["n_pending"], done["time_left_s"]) == (2, 0, 0)
    assert (done["counts"]["indexed"], done["counts"]["failed"]) == (1, 1)
    assert abs(done["audio_s"] - 20) < 0.5 and done["rate_x_realtime"] > 0
    (error,) = done["errors"]
    assert error["code"] == "audio_unsupported" and isinstance(error["track_id"], int)


async def test_a_cancelled_batch_comes_to_its_end_and_takes_no_more(web: Web) -> None:
    batch = await taken(web, files_form(("a.mp3", os.urandom(20)), ("b.mp3", os.urandom(20))))
    url = f"/v1/ingest/{batch['batch_id']}"
    cancelled = await (await web.delete(url)).json()
    assert (cancelled["cancelled"], cancelled["done"], cancelled["counts"]["cancelled"]) == (True, True, 2)
    assert await (await web.get(url)).json() == cancelled
    more = files_form(("c.mp3", os.urandom(20)))
    await refused(await web.post(f"/v1/ingest?batch_id={batch['batch_id']}", data=more), 409, "conflict")


@pytest.mark.parametrize("batch_id", ["0123456789abcdef", "x" * 65, "%00", "a%20b", "*"])
@pytest.mark.parametrize("rest", ["", "/events"])
async def test_ids_that_no_batch_has_are_refused(web: Web, batch_id: str, rest: str) -> None:
    await refused(await web.get(f"/v1/ingest/{batch_id}{rest}"), 404, "batch_not_found")
    if not rest:
        await refused(await web.delete(f"/v1/ingest/{batch_id}"), 404, "batch_not_found")


async def test_events_tell_the_progress_and_the_end(
    web: Web, door: Door, recordings: dict[int, bytes]
) -> None:
    batch = await taken(web, files_form(("noise.mp3", os.urandom(300)), ("empty.mp3", b"")))
    response = await web.get(f"/v1/ingest/{batch['batch_id']}/events")
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/event-stream"
    assert "X-Request-Id" in response.headers
    name, progress = await next_event(response)
    assert (name, progress["n_pending"], len(progress["errors"])) == ("progress", 1, 1)
    await door.services.tracks.cancel_batch(batch["batch_id"], now=1.0)
    name, done = await next_event(response)
    assert (name, done["done"], len(done["errors"])) == ("done", True, 1)
    assert await response.content.read() == b""


async def test_events_of_a_batch_that_has_ended_are_one_event(web: Web) -> None:
    batch = await taken(web, files_form(("a.mp3", os.urandom(20))))
    await web.delete(f"/v1/ingest/{batch['batch_id']}")
    text = await (await web.get(f"/v1/ingest/{batch['batch_id']}/events")).text()
    assert text.startswith("event: done\ndata: {") and text.endswith("}\n\n")


async def test_events_stop_when_their_listener_leaves(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = await taken(web, files_form(("a.mp3", os.urandom(20))))
    before = asyncio.all_tasks()
    response = await web.get(f"/v1/ingest/{batch['batch_id']}/events")
    await next_event(response)
    response.close()
    await until(lambda: not asyncio.all_tasks() - before)


async def next_event(response: Any) -> tuple[str, dict[str, Any]]:
    """The next server-sent event."""
    async with asyncio.timeout(5):
        name = (await response.content.readline()).decode().removeprefix("event: ").strip()
        data = (await response.content.readline()).decode().removeprefix("data: ")
        assert await response.content.readline() == b"\n"
    return name, json.loads(data)


def test_a_form_header_that_is_none_is_neither_printed_nor_kept_for_good() -> None:
    script = (
        "import fpserver.web.forms\n"
        "from aiohttp import multipart\n"
        "for n in range(9): multipart.parse_content_disposition(f'x{n} y; {n}')\n"
        "print([key for key in vars(multipart).get('__warningregistry__', {}) if key != 'version'])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (run.stdout.strip(), run.stderr) == ("[]", "")
