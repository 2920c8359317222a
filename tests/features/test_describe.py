"""Descriptions as a whole: complete, finite, the same for the same samples, refused for silence."""

import subprocess
import sys
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpserver.audio.encode import encode
from fpserver.descriptors import FACTS, LAYOUT, RATE_HZ
from fpserver.errors import AudioSilent
from fpserver.features.describe import describe
from fpserver.features.frames import frames_of
from fpserver.terms import PARTS, SEGMENTS, Description, Group, Samples
from tests.synth import clicks, noise, silence, song, tone


def described(samples: Samples, *, parts: tuple[str, ...] = PARTS, loudness_db: float = -20.0) -> Description:
    return describe(samples, parts=parts, loudness_db=loudness_db)


def assert_sound(description: Description) -> None:
    assert set(description.facts) <= set(FACTS)
    assert np.isfinite(list(description.facts.values())).all()
    for group, vector in description.vectors.items():
        assert vector.shape == (len(LAYOUT[group]),)
        assert vector.dtype == np.float32
        assert np.isfinite(vector).all()
    if description.moments is not None:
        assert np.isfinite(description.moments.timbre).all()
        assert np.isfinite(description.moments.chroma).all()


def values(description: Description, group: Group) -> dict[str, float]:
    names = (each.name for each in LAYOUT[group])
    return dict(zip(names, map(float, description.vectors[group]), strict=True))


def test_a_song_has_every_fact_and_vector() -> None:
    description = described(song(1, 20.0))
    assert_sound(description)
    assert set(description.vectors) == set(Group)
    assert set(description.facts) == set(FACTS)
    assert description.key is not None
    assert description.moments is not None


@pytest.mark.parametrize("part", PARTS)
def test_one_part_alone_is_what_it_is_among_all(part: str) -> None:
    samples = song(2, 5.0)
    alone, among = described(samples, parts=(part,)), described(samples)
    assert set(alone.vectors) == {part} - {SEGMENTS}
    for group, vector in alone.vectors.items():
        assert vector.tobytes() == among.vectors[group].tobytes()
    assert alone.facts.items() <= among.facts.items()
    if alone.moments is not None and among.moments is not None:
        assert alone.moments.timbre.tobytes() == among.moments.timbre.tobytes()
        assert alone.moments.chroma.tobytes() == among.moments.chroma.tobytes()
    else:
        assert part != SEGMENTS


def test_a_sine_has_its_centroid_and_level_and_no_tempo() -> None:
    description = described(tone(1000, 10.0, level=0.5))
    assert description.facts["centroid_hz"] == pytest.approx(1000, abs=5)
    assert description.facts["rolloff_hz"] == pytest.approx(1000, abs=30)
    assert description.facts["bandwidth_hz"] < 50
    assert description.facts["rms_db"] == pytest.approx(-9.03, abs=0.1)
    assert description.facts["zero_crossing_rate"] == pytest.approx(2 * 1000 / RATE_HZ, rel=0.02)
    assert "tempo_bpm" not in description.facts
    assert description.facts["onset_rate_hz"] == 0


def test_noise_is_flat_and_a_tone_is_not() -> None:
    assert described(noise(1, 3.0)).facts["flatness"] > 0.5
    assert described(song(1, 3.0)).facts["flatness"] < 0.1


@pytest.mark.parametrize("every_s", [0.4, 0.5, 1.0])
def test_clicks_are_counted(every_s: float) -> None:
    rate_hz = described(clicks(every_s, 20.0, first_s=0.2)).facts["onset_rate_hz"]
    assert rate_hz == pytest.approx(1 / every_s, rel=0.06)


def test_pauses_do_not_count() -> None:
    samples = song(3, 6.0)
    with_pause = np.concatenate([silence(4.0), samples, silence(9.0)])
    one, other = (values(described(each), Group.SPECTRAL) for each in (samples, with_pause))
    for name in ("centroid_hz_mean", "rolloff_hz_mean", "contrast_3_db_mean"):
        assert other[name] == pytest.approx(one[name], rel=0.03)


def test_being_quieter_changes_levels_and_nothing_else() -> None:
    samples = song(1, 10.0)
    loud, quiet = described(samples), described(samples * np.float32(0.1), loudness_db=-40.0)
    assert quiet.facts["rms_db"] == pytest.approx(loud.facts["rms_db"] - 20, abs=0.05)
    assert quiet.facts["loudness_db"] == -40
    assert quiet.facts["centroid_hz"] == pytest.approx(loud.facts["centroid_hz"], rel=1e-3)
    assert quiet.facts["tempo_bpm"] == pytest.approx(loud.facts["tempo_bpm"], rel=1e-3)
    assert quiet.key == loud.key


@pytest.mark.parametrize("loudness_db", [-inf, nan, -71.0])
def test_a_loudness_that_is_none_is_absent(loudness_db: float) -> None:
    description = described(song(1, 3.0), loudness_db=loudness_db)
    assert_sound(description)
    assert "loudness_db" not in description.facts
    assert values(description, Group.TEMPORAL)["loudness_db"] == -70


