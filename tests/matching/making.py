"""A small index in memory, for tests of the pure room: what Redis would answer, by a dictionary."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from fpserver.config import FingerprintConfig
from fpserver.fingerprint.cells import levels_of
from fpserver.fingerprint.constellation import band, constellation_of
from fpserver.fingerprint.landmarks import fingerprint_of, landmarks_of
from fpserver.hearing import detail_of
from fpserver.matching.candidates import Hits, candidates_of, hits_of
from fpserver.matching.evidence import ClipMap
from fpserver.matching.verdict import matches_of
from fpserver.terms import Constellation, Hashes, Hearing, Lookup, Match, Peaks, Samples, Window

CONFIG = FingerprintConfig()
MANY = 1_000_000


def dense(samples: Samples) -> Constellation:
    """All peaks, as of a clip."""
    return constellation_of(samples, CONFIG)


def heard(samples: Samples) -> Hearing:
    """A clip as a child process hears it."""
    return Hearing(
        constellation=dense(samples),
        detail=detail_of(samples, CONFIG),
        duration_s=len(samples) / CONFIG.rate_hz,
        truncated=False,
        timings_s={},
    )


def clip_map(samples: Samples) -> ClipMap:
    """What a clip's cells say."""
    return ClipMap(dense(samples), levels_of(samples, CONFIG), first_bin=band(CONFIG)[0])


class MemoryIndex:
    """Posting lists and peaks of a few tracks; a search may ask it, and it remembers what it was asked."""

    def __init__(self, tracks: Mapping[int, Samples]) -> None:
        self.fingerprints = {
            track_id: fingerprint_of(dense(samples), CONFIG) for track_id, samples in tracks.items()
        }
        self.postings: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for track_id, fingerprint in self.fingerprints.items():
            landmarks = fingerprint.landmarks
            for hash_, offset in zip(landmarks.hash.tolist(), landmarks.offset.tolist(), strict=True):
                self.postings[hash_].append((track_id, offset))
        self.n_indexed = sum(map(len, self.postings.values()))
        self.asked: list[tuple[Hashes, int]] = []
        self.windows_asked: list[Sequence[Window]] = []

    async def lookup(self, hashes: Hashes, *, max_postings: int | None = None) -> Lookup:
        """Posting lists, the rarest first, at most `max_postings` together."""
        max_postings = MANY if max_postings is None else max_postings
        self.asked.append((hashes, max_postings))
        return self.found(hashes, max_postings=max_postings)

    async def windows(self, windows: Sequence[Window]) -> list[Peaks | None]:
        """Peaks of parts of tracks."""
        self.windows_asked.append(windows)
        return [_between(self.fingerprints[each.track_id].peaks, each) for each in windows]

    def found(self, hashes: Hashes, *, max_postings: int = MANY) -> Lookup:
        """The same, without waiting."""
        rows: list[tuple[int, int, int]] = []
        left_out = np.zeros(len(hashes), np.int64)
        asked = [(i, self.postings.get(hash_, [])) for i, hash_ in enumerate(hashes.tolist())]
        for i, postings in sorted(asked, key=lambda each: len(each[1])):
            if len(rows) + len(postings) > max_postings:
                left_out[i] = len(postings)
            else:
                rows += [(i, track_id, offset) for track_id, offset in postings]
        hash_index, track_id, offset = np.ascontiguousarray(np.array(rows, np.int64).reshape(-1, 3).T)
        return Lookup(
            hash_index=hash_index,
            track_id=track_id,
            offset=offset.astype(np.int32),
            n_indexed=self.n_indexed,
            left_out=left_out,
        )

    def hits(self, clip: Constellation, *, fan_out: int = 5) -> Hits:
        """Of all pairs of a clip's peaks."""
        landmarks = landmarks_of(clip, CONFIG, fan_out=fan_out)
        hashes, hash_of_landmark = np.unique(landmarks.hash, return_inverse=True)
        return hits_of(self.found(hashes), hash_of_landmark, landmarks.offset, max_hits=2_000_000)

    def search(self, samples: Samples) -> list[Match]:
        """One step, judged."""
        candidates = candidates_of(self.hits(dense(samples)), max_candidates=40)
        return matches_of(
            clip_map(samples),
            candidates,
            [self.fingerprints[each.track_id].peaks for each in candidates],
            max_verified=40,
            share=0.5,
        )


def _between(peaks: Peaks, window: Window) -> Peaks:
    """As the index answers: the peaks of a part, at their frames in the track."""
    inside = (peaks.frame >= window.first_frame) & (peaks.frame < window.last_frame)
    return Peaks(frame=peaks.frame[inside], bin=peaks.bin[inside], n_frames=peaks.n_frames)
