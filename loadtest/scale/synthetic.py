"""Tracks that no music is, made of real ones: as dense, as tonal, as repetitive and as long.

A synthetic track has the length of a real one. It is spliced from parts of other real tracks, each backwards, at a
tempo of its own and moved by none to two whole semitones, a third of them by none. The same number is the same track.

Real music is tuned, and its hashes crowd where tuned notes lie. Of what a real posting meets among so much real music
of other clusters it meets 61 % among parts moved by semitones give or take 10 cents, 85 % among parts moved by whole
semitones, 127 % among parts that are not moved, and 99 % among these (fit.met, 204 tracks).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fpserver.config import FingerprintConfig
from fpserver.fingerprint.constellation import band
from fpserver.terms import TrackPeaks

TIME_FACTORS = 0.85, 1.18  # of a part, and of the length of the whole
MAX_SEMITONES = 2
PART_SHARES = 0.25, 0.6  # of the whole
MIN_PART_FRAMES = 64  # 3 s at the default settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Real tracks, and how often a second of each is taken."""

    tracks: Sequence[TrackPeaks]
    shares: npt.NDArray[np.float64]

    @classmethod
    def of(cls, tracks: Sequence[TrackPeaks]) -> "Sources":
        """Long tracks are taken from as much more often as they are longer; those without peaks never."""
        some = [each for each in tracks if len(each)]
        n_frames = np.array([each.n_frames for each in some], np.float64)
        return cls(tracks=some, shares=n_frames / n_frames.sum())


def synthetic(sources: Sources, number: int, *, seed: int, config: FingerprintConfig) -> TrackPeaks:
    """Synthetic track number `number`."""
    rng = np.random.default_rng([seed, number])
    model = sources.tracks[int(rng.integers(len(sources.tracks)))]
    n_frames = max(2 * MIN_PART_FRAMES, round(model.n_frames * _log_uniform(rng, TIME_FACTORS)))
    frames, bins, strong = [], [], []
    at = 0
    while at < n_frames:
        wanted = max(MIN_PART_FRAMES, round(n_frames * rng.uniform(*PART_SHARES)))
        if n_frames - at - wanted < MIN_PART_FRAMES:
            wanted = n_frames - at
        source = sources.tracks[int(rng.choice(len(sources.tracks), p=sources.shares))]
        part = _part(source, wanted, rng, config)
        frames.append(part.frame + at)
        bins.append(part.bin)
        strong.append(part.strong)
        at += part.n_frames
    frame, bin_ = np.concatenate(frames), np.concatenate(bins)
    order = np.lexsort((bin_, frame))
    cell = frame[order].astype(np.int64) * config.window + bin_[order]
    order = order[np.diff(cell, prepend=-1) > 0]  # two peaks may have met
    return TrackPeaks(
        frame=frame[order], bin=bin_[order], strong=np.concatenate(strong)[order], n_frames=n_frames
    )


def _part(source: TrackPeaks, wanted: int, rng: np.random.Generator, config: FingerprintConfig) -> TrackPeaks:
    """Up to `wanted` frames made of a stretch of `source`, in no order."""
    in_time = _log_uniform(rng, TIME_FACTORS)
    semitones = int(rng.integers(MAX_SEMITONES + 1)) * (1 if rng.random() < 0.5 else -1)
    n_taken = min(source.n_frames, int(wanted / in_time) + 1)
    first = int(rng.integers(source.n_frames - n_taken + 1))
    begin, end = np.searchsorted(source.frame, [first, first + n_taken])
    frame = ((first + n_taken - 1 - source.frame[begin:end]) * in_time).astype(np.int32)
    bin_ = np.rint(source.bin[begin:end] * 2 ** (semitones / 12)).astype(np.int32)
    n_frames = min(wanted, int(n_taken * in_time) + 1)
    lowest, beyond = band(config)
    kept = (bin_ >= lowest) & (bin_ < beyond) & (frame < n_frames)
    return TrackPeaks(
        frame=frame[kept], bin=bin_[kept], strong=source.strong[begin:end][kept], n_frames=n_frames
    )


def _log_uniform(rng: np.random.Generator, ends: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(ends))))
