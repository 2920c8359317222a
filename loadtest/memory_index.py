"""An index in memory, for measurements of the search alone: real tracks, and synthetic ones among them.

A synthetic track is a real one backwards, its peaks moved by factors of its own in time and in frequency: as dense, as
tonal and as repetitive as music is, and no music that anybody asks about. `loadtest.scale`, whose synthetic tracks are
spliced from several, says how well that fits.
"""

from collections.abc import Sequence

import numpy as np

from fpserver.config import FingerprintConfig
from fpserver.fingerprint.constellation import band
from fpserver.fingerprint.landmarks import fingerprint_of, track_landmarks
from fpserver.terms import Constellation, Hashes, Lookup, Peaks, TrackPeaks, Window

TIME_FACTORS = 0.85, 1.18
BIN_FACTORS = 0.75, 1.33


class MemoryIndex:
    """All postings in sorted columns; tracks are numbered from 1, real ones first."""

    def __init__(
        self,
        constellations: Sequence[Constellation],
        config: FingerprintConfig,
        *,
        n_synthetic: int = 0,
        seed: int = 7,
    ) -> None:
        self._config = config
        self._real = [fingerprint_of(each, config).peaks for each in constellations]
        rng = np.random.default_rng(seed)
        self._recipes = [
            (int(rng.integers(len(self._real))), _factor(rng, TIME_FACTORS), _factor(rng, BIN_FACTORS))
            for _ in range(n_synthetic)
        ]
        hashes, offsets, sizes = [], [], []
        for track_id in range(1, len(self._real) + n_synthetic + 1):
            landmarks = track_landmarks(self.peaks(track_id), config)
            hashes.append(landmarks.hash)
            offsets.append(landmarks.offset)
            sizes.append(len(landmarks))
        all_hashes = np.concatenate(hashes)
        order = np.argsort(all_hashes, kind="stable")
        self.hash = all_hashes[order]
        self.offset = np.concatenate(offsets)[order]
        self.track_id = np.repeat(np.arange(1, len(sizes) + 1, dtype=np.int32), sizes)[order]

    def __len__(self) -> int:
        """Postings."""
        return len(self.hash)

    def peaks(self, track_id: int) -> TrackPeaks:
        """Peaks of a track."""
        if track_id <= len(self._real):
            return self._real[track_id - 1]
        source, in_time, in_bins = self._recipes[track_id - 1 - len(self._real)]
        return backwards(self._real[source], in_time, in_bins, self._config)

    async def lookup(self, hashes: Hashes, *, max_postings: int | None = None) -> Lookup:
        """Posting lists of distinct hashes, the shortest first, as long as they are within `max_postings`."""
        max_postings = len(self) if max_postings is None else max_postings
        first = np.searchsorted(self.hash, hashes)
        sizes = np.searchsorted(self.hash, hashes, "right") - first
        shortest_first = np.argsort(sizes, kind="stable")
        read = np.zeros(len(sizes), np.bool_)
        read[shortest_first] = np.cumsum(sizes[shortest_first]) <= max_postings
        left_out, sizes = np.where(read, 0, sizes), np.where(read, sizes, 0)
        rows = np.repeat(first, sizes) + np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return Lookup(
            hash_index=np.repeat(np.arange(len(hashes)), sizes),
            track_id=self.track_id[rows].astype(np.int64),
            offset=self.offset[rows],
            n_indexed=len(self),
            left_out=left_out,
        )

    async def windows(self, windows: Sequence[Window]) -> list[Peaks | None]:
        """Peaks of parts of tracks."""
        return [self._window(each) for each in windows]

    def _window(self, window: Window) -> Peaks:
        peaks = self.peaks(window.track_id)
        first, last = np.searchsorted(peaks.frame, [window.first_frame, window.last_frame])
        return Peaks(frame=peaks.frame[first:last], bin=peaks.bin[first:last], n_frames=peaks.n_frames)


def backwards(peaks: TrackPeaks, in_time: float, in_bins: float, config: FingerprintConfig) -> TrackPeaks:
    """A track's peaks backwards, `in_time` times as long and `in_bins` times as high; without those out of the band."""
    first, last = band(config)
    frame = ((peaks.n_frames - 1 - peaks.frame) * in_time).astype(np.int32)
    bin_ = np.rint(peaks.bin * in_bins).astype(np.int32)
    kept = np.flatnonzero((bin_ >= first) & (bin_ < last))
    order = kept[np.lexsort((bin_[kept], frame[kept]))]
    cell = frame[order].astype(np.int64) * last + bin_[order]
    order = order[np.diff(cell, prepend=-1) > 0]  # two peaks may have met
    return TrackPeaks(
        frame=frame[order],
        bin=bin_[order],
        strong=peaks.strong[order],
        n_frames=int(peaks.n_frames * in_time) + 1,
    )


def _factor(rng: np.random.Generator, ends: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(ends))))
