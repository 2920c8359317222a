import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpserver.config import FingerprintConfig
from fpserver.fingerprint.constellation import constellation_of
from fpserver.fingerprint.landmarks import (
    HASH_BITS,
    fingerprint_of,
    landmarks_of,
    pack,
    track_landmarks,
    unpack,
)
from fpserver.terms import Constellation
from tests.synth import song

CONFIG = FingerprintConfig()


def constellation(*peaks: tuple[int, int]) -> Constellation:
    frame, bin_ = zip(*sorted(peaks), strict=True)
    return Constellation(
        frame=np.array(frame, np.int32),
        bin=np.array(bin_, np.int32),
        level=np.full(len(peaks), 40, np.uint8),
        n_frames=max(frame) + 1,
    )


@given(
    st.lists(
        st.tuples(st.integers(0, 2047), st.integers(-127, 127), st.integers(0, 15)), min_size=1, max_size=50
    )
)
def test_unpacking_a_hash_gives_back_the_landmark(landmarks: list[tuple[int, int, int]]) -> None:
    anchor, delta_bin, delta_frames = (np.array(column, np.int32) for column in zip(*landmarks, strict=True))
    hashes = pack(anchor, delta_bin, delta_frames)
    assert hashes.dtype == np.uint32
    assert hashes.max() < 2**HASH_BITS
    for back, there in zip(unpack(hashes), (anchor, delta_bin, delta_frames), strict=True):
        np.testing.assert_array_equal(back, there)


def test_a_hash_is_laid_out_as_drawn() -> None:
    (packed,) = pack(np.array([0b10000000001]), np.array([-3]), np.array([5]))
    assert f"{packed:023b}" == "10000000001" + f"{128 - 3:08b}" + "0101"
    assert HASH_BITS == 23


def test_each_peak_is_paired_with_the_nearest_in_its_zone() -> None:
    peaks = constellation((0, 100), (0, 102), (5, 110), (9, 90), (20, 300), (100, 100))
    landmarks = landmarks_of(peaks, CONFIG, fan_out=2)
    anchor, delta_bin, delta_frames = unpack(landmarks.hash)
    pairs = list(
        zip(
            landmarks.offset.tolist(),
            anchor.tolist(),
            delta_bin.tolist(),
            delta_frames.tolist(),
            strict=True,
        )
    )
    # (0, 102) stands at the same time as (0, 100), bin 300 is too far in frequency, frame 100 too far in time
    assert pairs == [(0, 100, 10, 5), (0, 100, -10, 9), (0, 102, 8, 5), (0, 102, -12, 9), (5, 110, -20, 4)]


def test_fan_out_bounds_the_pairs_of_an_anchor() -> None:
    peaks = constellation_of(song(1, 10.0, CONFIG.rate_hz), CONFIG)
    landmarks = landmarks_of(peaks, CONFIG, fan_out=3)
    anchor, _, _ = unpack(landmarks.hash)
    _, n_pairs = np.unique(np.c_[landmarks.offset, anchor], axis=0, return_counts=True)
    assert n_pairs.max() == 3
    assert (np.diff(landmarks.offset) >= 0).all()


def test_more_fan_out_only_adds_pairs() -> None:
    peaks = constellation_of(song(2, 10.0, CONFIG.rate_hz), CONFIG)
    few, many = (landmarks_of(peaks, CONFIG, fan_out=fan_out) for fan_out in (1, 4))
    few_pairs, many_pairs = (
        set(zip(each.hash.tolist(), each.offset.tolist(), strict=True)) for each in (few, many)
    )
    assert few_pairs < many_pairs


def test_the_peaks_that_the_index_keeps_say_the_landmarks_again() -> None:
    whole = fingerprint_of(constellation_of(song(3, 20.0, CONFIG.rate_hz), CONFIG), CONFIG)
    again = track_landmarks(whole.peaks, CONFIG)
    np.testing.assert_array_equal(whole.landmarks.hash, again.hash)
    np.testing.assert_array_equal(whole.landmarks.offset, again.offset)


def test_landmarks_of_a_track_are_made_of_the_highest_of_the_peaks_it_keeps() -> None:
    dense = constellation_of(song(4, 20.0, CONFIG.rate_hz), CONFIG)
    kept = fingerprint_of(dense, CONFIG)
    strong = np.flatnonzero(kept.peaks.strong)
    anchors = set(zip(kept.landmarks.offset.tolist(), unpack(kept.landmarks.hash)[0].tolist(), strict=True))
    assert anchors <= set(
        zip(kept.peaks.frame[strong].tolist(), kept.peaks.bin[strong].tolist(), strict=True)
    )
    level = {(f, b): h for f, b, h in zip(dense.frame.tolist(), dense.bin.tolist(), dense.level, strict=True)}
    levels = np.array(
        [level[place] for place in zip(kept.peaks.frame.tolist(), kept.peaks.bin.tolist(), strict=True)]
    )
    assert levels[strong].mean() > levels[~kept.peaks.strong].mean()
    seconds = dense.n_frames * CONFIG.hop / CONFIG.rate_hz
    assert len(strong) / seconds == pytest.approx(CONFIG.strong_peaks_per_s, rel=0.2)
    assert len(kept.peaks) / seconds <= 1.2 * CONFIG.track_peaks_per_s


def test_no_peaks_or_one_make_no_landmarks() -> None:
    assert len(landmarks_of(constellation((3, 100)), CONFIG, fan_out=5)) == 0
    empty = np.zeros(0, np.int32)
    nothing = Constellation(frame=empty, bin=empty, level=empty.astype(np.uint8), n_frames=0)
    assert len(landmarks_of(nothing, CONFIG, fan_out=5)) == 0
