"""The recordings that measurements are made on: a folder of real music, split into catalogue and unknown.

A folder with `tracks.csv` (path, seconds, package, cluster, repeat_frac, lead_sil_s, trail_sil_s, near) is read by
it; any other folder by the files it holds, one cluster per sub-folder. `noise.csv` (path, seconds, package,
noise_type) beside it names noise and speech, `responses.csv` (path) impulse responses. Recordings that share an
artist or a package are never split between the parts of a measurement.
"""

import csv
import hashlib
import os
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fpserver.audio.decode import decode
from fpserver.errors import AudioError
from fpserver.files import find_audio
from fpserver.terms import Samples

Pcm: TypeAlias = npt.NDArray[np.int16]

RATE_HZ = 44100
MIN_TRACK_S = 25.0
MAX_REPEAT = 0.3  # share of a track that repeats itself; beyond, several offsets are true


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A file of the corpus, and what matters for measuring with it."""

    path: Path
    seconds: float
    cluster: str
    package: str
    repeats: bool = False
    head_s: float = 0.0  # silence at its ends: no clips there
    tail_s: float = 0.0
    kind: str = "music"
    name: str = ""  # its path below the corpus
    near: tuple[str, ...] = ()  # "package:file name" of those that share material with it

    def shares_material(self, other: "Recording") -> bool:
        """Whether it is the other, or the corpus says that they hold the same material."""
        ours, theirs = (f"{each.package}:{each.path.name}" for each in (self, other))
        return self.path == other.path or theirs in self.near or ours in other.near


@dataclass(frozen=True, slots=True, kw_only=True)
class Thirds:
    """Recordings by what they are for; no cluster is in two."""

    tuning: list[Recording]
    reporting: list[Recording]
    unknown: list[Recording]


def music(folder: Path) -> list[Recording]:
    """Recordings of at least 25 s, ordered by path."""
    table = folder / "tracks.csv"
    if not table.is_file():
        paths = list(find_audio([folder]))
        found = [
            Recording(
                path=path,
                seconds=seconds,
                cluster=path.parent.name,
                package=path.parent.name,
                name=str(path.relative_to(folder)),
            )
            for path, seconds in zip(paths, lengths_s(paths), strict=True)
        ]
    else:
        found = [_recording(folder, row) for row in _rows(table)]
    return sorted((each for each in found if each.seconds >= MIN_TRACK_S), key=lambda each: str(each.path))


def noises(folder: Path) -> list[Recording]:
    """Noise and speech of the corpus, by kind; none where there is no table."""
    table = folder / "noise.csv"
    rows = _rows(table) if table.is_file() else []
    return [
        Recording(
            path=folder / row["path"],
            seconds=float(row["seconds"]),
            cluster=row["package"],
            package=row["package"],
            kind="speech" if row["noise_type"] == "babble" else row["noise_type"],
            name=row["path"],
        )
        for row in rows
    ]


def responses(folder: Path) -> list[Path]:
    """Impulse responses of the corpus; none where there is no table."""
    table = folder / "responses.csv"
    return [folder / row["path"] for row in _rows(table)] if table.is_file() else []


def split(
    recordings: list[Recording], *, n_catalogue: int, seed: int
) -> tuple[list[Recording], list[Recording]]:
    """Whole clusters, shuffled, until `n_catalogue` are catalogued; the others are unknown to it."""
    clusters: dict[str, list[Recording]] = defaultdict(list)
    for recording in recordings:
        clusters[recording.cluster].append(recording)
    names = sorted(clusters)
    np.random.default_rng(seed).shuffle(names)
    catalogue: list[Recording] = []
    unknown: list[Recording] = []
    for name in names:
        (catalogue if len(catalogue) < n_catalogue else unknown).extend(clusters[name])
    return catalogue, unknown


def thirds(recordings: list[Recording]) -> Thirds:
    """The largest cluster is for reporting; each other one goes to tuning or unknown by a digest of its name.

    Half of the small clusters each, chosen by no one.
    """
    clusters: dict[str, list[Recording]] = defaultdict(list)
    for recording in recordings:
        clusters[recording.cluster].append(recording)
    largest, *others = sorted(clusters, key=lambda name: (-len(clusters[name]), name))
    tuning: list[Recording] = []
    unknown: list[Recording] = []
    for name in sorted(others):
        is_even = hashlib.sha256(name.encode()).digest()[-1] % 2 == 0
        (tuning if is_even else unknown).extend(clusters[name])
    return Thirds(tuning=tuning, reporting=clusters[largest], unknown=unknown)


def samples_of(path: Path, rate_hz: int = RATE_HZ) -> Pcm | None:
    """A whole recording, mono; None where it cannot be decoded.

    It is decoded once and kept in a folder for temporary files (at 44.1 kHz 320 MB per hour), so that many
    processes share it.
    """
    folder = Path(tempfile.gettempdir()) / "fpserver-loadtest-pcm"
    kept = folder / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:24]}-{rate_hz}.npy"
    if not kept.is_file():
        try:
            samples = decode(path, rate_hz=rate_hz, max_s=4 * 3600, max_bytes=2**31, cut=True).samples
        except AudioError:
            samples = np.zeros(0, np.float32)
        folder.mkdir(exist_ok=True)
        partial = kept.with_suffix(f".{os.getpid()}.part")
        with partial.open("wb") as file:
            np.save(file, np.clip(samples * 32768, -32768, 32767).astype(np.int16))
        partial.replace(kept)
    pcm = np.load(kept, mmap_mode="r")
    return pcm if len(pcm) else None


def lengths_s(paths: Sequence[Path], rate_hz: int = RATE_HZ) -> list[float]:
    """Of whole recordings, 0 of those that cannot be decoded; as many at a time as there are cores."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("fork")) as pool:
        return list(pool.map(partial(_length_s, rate_hz=rate_hz), paths))


