"""Whether two recordings hold the same recording."""

import numpy as np

from fpserver.demo.songs import song
from loadtest.accuracy.waveforms import RATE_HZ, SAME_RECORDING, likeness, phase_of
from tests.synth import noise

AT_S = 7.3


def test_a_sample_under_other_music_is_the_same_recording_where_it_plays() -> None:
    sample, music = song(1, 5.0, RATE_HZ), song(2, 20.0, RATE_HZ)
    track = music.copy()
    begin = round(AT_S * RATE_HZ)
    track[begin : begin + len(sample)] += 0.5 * sample
    clip = phase_of(sample + 0.5 * song(3, 5.0, RATE_HZ))
    assert likeness(clip, phase_of(track), at_s=AT_S) >= SAME_RECORDING
    assert likeness(clip, phase_of(track), at_s=AT_S + 2) < SAME_RECORDING
    assert likeness(clip, phase_of(music)) < SAME_RECORDING


def test_a_clip_may_begin_before_the_track_does() -> None:
    sample = song(1, 5.0, RATE_HZ)
    track = np.concatenate([sample[RATE_HZ:], song(2, 20.0, RATE_HZ)])
    assert likeness(phase_of(sample), phase_of(track), at_s=-1.0) >= SAME_RECORDING


def test_other_music_noise_and_silence_are_not_the_same_recording() -> None:
    clip = phase_of(song(1, 5.0, RATE_HZ))
    for other in (song(4, 20.0, RATE_HZ), noise(1, 20.0, RATE_HZ), np.zeros(20 * RATE_HZ, np.float32)):
        assert likeness(clip, phase_of(other)) < SAME_RECORDING


def test_a_track_may_be_shorter_than_the_clip() -> None:
    sample = song(1, 5.0, RATE_HZ)
    assert likeness(phase_of(sample), phase_of(sample[: 2 * RATE_HZ]), at_s=0.0) >= SAME_RECORDING
