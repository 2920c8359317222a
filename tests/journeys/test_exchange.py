"""A catalogue written to a file and read into another store answers as it did."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np
import pytest

from fpserver import exchange
from fpserver.config import RedisConfig
from fpserver.descriptions import keep
from fpserver.errors import FingerprintForeign, InvalidRequest
from fpserver.exchange import MAGIC, PLACE, Footer, Header, Record, Sound, export, framed, read_in
from fpserver.features.describe import describe
from fpserver.fingerprint.landmarks import track_landmarks
from fpserver.fingerprint.stamp import stamp
from fpserver.index import codec
from fpserver.services import Services, open_services
from fpserver.store.connect import Client
from fpserver.terms import PARTS, Group, Track, TrackStatus
from fpserver.tracks.catalogue import TrackFilter
from tests.opened import ended, opened, song_file, submit_files, working
from tests.synth import song

ALL = TrackFilter()


@pytest.fixture
async def services(client: Client, store_config: RedisConfig) -> AsyncIterator[Services]:
    async with opened(store_config) as services:
        yield services


async def filled(services: Services, folder: Path, n: int = 5) -> dict[int, Track]:
    """Songs, and what is no song."""
    bad = folder / "bad.mp3"
    bad.write_bytes(b"no sound")
    submitted = await submit_files(
        services, [bad, *(song_file(folder, seed, duration_s=6.0) for seed in range(n))]
    )
    async with working(services):
        return await ended(services, [each.track_id for each in submitted])


async def exported(services: Services, folder: Path, n: int = 5) -> Path:
    """All of them in a file."""
    await filled(services, folder, n)
    await export(services, folder / "all", ALL)
    return folder / "all"


async def empty(services: Services) -> None:
    await services.client.flushall()
    await services.index.open(stamp(services.config.fingerprint))


async def contents(services: Services) -> dict[str, tuple[object, ...]]:
    """What is told of every indexed track, by the digest of its file."""
    tracks, _ = await services.tracks.page(limit=1000, filters=TrackFilter(status=TrackStatus.INDEXED))
    peaks = await services.index.peaks([each.track_id for each in tracks])
    return {
        each.content_sha256: (
            each.metadata,
            each.duration_s,
            each.n_landmarks,
            [getattr(peaks[each.track_id], column).tolist() for column in ("frame", "bin", "strong")],
            peaks[each.track_id].n_frames,
        )
        for each in tracks
    }


async def test_an_emptied_store_is_filled_again(services: Services, tmp_path: Path) -> None:
    await filled(services, tmp_path)
    before, stats = await contents(services), await services.index.stats()
    file = tmp_path / "all.fpcatalogue"
    written = await export(services, file, ALL)
    assert written.written == 5
    assert written.audio_s == pytest.approx(30.0, abs=0.2)
    assert [path.name for path in tmp_path.glob("*.part")] == []
    await empty(services)
    for indexed, known in ((5, 0), (0, 5)):  # a second time changes nothing
        counts = await read_in(services, file)
        assert (counts.indexed, counts.known, counts.failures) == (indexed, known, [])
        assert await contents(services) == before
        assert (await services.index.stats()).n_postings == stats.n_postings
    assert sum((await services.backlog.depth()).values()) == 0


async def test_metadata_is_carried_along_and_files_of_before_there_were_tags_are_taken_in(
    services: Services, tmp_path: Path
) -> None:
    (track_id,) = [
        each.track_id for each in (await filled(services, tmp_path, 1)).values() if each.n_landmarks
    ]
    await services.tracks.edit(track_id, {"tags": "calm, rainy", "genre": "Pop"}, now=1.0)
    await export(services, tmp_path / "all", ALL)
    await empty(services)
    assert (await read_in(services, tmp_path / "all")).indexed == 1
    (track,) = (await services.tracks.page(filters=ALL))[0]
    assert (track.metadata.tags, track.metadata.genre) == ("calm, rainy", "Pop")
    packed = (tmp_path / "all").read_bytes()
    frames = list(exchange._frames(BytesIO(packed), tmp_path))
    old = msgspec.to_builtins(frames[1], builtin_types=(bytes,))
    del old["tags"]
    body = msgspec.msgpack.encode(old)
    old_file = tmp_path / "old"
    old_file.write_bytes(
        MAGIC + framed(frames[0]) + len(body).to_bytes(4, "big") + body + framed(Footer(n_tracks=1))
    )
    await empty(services)
    assert (await read_in(services, old_file)).indexed == 1
    (track,) = (await services.tracks.page(filters=ALL))[0]
    assert (track.metadata.tags, track.metadata.genre) == (None, "Pop")


async def test_a_part_is_written_by_filter(services: Services, tmp_path: Path) -> None:
    await filled(services, tmp_path)
    counts = await export(services, tmp_path / "some", TrackFilter(q="song-3"))
    assert counts.written == 1


async def test_tracks_that_are_there_in_other_files_are_known_by_their_peaks(
    services: Services, tmp_path: Path
) -> None:
    file = await exported(services, tmp_path, n=2)
    records = frames_of(file)
    renamed = [
        msgspec.structs.replace(each, sha256=f"{i:064x}") if isinstance(each, Record) else each
        for i, each in enumerate(records)
    ]
    write(file, renamed)
    before = await contents(services)
    counts = await read_in(services, file)
    assert (counts.indexed, counts.known) == (0, 2)
    assert await contents(services) == before


async def test_an_import_that_broke_off_anywhere_goes_on(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await exported(services, tmp_path)
    before = await contents(services)
    await empty(services)
    for at_once, delay_s in ((5, 0.0), (2, 0.005), (3, 0.01), (4, 0.02), (2, 0.04)):  # in ever other company
        monkeypatch.setattr(exchange, "AT_ONCE", at_once)
        task = asyncio.create_task(read_in(services, file))
        await asyncio.sleep(delay_s)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0.05)
    await read_in(services, file)
    assert await contents(services) == before
    assert (await services.backlog.depth()).get(PLACE, 0) == 0


async def test_a_track_that_the_index_cannot_hold_is_named_and_the_others_come_in(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await exported(services, tmp_path, n=3)
    await empty(services)
    monkeypatch.setattr(codec, "MAX_TRACK_ID", 2)
    counts = await read_in(services, file)
    assert (counts.indexed, counts.known) == (2, 0)
    (failure,) = counts.failures
    assert re.match(r"song-\d: track_id is 3, the index holds ids of 1\.\.", failure), failure
    assert len(await contents(services)) == 2


async def test_what_a_worker_has_in_hand_is_left_to_it(services: Services, tmp_path: Path) -> None:
    file = await exported(services, tmp_path, n=1)
    await empty(services)
    (submitted,) = await submit_files(services, [tmp_path / "song-0.wav"])
    counts = await read_in(services, file)
    assert (counts.indexed, counts.known) == (0, 1)
    track = (await services.tracks.get([submitted.track_id]))[submitted.track_id]
    assert track.status is TrackStatus.QUEUED


async def test_a_file_of_other_settings_is_refused_and_names_the_first(
    services: Services, tmp_path: Path
) -> None:
    file = await exported(services, tmp_path, n=1)
    header, *rest = frames_of(file)
    assert isinstance(header, Header)
    write(file, [Header(stamp={**header.stamp, "fingerprint.hop": "256"}), *rest])
    with pytest.raises(FingerprintForeign, match=r"fingerprint\.hop = 256, this catalogue has 372"):
        await read_in(services, file)


async def test_peaks_are_paired_as_the_catalogue_that_takes_them_in_pairs_them(
    services: Services, tmp_path: Path
) -> None:
    file = await exported(services, tmp_path)
    before, stats = await contents(services), await services.index.stats()
    await services.client.flushall()
    config = services.config.with_values(fingerprint={"fan_out": 4}, index={"n_shards": 4})
    async with open_services(config, pool_processes=0) as others:
        counts = await read_in(others, file)
        assert (counts.indexed, counts.failures) == (5, [])
        after = await contents(others)
        assert {sha256: told[3:] for sha256, told in after.items()} == {
            sha256: told[3:] for sha256, told in before.items()
        }
        tracks, _ = await others.tracks.page(filters=ALL)
        peaks = await others.index.peaks([each.track_id for each in tracks])
        n_landmarks = sum(len(track_landmarks(each, config.fingerprint)) for each in peaks.values())
        assert (await others.index.stats()).n_postings == n_landmarks > stats.n_postings


async def test_a_damaged_file_is_told_and_what_came_before_is_in(services: Services, tmp_path: Path) -> None:
    file = await exported(services, tmp_path)
    whole = file.read_bytes()
    await empty(services)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidRequest, match=r"breaks off, or is damaged, at byte \d+, after 2 tracks"):
        await read_in(services, file)
    assert len(await contents(services)) == 2
    for damaged, told in (
        (b"", "no file that"),
        (b"RIFF" + whole, "no file that"),
        (whole[:-9], "breaks off"),
        (whole[: len(MAGIC)], "breaks off"),
        (whole[: len(MAGIC)] + b"\xff" * 50, "breaks off, or is damaged"),
        (whole[: len(MAGIC)] + b"\0\0\0\5hello", "is damaged at byte"),
        (MAGIC + framed(Header(stamp={"a": "?"})).replace(b"?", b"\xaa"), "is damaged at byte"),  # no UTF-8
    ):
        file.write_bytes(damaged)
        with pytest.raises(InvalidRequest, match=told):
            await read_in(services, file)


async def test_a_track_whose_peaks_are_wrong_is_left_out_and_named(
    services: Services, tmp_path: Path
) -> None:
    file = await exported(services, tmp_path, n=2)
    header, one, two, _ = frames_of(file)
    assert isinstance(one, Record)
    wrong = [
        msgspec.structs.replace(one, peaks=b"no deflate"),
        msgspec.structs.replace(one, n_peaks=one.n_peaks + 1),
        msgspec.structs.replace(one, n_peaks=one.n_peaks - 1),
        msgspec.structs.replace(one, n_frames=3),
    ]
    wrong = [
        msgspec.structs.replace(each, sha256=f"{i:064x}", title=f"wrong {i}") for i, each in enumerate(wrong)
    ]
    write(file, [header, *wrong, two, Footer(n_tracks=5)])
    await empty(services)
    counts = await read_in(services, file)
    assert counts.indexed == 1
    assert [each.split(":")[0] for each in counts.failures] == [f"wrong {i}" for i in range(4)]


def frames_of(file: Path) -> list[Header | Record | Footer]:
    with file.open("rb") as opened_file:
        frames = list(exchange._frames(opened_file, file))
    return [*frames, Footer(n_tracks=len(frames) - 1)]


def write(file: Path, frames: list[Header | Record | Footer]) -> None:
    with file.open("wb") as opened_file:
        opened_file.write(MAGIC)
        for frame in frames:
            opened_file.write(exchange.framed(frame))


async def test_what_tracks_sound_like_is_carried_along(services: Services, tmp_path: Path) -> None:
    carrying = replace(services, config=services.config.with_values(features=dict.fromkeys(PARTS, True)))
    tracks = [each for each in (await filled(services, tmp_path, 2)).values() if each.duration_s]
    whole = describe(song(1, 8.0), parts=PARTS, loudness_db=-20.0)
    await keep(carrying, tracks[0], whole)
    await keep(carrying, tracks[1], describe(song(2, 8.0), parts=("timbre",), loudness_db=-20.0))

    async def told() -> dict[str, tuple[object, ...]]:
        page, _ = await services.tracks.page(filters=TrackFilter(status=TrackStatus.INDEXED))
        vectors = await services.descriptions.vectors([each.track_id for each in page], list(Group))
        return {
            each.content_sha256: (
                each.description,
                each.described,
                dict(each.facts),
                each.key,
                {group: vector.tolist() for group, vector in vectors[each.track_id].items()},
            )
            for each in page
        }

    before = await told()
    await export(carrying, tmp_path / "described", ALL)
    await empty(services)
    for _ in range(2):
        assert (await read_in(carrying, tmp_path / "described")).failures == []
        assert await told() == before
    (first,) = [
        each
        for each in (await services.tracks.page(filters=ALL))[0]
        if each.content_sha256 == tracks[0].content_sha256
    ]
    moments = (await services.descriptions.moments([first.track_id]))[first.track_id]
    assert whole.moments is not None
    np.testing.assert_allclose(moments.timbre, whole.moments.timbre, rtol=0.02, atol=0.05)


async def test_a_damaged_description_is_told_and_the_track_is_there(
    services: Services, tmp_path: Path
) -> None:
    carrying = replace(services, config=services.config.with_values(features=dict.fromkeys(PARTS, True)))
    file = await exported(services, tmp_path, n=2)
    bad = Sound(parts={"timbre": b"\x01short", "segments": b"\x01"}, facts={}, key=None)
    write(
        file,
        [
            msgspec.structs.replace(each, sound=bad) if isinstance(each, Record) else each
            for each in frames_of(file)
        ],
    )
    await empty(services)
    counts = await read_in(carrying, file)
    assert counts.indexed == 2 and len(counts.failures) == 2
    assert "timbre descriptors are not the 860 numbers" in counts.failures[0]
