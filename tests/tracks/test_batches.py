import pytest

from fpserver.errors import AudioSilent, BatchNotFound, Conflict, InvalidRequest
from fpserver.store.connect import Client
from fpserver.terms import TrackStatus
from fpserver.tracks import catalogue
from fpserver.tracks.backlog import Backlog
from fpserver.tracks.catalogue import TrackFilter, Tracks
from tests.tracks.offers import CONFIG, PLACE, submission, submit

WEEK_S = 7 * 24 * 3600


async def test_a_batch_counts_its_tracks_as_they_walk(tracks: Tracks, backlog: Backlog) -> None:
    await submit(tracks, "old")
    batch_id = await tracks.create_batch(now=1.0)
    assert (await tracks.batch(batch_id)).counts == {}
    await submit(tracks, "a", "b", "c", "d", "old", batch_id=batch_id)
    assert (await tracks.batch(batch_id)).counts == {TrackStatus.QUEUED: 4, TrackStatus.DUPLICATE: 1}
    assert await backlog.claim(PLACE, "w", block_s=0)  # the old one
    claim = await backlog.claim(PLACE, "w", block_s=0)
    assert claim is not None and claim.track.batch_id == batch_id
    assert (await tracks.batch(batch_id)).counts[TrackStatus.INDEXING] == 1
    await tracks.mark_indexed(2, n_landmarks=5, duration_s=2.5, now=6.0)
    await tracks.mark_indexed(3, n_landmarks=5, duration_s=1.25, now=7.0)
    await tracks.mark_failed(4, AudioSilent("no sound"), now=8.0)
    await tracks.add_batch_error(batch_id, "item 6", InvalidRequest("no such file"), now=9.0)
    batch = await tracks.batch(batch_id)
    assert batch.counts == {
        TrackStatus.QUEUED: 1,
        TrackStatus.INDEXED: 2,
        TrackStatus.FAILED: 2,
        TrackStatus.DUPLICATE: 1,
    }
    assert sum(batch.counts.values()) == batch.n_items == 6
    assert (batch.n_pending, batch.audio_s, batch.created_at, batch.updated_at) == (1, 3.75, 1.0, 9.0)
    assert batch.errors == [
        {"item": "/music/c.mp3", "code": "audio_silent", "message": "no sound", "track_id": 4},
        {"item": "item 6", "code": "invalid_request", "message": "no such file", "track_id": None},
    ]


async def test_a_batch_keeps_as_many_errors_as_allowed_and_counts_all(tracks: Tracks) -> None:
    batch_id = await tracks.create_batch(now=1.0)
    for i in range(CONFIG.max_batch_errors + 3):
        await tracks.add_batch_error(batch_id, str(i), InvalidRequest("x"), now=2.0)
    batch = await tracks.batch(batch_id)
    assert [error["item"] for error in batch.errors] == ["0", "1", "2", "3", "4"]
    assert batch.counts[TrackStatus.FAILED] == CONFIG.max_batch_errors + 3


async def test_a_failed_track_that_is_offered_again_belongs_to_the_new_batch(tracks: Tracks) -> None:
    first, second = await tracks.create_batch(now=1.0), await tracks.create_batch(now=1.0)
    await submit(tracks, "a", batch_id=first)
    await tracks.mark_failed(1, AudioSilent("s"), now=2.0)
    await submit(tracks, "a", batch_id=second)
    await tracks.mark_indexed(1, n_landmarks=1, duration_s=1.0, now=3.0)
    assert (await tracks.batch(first)).counts == {TrackStatus.FAILED: 1}
    assert (await tracks.batch(second)).counts == {TrackStatus.INDEXED: 1}
    assert (await tracks.page(filters=TrackFilter(batch_id=first)))[0] == []
    assert len((await tracks.page(filters=TrackFilter(batch_id=second)))[0]) == 1


