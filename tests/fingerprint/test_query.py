import numpy as np
import pytest
import soxr

from fpserver.config import FingerprintConfig
from fpserver.fingerprint.constellation import constellation_of, thin
from fpserver.fingerprint.landmarks import fingerprint_of, landmarks_of, unpack
from fpserver.fingerprint.query import query_of, warped_query_of
from fpserver.matching.warp import STEP
from fpserver.terms import Constellation, Landmarks, Samples, Warp
from tests.synth import song

CONFIG = FingerprintConfig()
RATE_HZ = CONFIG.rate_hz
ALL = 1_000_000


def dense(samples: Samples) -> Constellation:
    return constellation_of(samples, CONFIG)


def pairs(landmarks: Landmarks) -> set[tuple[int, int]]:
    return set(zip(landmarks.hash.tolist(), landmarks.offset.tolist(), strict=True))


@pytest.fixture(scope="module")
def clip() -> Constellation:
    return dense(song(31, 10.0, RATE_HZ))


def test_an_unbounded_query_is_the_landmarks_of_the_highest_peaks(clip: Constellation) -> None:
    asked = query_of([clip], CONFIG, peaks_per_s=24, fan_out=5, max_hashes=ALL)
    assert pairs(asked) == pairs(landmarks_of(thin(clip, 24, CONFIG), CONFIG, fan_out=5))


@pytest.mark.parametrize("most", [1, 100, 1500])
def test_a_query_is_bounded_and_a_smaller_one_is_the_beginning_of_a_larger(
    clip: Constellation, most: int
) -> None:
    everything = query_of([clip], CONFIG, peaks_per_s=60, fan_out=12, max_hashes=ALL)
    some = query_of([clip], CONFIG, peaks_per_s=60, fan_out=12, max_hashes=most)
    n = len(some)
    assert len(np.unique(some.hash)) == most <= n < len(everything)
    assert everything.hash[n] not in some.hash
    np.testing.assert_array_equal(some.hash, everything.hash[:n])
    np.testing.assert_array_equal(some.offset, everything.offset[:n])


def test_pairs_of_the_highest_peaks_come_first(clip: Constellation) -> None:
    height = {
        place: level
        for *place_, level in zip(clip.frame.tolist(), clip.bin.tolist(), clip.level.tolist(), strict=True)
        for place in [tuple(place_)]
    }
    asked = query_of([clip], CONFIG, peaks_per_s=60, fan_out=12, max_hashes=ALL)
    anchor_bin, delta_bin, delta_frames = unpack(asked.hash)
    heights = np.array(
        [
            height[frame, bin_] + height[frame + later, bin_ + higher]
            for frame, bin_, higher, later in zip(
                asked.offset.tolist(),
                anchor_bin.tolist(),
                delta_bin.tolist(),
                delta_frames.tolist(),
                strict=True,
            )
        ]
    )
    quarter = len(heights) // 4
    assert heights[:quarter].mean() > heights.mean() > heights[-quarter:].mean()


def test_frames_half_a_hop_later_ask_for_what_others_miss() -> None:
    track = song(32, 30.0, RATE_HZ)
    kept = set(fingerprint_of(dense(track), CONFIG).landmarks.hash.tolist())
    start = 100 * CONFIG.hop + CONFIG.hop // 2  # as badly as a clip can be cut
    heard = track[start : start + 8 * RATE_HZ]
    clips = [dense(heard), dense(heard[CONFIG.hop // 2 :])]
    one, both = (
        query_of(part, CONFIG, peaks_per_s=60, fan_out=12, max_hashes=ALL) for part in (clips[:1], clips)
    )
    assert len(kept & set(both.hash.tolist())) > 1.2 * len(kept & set(one.hash.tolist()))


def test_no_peaks_ask_for_nothing() -> None:
    nothing = dense(np.zeros(5 * RATE_HZ, np.float32))
    assert len(query_of([nothing, nothing], CONFIG, peaks_per_s=24, fan_out=5, max_hashes=ALL)) == 0
    landmarks, warp_of = warped_query_of(
        nothing, [Warp(speed=1.1)], CONFIG, step=STEP, peaks_per_s=18, fan_out=3, max_hashes=ALL
    )
    assert len(landmarks) == len(warp_of) == 0


def test_under_no_warp_the_warped_query_is_the_plain_one(clip: Constellation) -> None:
    plain = query_of([clip], CONFIG, peaks_per_s=18, fan_out=3, max_hashes=ALL)
    warped, warp_of = warped_query_of(
        clip, [Warp()], CONFIG, step=STEP, peaks_per_s=18, fan_out=3, max_hashes=ALL
    )
    assert pairs(plain) == pairs(warped)
    assert not warp_of.any()


def test_warps_share_the_hashes_that_may_be_asked_for(clip: Constellation) -> None:
    warps = [Warp(speed=speed, pitch=speed) for speed in (0.9, 0.95, 1.05, 1.1)]
    landmarks, warp_of = warped_query_of(
        clip, warps, CONFIG, step=STEP, peaks_per_s=18, fan_out=3, max_hashes=400
    )
    assert 390 < len(np.unique(landmarks.hash)) <= 400
    n_of_each = np.bincount(warp_of, minlength=4)
    assert n_of_each.max() - n_of_each.min() < 40
    tempos = [Warp(speed=1 + percent / 100) for percent in range(-4, 5)]
    alike, warp_of = warped_query_of(
        clip, tempos, CONFIG, step=STEP, peaks_per_s=18, fan_out=3, max_hashes=400
    )
    assert len(np.unique(alike.hash)) <= 400 < len(warp_of)  # one hash may serve many warps


@pytest.mark.parametrize("speed", [0.9, 0.94, 1.06, 1.1])
def test_the_query_warped_back_finds_the_hashes_of_a_clip_that_was_played_at_another_speed(
    speed: float,
) -> None:
    track = song(33, 40.0, RATE_HZ)
    kept = set(fingerprint_of(dense(track), CONFIG).landmarks.hash.tolist())
    heard = soxr.resample(track[5 * RATE_HZ :], RATE_HZ * speed, RATE_HZ).astype(np.float32)[: 12 * RATE_HZ]
    warps = [Warp(speed=speed, pitch=speed), Warp(speed=1 / speed, pitch=1 / speed), Warp()]
    landmarks, warp_of = warped_query_of(
        dense(heard), warps, CONFIG, step=STEP, peaks_per_s=18, fan_out=3, max_hashes=ALL
    )
    found = [len(kept & set(landmarks.hash[warp_of == i].tolist())) for i in range(len(warps))]
    assert found[0] > 15
    assert found[0] > 3 * max(found[1:])


def test_what_a_warp_moves_out_of_the_band_or_the_zone_is_not_asked_for(clip: Constellation) -> None:
    (landmarks, _) = warped_query_of(
        clip,
        [Warp(speed=1.15, pitch=1.26), Warp(speed=0.87, pitch=0.8)],
        CONFIG,
        step=STEP,
        peaks_per_s=18,
        fan_out=3,
        max_hashes=ALL,
    )
    _, delta_bin, delta_frames = unpack(landmarks.hash)
    assert np.abs(delta_bin).max() <= CONFIG.max_delta_bins
    assert delta_frames.min() >= CONFIG.min_delta_frames
    assert delta_frames.max() <= CONFIG.max_delta_frames
