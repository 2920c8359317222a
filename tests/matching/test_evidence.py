from collections import defaultdict

import numpy as np
import pytest
import soxr
from scipy.signal import butter, sosfilt

from fpserver.fingerprint.cells import levels_from_peaks, levels_of
from fpserver.fingerprint.constellation import band
from fpserver.fingerprint.landmarks import fingerprint_of
from fpserver.matching import evidence
from fpserver.matching.evidence import (
    BIN_SHIFTS,
    N_PARTS,
    NEAR,
    OWN_SHIFTS,
    PART_COSTS,
    RATIOS,
    STRETCHES,
    TAKEN_OFF,
    TIME_SHIFTS,
    ClipMap,
    Evidence,
)
from fpserver.terms import Candidate, Peaks, Samples, Warp
from tests.matching.making import CONFIG, clip_map, dense
from tests.synth import at_snr, clicks, noise, silence, song, tone

RATE_HZ, HOP = CONFIG.rate_hz, CONFIG.hop
CLIP_FRAMES = 215  # 10 s


def candidate(alignment: float, warp: Warp = Warp()) -> Candidate:  # noqa: B008 - frozen
    return Candidate(track_id=1, alignment=alignment, warp=warp, votes=0.0, n_votes=0)


def judged(clip: ClipMap, peaks: Peaks, alignment: float, warp: Warp = Warp()) -> Evidence:  # noqa: B008 - frozen
    found = clip.evidence(candidate(alignment, warp), peaks)
    assert found is not None
    return found


def cut(samples: Samples, first_frame: int, n_frames: int = CLIP_FRAMES) -> Samples:
    return samples[first_frame * HOP : (first_frame + n_frames) * HOP]


@pytest.fixture(scope="module")
def track_samples() -> Samples:
    return song(21, 30.0, RATE_HZ)


@pytest.fixture(scope="module")
def track(track_samples: Samples) -> Peaks:
    return fingerprint_of(dense(track_samples), CONFIG).peaks


@pytest.mark.parametrize("snr_db", [40, 0])
def test_the_right_place_beats_every_wrong_one(track_samples: Samples, track: Peaks, snr_db: float) -> None:
    clip = clip_map(at_snr(cut(track_samples, 200), snr_db, seed=2))
    here = judged(clip, track, 200)
    elsewhere = [judged(clip, track, place).z for place in range(0, 430, 7) if abs(place - 200) > 3]
    assert here.z > 10
    assert here.z > 2 * max(elsewhere)


def test_another_song_fits_nowhere(track: Peaks) -> None:
    clip = clip_map(song(22, 10.0, RATE_HZ))
    assert max(judged(clip, track, place).z for place in range(0, 430, 3)) < 6


def test_a_place_off_by_a_frame_is_moved_to_where_it_fits(track_samples: Samples, track: Peaks) -> None:
    clip = clip_map(cut(track_samples, 200))
    for off in (-1, 0, 1):
        assert judged(clip, track, 200 + off).alignment == 200


def test_noise_lowers_the_evidence_and_does_not_end_it(track_samples: Samples, track: Peaks) -> None:
    z = [
        judged(clip_map(at_snr(cut(track_samples, 200), snr_db, seed=1)), track, 200).z
        for snr_db in (30, 5, -5)
    ]
    assert z[0] > z[1] > z[2] > 5


