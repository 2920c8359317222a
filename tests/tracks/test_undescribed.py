import asyncio

import pytest

from fpserver.errors import AudioDamaged
from fpserver.store.connect import Client
from fpserver.terms import DescriptionStatus, Track
from fpserver.tracks import catalogue
from fpserver.tracks.catalogue import TrackFilter, Tracks
from fpserver.tracks.undescribed import Undescribed
from tests.tracks.offers import CONFIG, IDLE_S, PLACE, submit


@pytest.fixture
def undescribed(client: Client, tracks: Tracks) -> Undescribed:
    return Undescribed(client, CONFIG)


async def indexed(tracks: Tracks, *names: str, to_be_described: bool = True) -> list[int]:
    track_ids = await submit(tracks, *names)
    for track_id in track_ids:
        await tracks.mark_indexed(
            track_id,
            n_landmarks=1,
            duration_s=2.0,
            now=1.0,
            description=DescriptionStatus.WAITING if to_be_described else None,
        )
    return track_ids


async def describe(undescribed: Undescribed, track_id: int, **facts: float) -> bool:
    return await undescribed.mark_described(
        track_id, ["timbre", "tonal"], facts=facts, key="A minor", version=1, now=3.0
    )


async def read(tracks: Tracks, track_id: int) -> Track:
    return (await tracks.get([track_id]))[track_id]


async def test_an_indexed_track_waits_for_its_description_if_it_is_to_have_one(
    tracks: Tracks, undescribed: Undescribed
) -> None:
    await indexed(tracks, "a")
    await indexed(tracks, "b", to_be_described=False)
    assert await undescribed.waiting(PLACE) == [1]
    assert [(await read(tracks, i)).description for i in (1, 2)] == [DescriptionStatus.WAITING, None]


async def test_a_description_is_seen_in_the_record(tracks: Tracks, undescribed: Undescribed) -> None:
    await indexed(tracks, "a")
    assert await describe(undescribed, 1, tempo_bpm=119.25, loudness_db=-14.5)
    track = await read(tracks, 1)
    assert (track.description, track.described) == (DescriptionStatus.DONE, frozenset({"timbre", "tonal"}))
    assert (track.facts, track.key) == ({"tempo_bpm": 119.25, "loudness_db": -14.5}, "A minor")
    assert await undescribed.waiting(PLACE) == []


async def test_another_description_leaves_nothing_of_the_one_before(
    tracks: Tracks, undescribed: Undescribed
) -> None:
    await indexed(tracks, "a")
    await undescribed.mark_undescribable(1, DescriptionStatus.FAILED, AudioDamaged("cut"))
    await describe(undescribed, 1, tempo_bpm=100.0)
    await undescribed.mark_described(1, ["temporal"], facts={"rms_db": -20.0}, key=None, version=2, now=4.0)
    track = await read(tracks, 1)
    assert (dict(track.facts), track.key, track.described) == (
        {"rms_db": -20.0},
        None,
        frozenset({"temporal"}),
    )
    assert (track.description_code, track.description_version) == (None, 2)


async def test_a_track_is_given_to_one_worker_until_its_claim_is_old(
    tracks: Tracks, undescribed: Undescribed
) -> None:
    await indexed(tracks, "a")
    first = await undescribed.claim(PLACE, now=10.0)
    assert first is not None and first.track_id == 1
    assert await undescribed.claim(PLACE, now=10.0 + CONFIG.claim_idle_s / 2) is None
    await undescribed.renew(PLACE, [1], now=10.0 + IDLE_S)
    assert await undescribed.claim(PLACE, now=10.0 + IDLE_S) is None
    again = await undescribed.claim(PLACE, now=10.0 + 3 * IDLE_S)
    assert again is not None and again.track_id == 1
    assert await undescribed.claim("elsewhere", now=99.0) is None


async def test_what_is_given_back_can_be_taken_at_once_and_was_no_attempt(
    tracks: Tracks, undescribed: Undescribed
) -> None:
    await indexed(tracks, "a")
    for attempt in range(CONFIG.max_attempts + 1):
        assert await undescribed.claim(PLACE, now=10.0 + attempt / 1000) is not None
        await undescribed.give_back(PLACE, [1, 7], now=10.0 + attempt / 1000)


async def test_a_track_whose_workers_all_died_is_failed_with_the_reason(
    tracks: Tracks, undescribed: Undescribed
) -> None:
    await indexed(tracks, "a")
    for attempt in range(CONFIG.max_attempts):
        assert await undescribed.claim(PLACE, now=10.0 * (attempt + 1)) is not None
    assert await undescribed.claim(PLACE, now=1000.0) is None
    track = await read(tracks, 1)
    assert (track.description, track.description_code) == (DescriptionStatus.FAILED, "attempts_exhausted")


