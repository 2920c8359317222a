"""What comes out of files that are empty, damaged, lying or hostile: one clear error, or the right answer, soon."""

import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from fpserver.audio.decode import FREE_PACKETS, decode
from fpserver.audio.encode import encode
from fpserver.errors import (
    AudioDamaged,
    AudioEmpty,
    AudioError,
    AudioTooLarge,
    AudioTooLong,
    AudioTooShort,
    AudioUnsupported,
    SourceMissing,
)
from loadtest.abuse.bombs import LIMIT_BYTES, MAKERS
from tests.audio.files import flac_silence, hear, picture, raw_wav, silent_film, sweep, wav

RATE_HZ = 44100


def song(container: str, duration_s: float = 5.0) -> bytes:
    return encode(sweep(RATE_HZ, duration_s), RATE_HZ, container=container)


def test_no_bytes(tmp_path: Path) -> None:
    with pytest.raises(AudioEmpty, match="0 bytes"):
        hear(tmp_path, b"")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match=r"nowhere\.mp3 cannot be read: No such file"):
        decode(tmp_path / "nowhere.mp3", rate_hz=11025, max_s=1, max_bytes=1, cut=True)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="cannot be read"):
        decode(tmp_path, rate_hz=11025, max_s=1, max_bytes=2**20, cut=True)


def test_too_many_bytes(tmp_path: Path) -> None:
    with pytest.raises(AudioTooLarge, match="is 1001 bytes long, at most 1000"):
        hear(tmp_path, bytes(1001), max_bytes=1000)


def test_too_many_seconds(tmp_path: Path) -> None:
    with pytest.raises(AudioTooLong, match=r"goes on after 4\.5 s"):
        hear(tmp_path, song("mp3"), max_s=4.5, cut=False)


def test_too_few_seconds(tmp_path: Path) -> None:
    with pytest.raises(AudioTooShort, match=r"0\.30 s long, need at least 1 s"):
        hear(tmp_path, song("wav", 0.3), min_s=1.0)


