"""What is like it, on a real store and engine: neighbours, pairs, matrices, moments."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from fpserver import apart, segments, similar
from fpserver.audio.encode import encode
from fpserver.comparable import Likeness
from fpserver.config import RedisConfig
from fpserver.errors import (
    AudioSilent,
    InvalidRequest,
    LengthsDiffer,
    NotDescribed,
    Overloaded,
    TrackNotFound,
)
from fpserver.following import Neighbourhood
from fpserver.services import Services
from fpserver.similarity.mix import Mix
from fpserver.store.connect import Client, shared_url
from fpserver.terms import Group, Metadata, Samples, Sieve, Submission
from tests.described import add_described
from tests.opened import opened
from tests.synth import RATE_HZ, at_snr, noise, silence, song

SONGS = {f"song {seed}": song(seed, 14.0) for seed in range(6)}
ALL = Likeness(mix=Mix(weights=dict.fromkeys(Group, 1.0)))
EVERY = Sieve()


@pytest.fixture
async def services(client: Client, store_config: RedisConfig, tmp_path: Path) -> AsyncIterator[Services]:
    store = RedisConfig(
        url=shared_url(store_config), data_dir=str(tmp_path)
    )  # a folder of its own for the copy
    async with opened(store, described=True) as services:
        yield services


@pytest.fixture
async def near_by(services: Services) -> AsyncIterator[Neighbourhood]:
    async with Neighbourhood(services) as near_by:
        yield near_by


async def filled(near_by: Neighbourhood, sounds: dict[str, Samples]) -> dict[str, int]:
    """The ids of sounds that are described, and known to the engine."""
    ids = await add_described(near_by.services, sounds)
    await near_by.catch_up()
    return ids


def only(*groups: Group, **how: object) -> Likeness:
    return Likeness(mix=Mix(weights=dict.fromkeys(groups, 1.0), **how))  # type: ignore[arg-type]


def clip_file(folder: Path, samples: Samples) -> Path:
    path = folder / "clip.wav"
    path.write_bytes(encode(samples, RATE_HZ, container="wav"))
    return path


async def test_the_same_song_under_noise_is_the_nearest_track(near_by: Neighbourhood) -> None:
    ids = await filled(near_by, SONGS | {"noisy": at_snr(SONGS["song 3"], 25.0, seed=1)})
    found = await similar.like_track(near_by, ids["noisy"], ALL, k=3, sieve=EVERY)
    assert found[0].track.track_id == ids["song 3"]
    assert len(found) == 3 and ids["noisy"] not in {each.track.track_id for each in found}
    distances = [each.distance for each in found]
    assert distances == sorted(distances) and all(0 <= each.similarity <= 1 for each in found)
    assert set(found[0].groups) == set(Group)


async def test_a_song_is_nearest_to_a_clip_of_it(near_by: Neighbourhood, tmp_path: Path) -> None:
    ids = await filled(near_by, SONGS)
    clip = clip_file(tmp_path, SONGS["song 2"][: 10 * RATE_HZ])
    found = await similar.like_clip(near_by, clip, only(Group.TIMBRE, Group.TONAL), k=1, sieve=EVERY)
    assert found[0].track.track_id == ids["song 2"]


async def test_a_transposed_song_is_near_when_transpositions_count(near_by: Neighbourhood) -> None:
    up = song(3, 14.0, round(RATE_HZ * 2 ** (-2 / 12)))  # played at RATE_HZ: two semitones higher, and faster
    ids = await filled(near_by, SONGS | {"up": up})
    (nearest,) = await similar.like_track(
        near_by, ids["up"], only(Group.TONAL, transpose=True), k=1, sieve=EVERY
    )
    assert (nearest.track.track_id, nearest.semitones) == (ids["song 3"], -2)


async def test_a_melody_at_another_tempo_is_near_by_time_warping(near_by: Neighbourhood) -> None:
    up = song(3, 14.0, round(RATE_HZ * 2 ** (-1 / 12)))
    ids = await filled(near_by, SONGS | {"up": up})
    warped = Likeness(mix=Mix(weights={Group.TONAL: 1.0}, transpose=True), warped=True)
    (nearest,) = await similar.like_track(near_by, ids["up"], warped, k=1, sieve=EVERY)
    assert (nearest.track.track_id, nearest.semitones) == (ids["song 3"], -1)


async def test_what_does_not_pass_the_sieve_is_no_neighbour(near_by: Neighbourhood) -> None:
    quiet = await add_described(near_by.services, {"quiet": SONGS["song 0"] * np.float32(0.01)})
    ids = await filled(near_by, SONGS)
    level = Sieve(ranges={"rms_db": (-40.0, None)})
    found = await similar.like_track(near_by, ids["song 0"], ALL, k=10, sieve=level)
    assert len(found) == 5 and quiet["quiet"] not in {each.track.track_id for each in found}


async def test_a_track_that_is_removed_or_renamed_is_known_as_such_at_the_next_look(
    near_by: Neighbourhood,
) -> None:
    ids = await filled(near_by, SONGS)
    tracks = near_by.services.tracks
    await tracks.mark_deleting(ids["song 1"], now=1.0)
    await tracks.edit(ids["song 2"], {"genre": "Waltz"}, now=1.0)
    before = await similar.like_track(near_by, ids["song 0"], ALL, k=10, sieve=EVERY)
    assert ids["song 1"] not in {each.track.track_id for each in before}, "also before the engine knows"
    await near_by.catch_up()
    waltzes = Sieve(equal={"genre": "waltz"})
    found = await similar.like_track(near_by, ids["song 0"], ALL, k=10, sieve=waltzes)
    assert [each.track.track_id for each in found] == [ids["song 2"]]


async def test_an_engine_is_filled_anew_when_other_scales_are_learned(near_by: Neighbourhood) -> None:
    first = await filled(near_by, {"a": SONGS["song 0"], "b": SONGS["song 1"]})
    version = near_by.near.scales.version
    await filled(near_by, {title: SONGS[title] for title in ("song 2", "song 3", "song 4")})
    assert near_by.near.scales.version != version
    found = await similar.like_track(near_by, first["a"], ALL, k=10, sieve=EVERY)
    assert len(found) == 4


async def test_the_copy_outlives_its_process(services: Services) -> None:
    async with Neighbourhood(services) as near_by:
        ids = await filled(near_by, SONGS)
        before = await similar.like_track(near_by, ids["song 0"], ALL, k=3, sieve=EVERY)
    async with Neighbourhood(services) as again:
        await again.catch_up()
        after = await similar.like_track(again, ids["song 0"], ALL, k=3, sieve=EVERY)
    assert [(each.track.track_id, each.distance) for each in before] == [
        (each.track.track_id, each.distance) for each in after
    ]


async def test_what_cannot_be_compared_is_said(near_by: Neighbourhood, tmp_path: Path) -> None:
    await near_by.catch_up()
    with pytest.raises(NotDescribed, match="no track is described yet"):
        await similar.like_track(near_by, 1, ALL, k=1, sieve=EVERY)
    ids = await filled(near_by, SONGS)
    offer = Submission(source="file:/x", place="x", content_sha256="ee" * 32, metadata=Metadata())
    (waiting,) = await near_by.services.tracks.submit([offer], now=1.0)
    with pytest.raises(
        NotDescribed, match=f"track {waiting.track_id} is not described, its status is queued"
    ):
        await similar.like_track(near_by, waiting.track_id, ALL, k=1, sieve=EVERY)
    with pytest.raises(TrackNotFound, match="no track 999"):
        await similar.like_track(near_by, 999, ALL, k=1, sieve=EVERY)
    with pytest.raises(TrackNotFound, match="no track 999"):
        await apart.pair(near_by, ids["song 0"], 999)
    with pytest.raises(AudioSilent):
        await similar.like_clip(near_by, clip_file(tmp_path, silence(5.0)), ALL, k=1, sieve=EVERY)


async def test_a_track_that_lacks_a_group_is_compared_by_the_others(near_by: Neighbourhood) -> None:
    some = await add_described(near_by.services, {"bare": SONGS["song 5"]}, parts=("timbre", "tonal"))
    ids = await filled(near_by, SONGS)
    by_timbre = await similar.like_track(near_by, some["bare"], only(Group.TIMBRE), k=1, sieve=EVERY)
    assert by_timbre[0].track.track_id == ids["song 5"]
    with pytest.raises(NotDescribed, match="not described by rhythm"):
        await similar.like_track(near_by, some["bare"], only(Group.RHYTHM), k=1, sieve=EVERY)
    report = await apart.pair(near_by, some["bare"], ids["song 5"])
    assert set(report.euclidean.groups) == {Group.TIMBRE, Group.TONAL}
    assert report.not_warped is not None and not report.warped


async def test_a_pair_is_compared_by_every_measure(near_by: Neighbourhood) -> None:
    ids = await filled(near_by, SONGS | {"noise": noise(1, 14.0)})
    same = await apart.pair(near_by, ids["song 0"], ids["song 0"])
    assert same.euclidean.whole.distance == 0 and same.euclidean.whole.similarity == 1
    other = await apart.pair(near_by, ids["song 0"], ids["noise"])
    assert other.euclidean.whole.distance > 0.5 and other.warped["timbre"].distance > 0.1
    assert other.transposed is not None
    assert other.transposed.groups[Group.TONAL].distance <= other.euclidean.groups[Group.TONAL].distance


async def test_a_matrix_is_symmetric_and_agrees_with_the_neighbours(near_by: Neighbourhood) -> None:
    ids = list((await filled(near_by, SONGS)).values())
    blocks = [block async for block in apart.matrix(near_by, ids, ALL, as_similarity=False)]
    whole = np.concatenate(blocks)
    assert whole.shape == (6, 6)
    np.testing.assert_array_equal(whole, whole.T)
    np.testing.assert_array_equal(np.diag(whole), 0)
    found = await similar.like_track(near_by, ids[0], ALL, k=5, sieve=EVERY)
    by_id = {each.track.track_id: each.distance for each in found}
    np.testing.assert_allclose([by_id[each] for each in ids[1:]], whole[0, 1:], rtol=1e-4)
    likenesses = np.concatenate(
        [block async for block in apart.matrix(near_by, ids, ALL, as_similarity=True)]
    )
    assert np.all(np.diag(likenesses) == 1) and likenesses.min() >= 0


async def test_a_matrix_is_refused_that_cannot_be_made(near_by: Neighbourhood) -> None:
    ids = await filled(near_by, SONGS | {"short": SONGS["song 0"][: 5 * RATE_HZ]})
    warped = Likeness(mix=ALL.mix, warped=True)
    with pytest.raises(LengthsDiffer, match="14 s"):
        async for _ in apart.matrix(near_by, list(ids.values()), warped, as_similarity=False):
            pass
    with pytest.raises(InvalidRequest, match="more than once"):
        await anext(apart.matrix(near_by, [ids["short"]] * 2, ALL, as_similarity=False))
    with pytest.raises(InvalidRequest, match="2001 tracks, at most 2000"):
        await anext(apart.matrix(near_by, list(range(1, 2002)), ALL, as_similarity=False))


async def test_a_noisy_clip_is_found_where_it_was_cut(near_by: Neighbourhood, tmp_path: Path) -> None:
    ids = await filled(near_by, SONGS)
    samples = SONGS["song 4"][round(6.3 * RATE_HZ) : round(9.3 * RATE_HZ)]
    clip = clip_file(tmp_path, at_snr(samples, 25.0, seed=3))
    places = await segments.like_clip(near_by, clip, limit=10, sieve=EVERY)
    assert places[0].track.track_id == ids["song 4"]
    starts = [place.hit.start_s for place in places if place.track.track_id == ids["song 4"]][:3]
    assert min(abs(start - 6.3) for start in starts) < 0.3
    without = Sieve(without=frozenset({ids["song 4"]}))
    others = await segments.like_clip(near_by, clip, limit=10, sieve=without)
    assert ids["song 4"] not in {place.track.track_id for place in others}


async def test_a_moment_is_like_others_and_never_like_itself(near_by: Neighbourhood) -> None:
    ids = await filled(near_by, SONGS | {"again": SONGS["song 2"]})
    places = await segments.like_moment(near_by, ids["song 2"], 4.0, 6.0, limit=50, sieve=EVERY)
    assert (places[0].track.track_id, places[0].hit.start_s) == (ids["again"], 4.0)
    for place in places:
        same = place.track.track_id == ids["song 2"]
        assert not (same and place.hit.start_s < 6.0 and place.hit.end_s > 4.0)
    for start_s, end_s in ((4.0, 3.0), (4.0, 65.0), (99.0, None)):
        with pytest.raises(InvalidRequest, match="_s is"):
            await segments.like_moment(near_by, ids["song 2"], start_s, end_s, limit=5, sieve=EVERY)


async def test_the_catalogue_is_followed_by_itself(near_by: Neighbourhood) -> None:
    await add_described(near_by.services, SONGS)
    async with asyncio.timeout(10.0):
        while True:
            with suppress(NotDescribed, Overloaded):
                if (await near_by.near.engine.stats()).n_tracks == len(SONGS):
                    return
            await asyncio.sleep(0.05)
