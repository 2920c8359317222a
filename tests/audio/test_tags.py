"""Tags are read where there are some, and never a reason to fail."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutagen.id3 import ID3, TCON, TIT2, TPE1, TSRC
from mutagen.mp4 import MP4, MP4FreeForm

from fpserver.audio.encode import KINDS, encode
from fpserver.audio.tags import read_tags
from fpserver.terms import MAX_METADATA_CHARS, Metadata
from tests.audio.files import sweep

TAGS = {"title": "Große Freiheit", "artist": "Nr. 7", "album": "Hafen", "genre": "Shanty"}


def tag_mp3(path: Path, *frames: Any) -> None:
    id3 = ID3(path)  # type: ignore[no-untyped-call]
    for frame in frames:
        id3.add(frame)  # type: ignore[no-untyped-call]
    id3.save(path)


def text(kind: Any, *lines: str) -> Any:
    """An ID3 frame (mutagen's are not typed)."""
    return kind(encoding=3, text=list(lines))


def write(folder: Path, container: str, **tags: str) -> Path:
    path = folder / f"file name.{container}"
    path.write_bytes(encode(sweep(8000, 0.5), 8000, container=container, metadata=tags))
    return path


@pytest.mark.parametrize("container", ["mp3", "flac", "ogg", "opus", "m4a", "wv"])
def test_tags_of_every_format_that_has_them(container: str, tmp_path: Path) -> None:
    assert read_tags(write(tmp_path, container, **TAGS)) == Metadata(**TAGS)


@pytest.mark.parametrize("container", KINDS)
def test_a_file_without_tags_is_called_by_its_name(container: str, tmp_path: Path) -> None:
    assert read_tags(write(tmp_path, container)) == Metadata(title="file name")


def test_isrc_in_every_dialect(tmp_path: Path) -> None:
    isrc = "DEA440900001"
    mp3, flac, m4a = write(tmp_path, "mp3"), write(tmp_path, "flac", ISRC=isrc), write(tmp_path, "m4a")
    tag_mp3(mp3, text(TSRC, isrc))
    mp4 = MP4(m4a)  # type: ignore[no-untyped-call]
    mp4["----:com.apple.iTunes:ISRC"] = [MP4FreeForm(isrc.encode())]  # type: ignore[no-untyped-call]
    mp4.save()  # type: ignore[no-untyped-call]
    assert [read_tags(path).isrc for path in (mp3, flac, m4a)] == [isrc] * 3


def test_several_artists_are_joined_and_genre_numbers_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, "mp3")
    tag_mp3(path, text(TPE1, "Anna", "Berta"), text(TCON, "(17)"))
    tags = read_tags(path)
    assert (tags.artist, tags.genre) == ("Anna, Berta", "Rock")


def test_long_and_unprintable_text_is_cut_and_cleaned(tmp_path: Path) -> None:
    path = write(tmp_path, "mp3")
    tag_mp3(path, text(TIT2, "a\x07b\n\tc " + "x" * 100_000), text(TPE1, "\x01 \x02"))
    tags = read_tags(path)
    assert tags.title is not None
    assert tags.title.startswith("a b c xxx")
    assert len(tags.title) == MAX_METADATA_CHARS
    assert tags.artist is None


def test_damaged_tags_are_no_tags(tmp_path: Path) -> None:
    good = write(tmp_path, "mp3", **TAGS).read_bytes()
    rng = np.random.default_rng(3)
    path = tmp_path / "odd.mp3"
    for _ in range(50):
        data = bytearray(good)
        for at in rng.integers(0, 300, 10):
            data[at] = rng.integers(256)
        path.write_bytes(data)
        assert read_tags(path).title


@pytest.mark.parametrize("data", [b"", b"ID3", b"hello", bytes(1000)])
def test_what_is_no_audio_has_a_name_still(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "01 - something.mp3"
    path.write_bytes(data)
    assert read_tags(path) == Metadata(title="01 - something")


def test_a_missing_file_has_a_name_still(tmp_path: Path) -> None:
    assert read_tags(tmp_path / "gone.mp3") == Metadata(title="gone")


def test_a_name_that_is_not_text_does_not_fail(tmp_path: Path) -> None:
    path = Path(str(tmp_path / "caf\udce9.mp3"))
    path.write_bytes(b"x")
    assert read_tags(path).title == "caf"
