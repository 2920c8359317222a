"""Clips from a corpus of a few synthetic recordings: the same again, as long as asked, where the truth says."""

import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fpserver.audio.encode import encode
from loadtest.accuracy.cells import Cell, Codec, Room, grid
from loadtest.accuracy.clips import Studio, at_rate, key_of, render, studio
from loadtest.accuracy.degrade import band_rms, has_gsm
from loadtest.accuracy.judge import Judge
from loadtest.corpus import RATE_HZ, as_samples, music, samples_of
from tests import synth

HZ = 16000  # of the files: clips are at 44.1 kHz


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for group in "ab":
        (folder / group).mkdir()
        for i in range(2):
            samples = synth.noise(ord(group) + i, 30, HZ)
            (folder / group / f"{i}.wav").write_bytes(encode(samples, HZ, container="wav"))
    with (folder / "noise.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "seconds", "package", "noise_type"])
        for kind in ("babble", "crowd", "weather"):
            (folder / f"{kind}.flac").write_bytes(encode(synth.noise(7, 4, HZ), HZ, container="flac"))
            writer.writerow([f"{kind}.flac", 4.0, "noise", kind])
    return folder


@pytest.fixture(scope="module")
def makes(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with pytest.MonkeyPatch.context() as patch:  # decoded samples are kept in the folder for temporary files
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("decoded")))
        recordings = [each for each in music(corpus) if each.cluster in "ab"]
        yield studio(corpus, recordings[:2], recordings[2:], seed=1)


def possible(cell: Cell) -> bool:
    return cell.room is not Room.MEASURED and (cell.codec is not Codec.GSM or has_gsm())


@pytest.mark.parametrize("cell", [each for each in grid()[::5] if possible(each)], ids=lambda cell: cell.name)
def test_a_clip_is_as_long_as_asked_and_the_same_again(cell: Cell, makes: Studio) -> None:
    clip, pcm = render(makes, cell, 3)
    again, same = render(makes, cell, 3)
    other, _ = render(makes, cell, 4)
    assert len(pcm) == round(cell.seconds * RATE_HZ)
    assert clip == again
    assert np.array_equal(pcm, same)
    assert clip.sha256 != other.sha256
    assert clip.key == key_of(makes, cell, 3)
    assert len(clip.parts) == (0 if cell.unknown else 2 if cell.family == "several" else 1)


def test_a_clean_clip_lies_where_the_truth_says(makes: Studio) -> None:
    clip, pcm = render(makes, Cell(name="clean_2s", family="clean", seconds=2), 0)
    recording = Judge(makes.known).recordings[clip.parts[0].track]
    whole = samples_of(recording.path)
    assert whole is not None
    start = round(clip.parts[0].start_s * RATE_HZ)
    assert np.abs(whole[start : start + len(pcm)] - pcm.astype(np.int32)).max() <= 1


def test_noise_makes_a_clip_as_bad_as_its_cell_says(makes: Studio) -> None:
    cell = next(each for each in grid() if each.name == "noise_-6dB_10s")
    clip, pcm = render(makes, cell, 0)
    whole = samples_of(Judge(makes.known).recordings[clip.parts[0].track].path)
    assert whole is not None
    start = round(clip.parts[0].start_s * RATE_HZ)
    music_, heard = as_samples(whole[start : start + len(pcm)]), as_samples(pcm)
    gain = float(np.dot(heard, music_) / np.dot(music_, music_))  # noise and music have little in common
    noise = (heard - gain * music_).astype(np.float32)
    assert 20 * np.log10(gain * band_rms(music_) / band_rms(noise)) == pytest.approx(-6, abs=1)


def test_peers_hear_the_clip_at_their_rate(makes: Studio) -> None:
    _, pcm = render(makes, Cell(name="clean_2s", family="clean", seconds=2), 0)
    assert len(at_rate(pcm, 8000)) == 2 * 8000
