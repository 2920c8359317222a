"""What comes out of good files: every format, rate and number of channels gives nearly the same samples."""

from pathlib import Path

import numpy as np
import pytest

from fpserver.audio.encode import KINDS, encode
from tests.audio.files import RATE_HZ, hear, likeness, picture, raw_wav, sweep, wav


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """The sweep as it is heard from a lossless file."""
    data = encode(sweep(44100), 44100, container="wav32")
    return hear(tmp_path_factory.mktemp("original"), data).samples


@pytest.mark.parametrize("container", KINDS)
def test_every_format_gives_the_same_sound_at_the_same_place(
    container: str, original: np.ndarray, tmp_path: Path
) -> None:
    sound = hear(tmp_path, encode(sweep(44100), 44100, container=container))
    alike, lag_s = likeness(sound.samples, original)
    assert alike > 0.98
    assert abs(lag_s) < 0.05
    assert sound.duration_s == pytest.approx(3, abs=0.1)
    assert not sound.truncated
    assert sound.samples.dtype == np.float32
    assert sound.rate_hz == RATE_HZ


@pytest.mark.parametrize("container", ["mp3", "flac", "ogg", "opus", "webm", "m4a", "wav"])
def test_formats_that_state_their_delay_start_within_a_millisecond(
    container: str, original: np.ndarray, tmp_path: Path
) -> None:
    sound = hear(tmp_path, encode(sweep(44100), 44100, container=container))
    assert abs(likeness(sound.samples, original)[1]) < 0.001


