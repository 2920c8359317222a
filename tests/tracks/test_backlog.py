import asyncio
import random
import time

import pytest

from fpserver.errors import AudioSilent
from fpserver.store.connect import Client
from fpserver.terms import PENDING, Claim, TrackStatus
from fpserver.tracks.backlog import Backlog
from fpserver.tracks.catalogue import TrackFilter, Tracks
from tests.tracks.offers import IDLE_S, PLACE, submission, submit


async def claimed(backlog: Backlog, consumer: str = "w") -> Claim:
    claim = await backlog.claim(PLACE, consumer, block_s=0)
    assert claim is not None
    return claim


async def taken_over(backlog: Backlog, consumer: str = "x") -> Claim:
    await asyncio.sleep(IDLE_S)
    claim = await backlog.take_over(PLACE, consumer, now=2.0)
    assert claim is not None
    return claim


async def index(tracks: Tracks, claim: Claim) -> bool:
    return await tracks.mark_indexed(claim.track.track_id, n_landmarks=1, duration_s=1.0, now=3.0)


async def test_tracks_are_claimed_in_order_once_each_and_end(tracks: Tracks, backlog: Backlog) -> None:
    await submit(tracks, *"abc")
    claims = [await claimed(backlog, consumer) for consumer in ("w1", "w2", "w1")]
    assert [claim.track.track_id for claim in claims] == [1, 2, 3]
    assert all((c.track.status, c.track.attempts) == (TrackStatus.INDEXING, 1) for c in claims)
    assert await backlog.claim(PLACE, "w1", block_s=0) is None
    assert await backlog.depth() == {PLACE: 3}
    for claim in claims:
        assert await index(tracks, claim)
        await backlog.finish(PLACE, claim.ticket)
    assert await backlog.depth() == {PLACE: 0}
    assert (await tracks.counts())[TrackStatus.INDEXED] == 3


async def test_a_place_sees_its_own_tracks_only(tracks: Tracks, backlog: Backlog) -> None:
    await tracks.submit([submission("a", place="p{1}"), submission("b", place="q")], now=1.0)
    assert await backlog.claim("nowhere", "w", block_s=0) is None
    claim = await backlog.claim("q", "w", block_s=0)
    assert claim is not None and claim.track.track_id == 2
    assert await backlog.depth() == {"p{1}": 1, "q": 1}


async def test_workers_are_counted_by_place_for_as_long_as_they_are_heard_of(
    tracks: Tracks, backlog: Backlog
) -> None:
    assert await backlog.workers() == {}
    await submit(tracks, "a")
    assert await backlog.workers() == {PLACE: 0}
    claim = await claimed(backlog, "busy")
    await backlog.claim(PLACE, "idle", block_s=0)
    assert await backlog.workers() == {PLACE: 2}
    for _ in range(4):
        await asyncio.sleep(IDLE_S / 3)
        await backlog.renew(PLACE, "busy", [claim.ticket])
    assert await backlog.workers() == {PLACE: 1}


async def test_a_waiting_claim_wakes_when_a_track_comes(tracks: Tracks, backlog: Backlog) -> None:
    for name in ("the first of this place", "a later one"):
        waiting = asyncio.create_task(backlog.claim(PLACE, "w", block_s=5))
        await asyncio.sleep(0.1)
        start = time.monotonic()
        (track_id,) = await submit(tracks, name)
        claim = await waiting
        assert claim is not None and claim.track.track_id == track_id
        assert time.monotonic() - start < 0.5


async def test_a_claim_that_waits_in_vain_ends_in_time(tracks: Tracks, backlog: Backlog) -> None:
    await submit(tracks, "a")
    await claimed(backlog)
    start = time.monotonic()
    assert await backlog.claim(PLACE, "w", block_s=1.2) is None
    assert 1.1 < time.monotonic() - start < 2.0


async def test_a_hundred_claims_at_once_take_each_track_once(tracks: Tracks, backlog: Backlog) -> None:
    await submit(tracks, *(f"s{i}" for i in range(100)))
    claims = await asyncio.gather(*(claimed(backlog, f"w{i % 7}") for i in range(100)))
    assert sorted(claim.track.track_id for claim in claims) == list(range(1, 101))


async def test_the_claim_of_a_dead_worker_is_taken_over(tracks: Tracks, backlog: Backlog) -> None:
    await submit(tracks, "a")
    dead = await claimed(backlog)
    assert await backlog.take_over(PLACE, "x", now=2.0) is None  # not yet idle
    claim = await taken_over(backlog)
    assert (claim.ticket, claim.track.track_id, claim.track.attempts) == (dead.ticket, 1, 2)
    assert await backlog.take_over(PLACE, "y", now=2.0) is None
    assert await index(tracks, claim)
    assert await backlog.depth() == {PLACE: 0}


