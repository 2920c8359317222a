"""Maps over HTTP. Which tracks are chosen is not the matter here: the vectors are made up, the rest is real."""

import asyncio
import gc
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from fpserver import map_pool, mapping
from fpserver.errors import NotDescribed, TrackNotFound
from fpserver.mapping import Chosen, Pictured
from fpserver.services import Services
from fpserver.terms import Group, Metadata, Sieve
from fpserver.web.door import Door
from tests.similarity.clusters import clustered, own_cluster
from tests.web.conftest import Web
from tests.web.helpers import refused, until

N_TRACKS = 300  # in the catalogue
N_UNDESCRIBED = 2  # the last of them
MANY = 9000  # a map of so many takes some seconds

Event = tuple[str, dict[str, Any]]


class Chooser:
    """A catalogue of clusters; notes what it was asked."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.vectors, self.cluster = clustered(MANY, rng)
        self.asked: dict[str, Any] = {}

    async def __call__(self, services: Services, **asked: Any) -> Chosen:
        self.asked = asked
        wanted = asked["ids"] or range(1, asked["limit"] + 1)
        if unknown := [each for each in wanted if each > MANY]:
            raise TrackNotFound(f"no track {unknown[0]}")
        if asked["like"] == N_TRACKS:
            raise NotDescribed(f"track {N_TRACKS} is not described")
        left_out = [each for each in asked["ids"] or () if N_TRACKS - N_UNDESCRIBED < each <= N_TRACKS]
        shown = np.array(sorted(set(wanted) - set(left_out)), np.int64)
        return Chosen(
            track_ids=shown,
            vectors=self.vectors[shown - 1],
            pictured=[self.pictured(track_id) for track_id in shown.tolist()],
            left_out=left_out,
        )

    def pictured(self, track_id: int) -> Pictured:
        metadata = Metadata(title=f"Song {track_id}", genre=f"genre {self.cluster[track_id - 1]}")
        return Pictured(metadata=metadata, facts={"tempo_bpm": 90.0 + track_id}, key="A minor")


@pytest.fixture
def chooser(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> Chooser:
    chooser = Chooser(rng)
    monkeypatch.setattr(mapping, "choose_for_map", chooser)
    return chooser


@pytest.fixture
def most(door: Door) -> Iterator[int]:
    """At most 100 tracks may be on a map."""
    services = door.services
    config = services.config.with_values(similarity={"max_map_tracks": 100})
    door.services = replace(services, config=config)
    yield 100
    door.services = services


async def events(web: Web, body: dict[str, Any]) -> AsyncIterator[Event]:
    async with web.post("/v1/map", json=body, headers={"Accept": "text/event-stream"}) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        text = (await response.read()).decode()
    for said in text.removesuffix("\n\n").split("\n\n"):
        name, data = re.fullmatch(r"event: (\w+)\ndata: (.*)", said).groups()  # type: ignore[union-attr]
        yield name, json.loads(data)


async def test_a_map_shows_what_is_alike_together(web: Web, chooser: Chooser) -> None:
    response = await web.post("/v1/map", json={"limit": 120, "seed": 5})
    body = await response.json()
    assert response.status == 200
    assert set(body) == {"request_id", "n_tracks", "points", "n_neighbors", "left_out", "seconds"}
    assert (body["n_tracks"], body["n_neighbors"], body["left_out"]) == (120, 15, [])
    points = np.array([(point["x"], point["y"]) for point in body["points"]])
    assert np.abs(points).max() == 1
    assert own_cluster(points.astype(np.float32), chooser.cluster[:120]) > 0.95
    assert body["points"][6] == {
        "track_id": 7,
        "x": body["points"][6]["x"],
        "y": body["points"][6]["y"],
        "title": "Song 7",
        "artist": None,
        "album": None,
        "genre": f"genre {chooser.cluster[6]}",
        "key": "A minor",
        "tempo_bpm": 97.0,
        "loudness_db": None,
        "onset_rate_hz": None,
        "centroid_hz": None,
    }


async def test_the_same_request_gives_the_same_picture_and_another_seed_another(
    web: Web, chooser: Chooser
) -> None:
    drawn = [
        (await (await web.post("/v1/map", json={"limit": 60, "seed": seed})).json())["points"]
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


async def test_tracks_are_chosen_by_id_by_likeness_by_filter_or_all(web: Web, chooser: Chooser) -> None:
    async def asked(body: dict[str, Any]) -> dict[str, Any]:
        assert (await web.post("/v1/map", json={"limit": 10, **body})).status == 200
        return chooser.asked

    nothing = {"ids": None, "like": None, "sieve": None, "limit": 10, "mix": None}
    assert await asked({}) == nothing
    assert await asked({"track_ids": [9, 4, 9]}) == {**nothing, "ids": [9, 4]}
    assert await asked({"like": 3}) == {**nothing, "like": 3}
    sieve = Sieve(
        equal={"genre": "jazz", "key": "A minor"},
        ranges={"tempo_bpm": (90.0, 120.5), "loudness_db": (None, -9.0)},
        q="amber",
    )
    given = {"genre": "jazz", "key": "A minor", "tempo_bpm_min": 90, "tempo_bpm_max": 120.5}
    assert await asked({"filter": {**given, "loudness_db_max": -9, "q": "amber"}}) == {
        **nothing,
        "sieve": sieve,
    }
    assert await asked({"features": ["timbre", "tonal"]}) == {
        **nothing,
        "mix": {Group.TIMBRE: 1.0, Group.TONAL: 1.0},
    }
    assert await asked({"features": {"timbre": 2, "rhythm": 0}}) == {**nothing, "mix": {Group.TIMBRE: 2.0}}


async def test_what_is_not_described_is_left_out_and_said(web: Web, chooser: Chooser) -> None:
    body = await (await web.post("/v1/map", json={"track_ids": [5, 1, N_TRACKS, 3]})).json()
    assert [point["track_id"] for point in body["points"]] == [1, 3, 5]
    assert (body["n_tracks"], body["n_neighbors"], body["left_out"]) == (3, 3, [N_TRACKS])


async def test_no_tracks_are_an_empty_map(web: Web, chooser: Chooser) -> None:
    body = await (await web.post("/v1/map", json={"track_ids": [N_TRACKS]})).json()
    assert (body["n_tracks"], body["points"], body["n_neighbors"]) == (0, [], 0)


async def test_msgpack_is_spoken_both_ways(web: Web, chooser: Chooser) -> None:
    response = await web.post(
        "/v1/map",
        data=msgspec.msgpack.encode({"limit": 20}),
        headers={"Content-Type": "application/msgpack", "Accept": "application/msgpack"},
    )
    assert msgspec.msgpack.decode(await response.read())["n_tracks"] == 20


@pytest.mark.parametrize("kind", ["application/json", "application/msgpack"])
async def test_a_whole_number_may_be_written_with_a_point(web: Web, chooser: Chooser, kind: str) -> None:
    library = msgspec.json if kind.endswith("json") else msgspec.msgpack
    body = library.encode({"track_ids": [1.0, 2.0, 3], "seed": 7.0, "min_dist": 0})
    response = await web.post("/v1/map", data=body, headers={"Content-Type": kind})
    assert response.status == 200 and (await response.json())["n_tracks"] == 3


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"track_ids": [1], "like": 2}, "track_ids and like are given, at most one of"),
        ({"track_ids": []}, "field track_ids: expected `array` of length >= 1"),
        ({"track_ids": [0]}, "field track_ids"),
        ({"like": 2**40}, "field like"),
        ({"limit": 0}, "field limit"),
        ({"limit": 10_001}, r"map of 10001 tracks: at most 10000 \(similarity.max_map_tracks\)"),
        ({"features": ["colour"]}, "field features"),
        ({"features": []}, "no group has a weight above 0"),
        ({"features": {"timbre": 0}}, "no group has a weight above 0"),
        ({"features": {"timbre": -1}}, "field features"),
        ({"features": {"colour": 1}}, "field features: invalid enum value 'colour'"),
        ({"limit": 2.5}, "field limit: expected `int | null`, got `float`"),
        ({"n_neighbors": 1}, "field n_neighbors"),
        ({"min_dist": 1.0}, "field min_dist"),
        ({"metric": "dtw"}, "field metric"),
        ({"seed": 2**32}, "field seed"),
        ({"filter": {"colour": "red"}}, "field filter: object contains unknown field `colour`"),
        ({"filter": {"tempo_bpm": 100}}, "field filter: object contains unknown field `tempo_bpm`"),
        ({"filter": {"tempo_bpm_min": "fast"}}, "field filter.tempo_bpm_min: expected `float"),
        ({"filter": {"tempo_bpm_min": 9, "tempo_bpm_max": 8}}, "tempo_bpm_min is 9, must be at most"),
        ({"filter": {"genre": ""}}, "field filter.genre: expected `str` of length >= 1"),
        ({"colour": 1}, "colour"),
    ],
)
async def test_what_breaks_a_rule_is_refused(
    web: Web, chooser: Chooser, body: dict[str, Any], sentence: str
) -> None:
    message = await refused(await web.post("/v1/map", json=body), 422, "invalid_request")
    assert re.search(sentence, message), message
    assert not chooser.asked


async def test_more_tracks_than_a_map_may_have_are_refused(web: Web, chooser: Chooser, most: int) -> None:
    ids = list(range(1, most + 2))
    message = await refused(await web.post("/v1/map", json={"track_ids": ids}), 422, "invalid_request")
    assert message == "map of 101 tracks: at most 100 (similarity.max_map_tracks)"
    assert (await (await web.post("/v1/map", json={})).json())["n_tracks"] == most


async def test_unknown_and_undescribed_tracks_are_what_the_chooser_says(web: Web, chooser: Chooser) -> None:
    await refused(await web.post("/v1/map", json={"track_ids": [MANY + 1]}), 404, "track_not_found")
    asking = web.post("/v1/map", json={"like": N_TRACKS}, headers={"Accept": "text/event-stream"})
    async with asking as response:  # before the stream begins
        await refused(response, 409, "not_described")


async def test_events_tell_of_progress_and_then_the_map(web: Web, chooser: Chooser) -> None:
    said = [event async for event in events(web, {"limit": 3000})]
    assert [name for name, _ in said] == ["progress"] * (len(said) - 1) + ["map"]
    told = [document for _, document in said[:-1]]
    assert told[0] == {"stage": "starting", "fraction": 0.0}
    assert told[-1]["stage"] == "computing"
    fractions = [document["fraction"] for document in told]
    assert fractions == sorted(fractions)
    assert len(told) >= 3
    assert said[-1][1]["n_tracks"] == 3000


async def test_a_map_over_its_limits_says_so_in_an_answer_and_in_an_event(
    web: Web, chooser: Chooser, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = door.config.with_values(similarity={"map_timeout_s": 0.05}).similarity
    monkeypatch.setattr(door.services.maps, "_config", short)
    message = await refused(await web.post("/v1/map", json={"limit": MANY}), 422, "map_failed")
    assert (
        message
        == f"map of {MANY} tracks: computing took longer than 0.05 s, the limit; fewer tracks need less"
    )
    said = [event async for event in events(web, {"limit": MANY})]
    name, document = said[-1]
    assert (name, document["error"]["code"]) == ("error", "map_failed")
    assert document["error"]["message"] == message


async def test_a_map_beside_another_is_told_to_come_again(
    web: Web, chooser: Chooser, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_pool, "TURN_S", 0.1)
    first = asyncio.create_task(web.post("/v1/map", json={"limit": MANY}))
    await until(lambda: door.services.maps.n_running == 1)
    second = await web.post("/v1/map", json={"limit": 10})
    await refused(second, 503, "overloaded")
    assert second.headers["Retry-After"] == "1"
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await until(lambda: door.services.maps.n_running == 0)


@pytest.mark.alone
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_the_work_ends_when_the_client_leaves(
    web: Web, chooser: Chooser, door: Door, accept: str
) -> None:
    assert (await web.post("/v1/map", json={"limit": 10})).status == 200  # the child is ready
    child = door.services.maps._pool._children[0]._process
    assert child is not None
    pid = child.pid
    asking = asyncio.create_task(web.post("/v1/map", json={"limit": MANY}, headers={"Accept": accept}))
    await until(lambda: door.services.maps.n_running == 1)
    await asyncio.sleep(0.3)
    assert door.services.maps.n_running == 1
    start = time.monotonic()
    if accept == "application/json":
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    else:
        (await asking).close()
    await until(lambda: door.services.maps.n_running == 0)
    assert time.monotonic() - start < 1.5
    await until(lambda: door.n_requests == 0)
    child = door.services.maps._pool._children[0]._process
    assert child is not None
    assert child.pid == pid  # it is kept for the next map


@pytest.mark.alone
async def test_the_event_loop_stays_free_while_a_map_is_computed(web: Web, chooser: Chooser) -> None:
    late_s: list[float] = []
    busy_s: list[float] = []  # of the loop's own thread: others on the machine make it late, but not busy

    async def beat() -> None:
        while True:
            start, busy = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.005)
            late_s.append(time.perf_counter() - start - 0.005)
            busy_s.append(time.thread_time() - busy)

    assert (await web.post("/v1/map", json={"limit": 10})).status == 200
    gc.collect()
    gc.freeze()  # thousands of collected tests: to look through them takes the loop's thread 0.1 s
    beating = asyncio.create_task(beat())
    async with web.post("/v1/map", json={"limit": 5000}) as response:
        assert response.status == 200
        beating.cancel()
        await response.read()
    gc.unfreeze()
    assert max(busy_s) < 0.03
    assert max(late_s) < 0.5