@pytest.mark.parametrize(
    "data",
    [
        b"Dear Sir or Madam,\nplease find no song enclosed.\n" * 200,
        b"<!doctype html><html><body>404</body></html>",
        b"\x00" * 5000,
        b"\xff" * 5000,
        b"x",
        bytes(range(256)) * 40,
        zlib.compress(bytes(10000)),
    ],
    ids=["letter", "html", "zeros", "ones", "one byte", "ramp", "zlib"],
)
def test_what_is_no_audio(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(AudioUnsupported, match="not an audio file: it begins with"):
        hear(tmp_path, data)


@pytest.mark.parametrize("codec", ["mjpeg", "png"])
def test_a_picture_named_mp3(codec: str, tmp_path: Path) -> None:
    with pytest.raises(AudioUnsupported):
        hear(tmp_path, picture(codec), name="picture.mp3")


def test_a_film_without_sound(tmp_path: Path) -> None:
    with pytest.raises(AudioUnsupported, match="holds video, but no sound"):
        hear(tmp_path, silent_film())


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes_are_an_error_whatever_they_begin_with(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    beginnings = [
        b"",
        b"ID3\x03\x00\x00\x00\x00\x00\x00",
        b"fLaC",
        b"OggS\x00\x02",
        b"\xff\xfb\x90\x00",
        b"\xff\xf1\x50",
    ]
    beginnings += [b"\x1aE\xdf\xa3", b"\x00\x00\x00\x1cftypM4A ", b"FORM\x00\x00\xff\xffAIFFCOMM", b"wvpk"]
    for beginning in beginnings:
        with pytest.raises(AudioError):
            hear(tmp_path, beginning + rng.bytes(50_000), min_s=1)


@pytest.mark.parametrize("container", ["mp3", "flac", "mp4", "aac", "wav", "aiff"])
def test_a_file_cut_in_the_middle_is_heard_to_the_cut(container: str, tmp_path: Path) -> None:
    data = song(container)
    for share in (0.5, 0.701):
        sound = hear(tmp_path, data[: int(share * len(data))])
        assert sound.truncated
        assert sound.duration_s == pytest.approx(5 * share, abs=0.5)


@pytest.mark.parametrize("container", ["ogg", "opus", "webm"])
def test_a_stream_cut_in_the_middle_is_heard_to_the_cut(container: str, tmp_path: Path) -> None:
    """These formats do not say how long they are meant to be, so nothing can be marked as missing."""
    data = song(container)
    assert hear(tmp_path, data[: len(data) * 7 // 10]).duration_s == pytest.approx(3.5, abs=1.1)


@pytest.mark.parametrize("container", ["m4a", "alac"])
def test_an_m4a_without_its_index_is_damaged(container: str, tmp_path: Path) -> None:
    data = song(container)
    with pytest.raises(AudioDamaged, match="begins like audio"):
        hear(tmp_path, data[: len(data) // 2])


@pytest.mark.parametrize(
    "container", ["mp3", "flac", "ogg", "opus", "webm", "m4a", "aac", "wav", "aiff", "wv"]
)
def test_every_cut_near_the_beginning_is_an_error_or_sound(container: str, tmp_path: Path) -> None:
    data = song(container, 1.0)
    for n_bytes in (1, 3, 4, 8, 12, 20, 43, 44, 45, 60, 100, 200, 500, 1000):
        try:
            sound = hear(tmp_path, data[:n_bytes])
        except AudioError:
            continue
        assert 0 < sound.duration_s < 1


@pytest.mark.parametrize("container", ["mp3", "flac", "aac", "opus", "wav", "m4a"])
def test_damage_in_the_middle_is_skipped(container: str, tmp_path: Path) -> None:
    data = bytearray(song(container))
    middle = len(data) // 2
    data[middle : middle + 3000] = np.random.default_rng(1).bytes(3000)
    assert hear(tmp_path, bytes(data)).duration_s == pytest.approx(5, abs=1.5)


@pytest.mark.parametrize(
    "container", ["mp3", "flac", "ogg", "opus", "webm", "m4a", "mp4", "aac", "wav", "aiff", "wv"]
)
def test_damage_anywhere_never_ends_in_anything_but_sound_or_an_audio_error(
    container: str, tmp_path: Path
) -> None:
    good = song(container, 1.0)
    rng = np.random.default_rng(7)
    for _ in range(12):
        data = bytearray(good)
        for at in rng.integers(0, len(data), 20):
            data[at] = rng.integers(256)
        try:
            sound = hear(tmp_path, bytes(data))
        except AudioError:
            continue
        assert np.isfinite(sound.samples).all()
        assert sound.duration_s <= 60


def test_ten_hours_in_a_small_file_cost_only_the_seconds_asked_for(tmp_path: Path) -> None:
    bomb = flac_silence(hours=10)
    assert len(bomb) < 10**6
    start = time.monotonic()
    sound = hear(tmp_path, bomb, max_s=60)
    assert time.monotonic() - start < 2
    assert (sound.duration_s, sound.truncated) == (60, True)
    with pytest.raises(AudioTooLong, match="goes on after 600 s"):
        hear(tmp_path, bomb, max_s=600, cut=False)


def test_192_khz_in_8_channels_costs_only_the_seconds_asked_for(tmp_path: Path) -> None:
    data = encode(np.zeros((8, 10 * 192_000), np.float32), 192_000, container="flac")
    sound = hear(tmp_path, data, max_s=5)
    assert (sound.duration_s, sound.truncated) == (5, True)


@pytest.mark.parametrize("rate_hz", [1, 3999, 384_001, 2**31 - 1])
def test_a_rate_out_of_bounds_is_refused_before_it_is_resampled(rate_hz: int, tmp_path: Path) -> None:
    with pytest.raises(AudioUnsupported, match=f"sample rate of {rate_hz} Hz, must be 4000 to 384000 Hz"):
        hear(tmp_path, raw_wav(bytes(2_000_000), rate_hz=rate_hz))


@pytest.mark.parametrize("channels", [33, 64, 1000, 32767])
def test_too_many_channels_are_refused(channels: int, tmp_path: Path) -> None:
    with pytest.raises(AudioError):
        hear(tmp_path, raw_wav(bytes(2_000_000), rate_hz=8000, channels=channels))


def test_a_header_that_claims_two_gigabytes_is_not_believed(tmp_path: Path) -> None:
    sound = hear(tmp_path, raw_wav(bytes(88200), rate_hz=44100, claimed_bytes=2**31 - 100))
    assert sound.duration_s == pytest.approx(1, abs=0.01)
    assert sound.truncated


def test_a_header_without_samples_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(AudioDamaged):
        hear(tmp_path, raw_wav(b"", rate_hz=44100))


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp3", "list.txt", "list.mpd", "list.sdp"])
def test_lists_never_open_the_file_they_name(name: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(wav(np.ones(44100, np.int16), 44100))
    lists = (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{secret}'\n",
        f"file '{secret}'\n",
        f"<?xml version='1.0'?><MPD><BaseURL>file://{secret}</BaseURL></MPD>",
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\na=file://{secret}\n",
    )
    for text in lists:
        with pytest.raises(AudioUnsupported):
            hear(tmp_path, text.encode(), name=name)


@pytest.mark.parametrize("name", MAKERS)
def test_no_small_file_costs_more_than_a_clip_may(name: str, tmp_path: Path) -> None:
    bomb = MAKERS[name]()
    assert len(bomb) <= LIMIT_BYTES
    start = time.process_time()
    try:
        sound = hear(tmp_path, bomb, max_s=60)
    except AudioError:
        pass
    else:
        assert 0 < sound.duration_s <= 60
    assert time.process_time() - start < 4


def test_packets_that_hold_a_sample_each_are_given_up(tmp_path: Path) -> None:
    sound = hear(tmp_path, MAKERS["matroska, a packet per sample"](), max_s=60)
    assert sound.truncated
    assert sound.duration_s == pytest.approx(FREE_PACKETS / 48_000, rel=0.1)
