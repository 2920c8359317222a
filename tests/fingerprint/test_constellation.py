import librosa
import numpy as np
import pytest

from fpserver.config import FingerprintConfig
from fpserver.fingerprint import constellation as c
from fpserver.fingerprint.constellation import constellation_of, log_spectrogram, thin, whiten
from fpserver.terms import Constellation
from tests.synth import clicks, noise, silence, song, tone

CONFIG = FingerprintConfig()
RATE_HZ = CONFIG.rate_hz


def cells(peaks: Constellation, *, from_frame: int = 0, to_frame: int | None = None) -> set[tuple[int, int]]:
    inside = (peaks.frame >= from_frame) & (peaks.frame < (to_frame or peaks.n_frames))
    return set(zip((peaks.frame[inside] - from_frame).tolist(), peaks.bin[inside].tolist(), strict=True))


def test_the_log_spectrogram_is_the_one_librosa_computes() -> None:
    samples = song(1, 3.0, RATE_HZ)
    ours = log_spectrogram(samples, CONFIG)
    first, last = c.band(CONFIG)
    stft = librosa.stft(samples, n_fft=CONFIG.window, hop_length=CONFIG.hop, window="hann", center=False)
    power = np.abs(stft[first:last].T) ** 2 / (CONFIG.window / 4) ** 2
    heard = power > 1e-9
    np.testing.assert_allclose(ours[heard], 10 * np.log10(power[heard]), atol=0.01)


def test_a_full_scale_tone_is_at_zero_decibels() -> None:
    hz = 100 * RATE_HZ / CONFIG.window
    decibels = log_spectrogram(tone(hz, 1.0, RATE_HZ, level=1.0), CONFIG)
    assert decibels[:, 100 - c.band(CONFIG)[0]] == pytest.approx(0.0, abs=0.05)


def test_peaks_are_the_local_maxima_that_a_plain_loop_finds() -> None:
    samples = song(2, 4.0, RATE_HZ)
    whitened = whiten(log_spectrogram(samples, CONFIG))
    slow = {
        (frame, bin_ + c.band(CONFIG)[0])
        for frame in range(whitened.shape[0])
        for bin_ in range(whitened.shape[1])
        if whitened[frame, bin_] >= c.MIN_LEVEL_DB
        and whitened[frame, bin_]
        == whitened[
            max(0, frame - c.PEAK_FRAMES) : frame + c.PEAK_FRAMES + 1,
            max(0, bin_ - c.PEAK_BINS) : bin_ + c.PEAK_BINS + 1,
        ].max()
    }
    everything = FingerprintConfig(dense_peaks_per_s=100_000)
    assert cells(constellation_of(samples, everything)) == slow


def test_peaks_are_ordered_by_frame_then_bin_and_stand_once() -> None:
    peaks = constellation_of(song(3, 8.0, RATE_HZ), CONFIG)
    order = peaks.frame.astype(np.int64) * CONFIG.window + peaks.bin
    assert (np.diff(order) > 0).all()


@pytest.mark.parametrize("hops", [1, 7, 100])
def test_moving_a_song_by_whole_hops_moves_its_inner_peaks_as_far(hops: int) -> None:
    samples = song(4, 12.0, RATE_HZ)
    before = constellation_of(samples, CONFIG)
    after = constellation_of(samples[hops * CONFIG.hop :], CONFIG)
    margin = 60  # the edges see other surroundings
    kept = cells(before, from_frame=hops + margin, to_frame=before.n_frames - margin)
    again = cells(after, from_frame=margin, to_frame=after.n_frames - margin)
    assert kept
    assert len(kept ^ again) <= 0.005 * len(kept)  # running means differ in the last bit, ranks rarely


def test_a_block_border_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = song(5, 20.0, RATE_HZ)
    whole = cells(constellation_of(samples, CONFIG))
    monkeypatch.setattr(c, "BLOCK_FRAMES", 100)
    assert len(whole ^ cells(constellation_of(samples, CONFIG))) <= 0.005 * len(whole)


def test_no_second_holds_more_than_the_peaks_allowed() -> None:
    peaks = constellation_of(noise(6, 10.0, RATE_HZ), CONFIG)
    per_s = np.bincount((peaks.frame / c.frames_per_s(CONFIG)).astype(int))
    assert per_s.max() <= 1.3 * CONFIG.dense_peaks_per_s


def test_thinning_keeps_the_highest_and_thinning_again_changes_nothing() -> None:
    dense = constellation_of(song(7, 10.0, RATE_HZ), CONFIG)
    sparse = thin(dense, CONFIG.track_peaks_per_s, CONFIG)
    assert cells(sparse) < cells(dense)
    assert sparse.level.mean() > dense.level.mean()
    assert cells(thin(sparse, CONFIG.track_peaks_per_s, CONFIG)) == cells(sparse)


def test_the_rank_of_a_peak_is_what_a_plain_count_gives(rng: np.random.Generator) -> None:
    frame = np.sort(rng.integers(0, 200, 300)).astype(np.int32)
    level = rng.integers(0, 20, 300).astype(np.uint8)
    peaks = Constellation(frame=frame, bin=np.arange(300, dtype=np.int32), level=level, n_frames=200)
    half = round(c.frames_per_s(CONFIG) / 2)
    higher = [
        sum(
            abs(int(frame[j]) - int(frame[i])) <= half and (level[j], -j) > (level[i], -i)
            for j in range(300)
            if j != i
        )
        for i in range(300)
    ]
    kept = thin(peaks, 10, CONFIG)
    assert kept.bin.tolist() == [i for i in range(300) if higher[i] < 10]


@pytest.mark.parametrize(
    "samples",
    [
        silence(0.0, RATE_HZ),
        silence(0.05, RATE_HZ),
        silence(5.0, RATE_HZ),
        tone(1000, 5.0, RATE_HZ)[: CONFIG.window - 1],
    ],
    ids=["nothing", "less than a window", "silence", "a sample short of a window"],
)
def test_what_holds_no_sound_has_no_peaks(samples: np.ndarray) -> None:
    assert len(constellation_of(samples, CONFIG)) == 0


def test_quiet_music_has_the_peaks_of_loud_music() -> None:
    samples = song(8, 6.0, RATE_HZ)
    loud, quiet = (
        thin(constellation_of(samples * np.float32(gain), CONFIG), CONFIG.track_peaks_per_s, CONFIG)
        for gain in (1.0, 0.1)
    )
    assert len(cells(loud) & cells(quiet)) > 0.8 * len(loud)


def test_a_click_is_a_peak_at_its_frame() -> None:
    peaks = constellation_of(clicks(1.0, 5.0, RATE_HZ, first_s=0.5), CONFIG)
    at_s = peaks.frame / c.frames_per_s(CONFIG) + CONFIG.window / 2 / RATE_HZ
    assert np.abs(at_s % 1.0 - 0.5).max() < 2 * CONFIG.window / RATE_HZ