async def test_a_page_of_a_batch_holds_its_tracks_by_status(tracks: Tracks) -> None:
    batch_id = await tracks.create_batch(now=1.0)
    await submit(tracks, "other")
    await submit(tracks, *"abcd", batch_id=batch_id)
    await tracks.mark_indexed(4, n_landmarks=1, duration_s=1.0, now=3.0)
    page, after = await tracks.page(
        limit=2, filters=TrackFilter(batch_id=batch_id, status=TrackStatus.QUEUED)
    )
    assert ([track.track_id for track in page], after) == ([2, 3], 3)


async def test_cancel_ends_what_has_not_ended_and_empties_the_backlog(
    tracks: Tracks, backlog: Backlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "MAX_CANCELLED", 4)
    batch_id = await tracks.create_batch(now=1.0)
    await submit(tracks, "other")
    await submit(tracks, *"abcdefghij", batch_id=batch_id)
    await tracks.mark_indexed(3, n_landmarks=1, duration_s=1.0, now=3.0)
    assert await tracks.cancel_batch(batch_id, now=4.0) == 9
    assert await tracks.cancel_batch(batch_id, now=5.0) == 0
    batch = await tracks.batch(batch_id)
    assert batch.cancelled
    assert batch.counts == {TrackStatus.INDEXED: 1, TrackStatus.CANCELLED: 9}
    assert await backlog.depth() == {PLACE: 1}
    with pytest.raises(Conflict, match="cancelled"):
        await submit(tracks, "k", batch_id=batch_id)


async def test_a_cancel_that_was_broken_off_still_keeps_workers_away(
    client: Client, tracks: Tracks, backlog: Backlog
) -> None:
    batch_id = await tracks.create_batch(now=1.0)
    await submit(tracks, *"abc", batch_id=batch_id)
    await client.hset(
        f"fp:{{tracks}}:batch:{batch_id}", "cancelled", "1"
    )  # its process died right after this
    assert await backlog.claim(PLACE, "w", block_s=0) is None
    assert (await tracks.batch(batch_id)).counts == {TrackStatus.CANCELLED: 3}


async def test_a_worker_learns_at_the_end_that_its_track_was_cancelled(
    tracks: Tracks, backlog: Backlog
) -> None:
    batch_id = await tracks.create_batch(now=1.0)
    await submit(tracks, "a", batch_id=batch_id)
    claim = await backlog.claim(PLACE, "w", block_s=0)
    assert claim is not None
    assert await tracks.cancel_batch(batch_id, now=2.0) == 1
    assert await backlog.renew(PLACE, "w", [claim.ticket]) == set()
    assert not await tracks.mark_indexed(1, n_landmarks=1, duration_s=1.0, now=3.0)
    await backlog.finish(PLACE, claim.ticket)
    (again,) = await tracks.submit([submission("a")], now=4.0)
    assert (again.track_id, again.duplicate) == (1, False)


async def test_a_batch_expires_a_week_after_its_last_change(client: Client, tracks: Tracks) -> None:
    batch_id = await tracks.create_batch(now=1.0)
    await submit(tracks, "a", "b", batch_id=batch_id)
    await tracks.mark_failed(1, AudioSilent("s"), now=2.0)
    keys = await client.keys(f"fp:{{tracks}}:batch:{batch_id}*")
    assert len(keys) == 3
    for key in keys:
        assert WEEK_S - 10 < await client.ttl(key) <= WEEK_S
    await client.delete(*keys)
    with pytest.raises(BatchNotFound, match=batch_id):
        await tracks.batch(batch_id)
    await tracks.mark_failed(2, AudioSilent("s"), now=3.0)  # its tracks walk on, and revive nothing
    assert await client.keys(f"fp:{{tracks}}:batch:{batch_id}*") == []


async def test_an_unknown_batch_is_named(tracks: Tracks) -> None:
    for ask in (
        tracks.batch("nope"),
        tracks.cancel_batch("nope", now=1.0),
        tracks.add_batch_error("nope", "item", InvalidRequest("x"), now=1.0),
        tracks.submit([submission("a")], now=1.0, batch_id="nope"),
    ):
        with pytest.raises(BatchNotFound, match="nope"):
            await ask
    assert sum((await tracks.counts()).values()) == 0
