"""Descriptions of recordings and of their copies, kept on disk under the code that made them."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soxr

from fpserver import descriptors
from fpserver.audio.loudness import LoudnessMeter
from fpserver.errors import AudioSilent
from fpserver.features.describe import describe
from fpserver.terms import PARTS, Description, Group, Moments, Samples
from loadtest.corpus import RATE_HZ, Recording, as_samples, samples_of
from loadtest.similarity.copies import COPIES, RENDERING

CODE = Path(descriptors.__file__).parent / "features"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A recording, or a copy of it, and what it sounds like."""

    recording: Recording
    description: Description


def describe_samples(samples: Samples, rate_hz: int = RATE_HZ) -> Description | None:
    """Everything about a sound at 44.1 kHz, mono; None: it is silent."""
    meter = LoudnessMeter()
    meter.hear(samples[None].astype(np.float32), rate_hz)
    heard = np.asarray(soxr.resample(samples, rate_hz, descriptors.RATE_HZ, quality="HQ"), np.float32)
    try:
        return describe(heard, parts=PARTS, loudness_db=meter.loudness_db())
    except AudioSilent:
        return None


def described(recordings: Sequence[Recording], copy: str | None, kept: Path) -> Iterator[Described]:
    """Recordings, or what `copies.COPIES` makes of them, without silent ones."""
    kept.mkdir(parents=True, exist_ok=True)
    change = COPIES[copy] if copy else None
    for recording in recordings:
        path = kept / f"{_name(recording, copy)}.npz"
        if not path.is_file():
            _keep(path, _made(recording, change))
        if (description := _read(path)) is not None:
            yield Described(recording=recording, description=description)


def _made(recording: Recording, change: Callable[[Samples], Samples] | None) -> Description | None:
    pcm = samples_of(recording.path)
    if pcm is None:
        return None
    samples = as_samples(pcm)
    return describe_samples(change(samples) if change else samples)


def _keep(path: Path, description: Description | None) -> None:
    columns = {}
    if description is not None and description.moments is not None:
        columns = {group.value: vector for group, vector in description.vectors.items()}
        columns |= {"moments": description.moments.timbre, "chroma": description.moments.chroma}
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        np.savez(file, **columns)  # type: ignore[arg-type]
    partial.replace(path)


def _read(path: Path) -> Description | None:
    with np.load(path) as columns:
        if not columns.files:
            return None
        return Description(
            vectors={group: columns[group.value] for group in Group},
            facts={},
            moments=Moments(timbre=columns["moments"], chroma=columns["chroma"]),
        )


def _name(recording: Recording, copy: str | None) -> str:
    return hashlib.sha256(repr((_code(), RENDERING, recording.name, copy)).encode()).hexdigest()[:32]


@cache
def _code() -> str:
    paths = [*sorted(CODE.glob("*.py")), Path(descriptors.__file__)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
