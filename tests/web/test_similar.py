"""Likeness over HTTP, on real descriptions of small songs."""

from collections.abc import AsyncIterator
from typing import Any

import msgpack
import numpy as np
import pytest
from aiohttp import ClientResponse, FormData

from fpserver.audio.encode import encode
from fpserver.descriptors import FACTS
from fpserver.terms import DescriptionStatus, Metadata, Submission
from fpserver.web.door import Door
from fpserver.web.schemas import FactRanges
from tests.described import add_described
from tests.synth import RATE_HZ, at_snr, silence, song
from tests.web.conftest import Web
from tests.web.helpers import refused as refused_with

SONGS = {f"likeness {seed}": song(100 + seed, 10.0) for seed in range(4)}
NEAR = {"likeness noisy": at_snr(SONGS["likeness 1"], 25.0, seed=9)}


@pytest.fixture
async def ids(door: Door) -> AsyncIterator[dict[str, int]]:
    """Tracks that are described; gone after the test."""
    services = door.services
    ids = await add_described(services, SONGS | NEAR, genre="Likeness")
    await door.neighbourhood.catch_up()
    yield ids
    for track_id in ids.values():
        await services.tracks.mark_deleting(track_id, now=1.0)
        await services.descriptions.remove(track_id)
        await services.tracks.forget(track_id)
    await door.neighbourhood.catch_up()


def wav(title: str, *, seconds: float = 10.0) -> bytes:
    return encode((SONGS | NEAR)[title][: round(seconds * RATE_HZ)], RATE_HZ, container="wav")


async def get(web: Web, path: str, **query: Any) -> dict[str, Any]:
    response = await web.get(path, params=query)
    body: dict[str, Any] = await response.json()
    assert response.status == 200, body
    return body


async def refused(response: ClientResponse, status: int, code: str, says: str) -> None:
    """Check that an answer is the one error body, and says so."""
    assert says in await refused_with(response, status, code)


def titles(body: dict[str, Any]) -> list[str]:
    return [each["title"] for each in body.get("neighbours", body.get("segments", []))]


async def test_the_nearest_tracks_are_named_with_what_makes_them_near(web: Web, ids: dict[str, int]) -> None:
    body = await get(
        web, f"/v1/tracks/{ids['likeness noisy']}/similar", k=2, features="timbre:3,tonal", transpose=1
    )
    assert body["features"] == {"tonal": 0.25, "timbre": 0.75}
    nearest = body["neighbours"][0]
    assert nearest["title"] == "likeness 1" and len(body["neighbours"]) == 2
    assert set(nearest["groups"]) == {"timbre", "tonal"} and nearest["semitones"] == 0
    assert 0 < nearest["distance"] < body["neighbours"][1]["distance"]
    assert 0.5 < nearest["similarity"] <= 1


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "dtw"])
async def test_every_measure_finds_the_song_under_noise(web: Web, ids: dict[str, int], metric: str) -> None:
    body = await get(web, f"/v1/tracks/{ids['likeness noisy']}/similar", k=1, features="tonal", metric=metric)
    assert titles(body) == ["likeness 1"]
    assert (body["neighbours"][0]["start_s"] is not None) == (metric == "dtw")


async def test_filters_say_who_may_be_near(web: Web, ids: dict[str, int]) -> None:
    path = f"/v1/tracks/{ids['likeness 0']}/similar"
    assert len(titles(await get(web, path, genre="LIKENESS"))) == 4
    assert titles(await get(web, path, genre="other")) == []
    assert titles(await get(web, path, q="noisy")) == ["likeness noisy"]
    facts = (await get(web, f"/v1/tracks/{ids['likeness 2']}"))["features"]
    bounds = {"centroid_hz_min": facts["centroid_hz"] - 1, "centroid_hz_max": facts["centroid_hz"] + 1}
    assert "likeness 2" in titles(await get(web, path, **bounds))
    assert titles(await get(web, path, centroid_hz_max=1)) == []
    page = await get(web, "/v1/tracks", **bounds)
    assert "likeness 2" in [track["title"] for track in page["tracks"]]
    assert "likeness 2" not in [
        track["title"] for track in (await get(web, "/v1/tracks", centroid_hz_max=1))["tracks"]
    ]


async def test_a_clip_is_like_its_song(web: Web, ids: dict[str, int]) -> None:
    form = FormData()
    form.add_field("clip", wav("likeness 3", seconds=8.0), filename="clip.wav")
    for data in (wav("likeness 3", seconds=8.0), form):
        response = await web.post("/v1/similar", params={"k": 1, "features": "timbre"}, data=data)
        body = await response.json()
        assert response.status == 200, body
        assert titles(body) == ["likeness 3"]


