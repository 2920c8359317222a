"""Alive, ready, measured and documented."""

import pytest

from fpserver import metrics
from fpserver.errors import StoreUnavailable
from fpserver.index.store import Index
from fpserver.tracks.catalogue import Tracks
from fpserver.web.door import Door
from tests.web.conftest import Web
from tests.web.helpers import refused


async def fails(*_: object, **__: object) -> None:
    raise StoreUnavailable("redis did not answer within 5 s")


async def test_alive_means_that_the_process_answers(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Index, "stats", fails)
    response = await web.get("/healthz")
    assert response.status == 200 and await response.json() == {"status": "alive"}
    assert (await web.head("/healthz")).status == 200


async def test_ready_means_that_the_shards_answer(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    response = await web.get("/readyz")
    answer = await response.json()
    assert response.status == 200
    assert (answer["status"], answer["n_shards"]) == ("ready", 4)
    monkeypatch.setattr(Index, "stats", fails)
    response = await web.get("/readyz")
    await refused(response, 503, "store_unavailable")
    assert "Retry-After" in response.headers


async def test_a_server_is_not_ready_on_an_index_of_other_settings(
    web: Web, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "config", door.config.with_values(fingerprint={"hop": 128}))
    message = await refused(await web.get("/readyz"), 503, "foreign_index")
    assert "hop" in message


async def test_a_store_that_is_away_is_a_503_with_a_time_to_try_again(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tracks, "get", fails)
    response = await web.get("/v1/tracks/1")
    await refused(response, 503, "store_unavailable")
    assert int(response.headers["Retry-After"]) >= 1


async def test_metrics_tell_the_catalogue_and_the_requests(web: Web, door: Door) -> None:
    await web.post("/v1/tracks", data=b"counted bytes")
    await web.get("/v1/tracks/999999")
    response = await web.get("/metrics")
    text = await response.text()
    assert response.status == 200
    assert response.headers["Content-Type"] == metrics.CONTENT_TYPE
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(lines['fpserver_tracks{status="queued"}']) >= 1
    assert float(lines['fpserver_pool_processes{kind="web"}']) == 1
    for lane, places in (("short", door.places), ("long", door.long_places)):
        assert float(lines[f'fpserver_places{{lane="{lane}"}}']) == places.n_at_once
    assert float(lines["fpserver_open_requests"]) == 1  # this one
    assert float(lines["fpserver_ready"]) == 1
    assert float(lines["fpserver_store_bytes"]) > 100_000
    assert "fpserver_index_postings" in lines
    assert any(name.startswith("fpserver_backlog_depth{place=") for name in lines)
    assert float(lines['fpserver_errors_total{code="track_not_found"}']) >= 1
    assert float(lines['fpserver_received_bytes_total{kind="track"}']) >= len(b"counted bytes")
    count = 'fpserver_request_seconds_count{route="/v1/tracks/{track_id}",status="404"}'
    assert float(lines[count]) >= 1
    assert "tracks/999999" not in text  # ids are no labels


async def test_metrics_are_told_while_the_store_is_away(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tracks, "counts", fails)
    response = await web.get("/metrics")
    assert response.status == 200 and "fpserver_request_seconds" in await response.text()
    assert "fpserver_ready 0.0" in await response.text()


async def test_a_path_that_nobody_serves_is_one_label(web: Web) -> None:
    await web.get("/no/such/thing")
    assert 'route="unmatched",status="404"' in await (await web.get("/metrics")).text()


async def test_the_documentation_is_served(web: Web) -> None:
    response = await web.get("/", allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (302, "/docs")
    page = await web.get("/docs")
    assert page.content_type == "text/html"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    document = await web.get("/v1/openapi.json")
    assert document.content_type == "application/json"
    assert (await document.json())["openapi"].startswith("3.1")
