"""Real tracks among synthetic ones: how they are made, kept, loaded and asked, and what is said of it."""

import asyncio
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from fpserver.config import Config
from fpserver.fingerprint.constellation import band
from fpserver.fingerprint.landmarks import fingerprint_of, track_landmarks
from fpserver.index import peaks as peaks_codec
from fpserver.store.connect import Client
from fpserver.terms import TrackPeaks
from loadtest.accuracy.cells import Cell
from loadtest.scale import fit, stock
from loadtest.scale.among import among, ask, ask_all_steps, ask_in, fill
from loadtest.scale.figures import Asked, figures, promises
from loadtest.scale.page import page
from loadtest.scale.synthetic import Sources, synthetic, synthetic_dense
from tests.matching.making import dense, heard
from tests.synth import duet, noise

CONFIG = Config()
RATE_HZ = CONFIG.fingerprint.rate_hz
N_REAL, N_SYNTHETIC = 5, 300


@pytest.fixture(scope="module")
def real() -> list[TrackPeaks]:
    return [
        fingerprint_of(dense(duet(seed, 30.0, RATE_HZ)), CONFIG.fingerprint).peaks
        for seed in range(1, N_REAL + 1)
    ]


def track(real: list[TrackPeaks], track_id: int) -> TrackPeaks:
    if track_id <= N_REAL:
        return real[track_id - 1]
    return synthetic(Sources.of(real), track_id - N_REAL, seed=1, config=CONFIG.fingerprint)


@pytest.fixture(scope="module")
def chunks(real: list[TrackPeaks], tmp_path_factory: pytest.TempPathFactory) -> list[stock.Chunk]:
    ends = [1, N_REAL + 1, N_REAL + 201, N_REAL + N_SYNTHETIC + 1]
    return stock.write_all(
        tmp_path_factory.mktemp("stock"), partial(track, real), ends, CONFIG.fingerprint, processes=1
    )


def test_a_synthetic_track_is_one_that_the_index_takes_and_the_same_again(real: list[TrackPeaks]) -> None:
    first, last = band(CONFIG.fingerprint)
    for number in range(1, 20):
        made = track(real, N_REAL + number)
        again = track(real, N_REAL + number)
        kept = peaks_codec.unpack(peaks_codec.pack(made))
        for column in ("frame", "bin", "strong"):
            np.testing.assert_array_equal(getattr(made, column), getattr(again, column))
            np.testing.assert_array_equal(getattr(made, column), getattr(kept, column))
        assert first <= made.bin.min() <= made.bin.max() < last
        assert made.frame[-1] < made.n_frames
        cells = made.frame.astype(np.int64) * last + made.bin
        assert (np.diff(cells) > 0).all()


def test_a_synthetic_track_is_part_of_all_the_peaks_that_would_be_heard_of_it() -> None:
    heard_of = [dense(duet(seed, 30.0, RATE_HZ)) for seed in range(3)]
    kept = [fingerprint_of(each, CONFIG.fingerprint).peaks for each in heard_of]
    sources, config = Sources.of(kept), CONFIG.fingerprint
    for number in range(1, 6):
        made = synthetic(sources, number, seed=1, config=config)
        whole = synthetic_dense(sources, heard_of, number, seed=1, config=config)
        cells, all_cells = (each.frame * config.window + each.bin for each in (made, whole))
        assert set(cells.tolist()) < set(all_cells.tolist())
        assert (whole.n_frames, len(whole.level)) == (made.n_frames, len(whole))


def test_synthetic_tracks_are_as_dense_as_their_sources(real: list[TrackPeaks]) -> None:
    def density(tracks: list[TrackPeaks]) -> float:
        return sum(map(len, tracks)) / sum(each.n_frames for each in tracks)

    made = [track(real, N_REAL + i) for i in range(1, 101)]
    assert density(made) == pytest.approx(density(real), rel=0.15)


def test_what_is_on_disk_is_every_posting_once_in_order(
    real: list[TrackPeaks], chunks: list[stock.Chunk]
) -> None:
    assert [each.n_tracks for each in chunks] == [N_REAL, 200, 100]
    told = list(stock.postings_of(chunks))
    columns = [
        np.concatenate([getattr(each, name) for each in told]) for name in ("hash", "track_id", "offset")
    ]
    wanted = []
    for track_id in range(1, N_REAL + N_SYNTHETIC + 1):
        landmarks = track_landmarks(track(real, track_id), CONFIG.fingerprint)
        pairs = zip(landmarks.hash.tolist(), landmarks.offset.tolist(), strict=True)
        wanted += [(hash_, track_id, offset) for hash_, offset in pairs]
    assert list(zip(*(each.tolist() for each in columns), strict=True)) == sorted(wanted)
    ends = [each.hash[-1] for each in told if len(each.hash)]
    begins = [each.hash[0] for each in told if len(each.hash)]
    assert all(end < begin for end, begin in zip(ends, begins[1:], strict=False))  # no hash in two of them


