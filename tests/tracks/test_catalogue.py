import asyncio

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from fpserver.errors import AudioSilent, InvalidRequest, StoreUnavailable, TrackNotFound
from fpserver.store.connect import Client
from fpserver.terms import Metadata, Submission, TrackStatus
from fpserver.tracks import catalogue, codec
from fpserver.tracks.backlog import Backlog
from fpserver.tracks.calls import call
from fpserver.tracks.catalogue import TrackFilter, Tracks
from tests.tracks.offers import CONFIG, PLACE, sha256, submission, submit


async def counts(tracks: Tracks) -> dict[TrackStatus, int]:
    return {status: n for status, n in (await tracks.counts()).items() if n}


async def index(tracks: Tracks, *track_ids: int) -> None:
    for track_id in track_ids:
        assert await tracks.mark_indexed(track_id, n_landmarks=10, duration_s=2.5, now=5.0)


async def test_a_submission_becomes_a_queued_track_with_all_that_was_said_of_it(tracks: Tracks) -> None:
    metadata = Metadata(
        external_id="x-1", title="Größe", artist="A", album="B", isrc="DE1234567890", genre="Pop"
    )
    offer = Submission(source="file:/a b/ü.mp3", place=PLACE, content_sha256="ab" * 32, metadata=metadata)
    (submitted,) = await tracks.submit([offer], now=12.25)
    assert (submitted.status, submitted.duplicate) == (TrackStatus.QUEUED, False)
    track = (await tracks.get([submitted.track_id]))[submitted.track_id]
    assert track.metadata == metadata
    assert (track.source, track.place, track.content_sha256) == (offer.source, PLACE, "ab" * 32)
    assert (track.created_at, track.updated_at, track.attempts) == (12.25, 12.25, 0)
    assert (track.duration_s, track.n_landmarks, track.duplicate_of, track.error_code) == (None,) * 4


async def test_a_record_is_kept_in_the_compact_encoding(client: Client, tracks: Tracks) -> None:
    long = {
        name: name[0] * 1000 for name in ("title", "artist", "album", "external_id", "isrc", "genre", "tags")
    }
    await tracks.submit([submission("long", **long)], now=1.0)
    assert await client.execute_command("OBJECT", "ENCODING", "fp:{tracks}:track:1") == b"listpack"


async def test_ids_are_given_in_the_order_of_the_submissions(tracks: Tracks) -> None:
    assert await submit(tracks, *(f"s{i}" for i in range(250))) == list(range(1, 251))
    assert await counts(tracks) == {TrackStatus.QUEUED: 250}


async def test_a_file_name_that_is_not_utf8_survives(tracks: Tracks) -> None:
    source = "file:/music/" + b"caf\xe9.mp3".decode("utf-8", "surrogateescape")
    await tracks.submit([submission("x", source=source)], now=1.0)
    assert (await tracks.get([1]))[1].source == source


async def test_the_same_bytes_are_a_duplicate_of_the_track_that_lives(tracks: Tracks) -> None:
    await submit(tracks, "a")
    for status in (TrackStatus.QUEUED, TrackStatus.INDEXED):
        (again,) = await tracks.submit([submission("a", source="file:/other")], now=2.0)
        assert (again.track_id, again.status, again.duplicate) == (1, status, True)
        await index(tracks, 1)
    assert (await tracks.get([1]))[1].source == "file:/music/a.mp3"


async def test_the_same_bytes_twice_in_one_call_are_one_track(tracks: Tracks, backlog: Backlog) -> None:
    assert await submit(tracks, "a", "b", "a") == [1, 2, 1]
    assert await backlog.depth() == {PLACE: 2}


async def test_bytes_of_a_failed_track_queue_that_track_again_from_the_new_source(
    tracks: Tracks, backlog: Backlog
) -> None:
    await submit(tracks, "a")
    await tracks.mark_failed(1, AudioSilent("nothing to hear"), now=2.0)
    offer = submission("a", source="file:/new", place="there", title="new")
    (again,) = await tracks.submit([offer], now=3.0)
    assert (again.track_id, again.status, again.duplicate) == (1, TrackStatus.QUEUED, False)
    track = (await tracks.get([1]))[1]
    assert (track.source, track.place, track.metadata.title) == ("file:/new", "there", "new")
    assert (track.error_code, track.attempts, track.created_at) == (None, 0, 1.0)
    assert await backlog.depth() == {PLACE: 0, "there": 1}
    assert await counts(tracks) == {TrackStatus.QUEUED: 1}