async def test_a_renewed_claim_is_left_alone_among_many(tracks: Tracks, backlog: Backlog) -> None:
    await submit(tracks, *(f"s{i}" for i in range(40)))
    alive = [await claimed(backlog, "alive") for _ in range(39)]
    dead = await claimed(backlog, "dead")
    await asyncio.sleep(IDLE_S)
    tickets = [claim.ticket for claim in alive]
    assert await backlog.renew(PLACE, "alive", tickets) == set(tickets)
    claim = await backlog.take_over(PLACE, "x", now=2.0)
    assert claim is not None and claim.ticket == dead.ticket
    assert await backlog.take_over(PLACE, "x", now=2.0) is None


async def test_a_claim_that_was_taken_over_cannot_be_renewed(tracks: Tracks, backlog: Backlog) -> None:
    await submit(tracks, "a")
    slow = await claimed(backlog, "slow")
    await taken_over(backlog, "fast")
    assert await backlog.renew(PLACE, "slow", [slow.ticket]) == set()
    assert await backlog.renew(PLACE, "fast", [slow.ticket]) == {slow.ticket}


async def test_a_slow_worker_and_the_one_that_took_over_index_the_track_once(
    tracks: Tracks, backlog: Backlog
) -> None:
    await submit(tracks, "a")
    slow = await claimed(backlog, "slow")
    fast = await taken_over(backlog, "fast")
    assert await index(tracks, slow)
    assert await index(tracks, fast)  # both have written the same
    for claim in (slow, fast):
        await backlog.finish(PLACE, claim.ticket)
    assert (await tracks.counts())[TrackStatus.INDEXED] == 1
    assert await backlog.depth() == {PLACE: 0}


async def test_a_worker_that_dies_after_the_commit_leaves_nothing_to_do(
    tracks: Tracks, backlog: Backlog
) -> None:
    await submit(tracks, "a")
    assert await index(tracks, await claimed(backlog))  # and no finish
    await asyncio.sleep(IDLE_S)
    assert await backlog.take_over(PLACE, "x", now=2.0) is None
    assert await backlog.depth() == {PLACE: 0}


async def test_a_track_whose_workers_die_is_failed_after_so_many_deaths(
    tracks: Tracks, backlog: Backlog
) -> None:
    batch_id = await tracks.create_batch(now=1.0)
    await submit(tracks, "deadly", batch_id=batch_id)
    await claimed(backlog)
    await taken_over(backlog)
    await taken_over(backlog)
    await asyncio.sleep(IDLE_S)
    assert await backlog.take_over(PLACE, "x", now=9.0) is None
    track = (await tracks.get([1]))[1]
    assert (track.status, track.error_code) == (TrackStatus.FAILED, "attempts_exhausted")
    assert track.error_message is not None and "died 3 times" in track.error_message
    assert await backlog.depth() == {PLACE: 0}
    (error,) = (await tracks.batch(batch_id)).errors
    assert (error["item"], error["track_id"]) == ("/music/deadly.mp3", 1)


async def test_a_deadly_track_does_not_keep_the_next_one_from_being_taken_over(
    tracks: Tracks, backlog: Backlog
) -> None:
    await submit(tracks, "deadly", "good")
    await claimed(backlog)
    await taken_over(backlog)
    await taken_over(backlog)
    await claimed(backlog, "other")
    claim = await taken_over(backlog)
    assert claim.track.track_id == 2
    assert (await tracks.counts())[TrackStatus.FAILED] == 1


async def test_a_track_that_is_put_back_comes_again_and_no_death_is_counted(
    tracks: Tracks, backlog: Backlog
) -> None:
    await submit(tracks, "a")
    tickets = set()
    for attempt in range(1, 8):
        claim = await claimed(backlog)
        assert claim.track.attempts == attempt
        tickets.add(claim.ticket)
        assert await backlog.retry(PLACE, claim, now=2.0)
        assert not await backlog.retry(PLACE, claim, now=2.0)  # sent twice
        assert (await tracks.get([1]))[1].status is TrackStatus.QUEUED
    assert len(tickets) == 7
    assert await backlog.depth() == {PLACE: 1}