async def test_a_pair_is_told_by_group_and_measure(web: Web, ids: dict[str, int]) -> None:
    body = await get(web, f"/v1/similarity/{ids['likeness 1']}/{ids['likeness noisy']}")
    assert set(body["groups"]) == {"temporal", "spectral", "rhythm", "tonal", "timbre"}
    assert set(body["groups"]["tonal"]) == {"euclidean", "cosine", "transposed"}
    assert set(body["dtw"]) == {"chroma", "timbre"} and body["dtw_error"] is None
    same = await get(web, f"/v1/similarity/{ids['likeness 1']}/{ids['likeness 1']}")
    assert same["euclidean"] == {"distance": 0, "similarity": 1}
    assert same["semitones"] == 0


async def test_a_matrix_comes_as_one_document(web: Web, ids: dict[str, int]) -> None:
    body = {"track_ids": list(ids.values()), "features": {"timbre": 1, "tonal": 2}, "values": "similarity"}
    json = await (await web.post("/v1/similarity/matrix", json=body)).json()
    packed = await web.post("/v1/similarity/matrix", json=body, headers={"Accept": "application/msgpack"})
    assert packed.content_type == "application/msgpack"
    document = msgpack.unpackb(await packed.read())
    assert document["track_ids"] == json["track_ids"] == body["track_ids"]
    np.testing.assert_allclose(document["matrix"], json["matrix"])
    matrix = np.array(json["matrix"])
    assert matrix.shape == (5, 5) and np.all(np.diag(matrix) == 1) and np.all(matrix == matrix.T)


async def test_a_moment_is_found_where_it_was_cut(web: Web, ids: dict[str, int]) -> None:
    samples = SONGS["likeness 2"][4 * RATE_HZ : 7 * RATE_HZ]
    data = encode(samples, RATE_HZ, container="wav")
    response = await web.post("/v1/segments/search", params={"limit": 5}, data=data)
    body = await response.json()
    assert response.status == 200, body
    best = body["segments"][0]
    assert (best["title"], best["start_s"]) == ("likeness 2", 4.0)
    again = await get(web, f"/v1/tracks/{ids['likeness 1']}/similar-segments", start_s=3, end_s=6)
    assert (again["segments"][0]["title"], again["segments"][0]["start_s"]) == ("likeness noisy", 3.0)


async def test_a_map_shows_the_tracks_that_were_chosen(web: Web, ids: dict[str, int]) -> None:
    unknown = max(ids.values()) + 1000
    for body, shown in (
        ({"track_ids": [*ids.values(), unknown]}, set(ids.values())),
        ({"filter": {"genre": "likeness", "q": "noisy"}}, {ids["likeness noisy"]}),
        ({"filter": {"genre": "no such"}}, set()),  # was a 500
        (
            {"like": ids["likeness 1"], "limit": 2, "features": ["timbre"]},
            {ids["likeness 1"], ids["likeness noisy"]},
        ),
    ):
        response = await web.post("/v1/map", json=body)
        document = await response.json()
        assert response.status == 200, document
        assert {point["track_id"] for point in document["points"]} == shown
        assert document["left_out"] == ([unknown] if "track_ids" in body else [])


async def test_a_track_tells_how_far_its_description_has_come(
    web: Web, door: Door, ids: dict[str, int]
) -> None:
    done = await get(web, f"/v1/tracks/{ids['likeness 0']}")
    assert done["described"] and done["description"]["status"] == "done"
    assert {"timbre", "segments"} <= set(done["description"]["parts"])
    offer = Submission(source="file:/x", place="x", content_sha256="dd" * 32, metadata=Metadata())
    (waiting,) = await door.services.tracks.submit([offer], now=1.0)
    await door.services.tracks.mark_indexed(
        waiting.track_id, n_landmarks=1, duration_s=1.0, now=1.0, description=DescriptionStatus.WAITING
    )
    told = await get(web, f"/v1/tracks/{waiting.track_id}")
    assert not told["described"] and told["description"] == {"status": "waiting", "parts": [], "error": None}
    await refused(
        await web.get(f"/v1/tracks/{waiting.track_id}/similar"), 409, "not_described", "waits for a worker"
    )
    await web.delete(f"/v1/tracks/{waiting.track_id}")


