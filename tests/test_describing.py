"""From files to descriptions: what is refused, what is cut, and what a codec may change."""

from pathlib import Path

import numpy as np
import pytest

from fpserver.audio.encode import encode
from fpserver.config import Config
from fpserver.describing import describe_clip, describe_track
from fpserver.errors import AudioSilent, AudioTooShort, AudioUnsupported, SourceMissing
from fpserver.fingerprint import wire
from fpserver.hearing import hear_track
from fpserver.terms import PARTS, SEGMENTS, Description, Group, Samples
from tests.synth import silence, song, tone

CONFIG = Config()
RATE_HZ = 44_100


def written(
    folder: Path,
    samples: Samples,
    *,
    container: str = "wav32",
    n_channels: int = 2,
    bitrate: int | None = None,
) -> Path:
    path = folder / "upload"
    path.write_bytes(encode(np.stack([samples] * n_channels), RATE_HZ, container=container, bitrate=bitrate))
    return path


def track(path: Path, *, parts: frozenset[str] = frozenset(PARTS), **features: float) -> Description:
    config = CONFIG.with_values(features=features)
    return describe_track(path, config.audio, config.features, parts)


def test_a_file_is_described_with_the_loudness_of_its_channels(tmp_path: Path) -> None:
    description = track(written(tmp_path, tone(997, 5.0, RATE_HZ, level=10 ** (-23 / 20))))
    assert description.facts["loudness_db"] == pytest.approx(-23, abs=0.1)
    assert description.facts["rms_db"] == pytest.approx(-26, abs=0.1)
    assert description.facts["centroid_hz"] == pytest.approx(997, abs=5)
    assert not description.truncated


def test_only_the_parts_asked_for_are_there(tmp_path: Path) -> None:
    description = track(written(tmp_path, song(1, 4.0, RATE_HZ)), parts=frozenset({"tonal"}))
    assert set(description.vectors) == {Group.TONAL}
    assert description.moments is None
    assert "loudness_db" not in description.facts


def test_what_is_longer_than_the_limit_is_cut(tmp_path: Path) -> None:
    description = track(written(tmp_path, song(1, 8.0, RATE_HZ)), max_described_s=5.0)
    assert description.truncated
    assert description.moments is not None
    assert len(description.moments) == 9


def test_what_is_shorter_than_the_limit_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, song(1, 2.0, RATE_HZ))
    with pytest.raises(AudioTooShort, match=r"audio is 2.00 s long, need at least 3 s"):
        track(path)
    with pytest.raises(AudioTooShort, match=r"audio is 2.00 s long, need at least 3 s"):
        describe_clip(path, CONFIG.audio, CONFIG.features)
    with pytest.raises(AudioTooShort, match=r"audio is 2.00 s long, need at least 2.5 s"):
        describe_clip(path, CONFIG.audio, CONFIG.features, None, 2.5)


def test_a_clip_for_moments_may_be_a_second_long(tmp_path: Path) -> None:
    path = written(tmp_path, song(1, 1.1, RATE_HZ))
    description = describe_clip(path, CONFIG.audio, CONFIG.features, frozenset({SEGMENTS}), 1.0)
    assert description.vectors == {}
    assert description.moments is not None
    assert len(description.moments) == 1


def test_a_clip_is_described_by_all_that_is_switched_on(tmp_path: Path) -> None:
    config = CONFIG.with_values(features={"timbre": False})
    path = written(tmp_path, song(1, 4.0, RATE_HZ))
    assert set(describe_clip(path, config.audio, config.features).vectors) == set(Group) - {Group.TIMBRE}


def test_silence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioSilent, match="audio is silent"):
        track(written(tmp_path, silence(5.0, RATE_HZ)))


def test_a_fingerprint_cannot_be_described(tmp_path: Path) -> None:
    hearing, _ = hear_track(written(tmp_path, song(1, 5.0, RATE_HZ)), CONFIG.audio, CONFIG.fingerprint)
    path = tmp_path / "upload"
    path.write_bytes(wire.pack(hearing, CONFIG.fingerprint))
    with pytest.raises(
        AudioUnsupported, match=r"this is a fingerprint, .* descriptors need the audio itself"
    ):
        track(path)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="nowhere"):
        track(tmp_path / "nowhere")


def test_a_codec_changes_little(tmp_path: Path) -> None:
    samples = song(2, 12.0, RATE_HZ)
    clean = track(written(tmp_path, samples))
    coded = track(written(tmp_path, samples, container="mp3", bitrate=64_000))
    assert coded.key == clean.key
    for name, relative in (("tempo_bpm", 0.01), ("centroid_hz", 0.1), ("onset_rate_hz", 0.15)):
        assert coded.facts[name] == pytest.approx(clean.facts[name], rel=relative)
    assert coded.facts["loudness_db"] == pytest.approx(clean.facts["loudness_db"], abs=1.0)
    likeness = np.corrcoef(clean.vectors[Group.TONAL], coded.vectors[Group.TONAL])
    assert likeness.min() > 0.98