async def test_a_clip_is_found_among_synthetic_tracks_and_noise_is_not(
    client: Client, chunks: list[stock.Chunk]
) -> None:
    opened = await fill(client, chunks, CONFIG)
    assert opened.held.tracks == N_REAL + N_SYNTHETIC
    assert opened.held.postings == sum(each.n_postings for each in chunks)
    assert 0.1e6 < opened.held.bytes_per_hour < 10e6
    clip = duet(3, 30.0, RATE_HZ)[8 * RATE_HZ : 16 * RATE_HZ]
    said = await ask(opened.index, heard(clip), CONFIG)
    assert [each["track_id"] for each in said.document["matches"]] == [3]
    assert said.steps[0]["step"] == "plain"
    assert said.steps[0]["n_postings"] > 0
    assert not said.degraded
    nothing = await ask(opened.index, heard(noise(1, 8.0, RATE_HZ)), CONFIG)
    assert nothing.document["matches"] == []
    assert len(nothing.steps) == 4
    chance = await ask_all_steps(opened.index, heard(noise(1, 8.0, RATE_HZ)), CONFIG)
    assert [each.step for each in chance] == ["plain", "dense", "warped", "narrowed"]


async def test_others_ask_the_store_that_one_has_opened(tmp_path: Path, chunks: list[stock.Chunk]) -> None:
    clip = heard(duet(3, 30.0, RATE_HZ)[8 * RATE_HZ : 16 * RATE_HZ])
    async with among(chunks, CONFIG, tmp_path):
        told = await asyncio.to_thread(ask_in, tmp_path, [(7, clip), (9, None)], CONFIG)
    (seven, said), nine = told
    assert seven == 7
    assert said is not None
    assert [each["track_id"] for each in said.document["matches"]] == [3]
    assert nine == (9, None)


def test_lists_that_a_posting_meets_are_counted_as_by_hand() -> None:
    hashes = np.array([7, 7, 7, 9, 9])
    groups = np.array([1, 1, 2, 1, 2])
    # Group 1 has 7, 7, 9, group 2 has 7, 9: of 6 pairs of either direction 2 · 1 + 1 · 1 meet.
    assert fit.met((hashes, groups), (hashes, groups), of=1) == pytest.approx(3 / 6)
    other = np.array([7, 8]), np.array([3, 3])
    assert fit.met((hashes, groups), other, of=1) == pytest.approx(3 / 10)


def asked(synthetic: int, number: int, *, right: bool, postings: int = 1000, wrong: str = "") -> Asked:
    step = {
        "step": "plain",
        "n_hashes": 400,
        "n_postings": postings,
        "n_stopped": 0,
        "n_candidates": 9,
        "wrong": {"track_id": 9, "score": 3.0, "lead": 0.5, "false_accept_rate": 0.05},
    }
    return Asked(
        synthetic=synthetic,
        clip=f"clip {number}",
        cell="clean_1s",
        number=number,
        truth=f"track {number}",
        right=right,
        first_right=right,
        wrong=[wrong] if wrong else [],
        best="",
        steps=[step],
        timings_s={"index": 0.01, "matching": 0.02},
    )


def test_a_promise_that_is_broken_is_said_to_be(tmp_path: Path) -> None:
    cells = [Cell(name="clean_1s", family="clean", seconds=1, target=0.85)]
    rows = [asked(0, i, right=True) for i in range(20)]
    rows += [asked(2000, i, right=i > 1, postings=3_000_000 if i == 3 else 1000) for i in range(19)]
    rows += [asked(2000, 19, right=True, wrong="synthetic 5")]
    found = figures(rows, cells)
    told = {(each["synthetic"], each["promise"]): each["kept"] for each in promises(found)}
    assert told[0, "at most 2,000,000 postings read for a clip"]
    assert not told[2000, "at most 2,000,000 postings read for a clip"]
    assert told[2000, "at most 20,000 look-ups of a clip"]
    assert told[2000, "at most 1,500 look-ups in the middle of the clean cells"]
    assert not told[2000, "clean_1s loses at most 8 points"]  # 2 of 20
    assert found["2000"]["false_accepts"]["accepted_wrong"] == 1
    assert found["2000"]["steps"]["plain"]["wrong"]["below"]["0.1"]["measured"] == 20
    text = page(
        {
            "sizes": found,
            "promises": promises(found),
            "setting": ["Somewhere."],
            "held": {},
            "fit": {"shape": {}, "met": {}, "clips": 0, "tracks": 0, "by_chance": {"plain": {}}},
        }
    )
    assert "| 2,000 | clean_1s loses at most 8 points | -10.0 [-" in text
    assert "**broken**" in text
    assert "clean_1s 19, track 19: synthetic 5" in text
