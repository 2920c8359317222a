"""Tracks that no music is, made of real ones: as dense, as tonal, as repetitive and as long.

A synthetic track has the length of a real one. It is spliced from parts of other real tracks, each backwards, at a
tempo of its own; a quarter of them are moved by one or two semitones. The same number is the same track.

Real music is tuned, and its hashes crowd where tuned notes lie. A real posting meets 11.4 among a million postings of
real music of other clusters, and among synthetic ones made of such (fit.met, 178 tracks) 11.1 where no part is moved,
9.6 where a quarter of them is, 8.7 where half is; moved by semitones give or take 10 cents, all of them, 5.5. A quarter
is for variety. Tracks that clips are cut from are no sources: where they were, 72 of the 197 best wrong candidates
among 20,000 synthetic tracks held the clip's own track, 60 times as many as by chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from fpserver.config import FingerprintConfig
from fpserver.fingerprint.constellation import band
from fpserver.terms import Bins, Constellation, Frames, Peaks, TrackPeaks

Column: TypeAlias = npt.NDArray[Any]  # of some peaks

TIME_FACTORS = 0.85, 1.18  # of a part, and of the length of the whole
MOVED = 0.25  # of the parts
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
        """Long tracks are taken from as much more often as they are longer."""
        n_frames = np.array([each.n_frames for each in tracks], np.float64)
        return cls(tracks=tracks, shares=n_frames / n_frames.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A stretch of a real track, frames first..first + n_taken - 1, and what becomes of it."""

    source: int  # which of the tracks
    first: int
    n_taken: int
    n_frames: int  # made of it
    in_time: float
    semitones: int


def recipe(sources: Sources, number: int, *, seed: int) -> list[Part]:
    """What synthetic track number `number` is spliced from."""
    rng = np.random.default_rng([seed, number])
    model = sources.tracks[int(rng.integers(len(sources.tracks)))]
    n_frames = max(2 * MIN_PART_FRAMES, round(model.n_frames * _log_uniform(rng, TIME_FACTORS)))
    parts: list[Part] = []
    at = 0
    while at < n_frames:
        wanted = max(MIN_PART_FRAMES, round(n_frames * rng.uniform(*PART_SHARES)))
        if n_frames - at - wanted < MIN_PART_FRAMES:
            wanted = n_frames - at
        source = int(rng.choice(len(sources.tracks), p=sources.shares))
        length = sources.tracks[source].n_frames
        in_time = _log_uniform(rng, TIME_FACTORS)
        distance = int(rng.integers(1, MAX_SEMITONES + 1)) if rng.random() < MOVED else 0
        semitones = distance if rng.random() < 0.5 else -distance
        n_taken = min(length, int(wanted / in_time) + 1)
        parts.append(
            Part(
                source=source,
                first=int(rng.integers(length - n_taken + 1)),
                n_taken=n_taken,
                n_frames=min(wanted, int(n_taken * in_time) + 1),
                in_time=in_time,
                semitones=semitones,
            )
        )
        at += parts[-1].n_frames
    return parts


def synthetic(sources: Sources, number: int, *, seed: int, config: FingerprintConfig) -> TrackPeaks:
    """Synthetic track number `number`."""
    marks = [each.strong for each in sources.tracks]
    frame, bin_, strong, n_frames = _spliced(
        recipe(sources, number, seed=seed), sources.tracks, marks, config
    )
    return TrackPeaks(frame=frame, bin=bin_, strong=strong, n_frames=n_frames)


def synthetic_dense(
    sources: Sources, dense: Sequence[Constellation], number: int, *, seed: int, config: FingerprintConfig
) -> Constellation:
    """The same as it would be heard, spliced from all peaks of the sources' tracks."""
    levels = [each.level for each in dense]
    frame, bin_, level, n_frames = _spliced(recipe(sources, number, seed=seed), dense, levels, config)
    return Constellation(frame=frame, bin=bin_, level=level, n_frames=n_frames)


def track_among(
    real: Sequence[TrackPeaks], sources: Sources, config: FingerprintConfig, seed: int, track_id: int
) -> TrackPeaks:
    """Real tracks from id 1 on, then synthetic ones."""
    if track_id <= len(real):
        return real[track_id - 1]
    return synthetic(sources, track_id - len(real), seed=seed, config=config)


def _spliced(
    parts: Sequence[Part], tracks: Sequence[Peaks], columns: Sequence[Column], config: FingerprintConfig
) -> tuple[Frames, Bins, Column, int]:
    """Frame, bin and what else a column says of each peak; and how many frames there are."""
    frames, bins, others = [], [], []
    at = 0
    for part in parts:
        frame, bin_, taken = _made(tracks[part.source], part, config)
        frames.append(frame + np.int32(at))
        bins.append(bin_)
        others.append(columns[part.source][taken])
        at += part.n_frames
    frame, bin_ = np.concatenate(frames), np.concatenate(bins)
    order = np.lexsort((bin_, frame))
    cell = frame[order].astype(np.int64) * config.window + bin_[order]
    order = order[np.diff(cell, prepend=-1) > 0]  # two peaks may have met
    return frame[order], bin_[order], np.concatenate(others)[order], at


def _made(source: Peaks, part: Part, config: FingerprintConfig) -> tuple[Frames, Bins, npt.NDArray[np.intp]]:
    """A part's peaks, in no order, and which of the source's they were."""
    begin, end = np.searchsorted(source.frame, [part.first, part.first + part.n_taken])
    from_end = part.first + part.n_taken - 1 - source.frame[begin:end]
    frame = (from_end * part.in_time).astype(np.int32)
    bin_ = np.rint(source.bin[begin:end] * 2 ** (part.semitones / 12)).astype(np.int32)
    lowest, beyond = band(config)
    kept = np.flatnonzero((bin_ >= lowest) & (bin_ < beyond) & (frame < part.n_frames))
    return frame[kept], bin_[kept], begin + kept


def _log_uniform(rng: np.random.Generator, ends: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(ends))))
