import numpy as np
import pytest

from fpserver.fingerprint.constellation import constellation_of
from fpserver.fingerprint.landmarks import fingerprint_of
from fpserver.matching.evidence import BIN_SHIFTS, TIME_SHIFTS, ClipMap
from fpserver.terms import Candidate, Constellation, Samples
from tests.matching.making import CONFIG
from tests.synth import at_snr, noise, song, tone

RATE_HZ, HOP = CONFIG.rate_hz, CONFIG.hop


def dense(samples: Samples) -> Constellation:
    return constellation_of(samples, CONFIG)


def candidate(alignment: int, votes: float = 0.0) -> Candidate:
    return Candidate(
        track_id=1, alignment=alignment, mean_alignment=alignment, votes=votes, n_votes=int(votes)
    )


@pytest.fixture(scope="module")
def track_samples() -> Samples:
    return song(21, 30.0, RATE_HZ)


@pytest.fixture(scope="module")
def track(track_samples: Samples) -> Constellation:
    return fingerprint_of(dense(track_samples), CONFIG).constellation


def test_a_true_alignment_fits_far_better_than_any_other(
    track_samples: Samples, track: Constellation
) -> None:
    clip = ClipMap(dense(track_samples[200 * HOP : 630 * HOP]), n_bins=512)
    here = clip.evidence(candidate(200), track)
    there = clip.evidence(candidate(500), track)
    assert here is not None
    assert there is not None
    assert here.score > 10 > 2 * there.score


def test_noise_lowers_the_evidence_and_does_not_end_it(track_samples: Samples, track: Constellation) -> None:
    scores = []
    for snr_db in (30, 5, -5):
        heard = dense(at_snr(track_samples[200 * HOP : 630 * HOP], snr_db, seed=1))
        evidence = ClipMap(heard, n_bins=512).evidence(candidate(200), track)
        assert evidence is not None
        scores.append(evidence.score)
    assert scores[0] > scores[1] > scores[2] > 5


def test_votes_add_twice_their_square_root(track_samples: Samples, track: Constellation) -> None:
    clip = ClipMap(dense(track_samples[: 430 * HOP]), n_bins=512)
    without, with_votes = (clip.evidence(candidate(0, votes), track) for votes in (0.0, 9.0))
    assert without is not None
    assert with_votes is not None
    assert with_votes.score - without.score == pytest.approx(6.0)


def test_a_steady_tone_fits_at_every_time_and_so_proves_nothing() -> None:
    steady = dense(tone(1000, 20.0, RATE_HZ) + noise(1, 20.0, RATE_HZ, level=1e-3))
    track = fingerprint_of(steady, CONFIG).constellation
    evidence = ClipMap(
        dense(tone(1000, 5.0, RATE_HZ) + noise(2, 5.0, RATE_HZ, level=1e-3)), n_bins=512
    ).evidence(candidate(100), track)
    assert evidence is None or evidence.score < 5


def test_the_sums_are_those_that_a_plain_loop_gives(track_samples: Samples, track: Constellation) -> None:
    clip = dense(track_samples[100 * HOP : 300 * HOP])
    share = {
        (frame + frames, bin_ + bins): 0.0
        for frame, bin_ in zip(clip.frame.tolist(), clip.bin.tolist(), strict=True)
        for frames in (-1, 0, 1)
        for bins in (-1, 0, 1)
    }
    for frame, bin_ in zip(clip.frame.tolist(), clip.bin.tolist(), strict=True):
        for frames, w_time in ((-1, 0.8), (0, 1.0), (1, 0.8)):
            for bins, w_bin in ((-1, 0.7), (0, 1.0), (1, 0.7)):
                place = frame + frames, bin_ + bins
                share[place] = max(share[place], w_time * w_bin)
    inside = (track.frame >= 100) & (track.frame < 100 + clip.n_frames)
    peaks = list(zip((track.frame[inside] - 100).tolist(), track.bin[inside].tolist(), strict=True))

    def total(frames: int, bins: int) -> float:
        return sum(share.get((frame + frames, bin_ + bins), 0.0) for frame, bin_ in peaks)

    at_time = np.array([total(int(shift), 0) for shift in TIME_SHIFTS])
    at_bin = np.array([total(0, int(shift)) for shift in BIN_SHIFTS])
    evidence = ClipMap(clip, n_bins=512).evidence(candidate(100), track)
    assert evidence is not None
    assert evidence.n_predicted == len(peaks)
    assert evidence.z_time == pytest.approx((total(0, 0) - at_time.mean()) / at_time.std(), rel=1e-4)
    assert evidence.z_bin == pytest.approx((total(0, 0) - at_bin.mean()) / at_bin.std(), rel=1e-4)


def test_the_part_of_the_clip_that_agrees_is_found(track_samples: Samples, track: Constellation) -> None:
    mixed = np.concatenate(
        [noise(3, 4.0, RATE_HZ), track_samples[300 * HOP : 600 * HOP], noise(4, 4.0, RATE_HZ)]
    )
    start = round(4.0 * RATE_HZ / HOP)
    evidence = ClipMap(dense(mixed), n_bins=512).evidence(candidate(300 - start), track)
    assert evidence is not None
    assert evidence.clip_start_frame == pytest.approx(start, abs=22)
    assert evidence.clip_end_frame == pytest.approx(start + 300, abs=22)


def test_a_track_that_predicts_too_few_peaks_is_no_evidence(track: Constellation) -> None:
    clip = ClipMap(dense(noise(5, 3.0, RATE_HZ)), n_bins=512)
    assert clip.evidence(candidate(track.n_frames - 2), track) is None
    assert clip.evidence(candidate(-10_000), track) is None


def test_a_map_of_no_peaks_holds_nothing(track: Constellation) -> None:
    empty = np.zeros(0, np.int32)
    silent = Constellation(frame=empty, bin=empty, level=empty.astype(np.uint8), n_frames=400)
    evidence = ClipMap(silent, n_bins=512).evidence(candidate(0), track)
    assert evidence is not None
    assert evidence.score <= 0