@pytest.mark.parametrize(
    ("path", "status", "code", "says"),
    [
        ("/v1/tracks/{}/similar?k=0", 422, "invalid_request", "k is '0'"),
        ("/v1/tracks/{}/similar?k=5000", 422, "invalid_request", "at most 200"),
        ("/v1/tracks/{}/similar?features=colour", 422, "invalid_request", "'colour', must be of temporal"),
        ("/v1/tracks/{}/similar?features=timbre,timbre", 422, "invalid_request", "timbre more than once"),
        ("/v1/tracks/{}/similar?features=timbre:x", 422, "invalid_request", "weight 'x'"),
        ("/v1/tracks/{}/similar?features=timbre:0", 422, "invalid_request", "weight above 0"),
        ("/v1/tracks/{}/similar?features=timbre:nan", 422, "invalid_request", "weight of timbre is nan"),
        ("/v1/tracks/{}/similar?features=timbre:1e308", 422, "invalid_request", "at most 1000 counts"),
        ("/v1/tracks/{}/similar?tempo_bpm_min=null", 422, "invalid_request", "tempo_bpm_min is 'null'"),
        ("/v1/tracks/{}/similar?metric=hamming", 422, "invalid_request", "metric is 'hamming'"),
        (
            "/v1/tracks/{}/similar?tempo_bpm_min=9&tempo_bpm_max=8",
            422,
            "invalid_request",
            "at most tempo_bpm_max",
        ),
        ("/v1/tracks/{}/similar?tempo_bpm_min=nan", 422, "invalid_request", "tempo_bpm_min is nan"),
        ("/v1/tracks?tempo_bpm_max=inf", 422, "invalid_request", "tempo_bpm_max is inf"),
        ("/v1/tracks/{}/similar-segments?start_s=inf", 422, "invalid_request", "inf"),
        ("/v1/tracks/{}/similar-segments?start_s=nan", 422, "invalid_request", "start_s"),
        ("/v1/tracks/{}/similar-segments?start_s=1&end_s=nan", 422, "invalid_request", "end_s is nan"),
        ("/v1/tracks/{}/similar?key=H", 422, "invalid_request", "key is 'H'"),
        ("/v1/tracks/99999/similar", 404, "track_not_found", "no track 99999"),
        ("/v1/similarity/{}/99999", 404, "track_not_found", "no track 99999"),
        ("/v1/similarity/{}/x", 422, "invalid_request", "track id is 'x'"),
        (
            "/v1/tracks/{}/similar-segments",
            422,
            "invalid_request",
            "query: object missing required field `start_s`",
        ),
        ("/v1/tracks/{}/similar-segments?start_s=500", 422, "invalid_request", "is described to 10 s"),
        ("/v1/tracks/{}/similar-segments?start_s=2&end_s=1", 422, "invalid_request", "end_s is 1"),
    ],
)
async def test_what_cannot_be_asked_is_refused(
    web: Web, ids: dict[str, int], path: str, status: int, code: str, says: str
) -> None:
    await refused(await web.get(path.format(ids["likeness 0"])), status, code, says)


async def test_clips_that_cannot_be_described_are_refused(web: Web, door: Door, ids: dict[str, int]) -> None:
    quiet = encode(silence(5.0), RATE_HZ, container="wav")
    for path in ("/v1/similar", "/v1/segments/search"):
        await refused(await web.post(path, data=quiet), 422, "audio_silent", "silent")
        await refused(await web.post(path, data=b"no sound"), 415, "audio_unsupported", "not an audio file")
        await refused(
            await web.post(path, data=wav("likeness 0", seconds=0.6)), 422, "clip_too_short", "at least"
        )
    short = wav("likeness 0", seconds=2.0)
    await refused(await web.post("/v1/similar", data=short), 422, "clip_too_short", "at least 3 s")
    assert (await web.post("/v1/segments/search", data=short)).status == 200


async def test_matrices_that_cannot_be_made_are_refused(web: Web, ids: dict[str, int]) -> None:
    for body, says in (
        ({"track_ids": []}, "track_ids"),
        ({"track_ids": [1, 1]}, "track 1 more than once"),
        ({"track_ids": list(range(1, 2002))}, "2001 tracks, at most 2000"),
        ({"track_ids": list(range(1, 66)), "metric": "dtw"}, "at most 64"),
        ({"track_ids": [1], "colour": 1}, "colour"),
    ):
        await refused(await web.post("/v1/similarity/matrix", json=body), 422, "invalid_request", says)
    await refused(
        await web.post("/v1/similarity/matrix", json={"track_ids": [99999]}), 404, "track_not_found", "99999"
    )


async def test_lengths_that_differ_are_refused_before_a_row_is_told(
    web: Web, door: Door, ids: dict[str, int]
) -> None:
    short = (await add_described(door.services, {"short": SONGS["likeness 0"][: 4 * RATE_HZ]}))["short"]
    await door.neighbourhood.catch_up()
    body = {"track_ids": [*ids.values(), short], "metric": "dtw"}
    await refused(await web.post("/v1/similarity/matrix", json=body), 422, "lengths_differ", "4 s and 10 s")
    pair = await get(web, f"/v1/similarity/{ids['likeness 0']}/{short}")
    assert pair["dtw"] == {} and "4 s" in pair["dtw_error"]
    await web.delete(f"/v1/tracks/{short}")


def test_every_fact_can_be_bounded_and_nothing_else() -> None:
    assert set(FactRanges.__struct_fields__) == {f"{name}_{end}" for name in FACTS for end in ("min", "max")}