@pytest.mark.parametrize(("cutoff_hz", "drowned"), [(1500, "highpass"), (1000, "lowpass")])
def test_what_noise_leaves_of_the_band_is_enough(
    track_samples: Samples, track: Peaks, cutoff_hz: float, drowned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    filter_ = butter(8, cutoff_hz, drowned, fs=RATE_HZ, output="sos")
    music = cut(track_samples, 200)
    drowning = sosfilt(filter_, noise(4, len(music) / RATE_HZ, RATE_HZ, level=10 * float(music.std())))
    clip = clip_map((music + drowning[: len(music)]).astype(np.float32))
    found = judged(clip, track, 200)
    monkeypatch.setattr(evidence, "STRETCHES", STRETCHES[:, :1])
    assert found.z > judged(clip, track, 200).z + 0.5


def test_a_clip_is_uneven_as_far_as_its_frames_rise_and_fall_as_a_whole() -> None:
    steady = noise(1, 5.0, RATE_HZ)
    beating = steady * np.repeat([1.0, 0.01] * 10, len(steady) // 20 + 1)[: len(steady)]
    assert clip_map(steady).unevenness < 0.03
    assert clip_map(beating.astype(np.float32)).unevenness > 0.3
    peaks = dense(steady)
    assert ClipMap(peaks, levels_from_peaks(peaks, CONFIG), first_bin=band(CONFIG)[0]).unevenness == 1.0


def test_loudness_makes_no_difference(track_samples: Samples, track: Peaks) -> None:
    loud, quiet = (
        judged(clip_map(cut(track_samples, 200) * np.float32(gain)), track, 200).z for gain in (1.0, 0.1)
    )
    assert quiet == pytest.approx(loud, rel=0.1)


@pytest.mark.parametrize("sound", ["a tone", "clicks", "silence"])
def test_what_fits_at_every_time_or_every_frequency_proves_nothing(sound: str) -> None:
    def made(seed: int, duration_s: float) -> Samples:
        clean = {
            "a tone": tone(1000, duration_s, RATE_HZ),
            "clicks": clicks(0.25, duration_s, RATE_HZ),
            "silence": silence(duration_s, RATE_HZ),
        }[sound]
        return clean + noise(seed, duration_s, RATE_HZ, level=1e-3)

    peaks = fingerprint_of(dense(made(1, 20.0)), CONFIG).peaks
    clip = clip_map(made(2, 5.0))
    found = [clip.evidence(candidate(place), peaks) for place in range(0, 300, 5)]
    assert max(each.z for each in found if each) < 6


@pytest.mark.parametrize("warp", [Warp(speed=1.06, pitch=1.06), Warp(speed=0.93, pitch=0.93)], ids=str)
def test_a_clip_at_another_speed_fits_under_its_warp_and_under_no_other(
    track_samples: Samples, track: Peaks, warp: Warp
) -> None:
    faster = soxr.resample(track_samples[200 * HOP :], RATE_HZ * warp.speed, RATE_HZ)
    clip = clip_map(faster.astype(np.float32)[: CLIP_FRAMES * HOP])
    # frames are as long in the clip as in the track, so their middles lie where the same sound is half a window apart
    begins = 200 + (warp.speed - 1) * CONFIG.window / 2 / HOP
    right = judged(clip, track, begins, warp)
    assert right.z > 10
    assert right.warp == warp
    assert right.alignment == pytest.approx(begins, abs=1.1)
    for wrong in (Warp(), Warp(speed=warp.speed), Warp(pitch=warp.pitch)):
        assert judged(clip, track, 200, wrong).z < 0.6 * right.z


def test_the_evidence_is_what_a_plain_loop_gives(
    track_samples: Samples, track: Peaks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "MIN_SPREAD", 0.0)
    samples = at_snr(cut(track_samples, 100), 10, seed=3)
    clip, levels, (first_bin, last_bin) = dense(samples), levels_of(samples, CONFIG), band(CONFIG)
    n_bins = last_bin - first_bin
    kind: dict[tuple[int, int], int] = defaultdict(int)
    for i, shifts in enumerate(NEAR, 1):
        for frame, bin_ in zip(clip.frame.tolist(), (clip.bin - first_bin).tolist(), strict=True):
            for frames, bins in shifts:
                kind[frame + frames, bin_ + bins] = i
    said = np.array([[RATIOS[levels[f, b], kind[f, b]] for b in range(n_bins)] for f in range(clip.n_frames)])
    of_frame, of_bin = said.mean(axis=1) - said.mean(), said.mean(axis=0) - said.mean()
    inner = (  # no shift leads over an edge
        (track.frame >= 100 + 31)
        & (track.frame < 100 + clip.n_frames - 31)
        & (track.bin >= first_bin + 97)
        & (track.bin < last_bin - 97)
    )
    peaks = Peaks(frame=track.frame[inner], bin=track.bin[inner], n_frames=track.n_frames)
    places = list(zip((peaks.frame - 100).tolist(), (peaks.bin - first_bin).tolist(), strict=True))

    def total(frames: int, bins: int, first: int = 0, end: int = N_PARTS) -> float:
        beside = [
            (frame + frames, bin_ + bins) for frame, bin_ in places if first <= bin_ * N_PARTS // n_bins < end
        ]
        return sum(float(said[f, b] - TAKEN_OFF * (of_frame[f] + of_bin[b])) for f, b in beside)

    own = max(OWN_SHIFTS, key=lambda shift: total(shift, 0))
    z = {}
    for stretch in STRETCHES.T:
        first, end = np.flatnonzero(stretch)[[0, -1]] + (0, 1)
        here = total(own, 0, first, end)
        at_time = np.array([total(int(shift), 0, first, end) for shift in TIME_SHIFTS])
        at_bin = np.array([total(0, int(shift), first, end) for shift in BIN_SHIFTS])
        costs = PART_COSTS if (first, end) != (0, N_PARTS) else 0.0
        z[first, end] = (
            (here - at_time.mean()) / at_time.std() - costs,
            (here - at_bin.mean()) / at_bin.std() - costs,
        )
    clip_map_ = ClipMap(clip, levels, first_bin=first_bin)
    found = judged(clip_map_, peaks, 100)
    assert (found.z_time, found.z_bin) == pytest.approx(max(z.values(), key=min), rel=1e-5)
    assert len({min(each) for each in z.values()}) == 2 * N_PARTS - 1
    assert found.z == min(found.z_time, found.z_bin)
    assert clip_map_.fits(peaks, [(Warp(), 102)])[0] == pytest.approx(total(-2, 0), rel=1e-6)


def test_a_quick_fit_is_the_sum_at_one_place(track_samples: Samples, track: Peaks) -> None:
    clip = clip_map(cut(track_samples, 200))
    fits = clip.fits(track, [(Warp(), place) for place in range(180, 221)])
    assert fits.shape == (41,)
    assert np.argmax(fits) == 200 - 180


def test_the_part_of_the_clip_that_agrees_is_found(track_samples: Samples, track: Peaks) -> None:
    mixed = np.concatenate([noise(3, 4.0, RATE_HZ), cut(track_samples, 200, 150), noise(4, 4.0, RATE_HZ)])
    start = round(4.0 * RATE_HZ / HOP)
    found = judged(clip_map(mixed), track, 200 - start)
    assert found.clip_start_frame == pytest.approx(start, abs=11)
    assert found.clip_end_frame == pytest.approx(start + 150, abs=11)


def test_a_track_that_predicts_too_few_peaks_is_no_evidence(track: Peaks) -> None:
    clip = clip_map(noise(5, 3.0, RATE_HZ))
    assert clip.evidence(candidate(track.n_frames + 10), track) is None
    assert clip.evidence(candidate(-10_000), track) is None


def test_silence_is_no_evidence_of_anything(track: Peaks) -> None:
    found = clip_map(silence(10.0, RATE_HZ)).evidence(candidate(0), track)
    assert found is None or found.z < 3
