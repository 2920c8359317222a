"""The demo's songs: always the same, never alike; and the clips that are made of them."""

from pathlib import Path

import numpy as np
import pytest

from fpserver.audio.encode import encode
from fpserver.config import AudioConfig
from fpserver.demo.clip import CLIP_S, Damage, degraded_clip, under_noise
from fpserver.demo.songs import song, title
from tests.synth import RATE_HZ, tone


def test_the_same_seed_is_the_same_song() -> None:
    assert np.array_equal(song(3, 5.0), song(3, 5.0))


def test_a_song_has_its_length_and_a_peak_of_0_8_and_no_silence() -> None:
    samples = song(4, 20.0, 16000)
    assert samples.dtype == np.float32
    assert samples.shape == (320_000,)
    assert np.max(np.abs(samples)) == pytest.approx(0.8)
    loudness = np.sqrt(np.mean(samples.reshape(20, -1) ** 2, axis=1))
    assert loudness.min() > 0.01


def test_songs_of_different_seeds_are_different() -> None:
    songs = np.stack([song(seed, 8.0) for seed in range(6)])
    likeness = np.corrcoef(songs) - np.eye(6)
    assert np.abs(likeness).max() < 0.2


def test_titles_are_steady_and_do_not_repeat_in_the_demo() -> None:
    titles = [title(seed) for seed in range(12)]
    assert len(set(titles)) == 12
    assert titles == [title(seed) for seed in range(12)]


@pytest.mark.parametrize("snr_db", [0.0, 10.0])
def test_noise_is_as_far_below_the_sound_as_asked(snr_db: float, rng: np.random.Generator) -> None:
    quiet = tone(440, 2.0, level=0.1)
    noise = under_noise(quiet, snr_db, rng) - quiet
    measured = 10 * np.log10(np.mean(quiet**2) / np.mean(noise**2))
    assert measured == pytest.approx(snr_db, abs=0.3)


def test_a_clip_lies_in_its_recording_and_a_short_recording_is_taken_whole(tmp_path: Path) -> None:
    for duration_s, expected_s in ((30.0, CLIP_S), (4.0, 4.0)):
        path = tmp_path / "song.wav"
        path.write_bytes(encode(song(1, duration_s), RATE_HZ, container="wav"))
        clip = degraded_clip(path, AudioConfig(), Damage(seed=5, snr_db=10.0, bitrate=32_000))
        assert clip.duration_s == pytest.approx(expected_s, abs=0.1)
        assert 0 <= clip.start_s <= duration_s - clip.duration_s + 0.1
        assert len(clip.mp3) == pytest.approx(4000 * expected_s, rel=0.2)