async def test_a_track_that_is_removed_is_described_no_more(tracks: Tracks, undescribed: Undescribed) -> None:
    await indexed(tracks, "a", "b")
    await tracks.mark_deleting(1, now=2.0)
    assert await undescribed.waiting(PLACE) == [2]
    assert not await describe(undescribed, 1)
    assert not await undescribed.mark_undescribable(1, DescriptionStatus.FAILED, AudioDamaged("cut"))
    assert not await undescribed.want(1, now=2.0)


async def test_changes_tell_what_is_described_edited_and_removed(
    tracks: Tracks, undescribed: Undescribed
) -> None:
    await indexed(tracks, "a", "b", "c")
    assert await tracks.changes(after=0, limit=10) == []
    for track_id in (1, 2):
        await describe(undescribed, track_id)
    assert await tracks.changes(after=0, limit=10) == [(1, 4), (2, 5)]
    await tracks.edit(1, {"title": "new"}, now=5.0)
    await tracks.edit(3, {"title": "never described"}, now=5.0)
    assert await tracks.changes(after=5, limit=10) == [(1, 6)]
    await tracks.mark_deleting(2, now=6.0)
    await tracks.forget(2)
    assert await tracks.changes(after=6, limit=10) == [(2, 8)]
    assert await tracks.changes(after=0, limit=1) == [(1, 6)]
    assert await tracks.n_changed() == 2


async def test_all_changes_tell_also_of_what_is_not_described(
    tracks: Tracks, undescribed: Undescribed
) -> None:
    await submit(tracks, "queued")
    await indexed(tracks, "a", "b")
    await tracks.edit(1, {"title": "not indexed"}, now=5.0)
    assert await tracks.all_changes(after=0, limit=10) == [(2, 1), (3, 2)]
    await describe(undescribed, 2)
    await undescribed.mark_undescribable(3, DescriptionStatus.FAILED, AudioDamaged("cut"))
    assert await tracks.all_changes(after=0, limit=10) == [(3, 2), (2, 3)]
    await tracks.edit(3, {"title": "new"}, now=5.0)
    await tracks.mark_deleting(2, now=6.0)
    await tracks.forget(2)
    assert await tracks.all_changes(after=3, limit=10) == [(3, 4), (2, 5)]
    assert await tracks.changes(after=0, limit=10) == [(2, 5)]
    assert await tracks.n_changed() == 1


async def test_all_changes_tell_of_what_earlier_versions_have_indexed(
    client: Client, tracks: Tracks, undescribed: Undescribed, monkeypatch: pytest.MonkeyPatch
) -> None:
    await indexed(tracks, "a", "b", "c", "d")
    await describe(undescribed, 2)
    await submit(tracks, "queued")
    await client.delete("fp:{tracks}:all_changes")
    await tracks.edit(2, {"title": "described before"}, now=5.0)
    monkeypatch.setattr(catalogue, "MAX_EXAMINED", 2)  # more than one call
    assert await tracks.tell_of_all() == 3
    assert [track_id for track_id, _ in await tracks.all_changes(after=0, limit=10)] == [2, 1, 3, 4]
    assert await tracks.tell_of_all() == 0
    assert await tracks.n_changed() == 1


async def test_a_catalogue_keeps_its_identity(client: Client, tracks: Tracks) -> None:
    first = await tracks.identity()
    assert await tracks.identity() == first
    await client.flushall()
    assert await tracks.identity() != first


async def test_tracks_are_listed_by_what_they_were_found_to_sound_like(
    tracks: Tracks, undescribed: Undescribed
) -> None:
    await indexed(tracks, "slow", "quick", "unknown")
    await describe(undescribed, 1, tempo_bpm=70.0)
    await describe(undescribed, 2, tempo_bpm=140.0)

    async def listed(least: float | None, most: float | None) -> list[int]:
        page, _ = await tracks.page(filters=TrackFilter(ranges={"tempo_bpm": (least, most)}))
        return [track.track_id for track in page]

    assert await listed(None, 100.0) == [1]
    assert await listed(70.0, None) == [1, 2]
    assert await listed(0.0, 0.0) == []


async def test_many_workers_share_what_waits(tracks: Tracks, undescribed: Undescribed) -> None:
    await indexed(tracks, *"abcdefgh")
    claims = await asyncio.gather(*(undescribed.claim(PLACE, now=5.0) for _ in range(10)))
    assert sorted(track.track_id for track in claims if track) == list(range(1, 9))
