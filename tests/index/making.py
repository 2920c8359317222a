"""Fingerprints to index: seeded, with skewed hashes, and the plain model they are compared with."""

from collections import defaultdict

import numpy as np

from fpserver.terms import Fingerprint, Hashes, Landmarks, Lookup, TrackPeaks

Hit = tuple[int, int, int]  # hash, track_id, offset


def track_peaks(rng: np.random.Generator, *, n_peaks: int, n_frames: int = 10_000) -> TrackPeaks:
    cells = np.sort(rng.choice(n_frames * 1024, n_peaks, replace=False))
    return TrackPeaks(
        frame=(cells // 1024).astype(np.int32),
        bin=(cells % 1024).astype(np.int32),
        strong=rng.random(n_peaks) < 0.3,
        n_frames=n_frames,
    )


def fingerprint(
    rng: np.random.Generator, *, n_landmarks: int = 300, n_peaks: int = 200, spread: float = 3000
) -> Fingerprint:
    """Hashes of exponential frequency: the first ones are in every track, often more than once."""
    hashes = np.minimum(rng.exponential(spread, n_landmarks), 2**23 - 1).astype(np.uint32)
    offsets = np.sort(rng.integers(0, 2**20, n_landmarks)).astype(np.int32)
    return Fingerprint(
        landmarks=Landmarks(hash=hashes, offset=offsets), peaks=track_peaks(rng, n_peaks=n_peaks)
    )


def one_hash(hash_: int, offsets: list[int]) -> Fingerprint:
    """A track with the same hash at each of these frames."""
    landmarks = Landmarks(hash=np.full(len(offsets), hash_, np.uint32), offset=np.array(offsets, np.int32))
    return Fingerprint(landmarks=landmarks, peaks=track_peaks(np.random.default_rng(1), n_peaks=3))


class Model:
    """What an index should hold: a dict."""

    def __init__(self) -> None:
        self.postings: dict[int, dict[int, list[int]]] = defaultdict(dict)  # hash → track_id → offsets

    def add(self, track_id: int, landmarks: Landmarks) -> None:
        for hash_, offset in zip(landmarks.hash.tolist(), landmarks.offset.tolist(), strict=True):
            self.postings[hash_].setdefault(track_id, []).append(offset)

    def remove(self, track_id: int) -> None:
        for tracks in self.postings.values():
            tracks.pop(track_id, None)

    def lookup(self, hashes: Hashes) -> list[Hit]:
        return sorted(
            (hash_, track_id, offset)
            for hash_ in hashes.tolist()
            for track_id, offsets in self.postings[hash_].items()
            for offset in offsets
        )

    @property
    def n_postings(self) -> int:
        return sum(len(offsets) for tracks in self.postings.values() for offsets in tracks.values())


def hits(lookup: Lookup, hashes: Hashes) -> list[Hit]:
    """A lookup's columns as the model gives them."""
    columns = (hashes[lookup.hash_index], lookup.track_id, lookup.offset)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))
