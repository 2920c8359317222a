"""Turn samples into a description: vectors by group, facts, key, moments.

Means and deviations are over the frames that sound: those at most 60 dB below the loudest. No number is NaN or
infinite; a fact that does not exist for a sound (tempo where nothing beats, loudness of less than 0.4 s) is absent.
"""

from collections.abc import Collection
from math import isfinite

import numpy as np
import numpy.typing as npt

from fpserver.descriptors import RATE_HZ
from fpserver.errors import AudioSilent
from fpserver.features.frames import Frames, frames_of
from fpserver.features.moments import moments_of
from fpserver.features.rhythm import beat_of, onset_strength, onsets_of
from fpserver.features.timbre import timbre_of
from fpserver.features.tonal import key_of, scaled, tonal_of
from fpserver.terms import SEGMENTS, Description, Group, Samples, Vector

LEAST_VARIATION_DB = -80.0  # of the loudest frame; less is silence, dither or a constant
LEAST_FLATNESS = 1e-10
LEAST_LOUDNESS_DB = -70.0  # the gate of BS.1770: what is quieter has none, and counts as this in the vector

Part = tuple[Vector, dict[str, float]]


def describe(samples: Samples, *, parts: Collection[str], loudness_db: float) -> Description:
    """What a sound is like.

    Args:
        samples: at RATE_HZ.
        parts: groups, and `segments` for moments; nothing else is computed.
        loudness_db: integrated loudness, LUFS, which needs all channels; not finite where there is none.

    Raises:
        AudioSilent: it holds nothing that sounds.
    """
    frames = frames_of(samples, parts)
    loudest_db = float(frames.variation_db.max())
    if loudest_db < LEAST_VARIATION_DB:
        raise AudioSilent(
            f"audio is silent: its loudest moment is at {loudest_db:.0f} dB, need at least "
            f"{LEAST_VARIATION_DB:.0f} dB to describe it"
        )
    made: dict[Group, Part] = {}
    strength = onset_strength(frames.mel_db)
    if Group.TEMPORAL in parts:
        made[Group.TEMPORAL] = _temporal(frames, strength, len(samples) / RATE_HZ, loudness_db)
    if Group.SPECTRAL in parts:
        made[Group.SPECTRAL] = _spectral(frames)
    if Group.RHYTHM in parts:
        made[Group.RHYTHM] = _rhythm(strength)
    key = None
    if Group.TONAL in parts:
        key, made[Group.TONAL] = _tonal(frames)
    if Group.TIMBRE in parts:
        made[Group.TIMBRE] = timbre_of(frames.mel_db, frames.sounding), {}
    is_segmented = SEGMENTS in parts
    return Description(
        vectors={group: vector for group, (vector, _) in made.items()},
        facts={name: value for _, facts in made.values() for name, value in facts.items()},
        key=key,
        moments=moments_of(frames.bands, frames.chroma, n_samples=len(samples)) if is_segmented else None,
    )


def _temporal(
    frames: Frames, strength: npt.NDArray[np.float32], duration_s: float, loudness_db: float
) -> Part:
    crossings, level_db = frames.crossings[frames.sounding], frames.level_db[frames.sounding]
    onset_rate_hz = len(onsets_of(strength)) / duration_s
    is_loud = isfinite(loudness_db) and loudness_db > LEAST_LOUDNESS_DB
    facts = {
        "zero_crossing_rate": _mean(crossings),
        "rms_db": _mean(level_db),
        "onset_rate_hz": onset_rate_hz,
        **({"loudness_db": loudness_db} if is_loud else {}),
    }
    vector = [
        *(_mean(crossings), _std(crossings), _mean(level_db), _std(level_db)),
        loudness_db if is_loud else LEAST_LOUDNESS_DB,
        onset_rate_hz,
    ]
    return np.array(vector, np.float32), facts


def _spectral(frames: Frames) -> Part:
    shape, contrast_db = frames.shape[frames.sounding], frames.contrast_db[frames.sounding]
    centroid_hz, bandwidth_hz, rolloff_hz, flatness = shape.T
    flatness_db = 10 * np.log10(np.maximum(flatness, np.float32(LEAST_FLATNESS)))
    vector = [
        statistic(each)
        for each in (centroid_hz, bandwidth_hz, rolloff_hz, flatness_db)
        for statistic in (_mean, _std)
    ]
    vector += [statistic(band) for statistic in (_mean, _std) for band in contrast_db.T]
    facts = {
        "centroid_hz": _mean(centroid_hz),
        "bandwidth_hz": _mean(bandwidth_hz),
        "rolloff_hz": _mean(rolloff_hz),
        "flatness": _mean(flatness),
        "contrast_db": _mean(contrast_db),
    }
    return np.array(vector, np.float32), facts


def _rhythm(strength: npt.NDArray[np.float32]) -> Part:
    beat = beat_of(strength)
    facts = {"beat_strength": beat.strength}
    if beat.is_heard:
        facts["tempo_bpm"] = beat.tempo_bpm
    return np.array([beat.tempo_bpm, beat.strength, *beat.tempogram], np.float32), facts


def _tonal(frames: Frames) -> tuple[str | None, Part]:
    vector = tonal_of(scaled(frames.chroma)[frames.sounding])
    key = key_of(vector[:12])
    return (None, (vector, {})) if key is None else (key[0], (vector, {"key_strength": key[1]}))


def _mean(column: npt.NDArray[np.float32]) -> float:
    return float(column.mean(dtype=np.float64))


def _std(column: npt.NDArray[np.float32]) -> float:
    return float(column.std(dtype=np.float64))
