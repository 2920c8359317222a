"""The clip's walk, with a real decoder, pool and store: eight songs catalogued, clips of them and of others."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soxr

from fpserver.audio.encode import encode
from fpserver.config import RedisConfig
from fpserver.errors import AudioTooShort, StoreUnavailable
from fpserver.fingerprint import wire
from fpserver.hearing import hear_clip, hear_track
from fpserver.identify import Identification, IdentifyOptions, identify_file
from fpserver.services import Services
from fpserver.store.connect import Client
from fpserver.terms import Hashes, Lookup, Samples, TrackStatus
from loadtest.accuracy import degrade
from loadtest.corpus import RATE_HZ as FINE_HZ
from tests.matching.making import heard
from tests.opened import ended, opened, submit_files, working
from tests.synth import RATE_HZ, at_snr, clicks, duet, noise, silence, song, tone

SONG_S = 30.0
SEEDS = range(1, 9)


@pytest.fixture(scope="module")
async def catalogue(
    session_client: Client, store_config: RedisConfig, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Services, dict[int, int]]]:
    """The rooms, and the track of each song."""
    await session_client.flushall()
    folder = tmp_path_factory.mktemp("songs")
    paths = []
    for seed in SEEDS:
        paths.append(folder / f"{seed}.flac")
        paths[-1].write_bytes(encode(duet(seed, SONG_S), RATE_HZ, container="flac"))
    async with opened(store_config, pool_processes=2) as services:
        submitted = await submit_files(services, paths)
        async with working(services):
            tracks = await ended(services, [each.track_id for each in submitted])
        assert {track.status for track in tracks.values()} == {TrackStatus.INDEXED}
        yield services, {seed: each.track_id for seed, each in zip(SEEDS, submitted, strict=True)}


async def ask(
    services: Services,
    folder: Path,
    samples: Samples,
    rate_hz: int = RATE_HZ,
    *,
    kind: str = "wav",
    bitrate: int | None = None,
    options: IdentifyOptions | None = None,
) -> Identification:
    path = folder / f"clip.{kind}"
    path.write_bytes(encode(samples, rate_hz, container=kind, bitrate=bitrate))
    return await identify_file(services, path, options or IdentifyOptions())


def cut(seed: int, start_s: float, duration_s: float) -> Samples:
    samples = duet(seed, SONG_S)
    return samples[round(start_s * RATE_HZ) : round((start_s + duration_s) * RATE_HZ)]


@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("channels", ["mono", "stereo", "antiphase"])
async def test_a_clip_at_any_rate_and_with_any_channels_gets_the_same_answer(
    catalogue: tuple[Services, dict[int, int]], tmp_path: Path, rate_hz: int, channels: str
) -> None:
    services, tracks = catalogue
    mono = soxr.resample(cut(3, 11.3, 8.0), RATE_HZ, rate_hz).astype(np.float32)
    samples = {"mono": mono, "stereo": np.stack([mono, mono]), "antiphase": np.stack([mono, -mono])}[channels]
    found = await ask(services, tmp_path, samples, rate_hz)
    assert [each.track.track_id for each in found.matches] == [tracks[3]]
    assert found.matches[0].track_offset_s == pytest.approx(11.3, abs=0.05)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_noisy_clip_as_poor_mp3_is_found_at_its_offset(
    catalogue: tuple[Services, dict[int, int]], tmp_path: Path, seed: int
) -> None:
    services, tracks = catalogue
    start_s = 2.0 + 2.11 * seed
    samples = at_snr(cut(seed, start_s, 8.0), 3, seed=seed)
    found = await ask(services, tmp_path, samples, kind="mp3", bitrate=32_000)
    best = found.matches[0]
    assert best.track.track_id == tracks[seed]
    assert best.track_offset_s == pytest.approx(start_s, abs=0.1)
    assert best.match.false_accept_rate <= services.config.matching.max_false_accept_rate
    assert 0 <= best.clip_start_s < 4
    assert 5 < best.clip_end_s <= 8.0
    assert not found.degraded


def steps_of(found: Identification) -> list[str]:
    assert found.explanation is not None
    return [step["step"] for step in found.explanation["steps"]]


async def test_a_good_clip_ends_with_the_plain_step(
    catalogue: tuple[Services, dict[int, int]], tmp_path: Path
) -> None:
    services, tracks = catalogue
    found = await ask(services, tmp_path, cut(3, 5.0, 5.0), options=IdentifyOptions(explain=True))
    assert steps_of(found) == ["plain"]
    (step,) = found.explanation["steps"] if found.explanation else []
    assert found.n_hashes == step["n_hashes"] <= services.config.plain.max_lookups
    assert found.n_postings == step["n_postings"] <= services.config.plain.max_postings
    assert step["candidates"][0]["track_id"] == tracks[3]
    assert step["candidates"][0]["score"] == found.matches[0].match.score


@pytest.mark.parametrize(
    ("speed", "steps"), [("auto", ["plain", "dense", "warped", "narrowed"]), ("off", ["plain", "dense"])]
)
async def test_while_unsure_every_step_is_taken_and_other_speeds_only_with_leave(
    catalogue: tuple[Services, dict[int, int]], tmp_path: Path, speed: str, steps: list[str]
) -> None:
    services, _ = catalogue
    options = IdentifyOptions(speed=speed, explain=True)
    found = await ask(services, tmp_path, duet(60, 8.0), options=options)
    assert found.matches == []
    assert steps_of(found) == steps
    faster = played(cut(1, 5.0, 16.0), speed=1.06, pitch=1.06)
    asked = await ask(services, tmp_path, faster, FINE_HZ, options=options)
    assert bool(asked.matches) == (speed == "auto")


@pytest.mark.parametrize(
    ("speed", "pitch"),
    [(1.06, 1.06), (0.94, 0.94), (1.06, 1.0), (0.94, 1.0), (1.0, 2 ** (1 / 12)), (1.0, 2 ** (-1 / 12))],
    ids=["speed +6 %", "speed -6 %", "tempo +6 %", "tempo -6 %", "pitch +1 semitone", "pitch -1 semitone"],
)
async def test_a_clip_that_was_played_otherwise_is_found_and_the_answer_says_how(
    catalogue: tuple[Services, dict[int, int]], tmp_path: Path, speed: float, pitch: float
) -> None:
    services, tracks = catalogue
    n_found = 0
    for seed in (1, 3, 4, 5):
        samples = played(cut(seed, 6.0, 10.0), speed=speed, pitch=pitch)
        found = await ask(services, tmp_path, samples, FINE_HZ)
        assert {each.track.track_id for each in found.matches} <= {tracks[seed]}
        for each in found.matches:
            n_found += 1
            assert each.match.warp.speed == pytest.approx(speed, rel=0.005)
            assert each.match.warp.pitch == pytest.approx(pitch, rel=0.005)
            assert each.track_offset_s == pytest.approx(6.0, abs=0.15)
    assert n_found >= 2


def played(samples: Samples, *, speed: float, pitch: float) -> Samples:
    """Times as fast and times as high, at FINE_HZ."""
    fine = np.asarray(soxr.resample(samples, RATE_HZ, FINE_HZ), np.float32)
    transposed = degrade.at_speed(fine, pitch) if pitch != 1 else fine
    return degrade.at_tempo(transposed, speed / pitch) if speed != pitch else transposed


@pytest.mark.parametrize(
    "samples",
    [
        song(50, 10.0),
        duet(51, 10.0),
        noise(1, 10.0),
        silence(10.0),
        tone(440, 10.0),
        clicks(0.5, 10.0),
        noise(2, 10.0, level=1e-5),
    ],
    ids=["a song", "another", "noise", "silence", "a tone", "clicks", "next to nothing"],
)
async def test_what_is_not_catalogued_matches_nothing(
    catalogue: tuple[Services, dict[int, int]], tmp_path: Path, samples: Samples
) -> None:
    services, _ = catalogue
    assert (await ask(services, tmp_path, samples)).matches == []


@pytest.mark.parametrize("kind", ["as it is", "in noise", "faster"])
async def test_a_fingerprint_is_heard_exactly_as_its_clip(
    catalogue: tuple[Services, dict[int, int]], tmp_path: Path, kind: str
) -> None:
    services, _ = catalogue
    samples, rate_hz = {
        "as it is": (cut(5, 9.0, 6.0), RATE_HZ),
        "in noise": (at_snr(cut(5, 9.0, 6.0), -8, seed=1), RATE_HZ),
        "faster": (played(cut(1, 5.0, 16.0), speed=1.06, pitch=1.06), FINE_HZ),
    }[kind]
    options = IdentifyOptions(explain=True)
    by_audio = await ask(services, tmp_path, samples, rate_hz, options=options)
    hearing = hear_clip(tmp_path / "clip.wav", services.config.audio, services.config.fingerprint)
    body = tmp_path / "clip.fingerprint"
    body.write_bytes(wire.pack(hearing, services.config.fingerprint))
    by_fingerprint = await identify_file(services, body, options)
    assert by_audio.matches
    assert by_fingerprint.matches == by_audio.matches
    assert by_fingerprint.explanation == by_audio.explanation
    assert by_fingerprint.duration_s == by_audio.duration_s


async def test_a_fingerprint_of_peaks_alone_is_found_too(
    catalogue: tuple[Services, dict[int, int]], tmp_path: Path
) -> None:
    services, tracks = catalogue
    path = tmp_path / "clip.wav"
    path.write_bytes(encode(at_snr(cut(5, 9.0, 8.0), 3, seed=1), RATE_HZ, container="wav"))
    hearing, _ = hear_track(path, services.config.audio, services.config.fingerprint)
    assert hearing.detail is None
    body = tmp_path / "clip.fingerprint"
    body.write_bytes(wire.pack(hearing, services.config.fingerprint))
    found = await identify_file(services, body, IdentifyOptions())
    assert [each.track.track_id for each in found.matches] == [tracks[5]]


async def test_a_fingerprint_of_no_frames_is_refused(
    catalogue: tuple[Services, dict[int, int]], tmp_path: Path
) -> None:
    services, _ = catalogue
    config = services.config.fingerprint
    hearing = replace(heard(silence(0.0)), duration_s=1.0)
    for each in (hearing, replace(hearing, detail=None)):
        body = tmp_path / "clip.fingerprint"
        body.write_bytes(wire.pack(each, config))
        with pytest.raises(AudioTooShort):
            await identify_file(services, body, IdentifyOptions())


async def test_a_clip_of_two_songs_at_once_gives_both(
    catalogue: tuple[Services, dict[int, int]], tmp_path: Path
) -> None:
    services, tracks = catalogue
    found = await ask(services, tmp_path, cut(1, 4.0, 10.0) + cut(2, 14.0, 10.0))
    assert {each.track.track_id for each in found.matches} == {tracks[1], tracks[2]}
    one = await ask(
        services, tmp_path, cut(1, 4.0, 10.0) + cut(2, 14.0, 10.0), options=IdentifyOptions(limit=1)
    )
    assert one.matches == found.matches[:1]


async def test_a_clip_that_begins_before_its_track_has_a_negative_offset(
    catalogue: tuple[Services, dict[int, int]], tmp_path: Path
) -> None:
    services, tracks = catalogue
    found = await ask(services, tmp_path, np.concatenate([noise(3, 3.0, level=0.01), cut(6, 0.0, 7.0)]))
    assert found.matches[0].track.track_id == tracks[6]
    assert found.matches[0].track_offset_s == pytest.approx(-3.0, abs=0.05)
    assert found.matches[0].clip_start_s == pytest.approx(3.0, abs=0.5)


async def test_a_stricter_asker_gets_fewer_answers(
    catalogue: tuple[Services, dict[int, int]], tmp_path: Path
) -> None:
    services, _ = catalogue
    samples = at_snr(cut(7, 8.0, 5.0), -3, seed=4)
    found = await ask(services, tmp_path, samples, options=IdentifyOptions(max_false_accept_rate=0.5))
    rate = found.matches[0].match.false_accept_rate
    strict = await ask(services, tmp_path, samples, options=IdentifyOptions(max_false_accept_rate=rate / 2))
    assert all(each.match.false_accept_rate <= rate / 2 for each in strict.matches)


async def test_a_track_that_is_not_indexed_is_never_an_answer(
    catalogue: tuple[Services, dict[int, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, _ = catalogue
    get = services.tracks.get

    async def not_indexed(track_ids: list[int]) -> dict[int, object]:
        found = await get(track_ids)
        return {track_id: replace(track, status=TrackStatus.DELETING) for track_id, track in found.items()}

    monkeypatch.setattr(services.tracks, "get", not_indexed)
    assert (await ask(services, tmp_path, cut(4, 8.0, 8.0))).matches == []


async def test_an_answer_without_a_shard_is_called_degraded(
    catalogue: tuple[Services, dict[int, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, tracks = catalogue
    lookup = services.index.lookup

    async def without_a_shard(hashes: Hashes, *, max_postings: int | None = None) -> Lookup:
        found = await lookup(hashes, max_postings=max_postings)
        there = hashes[found.hash_index] % 16 != 3
        return replace(
            found,
            hash_index=found.hash_index[there],
            track_id=found.track_id[there],
            offset=found.offset[there],
            degraded=True,
        )

    monkeypatch.setattr(services.index, "lookup", without_a_shard)
    found = await ask(services, tmp_path, cut(4, 8.0, 8.0))
    assert found.degraded
    assert [each.track.track_id for each in found.matches] == [tracks[4]]


async def test_a_store_that_does_not_answer_is_an_error_and_not_an_empty_answer(
    catalogue: tuple[Services, dict[int, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, _ = catalogue

    async def away(hashes: Hashes, *, max_postings: int) -> Lookup:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(services.index, "lookup", away)
    with pytest.raises(StoreUnavailable):
        await ask(services, tmp_path, cut(4, 8.0, 8.0))


async def test_a_clip_below_the_shortest_is_refused_and_one_above_the_longest_is_heard_to_there(
    catalogue: tuple[Services, dict[int, int]], tmp_path: Path
) -> None:
    services, tracks = catalogue
    with pytest.raises(AudioTooShort, match=r"0\.50 s long, need at least 1 s"):
        await ask(services, tmp_path, cut(1, 5.0, 0.5))
    found = await ask(services, tmp_path, np.concatenate([duet(1, SONG_S), duet(2, SONG_S), duet(3, SONG_S)]))
    assert found.truncated
    assert found.duration_s == pytest.approx(services.config.audio.max_clip_s)
    assert {each.track.track_id for each in found.matches} == {tracks[1], tracks[2]}
