"""The catalogue file's walk, with a real decoder, pool and store."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from fpserver.audio.encode import encode
from fpserver.config import RedisConfig
from fpserver.errors import StoreUnavailable, TrackNotFound
from fpserver.fingerprint import wire
from fpserver.fingerprint.constellation import frames_per_s
from fpserver.ingest import delete_track, index_track, place_of, resume_deletes, spool_dir, sweep_spool
from fpserver.keeping import Keeper
from fpserver.services import Services
from fpserver.store.connect import Client
from fpserver.terms import Constellation, Hearing, TrackStatus
from tests.opened import opened, song_file, submit_files
from tests.synth import RATE_HZ, silence, song


@pytest.fixture
async def services(client: Client, store_config: RedisConfig) -> AsyncIterator[Services]:
    async with opened(store_config) as services:
        yield services


async def index(services: Services, path: Path, *, scheme: str = "file") -> tuple[int, TrackStatus]:
    (submitted,) = await submit_files(services, [path], scheme=scheme)
    claim = await services.backlog.claim(place_of(services.config), "test", block_s=1.0)
    assert claim is not None and claim.track.track_id == submitted.track_id
    status = await index_track(services, claim.track, keeper=Keeper(services))
    await services.backlog.finish(claim.track.place, claim.ticket)
    return submitted.track_id, status


async def test_a_file_becomes_an_indexed_track(services: Services, tmp_path: Path) -> None:
    track_id, status = await index(services, song_file(tmp_path, 1))
    assert status is TrackStatus.INDEXED
    track = (await services.tracks.get([track_id]))[track_id]
    assert track.status is TrackStatus.INDEXED
    assert track.duration_s == pytest.approx(12.0, abs=0.05)
    assert track.n_landmarks == (await services.index.stats()).n_postings > 50


async def test_indexing_a_track_again_changes_nothing(services: Services, tmp_path: Path) -> None:
    track_id, _ = await index(services, song_file(tmp_path, 1))
    before = await services.index.stats()
    track = (await services.tracks.get([track_id]))[track_id]
    assert await index_track(services, track, keeper=Keeper(services)) is TrackStatus.INDEXED
    assert (await services.index.stats()).n_postings == before.n_postings


async def test_the_same_sound_in_another_container_is_a_duplicate(services: Services, tmp_path: Path) -> None:
    first, _ = await index(services, song_file(tmp_path, 1, kind="wav"))
    n_postings = (await services.index.stats()).n_postings
    second, status = await index(services, song_file(tmp_path, 1, kind="flac"))
    assert status is TrackStatus.DUPLICATE
    assert (await services.tracks.get([second]))[second].duplicate_of == first
    assert (await services.index.stats()).n_postings == n_postings


async def test_a_poorer_encoding_of_a_track_is_a_duplicate(services: Services, tmp_path: Path) -> None:
    wav, mp3 = tmp_path / "a.wav", tmp_path / "b.mp3"
    wav.write_bytes(encode(song(1, 30.0), RATE_HZ, container="wav"))
    mp3.write_bytes(encode(song(1, 30.0), RATE_HZ, container="mp3", bitrate=96_000))
    first, _ = await index(services, wav)
    second, status = await index(services, mp3)
    assert status is TrackStatus.DUPLICATE
    assert (await services.tracks.get([second]))[second].duplicate_of == first


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "audio_empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(500), "audio_unsupported"),
        (encode(silence(5.0), RATE_HZ, container="wav"), "audio_silent"),
        (encode(song(1, 0.4), RATE_HZ, container="wav"), "clip_too_short"),
    ],
)
async def test_what_is_wrong_with_a_file_ends_its_track_with_the_reason(
    services: Services, tmp_path: Path, content: bytes, code: str
) -> None:
    path = tmp_path / "wrong.mp3"
    path.write_bytes(content)
    track_id, status = await index(services, path)
    assert status is TrackStatus.FAILED
    track = (await services.tracks.get([track_id]))[track_id]
    assert (track.error_code, bool(track.error_message)) == (code, True)
    assert (await services.index.stats()).n_postings == 0


async def test_peaks_too_far_apart_to_pair_are_nothing_to_recognise(
    services: Services, tmp_path: Path
) -> None:
    config = services.config.fingerprint
    lone = Constellation(
        frame=np.array([50, 500, 900], np.int32),
        bin=np.array([100, 200, 300], np.int32),
        level=np.full(3, 80, np.uint8),
        n_frames=1000,
    )
    duration_s = 1000 / frames_per_s(config)
    hearing = Hearing(constellation=lone, duration_s=duration_s, truncated=False, timings_s={})
    path = tmp_path / "lone.fingerprint"
    path.write_bytes(wire.pack(hearing, config))
    track_id, status = await index(services, path)
    assert status is TrackStatus.FAILED
    track = (await services.tracks.get([track_id]))[track_id]
    assert (track.error_code, track.attempts) == ("audio_silent", 1)
    assert track.error_message is not None and "3 peaks" in track.error_message


async def test_a_file_that_is_gone_fails_as_missing(services: Services, tmp_path: Path) -> None:
    path = song_file(tmp_path, 1)
    (submitted,) = await submit_files(services, [path])
    path.unlink()
    track = (await services.tracks.get([submitted.track_id]))[submitted.track_id]
    assert await index_track(services, track, keeper=Keeper(services)) is TrackStatus.FAILED
    track = (await services.tracks.get([submitted.track_id]))[submitted.track_id]
    assert track.error_code == "source_missing"


async def test_a_spooled_upload_is_deleted_when_its_track_has_ended(
    services: Services, tmp_path: Path
) -> None:
    good, bad = song_file(tmp_path, 1), tmp_path / "bad.mp3"
    bad.write_bytes(b"no sound")
    await index(services, good, scheme="spool")
    await index(services, bad, scheme="spool")
    assert not good.exists()
    assert not bad.exists()


async def test_an_upload_of_known_bytes_is_deleted_at_once(services: Services, tmp_path: Path) -> None:
    track_id, _ = await index(services, song_file(tmp_path, 1))
    copy = tmp_path / "copy.wav"
    copy.write_bytes((tmp_path / "song-1.wav").read_bytes())
    (again,) = await submit_files(services, [copy], scheme="spool")
    assert (again.track_id, again.duplicate) == (track_id, True)
    assert not copy.exists()


async def test_a_file_that_is_ingested_in_place_stays(services: Services, tmp_path: Path) -> None:
    path = song_file(tmp_path, 1)
    await index(services, path)
    assert path.exists()


async def test_a_track_cancelled_while_it_was_heard_leaves_nothing(
    services: Services, tmp_path: Path
) -> None:
    batch_id = await services.tracks.create_batch(now=time.time())
    (submitted,) = await submit_files(services, [song_file(tmp_path, 1)], batch_id=batch_id)
    claim = await services.backlog.claim(place_of(services.config), "test", block_s=1.0)
    assert claim is not None
    await services.tracks.cancel_batch(batch_id, now=time.time())
    assert await index_track(services, claim.track, keeper=Keeper(services)) is TrackStatus.CANCELLED
    assert (await services.index.stats()).n_postings == 0
    assert await services.index.peaks([submitted.track_id]) == {}


async def test_a_deleted_track_leaves_nothing_and_can_come_again(services: Services, tmp_path: Path) -> None:
    path = song_file(tmp_path, 1)
    kept, _ = await index(services, song_file(tmp_path, 2))
    n_postings = (await services.index.stats()).n_postings
    track_id, _ = await index(services, path)
    await delete_track(services, track_id)
    assert (await services.index.stats()).n_postings == n_postings
    assert await services.tracks.get([track_id, kept]) == await services.tracks.get([kept])
    with pytest.raises(TrackNotFound):
        await delete_track(services, track_id)
    _, status = await index(services, path)
    assert status is TrackStatus.INDEXED


async def test_a_track_that_was_never_indexed_can_be_deleted(services: Services, tmp_path: Path) -> None:
    (submitted,) = await submit_files(services, [song_file(tmp_path, 1)])
    await delete_track(services, submitted.track_id)
    assert await services.tracks.get([submitted.track_id]) == {}


async def test_a_delete_that_was_begun_is_ended(services: Services, tmp_path: Path) -> None:
    track_id, _ = await index(services, song_file(tmp_path, 1))
    await services.tracks.mark_deleting(track_id, now=0.0)
    assert await resume_deletes(services) == 1
    assert await services.tracks.get([track_id]) == {}
    assert (await services.index.stats()).n_postings == 0


async def test_a_store_that_is_away_is_no_fault_of_the_recording(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise StoreUnavailable("the store is away")

    (submitted,) = await submit_files(services, [song_file(tmp_path, 1)])
    track = (await services.tracks.get([submitted.track_id]))[submitted.track_id]
    monkeypatch.setattr("fpserver.index.store.Index.add_together", away)
    with pytest.raises(StoreUnavailable):
        await index_track(services, track, keeper=Keeper(services))
    monkeypatch.undo()
    assert (await services.tracks.get([submitted.track_id]))[submitted.track_id].status is TrackStatus.QUEUED


async def test_uploads_whose_tracks_have_ended_are_swept_and_others_stay(services: Services) -> None:
    spool = spool_dir(services.config)
    spool.mkdir(parents=True, exist_ok=True)
    left, waiting = spool / "left", spool / "waiting"
    left.write_bytes(b"left by a worker that died")
    waiting.write_bytes(encode(song(1, 2.0), RATE_HZ, container="wav"))
    await submit_files(services, [waiting], scheme="spool")
    assert await sweep_spool(services, now=time.time()) == 0, "both are younger than any submission takes"
    assert await sweep_spool(services, now=time.time() + 7200) == 1
    assert (left.exists(), waiting.exists()) == (False, True)
    waiting.unlink()
