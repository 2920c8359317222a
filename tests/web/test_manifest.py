"""Paths in manifests: only what really lies below a root is read, and a refusal tells nothing of other files."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import pytest

from fpserver.errors import AudioEmpty, AudioTooLarge, FpserverError, InvalidRequest, SourceMissing
from fpserver.web.manifest import file_below


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "song.mp3").write_bytes(b"song")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "music-not").mkdir()
    (tmp_path / "music-not" / "song.mp3").write_bytes(b"other")
    return folder


@pytest.mark.parametrize("named", ["sub/song.mp3", "sub/../sub/song.mp3", "{music}/sub/song.mp3"])
def test_a_file_below_a_root_is_found_by_relative_and_absolute_path(music: Path, named: str) -> None:
    path, sha256 = file_below(["/nowhere", str(music)], named.format(music=music), max_bytes=10)
    assert path == music / "sub" / "song.mp3"
    assert sha256 == hashlib.sha256(b"song").hexdigest()


def test_a_root_that_is_a_link_is_followed(music: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(music)
    path, _ = file_below([str(tmp_path / "link")], "sub/song.mp3", max_bytes=10)
    assert path == music / "sub" / "song.mp3"


@pytest.mark.parametrize(
    "named",
    [
        "../secret",
        "/etc/passwd",
        "{music}/../secret",
        "{music}-not/song.mp3",
        "sub/../../secret",
        "out",
        "out/x",
    ],
)
def test_a_path_that_leaves_the_roots_is_refused_whether_the_file_is_there_or_not(
    music: Path, named: str
) -> None:
    (music / "out").symlink_to(music.parent / "secret")
    with pytest.raises(InvalidRequest, match=r"is not below a folder of web\.manifest_roots"):
        file_below([str(music)], named.format(music=music), max_bytes=10)


def test_a_file_that_is_missing_below_a_root_is_named(music: Path) -> None:
    with pytest.raises(SourceMissing, match=r"'sub/none\.mp3' cannot be read: No such file"):
        file_below([str(music)], "sub/none.mp3", max_bytes=10)


def test_folders_and_pipes_are_not_files(music: Path) -> None:
    os.mkfifo(music / "pipe")
    for named in ("sub", "pipe", "."):
        with pytest.raises(InvalidRequest, match="not a regular file"):
            file_below([str(music)], named, max_bytes=10)


def test_files_outside_the_limits_of_size_are_refused(music: Path) -> None:
    (music / "empty").touch()
    with pytest.raises(AudioEmpty):
        file_below([str(music)], "empty", max_bytes=10)
    with pytest.raises(AudioTooLarge, match="more than 3 bytes"):
        file_below([str(music)], "sub/song.mp3", max_bytes=3)


@pytest.mark.parametrize("named", ["a\0b", "x" * 5000, "loop"])
def test_odd_paths_are_refused_not_raised(music: Path, named: str) -> None:
    (music / "loop").symlink_to("loop")
    with pytest.raises((InvalidRequest, SourceMissing)):
        file_below([str(music)], named, max_bytes=10)


def test_a_folder_that_becomes_a_link_while_it_is_opened_leads_nowhere(
    music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open = os.open

    def swap_and_open(path: Path, flags: int) -> int:
        (music / "sub").rename(music / "gone")
        (music / "sub").symlink_to(music.parent / "music-not")
        return really_open(path, flags)

    monkeypatch.setattr(os, "open", swap_and_open)
    with pytest.raises(InvalidRequest, match=r"is not below"):
        file_below([str(music)], "sub/song.mp3", max_bytes=10)


def test_what_is_refused_leaves_no_file_open(music: Path) -> None:
    (music / "empty.mp3").touch()
    os.mkfifo(music / "pipe")
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    for named in ("sub", "empty.mp3", "pipe", "none.mp3", "../secret", "sub/song.mp3"):
        with suppress(FpserverError):
            file_below([str(music)], named, max_bytes=3)
    if before:
        assert len(list(Path("/proc/self/fd").iterdir())) == before
