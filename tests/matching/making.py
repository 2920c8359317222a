"""A small index in memory, for tests of the pure room: what Redis would answer, by a dictionary."""

from collections import defaultdict

import numpy as np

from fpserver.config import FingerprintConfig
from fpserver.fingerprint.landmarks import fingerprint_of, landmarks_of
from fpserver.matching.candidates import candidates_of, hits_of
from fpserver.matching.confidence import PLAIN
from fpserver.matching.evidence import ClipMap
from fpserver.matching.verdict import matches_of
from fpserver.terms import Constellation, Hashes, Hits, Lookup, Match

CONFIG = FingerprintConfig()


class MemoryIndex:
    """Posting lists and constellations of a few tracks."""

    def __init__(self, tracks: dict[int, Constellation]) -> None:
        self.fingerprints = {track_id: fingerprint_of(dense, CONFIG) for track_id, dense in tracks.items()}
        self.postings: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for track_id, fingerprint in self.fingerprints.items():
            landmarks = fingerprint.landmarks
            for hash_, offset in zip(landmarks.hash.tolist(), landmarks.offset.tolist(), strict=True):
                self.postings[hash_].append((track_id, offset))

    @property
    def constellations(self) -> dict[int, Constellation]:
        return {track_id: each.constellation for track_id, each in self.fingerprints.items()}

    def lookup(self, hashes: Hashes) -> Lookup:
        rows = [
            (i, track_id, offset)
            for i, hash_ in enumerate(hashes.tolist())
            for track_id, offset in self.postings[hash_]
        ]
        hash_index, track_id, offset = np.array(rows, np.int64).reshape(-1, 3).T
        return Lookup(
            hash_index=hash_index,
            track_id=track_id,
            offset=offset.astype(np.int32),
            n_indexed=sum(map(len, self.postings.values())),
        )

    def hits(self, clip: Constellation, *, fan_out: int = 5) -> Hits:
        landmarks = landmarks_of(clip, CONFIG, fan_out=fan_out)
        hashes, hash_of_landmark = np.unique(landmarks.hash, return_inverse=True)
        return hits_of(self.lookup(hashes), hash_of_landmark, landmarks.offset, max_hits=2_000_000)

    def search(self, clip: Constellation) -> list[Match]:
        hits = self.hits(clip)
        return matches_of(
            ClipMap(clip, n_bins=CONFIG.window // 2),
            candidates_of(hits, max_candidates=40),
            self.constellations,
            tail=PLAIN,
            n_indexed=sum(map(len, self.postings.values())),
            n_steps=2,
        )