async def test_bytes_of_a_track_that_is_being_deleted_are_a_new_track(tracks: Tracks) -> None:
    await submit(tracks, "a")
    await tracks.mark_deleting(1, now=2.0)
    assert await submit(tracks, "a") == [2]
    await tracks.forget(1)
    assert await tracks.known([sha256("a")]) == {sha256("a"): 2}


async def test_bytes_of_a_duplicate_are_known_as_the_track_it_repeats(tracks: Tracks) -> None:
    await submit(tracks, "a", "b")
    await index(tracks, 1)
    await tracks.mark_duplicate(2, 1, now=3.0)
    assert await tracks.known([sha256("b")]) == {sha256("b"): 1}
    (again,) = await tracks.submit([submission("b")], now=4.0)
    assert (again.track_id, again.status, again.duplicate) == (1, TrackStatus.INDEXED, True)


async def test_bytes_of_a_duplicate_whose_original_is_gone_are_queued_again(tracks: Tracks) -> None:
    await submit(tracks, "a", "b")
    await index(tracks, 1)
    await tracks.mark_duplicate(2, 1, now=3.0)
    await tracks.mark_deleting(1, now=4.0)
    await tracks.forget(1)
    assert await tracks.known([sha256("b")]) == {}
    (again,) = await tracks.submit([submission("b")], now=5.0)
    assert (again.track_id, again.status, again.duplicate) == (2, TrackStatus.QUEUED, False)
    assert (await tracks.get([2]))[2].duplicate_of is None


async def test_a_submit_that_is_sent_twice_is_answered_alike_and_queues_once(
    tracks: Tracks, backlog: Backlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda n: "same nonce")
    batch_id = await tracks.create_batch(now=1.0)
    first = await tracks.submit([submission("a"), submission("b")], now=1.0, batch_id=batch_id)
    assert await tracks.submit([submission("a"), submission("b")], now=1.0, batch_id=batch_id) == first
    assert await backlog.depth() == {PLACE: 2}
    assert (await tracks.batch(batch_id)).counts == {TrackStatus.QUEUED: 2}


async def test_only_living_tracks_are_known(tracks: Tracks) -> None:
    await submit(tracks, "queued", "indexed", "failed", "deleting")
    await index(tracks, 2)
    await tracks.mark_failed(3, AudioSilent("s"), now=2.0)
    await tracks.mark_deleting(4, now=2.0)
    asked = [sha256(name) for name in ("queued", "indexed", "failed", "deleting", "foreign")]
    assert await tracks.known(asked) == {asked[0]: 1, asked[1]: 2}
    assert await tracks.known([]) == {}


async def test_get_leaves_out_what_is_not_there(tracks: Tracks) -> None:
    await submit(tracks, "a")
    assert list(await tracks.get([7, 1])) == [1]
    assert await tracks.get([]) == {}


async def test_missing_are_ids_of_no_tracks_and_of_those_that_are_being_deleted(
    tracks: Tracks, monkeypatch: pytest.MonkeyPatch
) -> None:
    await submit(tracks, "a", "b", "c")
    await tracks.mark_failed(2, AudioSilent("quiet"), now=2.0)
    await tracks.mark_deleting(3, now=2.0)
    assert await tracks.missing([]) == set()
    assert await tracks.missing([1, 2, 1]) == set()
    monkeypatch.setattr(catalogue, "MAX_MISSING", 2)  # more than one call
    none = {3, 4, 0, -1, 2**28, 2**32 - 1, 2**32, 2**70}
    assert await tracks.missing([1, *none, 2]) == none


async def test_an_ended_track_does_not_end_otherwise(tracks: Tracks, backlog: Backlog) -> None:
    await submit(tracks, "a", "b", "c")
    await index(tracks, 1)
    assert not await tracks.mark_failed(1, AudioSilent("late"), now=3.0)
    assert not await tracks.mark_duplicate(1, 2, now=3.0)
    await index(tracks, 1)  # said again
    assert await tracks.mark_failed(2, AudioSilent("silent"), now=3.0)
    assert not await tracks.mark_indexed(2, n_landmarks=1, duration_s=1.0, now=4.0)
    assert not await tracks.mark_indexed(99, n_landmarks=1, duration_s=1.0, now=4.0)
    track = (await tracks.get([2]))[2]
    assert (track.error_code, track.error_message, track.n_landmarks) == ("audio_silent", "silent", None)
    assert await counts(tracks) == {
        TrackStatus.INDEXED: 1,
        TrackStatus.FAILED: 1,
        TrackStatus.QUEUED: 1,
    }
    assert await backlog.depth() == {PLACE: 1}


