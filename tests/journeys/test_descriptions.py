"""An indexed track's way to its description, with a real decoder, pool and store."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from fpserver.audio.encode import encode
from fpserver.config import RedisConfig
from fpserver.descriptions import describe, describing_pool, missing, want_missing
from fpserver.dsp_pool import DspPool
from fpserver.fingerprint import wire
from fpserver.hearing import hear_recording
from fpserver.ingest import delete_track, index_track, place_of, spool_dir, sweep_spool
from fpserver.keeping import Keeper
from fpserver.services import Services
from fpserver.store.connect import Client
from fpserver.terms import PARTS, DescriptionStatus, Group, Track, TrackStatus
from tests.opened import opened, song_file, submit_files
from tests.synth import RATE_HZ, song


@pytest.fixture
async def services(client: Client, store_config: RedisConfig) -> AsyncIterator[Services]:
    async with opened(store_config, described=True) as services:
        yield services


@pytest.fixture
async def pool(services: Services) -> AsyncIterator[DspPool]:
    async with describing_pool(services.config, processes=1) as pool:
        yield pool


async def index(services: Services, path: Path, *, scheme: str = "file") -> int:
    (submitted,) = await submit_files(services, [path], scheme=scheme)
    claim = await services.backlog.claim(place_of(services.config), "test", block_s=1.0)
    assert claim is not None
    assert await index_track(services, claim.track, keeper=Keeper(services)) is TrackStatus.INDEXED
    await services.backlog.finish(claim.track.place, claim.ticket)
    return submitted.track_id


async def claimed(services: Services) -> Track:
    track = await services.undescribed.claim(place_of(services.config), now=time.time())
    assert track is not None
    return track


async def read(services: Services, track_id: int) -> Track:
    return (await services.tracks.get([track_id]))[track_id]


async def test_a_track_is_identifiable_first_and_described_then(
    services: Services, pool: DspPool, tmp_path: Path
) -> None:
    track_id = await index(services, song_file(tmp_path, 1))
    track = await read(services, track_id)
    assert (track.status, track.description) == (TrackStatus.INDEXED, DescriptionStatus.WAITING)
    assert await describe(services, await claimed(services), pool=pool) is DescriptionStatus.DONE
    track = await read(services, track_id)
    assert (track.description, track.described) == (DescriptionStatus.DONE, frozenset(PARTS))
    assert {"loudness_db", "centroid_hz", "onset_rate_hz"} <= set(track.facts)
    assert not missing(track, services.config)
    vectors = (await services.descriptions.vectors([track_id], list(Group)))[track_id]
    assert set(vectors) == set(Group)
    assert (
        len((await services.descriptions.moments([track_id]))[track_id]) == 23
    )  # 12 s: 0 to 11 s, two a second


async def test_an_upload_stays_until_it_is_described(
    services: Services, pool: DspPool, tmp_path: Path
) -> None:
    spool = spool_dir(services.config)
    spool.mkdir(parents=True, exist_ok=True)
    upload = song_file(tmp_path, 1).rename(spool / "upload")
    await index(services, upload, scheme="spool")
    assert await sweep_spool(services, now=time.time() + 7200) == 0
    assert upload.exists()
    await describe(services, await claimed(services), pool=pool)
    assert not upload.exists()


async def test_a_file_that_is_gone_says_so_and_keeps_nobody_waiting(
    services: Services, pool: DspPool, tmp_path: Path
) -> None:
    path = song_file(tmp_path, 1)
    track_id = await index(services, path)
    path.unlink()
    assert await describe(services, await claimed(services), pool=pool) is DescriptionStatus.NO_AUDIO
    track = await read(services, track_id)
    assert (track.description_code, track.status) == ("source_missing", TrackStatus.INDEXED)
    assert str(path) in (track.description_message or "")
    assert await services.undescribed.waiting(place_of(services.config)) == []


async def test_a_track_that_is_too_short_stays_identifiable(
    services: Services, pool: DspPool, tmp_path: Path
) -> None:
    track_id = await index(services, song_file(tmp_path, 1, duration_s=2.0))
    assert await describe(services, await claimed(services), pool=pool) is DescriptionStatus.FAILED
    track = await read(services, track_id)
    assert (track.status, track.description_code) == (TrackStatus.INDEXED, "clip_too_short")


async def test_a_track_removed_while_it_is_described_leaves_nothing(
    services: Services, pool: DspPool, tmp_path: Path
) -> None:
    track_id = await index(services, song_file(tmp_path, 1))
    track = await claimed(services)
    await delete_track(services, track_id)
    assert await describe(services, track, pool=pool) is DescriptionStatus.DONE
    assert (await services.descriptions.vectors([track_id], list(Group)))[track_id] == {}


async def test_a_fingerprint_cannot_be_described(services: Services, tmp_path: Path) -> None:
    config = services.config
    hearing = hear_recording(song_file(tmp_path, 1), config.audio, config.fingerprint)
    path = tmp_path / "song.fingerprint"
    path.write_bytes(wire.pack(hearing, config.fingerprint))
    track_id = await index(services, path)
    assert (await read(services, track_id)).description is DescriptionStatus.NO_AUDIO


async def test_what_is_switched_on_later_is_filled_in(
    services: Services, pool: DspPool, tmp_path: Path
) -> None:
    some = replace(
        services, config=services.config.with_values(features={"timbre": False, "segments": False})
    )
    first = await index(some, song_file(tmp_path, 1))
    await describe(some, await claimed(some), pool=pool)
    gone = song_file(tmp_path, 2)
    await index(some, gone)
    await describe(some, await claimed(some), pool=pool)
    gone.unlink()
    before = await read(services, first)
    assert missing(before, services.config) == {"timbre", "segments"}
    wanted = await want_missing(services)
    assert (wanted.track_ids, wanted.n_no_audio, wanted.n_complete) == ([first], 1, 0)
    await describe(services, await claimed(services), pool=pool)
    assert not missing(await read(services, first), services.config)
    assert (await want_missing(services)).n_complete == 1
    assert (await want_missing(services, again=True)).track_ids == [first]


async def test_nobody_waits_when_everything_is_switched_off(services: Services, tmp_path: Path) -> None:
    off = replace(services, config=services.config.with_values(features=dict.fromkeys(PARTS, False)))
    path = tmp_path / "upload"
    path.write_bytes(encode(song(1, 8.0), RATE_HZ, container="wav"))
    track_id = await index(off, path, scheme="spool")
    assert (await read(off, track_id)).description is None
    assert not path.exists()
