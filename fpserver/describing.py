"""From a file to its description, in one call that runs inside a child process.

Samples are made and used up here: they never cross a process border. Loudness is measured on the way, from all
channels; everything else is made of their mixture.
"""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from fpserver.audio.decode import decode
from fpserver.audio.loudness import LoudnessMeter
from fpserver.config import AudioConfig, FeaturesConfig
from fpserver.descriptors import RATE_HZ
from fpserver.errors import AudioUnsupported, SourceMissing
from fpserver.features.describe import describe
from fpserver.fingerprint import wire
from fpserver.terms import Description, Group

MAX_CLIP_S = 600.0  # of what somebody asks about


def describe_track(
    path: Path, audio: AudioConfig, features: FeaturesConfig, parts: frozenset[str]
) -> Description:
    """Describe a recording by some of `terms.PARTS`; at most `features.max_described_s` of it.

    Raises:
        SourceMissing: there is no such file.
        AudioUnsupported: it cannot be read as audio, or is a fingerprint.
        AudioSilent: it holds nothing that sounds.
        AudioError: it cannot be used as audio, or is shorter than `features.min_described_s`.
    """
    return _describe(
        path,
        parts,
        max_s=features.max_described_s,
        max_bytes=audio.max_track_bytes,
        min_s=features.min_described_s,
    )


def describe_clip(
    path: Path,
    audio: AudioConfig,
    features: FeaturesConfig,
    parts: frozenset[str] | None = None,
    min_s: float | None = None,
) -> Description:
    """Describe a clip; at most ten minutes of it.

    Args:
        path: the clip.
        audio: limits; its bytes are those of a clip.
        features: which parts there are, and how short a clip may be.
        parts: what to describe; None: all that is switched on.
        min_s: shortest clip, in the place of `features.min_described_s`: moments need only a second.

    Raises:
        AudioUnsupported: it cannot be read as audio, or is a fingerprint.
        AudioSilent: it holds nothing that sounds.
        AudioError: it cannot be used as audio, or is too short.
    """
    return _describe(
        path,
        features.parts if parts is None else parts,
        max_s=min(MAX_CLIP_S, features.max_described_s),
        max_bytes=audio.max_clip_bytes,
        min_s=features.min_described_s if min_s is None else min_s,
    )


def _describe(
    path: Path, parts: Collection[str], *, max_s: float, max_bytes: int, min_s: float
) -> Description:
    _refuse_fingerprint(path)
    meter = LoudnessMeter()
    sound = decode(
        path,
        rate_hz=RATE_HZ,
        max_s=max_s,
        max_bytes=max_bytes,
        min_s=min_s,
        cut=True,
        observe=meter.hear if Group.TEMPORAL in parts else None,
    )
    description = describe(sound.samples, parts=parts, loudness_db=meter.loudness_db())
    return replace(description, truncated=sound.truncated)


def _refuse_fingerprint(path: Path) -> None:
    try:
        is_fingerprint = wire.is_fingerprint(path)
    except OSError as error:
        raise SourceMissing(f"audio file {path} cannot be read: {error.strerror}") from error
    if is_fingerprint:
        raise AudioUnsupported(
            "this is a fingerprint, which tells a recording from others but not what it sounds like: "
            "descriptors need the audio itself"
        )