async def test_the_first_track_to_claim_an_audio_holds_it(tracks: Tracks) -> None:
    await submit(tracks, "a", "b")
    assert await tracks.claim_audio(1, "ff") == 1
    assert await tracks.claim_audio(1, "ff") == 1
    assert await tracks.claim_audio(2, "ff") == 1
    await tracks.mark_failed(1, AudioSilent("s"), now=2.0)
    assert await tracks.claim_audio(2, "ff") == 2
    with pytest.raises(TrackNotFound):
        await tracks.claim_audio(3, "ff")


async def test_two_tracks_that_claim_an_audio_at_once_agree_on_its_holder(tracks: Tracks) -> None:
    ids = await submit(tracks, *"abcdefgh")
    holders = await asyncio.gather(*(tracks.claim_audio(track_id, "ff") for track_id in ids))
    assert len(set(holders)) == 1


async def test_a_delete_leaves_nothing_but_the_next_id(
    client: Client, tracks: Tracks, backlog: Backlog
) -> None:
    await submit(tracks, "a")
    await tracks.claim_audio(1, "ff")
    claim = await backlog.claim(PLACE, "w", block_s=0)
    assert claim is not None
    assert (await tracks.mark_deleting(1, now=2.0)).status is TrackStatus.DELETING
    assert (await tracks.mark_deleting(1, now=3.0)).updated_at == 2.0
    assert await tracks.deleting() == [1]
    assert not await tracks.mark_indexed(1, n_landmarks=1, duration_s=1.0, now=4.0)
    await tracks.forget(1)
    await tracks.forget(1)
    left = sorted(await client.keys("*"))
    assert [key for key in left if b":request:" not in key] == [
        b"fp:{tracks}:backlog:here",
        b"fp:{tracks}:next_id",
        b"fp:{tracks}:places",
    ]
    assert await backlog.depth() == {PLACE: 0}
    with pytest.raises(TrackNotFound, match="1"):
        await tracks.mark_deleting(1, now=5.0)


async def test_only_a_track_that_is_being_deleted_can_be_forgotten(tracks: Tracks) -> None:
    await submit(tracks, "a")
    await tracks.forget(1)
    assert list(await tracks.get([1])) == [1]


async def test_an_edit_changes_what_it_names_and_what_is_found(tracks: Tracks) -> None:
    await tracks.submit([submission("old", artist="A", genre="Pop")], now=1.0)
    track = await tracks.edit(1, {"title": "Neu", "artist": None}, now=9.0)
    assert track.metadata == Metadata(title="Neu", genre="Pop")
    assert (track.updated_at, track.status) == (9.0, TrackStatus.QUEUED)
    assert await found(tracks, q="old") == []
    assert await found(tracks, q="nEU", genre="pop") == [1]
    with pytest.raises(TrackNotFound):
        await tracks.edit(2, {"title": "x"}, now=9.0)
    with pytest.raises(InvalidRequest, match="status"):
        await tracks.edit(1, {"status": "indexed"}, now=9.0)


async def test_tracks_are_found_by_each_of_their_tags(tracks: Tracks) -> None:
    await tracks.submit(
        [
            submission("one", tags="Calm, rainy day,"),
            submission("two", tags=",calm ,, CALM"),
            submission("three", tags="very calm\x1frain\uff0c100%"),
            submission("four"),
        ],
        now=1.0,
    )
    assert (await tracks.get([1]))[1].metadata.tags == "Calm, rainy day,"
    assert await found(tracks, tag=" CALM") == [1, 2]
    assert await found(tracks, tag="rainy day") == [1]
    assert await found(tracks, tag="100%") == await found(tracks, tag="very calm rain") == [3]
    for tag in ("rainy", "calm, rainy day", "calm,rainy day", ",", "", " ", "%"):
        assert await found(tracks, tag=tag) == []
    assert await found(tracks, q="rainy") == []  # tags are not searched
    await tracks.edit(1, {"tags": None}, now=9.0)
    await tracks.edit(4, {"tags": "calm"}, now=9.0)
    assert await found(tracks, tag="calm") == [2, 4]
    assert await found(tracks, tag="calm", q="two") == [2]


