"""Loudness against the standard's own numbers, and FFmpeg's meter."""

from fractions import Fraction
from math import inf
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from fpserver.audio.decode import decode
from fpserver.audio.encode import encode
from fpserver.audio.loudness import STEP_S, LoudnessMeter, add_squares, k_filter
from fpserver.terms import Samples
from tests.synth import noise, silence, song, tone

MINUS_23_DB = 10 ** (-23 / 20)


def loudness_db(channels: npt.NDArray[np.float32], rate_hz: int = 48_000, *, block: int = 20_000) -> float:
    meter = LoudnessMeter()
    for begin in range(0, channels.shape[1], block):
        meter.hear(np.ascontiguousarray(channels[:, begin : begin + block]), rate_hz)
    return meter.loudness_db()


def stereo(samples: Samples) -> npt.NDArray[np.float32]:
    return np.stack([samples, samples])


def at_db(level_db: float, seconds: float) -> Samples:
    return tone(1000, seconds, 48_000, level=10 ** (level_db / 20))


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_a_stereo_sine_at_minus_23_db_reads_minus_23_lufs(rate_hz: int) -> None:
    assert loudness_db(stereo(tone(997, 5.0, rate_hz, level=MINUS_23_DB)), rate_hz) == pytest.approx(
        -23, abs=0.1
    )


@pytest.mark.parametrize(
    ("n_channels", "expected"), [(1, -26.01), (2, -23.0), (3, -21.24), (6, -18.36), (8, -16.62)]
)
def test_channels_add_and_surrounds_add_more(n_channels: int, expected: float) -> None:
    channels = np.stack([tone(997, 5.0, 48_000, level=MINUS_23_DB)] * n_channels)
    assert loudness_db(channels) == pytest.approx(expected, abs=0.05)


def test_the_lfe_does_not_count() -> None:
    channels = np.zeros((6, 5 * 48_000), np.float32)
    channels[3] = tone(50, 5.0, 48_000)
    assert loudness_db(channels) == -inf


# EBU Tech 3341, test signals 3 to 5.
@pytest.mark.parametrize(
    "parts",
    [
        ((-36, 10), (-23, 60), (-36, 10)),
        ((-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)),
        ((-26, 20), (-20, 20.1), (-26, 20)),
    ],
)
def test_quiet_parts_are_gated(parts: tuple[tuple[float, float], ...]) -> None:
    samples = np.concatenate([at_db(level_db, seconds) for level_db, seconds in parts])
    assert loudness_db(stereo(samples)) == pytest.approx(-23, abs=0.1)


@pytest.mark.parametrize(
    "samples", [silence(2.0), tone(997, 0.39, 48_000), tone(997, 3.0, 48_000, level=1e-5)]
)
def test_silence_and_what_is_too_short_has_no_loudness(samples: Samples) -> None:
    assert loudness_db(stereo(samples)) == -inf
    assert LoudnessMeter().loudness_db() == -inf


@pytest.mark.parametrize("block", [1, 999, 4_800, 10**6])
def test_blocks_of_any_size_read_the_same(block: int) -> None:
    channels = stereo(song(1, 0.6, 8_000))
    assert loudness_db(channels, 8_000, block=block) == pytest.approx(loudness_db(channels, 8_000), abs=1e-9)


def test_the_compiled_filter_is_the_plain_one() -> None:
    block = np.random.default_rng(1).normal(size=(2, 500)).astype(np.float32)
    fast, slow = np.zeros((2, 6)), np.zeros((2, 6))
    for function, sums in ((add_squares, fast), (add_squares.py_func, slow)):  # type: ignore[attr-defined]  # numba's
        function(block, k_filter(48_000), np.zeros((2, 4)), 100, 7, sums)
    assert fast == pytest.approx(slow, rel=1e-12)


def ffmpegs(channels: npt.NDArray[np.float32], rate_hz: int) -> float:
    """What FFmpeg's `ebur128` says at the end."""
    layout = "mono" if len(channels) == 1 else "stereo"
    graph = av.filter.Graph()
    source = graph.add_abuffer(
        sample_rate=rate_hz, format="flt", layout=layout, time_base=Fraction(1, rate_hz)
    )
    meter, sink = graph.add("ebur128", "metadata=1"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    said = -inf
    for begin in range(0, channels.shape[1], 4800):
        block = np.ascontiguousarray(channels[:, begin : begin + 4800].T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(block, format="flt", layout=layout)
        frame.sample_rate, frame.pts = rate_hz, begin
        source.push(frame)
        while True:
            try:
                said = float(sink.pull().metadata.get("lavfi.r128.I", said))
            except (av.BlockingIOError, av.EOFError):
                break
    return said


@pytest.mark.parametrize("seed", [1, 2])
def test_a_song_reads_what_ffmpeg_reads(seed: int) -> None:
    left, right = song(seed, 10.0, 48_000), song(seed + 1, 10.0, 48_000) * np.float32(0.4)
    for channels in (np.stack([left, right]), left[np.newaxis]):
        assert loudness_db(channels) == pytest.approx(ffmpegs(channels, 48_000), abs=0.1)


def test_long_silence_costs_no_more_than_sound() -> None:
    meter = LoudnessMeter()
    meter.hear(stereo(noise(1, 0.1)), 22_050)
    for _ in range(10):
        meter.hear(stereo(silence(5.0)), 22_050)
    assert not meter._states[:2].any()


def test_watching_changes_no_sample_and_sees_every_channel(tmp_path: Path) -> None:
    left, right = song(1, 3.0, 44_100), -song(1, 3.0, 44_100)  # cancels: the file is gone through twice
    path = tmp_path / "antiphase"
    path.write_bytes(encode(np.stack([left, right]), 44_100, container="wav32"))
    seen: list[tuple[npt.NDArray[np.float32], int]] = []
    limits = {"rate_hz": 8_000, "max_s": 60.0, "max_bytes": 2**30, "cut": True}
    watched = decode(path, **limits, observe=lambda block, hz: seen.append((block.copy(), hz)))  # type: ignore[arg-type]
    assert watched.samples.tobytes() == decode(path, **limits).samples.tobytes()  # type: ignore[arg-type]
    assert np.concatenate([block for block, _ in seen], axis=1) == pytest.approx(np.stack([left, right]))
    assert {rate_hz for _, rate_hz in seen} == {44_100}
    assert STEP_S == 0.1