async def test_a_track_that_was_deleted_or_cancelled_is_not_claimed(tracks: Tracks, backlog: Backlog) -> None:
    batch_id = await tracks.create_batch(now=1.0)
    await submit(tracks, "deleted")
    await submit(tracks, "cancelled", batch_id=batch_id)
    await tracks.mark_deleting(1, now=2.0)
    await tracks.cancel_batch(batch_id, now=2.0)
    assert await backlog.claim(PLACE, "w", block_s=0) is None
    assert await backlog.depth() == {PLACE: 0}


async def test_a_cancelled_track_that_is_offered_again_is_claimed_once(
    tracks: Tracks, backlog: Backlog
) -> None:
    batch_id = await tracks.create_batch(now=1.0)
    await submit(tracks, "a", batch_id=batch_id)
    old = await claimed(backlog)
    await tracks.cancel_batch(batch_id, now=2.0)
    await submit(tracks, "a")
    new = await claimed(backlog)
    assert new.ticket != old.ticket
    assert not await backlog.retry(PLACE, old, now=3.0)
    await backlog.finish(PLACE, old.ticket)
    assert await backlog.renew(PLACE, "w", [old.ticket, new.ticket]) == {new.ticket}
    assert await backlog.depth() == {PLACE: 1}


async def test_an_entry_that_is_no_track_s_ticket_is_removed(
    client: Client, tracks: Tracks, backlog: Backlog
) -> None:
    await submit(tracks, "a")
    for stray in ("1", "77"):
        await client.xadd("fp:{tracks}:backlog:here", {"track": stray})
    assert (await claimed(backlog)).track.track_id == 1
    assert await backlog.claim(PLACE, "w", block_s=0) is None
    assert await backlog.depth() == {PLACE: 1}


async def test_finish_takes_no_ticket_from_a_track_that_has_not_ended(
    tracks: Tracks, backlog: Backlog
) -> None:
    await submit(tracks, "a")
    claim = await claimed(backlog)
    await backlog.finish(PLACE, claim.ticket)
    assert (await taken_over(backlog)).ticket == claim.ticket


async def test_work_is_never_trimmed_away(client: Client, tracks: Tracks, backlog: Backlog) -> None:
    for first in range(0, 3000, 1000):
        await submit(tracks, *(f"s{i}" for i in range(first, first + 1000)))
    assert await backlog.depth() == {PLACE: 3000}


async def test_consumers_that_hold_nothing_are_forgotten_after_long(
    client: Client, tracks: Tracks, backlog: Backlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fpserver.tracks.backlog.CONSUMER_KEPT_S", 0.01)
    await submit(tracks, "a", "b")
    await index(tracks, await claimed(backlog, "gone"))
    await claimed(backlog, "holds one")
    await asyncio.sleep(0.03)
    await backlog.take_over(PLACE, "x", now=2.0)
    consumers = await client.xinfo_consumers("fp:{tracks}:backlog:here", "workers")
    assert {consumer["name"] for consumer in consumers} == {b"holds one", b"x"}


async def test_counts_agree_with_the_records_at_every_step_of_a_random_walk(
    client: Client, tracks: Tracks, backlog: Backlog
) -> None:
    chance = random.Random(5)
    batches = [await tracks.create_batch(now=1.0) for _ in range(2)]
    claims: list[Claim] = []
    for step in range(300):
        now = float(step)
        one = chance.randint(1, 30)
        match chance.randrange(9):
            case 0 | 1 | 2:
                await submit(tracks, f"s{one}", batch_id=chance.choice([None, *batches]))
            case 3 | 4:
                claim = await backlog.claim(PLACE, "w", block_s=0)
                claims += [claim] if claim else []
            case 5:
                await tracks.mark_indexed(one, n_landmarks=1, duration_s=1.0, now=now)
            case 6:
                await tracks.mark_failed(one, AudioSilent("s"), now=now)
            case 7 if claims:
                await backlog.retry(PLACE, chance.choice(claims), now=now)
            case 8 if one in await tracks.get([one]):
                await tracks.mark_deleting(one, now=now)
                if step % 2:
                    await tracks.forget(one)
        records, _ = await tracks.page(limit=1000, filters=TrackFilter())
        pending = [track for track in records if track.status in PENDING]
        assert await tracks.counts() == {
            status: sum(track.status is status for track in records) for status in TrackStatus
        }
        assert await backlog.depth() in ({}, {PLACE: len(pending)})
        for batch_id in batches:
            batch = await tracks.batch(batch_id)
            assert batch.n_pending == sum(track.batch_id == batch_id for track in pending)
            assert batch.n_items == sum(batch.counts.values())
    assert len(records) > 10