async def test_records_of_before_there_were_tags_are_found_and_edited(client: Client, tracks: Tracks) -> None:
    await tracks.submit([submission("old", genre="Pop")], now=1.0)
    await client.hset("fp:{tracks}:track:1", "search", "\x1fold\x1f\x1f\x1f\x1fpop")
    assert await found(tracks, tag="calm") == []
    assert await found(tracks, q="old", genre="pop") == [1]
    await tracks.edit(1, {"title": "new"}, now=2.0)
    assert await found(tracks, q="new", genre="pop") == [1]
    await tracks.edit(1, {"tags": "calm"}, now=2.0)
    assert await found(tracks, tag="calm", genre="pop", q="new") == [1]


async def found(tracks: Tracks, *, limit: int = 50, **filters: object) -> list[int]:
    page, _ = await tracks.page(limit=limit, filters=TrackFilter(**filters))  # type: ignore[arg-type]
    return [track.track_id for track in page]


async def test_a_page_holds_what_agrees_with_all_filters(tracks: Tracks) -> None:
    await tracks.submit(
        [
            submission("one", title="Straße", artist="Ünal", genre="Pop", isrc="DEA1"),
            submission("two", title="Road", artist="Straßer", genre="Popcorn", external_id="ext-7"),
            submission("three", title="50% off", album="The ROAD", genre="pop"),
        ],
        now=1.0,
    )
    await index(tracks, 2)
    assert await found(tracks) == [1, 2, 3]
    assert await found(tracks, q="STRASSE") == [1, 2]
    assert await found(tracks, q="road") == [2, 3]
    assert await found(tracks, q="popcorn") == []  # a genre is not searched
    assert await found(tracks, q="0% o") == [3]
    assert await found(tracks, q="roadstraßer") == []  # no match runs over from one field to the next
    assert await found(tracks, genre="POP") == [1, 3]
    assert await found(tracks, artist="ünal") == [1]
    assert await found(tracks, artist="una") == []
    assert await found(tracks, external_id="EXT-7") == [2]
    assert await found(tracks, isrc="dea1") == [1]
    assert await found(tracks, status=TrackStatus.INDEXED) == [2]
    assert await found(tracks, status=TrackStatus.QUEUED, q="road") == [3]
    assert await found(tracks, batch_id="none") == []


async def test_pages_lead_through_the_catalogue_by_id(tracks: Tracks) -> None:
    await submit(tracks, *(f"s{i}" for i in range(25)))
    await index(tracks, *range(3, 20, 4))
    await tracks.mark_deleting(10, now=2.0)
    await tracks.forget(10)
    seen: list[int] = []
    after: int | None = 0
    while after is not None:
        page, after = await tracks.page(after=after, limit=8, filters=TrackFilter())
        assert len(page) == 8
        seen += [track.track_id for track in page]
    assert seen == [i for i in range(1, 26) if i != 10]


async def test_a_page_examines_a_bounded_number_of_tracks(
    tracks: Tracks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "MAX_EXAMINED", 10)
    monkeypatch.setattr(catalogue, "MAX_PAGE_CALLS", 2)
    await submit(tracks, *(f"s{i}" for i in range(45)))
    steps = []
    after: int | None = 0
    while after is not None:
        page, after = await tracks.page(after=after, limit=5, filters=TrackFilter(q="s4"))
        steps.append(([track.metadata.title for track in page], after))
    assert steps == [(["s4"], 20), ([], 40), (["s40", "s41", "s42", "s43", "s44"], None)]


async def test_functions_that_were_lost_are_loaded_again(client: Client, tracks: Tracks) -> None:
    await client.execute_command("FUNCTION", "FLUSH")
    assert await submit(tracks, "a") == [1]


async def test_a_store_that_refuses_is_named_and_a_fault_of_ours_is_not_hidden(
    client: Client, tracks: Tracks
) -> None:
    await client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            await submit(tracks, "a")
    finally:
        await client.config_set("maxmemory", 0)
    with pytest.raises(ResponseError, match="must be strings"):
        await call(client, "submit", "1.0", "", "nonce", codec.pack([{"title": "no content"}]))


async def test_a_store_that_is_gone_is_named() -> None:
    async with redis.asyncio.Redis(
        unix_socket_path="/nonexistent/socket", retry=Retry(NoBackoff(), 0)
    ) as gone:
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await Tracks(gone, CONFIG).counts()