def readable(recordings: Sequence[Recording], rate_hz: int = RATE_HZ) -> list[Recording]:
    """Without those that cannot be decoded."""
    lengths = lengths_s([each.path for each in recordings], rate_hz)
    return [each for each, seconds in zip(recordings, lengths, strict=True) if seconds]


def as_samples(pcm: Pcm) -> Samples:
    """-1..1."""
    return pcm.astype(np.float32) / np.float32(32768)


def cut(recording: Recording, seconds: float, rng: np.random.Generator) -> tuple[float, Samples]:
    """(start_s, samples) of a random cut that is not silent."""
    start_s, samples = place(recording, seconds, rng)
    start = round(start_s * RATE_HZ)
    return start_s, as_samples(samples[start : start + round(seconds * RATE_HZ)])


def place(recording: Recording, seconds: float, rng: np.random.Generator) -> tuple[float, Pcm]:
    """(start_s, whole recording): where a random cut begins that is not silent."""
    samples = samples_of(recording.path)
    if samples is None:
        raise ValueError(f"{recording.path} cannot be decoded")
    last_s = len(samples) / RATE_HZ - recording.tail_s - seconds
    while True:
        start = round(rng.uniform(min(recording.head_s, last_s), last_s) * RATE_HZ)
        piece = as_samples(samples[start : start + round(seconds * RATE_HZ)])
        if np.sqrt(np.mean(piece**2)) > 1e-3:
            return start / RATE_HZ, samples


def _recording(folder: Path, row: dict[str, str]) -> Recording:
    return Recording(
        path=folder / row["path"],
        seconds=float(row["seconds"]),
        cluster=row["cluster"] or row["package"],
        package=row["package"],
        repeats=float(row["repeat_frac"] or 0) > MAX_REPEAT or bool(row["near"]),
        head_s=float(row["lead_sil_s"] or 0),
        tail_s=float(row["trail_sil_s"] or 0),
        name=row["path"],
        near=tuple(each.partition("(")[0].strip() for each in row["near"].split(";") if each.strip()),
    )


def _length_s(path: Path, *, rate_hz: int) -> float:
    samples = samples_of(path, rate_hz)
    return 0.0 if samples is None else len(samples) / rate_hz


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