@pytest.mark.parametrize(
    "samples", [silence(5.0), np.full(5 * RATE_HZ, 0.5, np.float32), noise(1, 3.0, level=3e-5)]
)
def test_silence_dither_and_a_constant_are_refused(samples: Samples) -> None:
    with pytest.raises(
        AudioSilent, match=r"audio is silent: its loudest moment is at -.* dB, need at least -80 dB"
    ):
        described(samples)


ODD: dict[str, Samples] = {
    "clipped square": np.sign(tone(300, 4.0)).astype(np.float32),
    "very quiet": song(1, 4.0) * np.float32(1e-3),
    "very loud": song(1, 4.0) * np.float32(1e6),
    "one second": song(1, 1.0),
    "one click": clicks(10.0, 3.0, first_s=1.0),
    "three samples": np.array([0.5, -0.5, 0.5], np.float32),
    "offset": tone(440, 3.0) + np.float32(0.5),
    "sound at the end": np.concatenate([silence(3.0), tone(440, 0.01)]),
    "highest frequency": np.tile(np.array([0.5, -0.5], np.float32), 3 * RATE_HZ // 2),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_sounds_have_finite_descriptions(name: str) -> None:
    assert_sound(described(ODD[name]))


@settings(max_examples=40, deadline=None)
@given(
    level=st.floats(-4.5, 6),
    seconds=st.floats(0.01, 2.5),
    seed=st.integers(0, 1000),
    gaps=st.floats(0, 1),
    coarse=st.booleans(),
)
def test_made_up_sounds_have_finite_descriptions_or_are_silent(
    level: float, seconds: float, seed: int, gaps: float, coarse: bool
) -> None:
    rng = np.random.default_rng(seed)
    samples = rng.normal(size=max(1, round(seconds * RATE_HZ))).astype(np.float32)
    samples[rng.random(len(samples) // 500 + 1).repeat(500)[: len(samples)] < gaps] = 0
    samples = (np.sign(samples) if coarse else samples) * np.float32(10**level)
    try:
        assert_sound(described(samples))
    except AudioSilent:
        assert samples.std() < 1e-3


def test_the_same_samples_give_the_same_bytes() -> None:
    samples = song(4, 8.0)
    first, second = described(samples), described(samples.copy())
    for group in Group:
        assert first.vectors[group].tobytes() == second.vectors[group].tobytes()
    assert first.facts == second.facts
    assert first.moments is not None and second.moments is not None
    assert first.moments.timbre.tobytes() == second.moments.timbre.tobytes()


def test_only_columns_stay_of_a_spectrogram() -> None:
    frames = frames_of(noise(1, 10.0), PARTS)
    n_bytes = sum(getattr(frames, name).nbytes for name in frames.__dataclass_fields__)
    assert n_bytes / 10 * 3600 < 150e6  # of an hour, whose power spectrogram has 636 MB


LONG = """
import resource
import numpy as np
from fpserver.descriptors import RATE_HZ
from fpserver.features import prepared
from fpserver.features.describe import describe
from fpserver.terms import PARTS

samples = np.tile(np.random.default_rng(1).normal(size=7 * RATE_HZ).astype(np.float32), 90)  # 630 s
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
describe(samples, parts=PARTS, loudness_db=-20.0)
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
print(grown)
assert grown < 1.1e9 * 630 / 3600, grown  # with the samples of an hour, 318 MB, less than 1.5 GB
"""

READY = """
from numba.core.registry import CPUDispatcher
from fpserver.audio import loudness, prepared
from fpserver.features import loops
from fpserver.features import prepared
from fpserver.config import Config
from fpserver.describing import describe_track
from pathlib import Path
import sys

loops = [*vars(loops).items(), *vars(loudness).items()]
compiled = [each for name, each in loops if isinstance(each, CPUDispatcher) and not name.startswith("_")]
ready = [len(each.signatures) for each in compiled]
assert min(ready) == 1, ready
for path in sys.argv[1:]:
    describe_track(Path(path), Config().audio, Config().features, Config().features.parts)
assert [len(each.signatures) for each in compiled] == ready
assert "librosa" not in sys.modules and "sklearn" not in sys.modules and "scipy.signal" not in sys.modules
"""


def run(program: str, *arguments: str) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", program, *arguments]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_a_long_sound_needs_little_memory() -> None:
    run(LONG)


def test_no_file_waits_for_a_compiler(tmp_path: Path) -> None:
    paths = []
    for n_channels, container in ((1, "wav32"), (2, "mp3"), (2, "flac")):
        path = tmp_path / f"{n_channels}.{container}"
        path.write_bytes(encode(np.stack([song(1, 4.0, 44_100)] * n_channels), 44_100, container=container))
        paths.append(str(path))
    run(READY, *paths)