@pytest.mark.parametrize("rate_hz", [4000, 8000, 11025, 16000, 22050, 44100, 48000, 192000, 384000])
def test_every_rate_gives_the_same_samples(rate_hz: int, original: np.ndarray, tmp_path: Path) -> None:
    samples = np.round(sweep(rate_hz) * 32767).astype(np.int16)
    if rate_hz == 4000:  # holds nothing above 2 kHz: the first half of the sweep only
        samples, original = samples[:5000], original[: 5 * RATE_HZ // 4]
    sound = hear(tmp_path, wav(samples, rate_hz))
    alike, lag_s = likeness(sound.samples, original)
    assert alike > 0.999
    assert lag_s == 0
    assert sound.duration_s == pytest.approx(len(samples) / rate_hz, abs=0.001)


@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize(
    "signs", [(1,), (1, 1), (1, -1), (-1, 1), (1, 0), (1, -1, 1, -1), (0, 1, -1, 0, 0, 0)]
)
def test_mono_stereo_and_antiphase_are_the_same_sound(
    signs: tuple[int, ...], rate_hz: int, original: np.ndarray, tmp_path: Path
) -> None:
    channels = np.stack([sign * sweep(rate_hz) for sign in signs])
    sound = hear(tmp_path, encode(channels, rate_hz, container="flac"))
    alike, lag_s = likeness(sound.samples, original)
    assert alike > 0.999
    assert lag_s == 0


@pytest.mark.parametrize("container", ["mp3", "m4a", "opus", "ogg"])
def test_antiphase_survives_lossy_coding(container: str, original: np.ndarray, tmp_path: Path) -> None:
    channels = np.stack([sweep(44100), -sweep(44100)])
    sound = hear(tmp_path, encode(channels, 44100, container=container))
    assert likeness(sound.samples, original)[0] > 0.98


def test_stereo_is_the_mean_of_its_channels(tmp_path: Path) -> None:
    left, right = sweep(RATE_HZ), sweep(RATE_HZ)[::-1]
    sound = hear(tmp_path, encode(np.stack([left, right]), RATE_HZ, container="wav32"))
    np.testing.assert_allclose(sound.samples, (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize("container", ["opus", "wv", "m4a", "flac", "wav"])
def test_7_1_is_mixed_whatever_its_codec(container: str, original: np.ndarray, tmp_path: Path) -> None:
    """PyAV reads beyond the end of planar frames of 8 channels."""
    sound = hear(tmp_path, encode(np.stack([sweep(48000)] * 8), 48000, container=container))
    assert likeness(sound.samples, original)[0] > 0.97


def test_32_channels_are_mixed(original: np.ndarray, tmp_path: Path) -> None:
    samples = np.round(sweep(44100) * 32767).astype(np.int16)
    sound = hear(tmp_path, wav(np.stack([samples] * 32), 44100))
    assert likeness(sound.samples, original)[0] > 0.999


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_integers_of_every_width_have_the_same_scale(bits: int, tmp_path: Path) -> None:
    wide = np.round(sweep(RATE_HZ) * (2**31 - 1)).astype("<i4")
    data = {
        8: ((wide >> 24) + 128).astype(np.uint8).tobytes(),
        16: (wide >> 16).astype("<i2").tobytes(),
        24: wide.view(np.uint8).reshape(-1, 4)[:, 1:].tobytes(),
        32: wide.tobytes(),
    }[bits]
    sound = hear(tmp_path, raw_wav(data, rate_hz=RATE_HZ, bits=bits))
    np.testing.assert_allclose(sound.samples, sweep(RATE_HZ), atol=1.1 * 2.0 ** (1 - bits) + 1e-6)


def test_levels_beyond_full_scale_are_kept(tmp_path: Path) -> None:
    sound = hear(tmp_path, encode(5 * sweep(RATE_HZ), RATE_HZ, container="wav32"))
    np.testing.assert_allclose(sound.samples, 5 * sweep(RATE_HZ), rtol=1e-5)


@pytest.mark.parametrize("width", [4, 8])
def test_what_is_not_a_number_is_silence(width: int, tmp_path: Path) -> None:
    samples = sweep(RATE_HZ).astype(f"<f{width}")
    for at, nonsense in ((1000, np.nan), (2000, np.inf), (3000, -np.inf), (4000, 1e38), (5000, 1e300)):
        with np.errstate(over="ignore"):
            samples[at : at + 10] = nonsense
    sound = hear(tmp_path, raw_wav(samples.tobytes(), rate_hz=RATE_HZ, bits=8 * width, tag=3))
    expected = sweep(RATE_HZ)
    for at in (1000, 2000, 3000, 4000, 5000):
        expected[at : at + 10] = 0
    np.testing.assert_allclose(sound.samples, expected, atol=1e-6)


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    data = encode(sweep(44100), 44100, container="mp3")
    assert hear(tmp_path, data).samples.tobytes() == hear(tmp_path, data).samples.tobytes()


def test_what_is_longer_than_the_limit_is_heard_to_there(tmp_path: Path) -> None:
    sound = hear(tmp_path, encode(sweep(44100), 44100, container="flac"), max_s=1.5)
    whole = hear(tmp_path, encode(sweep(44100), 44100, container="flac"))
    assert sound.truncated
    assert len(sound.samples) == round(1.5 * RATE_HZ)
    np.testing.assert_array_equal(sound.samples, whole.samples[: len(sound.samples)])


def test_a_recording_of_exactly_the_limit_is_whole(tmp_path: Path) -> None:
    sound = hear(tmp_path, wav(np.ones(3 * 44100, np.int16), 44100), max_s=3, cut=False)
    assert (sound.duration_s, sound.truncated) == (3, False)


def test_a_cover_picture_is_not_heard(original: np.ndarray, tmp_path: Path) -> None:
    from mutagen.id3 import APIC, ID3  # noqa: PLC0415  (this test alone writes tags)

    path = tmp_path / "song.mp3"
    path.write_bytes(encode(sweep(44100), 44100, container="mp3"))
    tags = ID3(path)  # type: ignore[no-untyped-call]
    cover = APIC(encoding=3, mime="image/jpeg", type=3, data=picture())  # type: ignore[no-untyped-call]
    tags.add(cover)  # type: ignore[no-untyped-call]
    tags.save(path)
    alike, lag_s = likeness(hear(tmp_path, path.read_bytes()).samples, original)
    assert alike > 0.98
    assert lag_s == 0


def test_a_name_that_lies_does_not_matter(original: np.ndarray, tmp_path: Path) -> None:
    data = encode(sweep(44100), 44100, container="flac")
    for name in ("a.wav", "b.m3u8", "c.jpg", "d"):
        assert likeness(hear(tmp_path, data, name=name).samples, original)[0] > 0.999


def test_encoding_to_an_unknown_container_says_which_are_known() -> None:
    with pytest.raises(ValueError, match="container is 'mp5', must be one of mp3, flac"):
        encode(sweep(8000), 8000, container="mp5")
