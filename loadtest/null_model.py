"""Fit the tail of wrong scores, and check it on clips that the fit has not seen.

    python -m loadtest.null_model CORPUS [--clips 4000]

Every clip is searched among all tracks; the best score with a track of another cluster is a wrong one. Clips of one
half of the clusters make the fit (Gumbel tail over the highest tenth), those of the other half check it: how many of
them score above the levels at which the fit expects 10, 3, 1, … of a thousand. Clips that share material with another
cluster (a score no chance reaches) are counted apart. Writes null_model.md and .json to loadtest/results/.
"""

import argparse
import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fpserver.audio.encode import encode
from fpserver.config import Config
from fpserver.fingerprint.constellation import constellation_of, thin
from fpserver.fingerprint.landmarks import fingerprint_of, landmarks_of
from fpserver.hearing import hear_clip
from fpserver.matching.candidates import candidates_of, hits_of
from fpserver.matching.confidence import DENSE, PLAIN, REFERENCE_POSTINGS, Tail, false_accept_rate
from fpserver.matching.evidence import ClipMap
from fpserver.matching.verdict import matches_of
from fpserver.terms import Constellation, Hashes, Lookup, Samples
from loadtest.corpus import Recording, as_samples, music, noises, samples_of

RESULTS = Path(__file__).parent / "results"
CONFIG = Config()
RATE_HZ = CONFIG.fingerprint.rate_hz
SHARED = 20.0  # a wrong score above this is no chance: the two recordings share material
LEVELS = (0.1, 0.03, 0.01, 0.003, 0.001)
LENGTHS_S = (2.0, 5.0, 10.0, 20.0, 60.0)
KINDS = ("clean", "mp3 32k", "noise +6 dB", "noise -6 dB", "noise alone", "speech alone")
SHARES = (0.35, 0.15, 0.15, 0.15, 0.1, 0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """The best wrong score of one clip, by step."""

    kind: str
    seconds: float
    half: int
    plain: float
    dense: float


class MemoryIndex:
    """All postings in sorted columns."""

    def __init__(self, constellations: list[Constellation]) -> None:
        prints = [fingerprint_of(each, CONFIG.fingerprint) for each in constellations]
        self.constellations = {i: each.constellation for i, each in enumerate(prints)}
        hashes = np.concatenate([each.landmarks.hash for each in prints])
        order = np.argsort(hashes, kind="stable")
        self.hash = hashes[order]
        self.offset = np.concatenate([each.landmarks.offset for each in prints])[order]
        self.track_id = np.repeat(np.arange(len(prints)), [len(each.landmarks) for each in prints])[order]

    def lookup(self, hashes: Hashes) -> Lookup:
        """Posting lists of distinct hashes."""
        first, last = (np.searchsorted(self.hash, hashes, side) for side in ("left", "right"))
        sizes = last - first
        rows = np.repeat(first, sizes) + np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return Lookup(
            hash_index=np.repeat(np.arange(len(hashes)), sizes),
            track_id=self.track_id[rows].astype(np.int64),
            offset=self.offset[rows],
            n_indexed=len(self.hash),
        )

    def scores(
        self, clip: Constellation, tail: Tail, peaks_per_s: int, fan_out: int
    ) -> Iterator[tuple[int, float]]:
        """(track, score) of every candidate of one step."""
        peaks = thin(clip, peaks_per_s, CONFIG.fingerprint)
        landmarks = landmarks_of(peaks, CONFIG.fingerprint, fan_out=fan_out)
        hashes, hash_of_landmark = np.unique(landmarks.hash, return_inverse=True)
        hits = hits_of(
            self.lookup(hashes), hash_of_landmark, landmarks.offset, max_hits=CONFIG.matching.max_hits
        )
        candidates = candidates_of(hits, max_candidates=CONFIG.matching.max_candidates)
        clip_map = ClipMap(clip, n_bins=CONFIG.fingerprint.window // 2)
        found = matches_of(
            clip_map, candidates, self.constellations, tail=tail, n_indexed=len(self.hash), n_steps=2
        )
        return ((match.track_id, match.score) for match in found)


_TRACKS: list[Recording] = []
_NOISES: list[Recording] = []
_INDEX: list[MemoryIndex] = []


def main() -> None:
    """Measure, fit, check, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--clips", type=int, default=4000)
    args = parser.parse_args()
    _NOISES.extend(noises(args.corpus))
    tracks = music(args.corpus)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        dense = list(pool.map(_dense, tracks, chunksize=4))
    heard = [(track, peaks) for track, peaks in zip(tracks, dense, strict=True) if peaks is not None]
    _TRACKS.extend(track for track, _ in heard)
    _INDEX.append(MemoryIndex([peaks for _, peaks in heard]))
    with ProcessPoolExecutor(os.cpu_count()) as pool:  # forked: the index is shared
        wrong = list(pool.map(_wrong, range(args.clips), chunksize=10))
    _write(wrong, args.clips)


def _dense(track: Recording) -> Constellation | None:
    samples = samples_of(track.path, RATE_HZ)
    return None if samples is None else constellation_of(as_samples(samples), CONFIG.fingerprint)


def _wrong(seed: int) -> Wrong:
    """One clip, and its best wrong scores."""
    rng = np.random.default_rng([seed, 2])
    index = _INDEX[0]
    seconds, kind = float(rng.choice(LENGTHS_S)), str(rng.choice(KINDS, p=SHARES))
    track = int(rng.integers(len(_TRACKS)))
    clip = _heard(kind, _TRACKS[track], seconds, rng)
    own = _TRACKS[track].cluster
    matching, best = CONFIG.matching, {}
    for name, tail, peaks_per_s, fan_out in (
        ("plain", PLAIN, matching.plain_peaks_per_s, matching.plain_fan_out),
        ("dense", DENSE, CONFIG.fingerprint.dense_peaks_per_s, matching.dense_fan_out),
    ):
        scores = index.scores(clip, tail, peaks_per_s, fan_out)
        best[name] = max((score for other, score in scores if _TRACKS[other].cluster != own), default=0.0)
    half = sum(own.encode()) % 2
    return Wrong(kind=kind, seconds=seconds, half=half, plain=best["plain"], dense=best["dense"])


def _heard(kind: str, track: Recording, seconds: float, rng: np.random.Generator) -> Constellation:
    samples = _piece(track, seconds, rng)
    if kind == "mp3 32k":
        path = Path(f"/dev/shm/null_model_{os.getpid()}.mp3")
        path.write_bytes(encode(samples, RATE_HZ, bitrate=32_000))
        hearing = hear_clip(path, CONFIG.audio, CONFIG.fingerprint)
        path.unlink()
        return hearing.constellation
    if kind != "clean":
        beds = [each for each in _NOISES if (each.kind == "speech") == (kind == "speech alone")]
        bed = np.concatenate([_piece(beds[int(rng.integers(len(beds)))], seconds, rng) for _ in range(3)])
        bed = np.resize(bed, len(samples))
        snr_db = {"noise +6 dB": 6.0, "noise -6 dB": -6.0}.get(kind, -120.0)
        gain = np.sqrt(np.mean(samples**2) / max(np.mean(bed**2), 1e-12)) * 10 ** (-snr_db / 20)
        samples = (samples + np.float32(gain) * bed if snr_db > -100 else bed).astype(np.float32)
    return constellation_of(samples, CONFIG.fingerprint)


def _piece(recording: Recording, seconds: float, rng: np.random.Generator) -> Samples:
    samples = samples_of(recording.path, RATE_HZ)
    if samples is None or not len(samples):
        return np.zeros(RATE_HZ, np.float32)
    start = int(rng.integers(max(1, len(samples) - round(seconds * RATE_HZ))))
    return as_samples(samples[start : start + round(seconds * RATE_HZ)])


def _write(wrong: list[Wrong], n_clips: int) -> None:
    n_indexed = len(_INDEX[0].hash)
    report: dict[str, Any] = {"clips": n_clips, "tracks": len(_TRACKS), "postings": n_indexed}
    lines = ["# Wrong scores and their tail", ""]
    lines += [f"{n_clips} clips of {', '.join(KINDS)}; {len(_TRACKS)} tracks, {n_indexed} postings.", ""]
    for step, tail in (("plain", PLAIN), ("dense", DENSE)):
        fit, check = (
            np.array([getattr(each, step) for each in wrong if each.half == half]) for half in (0, 1)
        )
        fitted = _fit(fit[fit < SHARED], n_indexed)
        check_chance = check[check < SHARED]
        rows = [_row(level, tail, check_chance, n_indexed) for level in LEVELS]
        by_length = {
            f"{seconds:g} s": round(float(np.quantile(chance, 0.99)), 2)
            for seconds in LENGTHS_S
            if len(
                chance := np.array(
                    [s for w in wrong if w.seconds == seconds and (s := getattr(w, step)) < SHARED]
                )
            )
        }
        by_kind = {
            kind: round(float(np.quantile(chance, 0.99)), 2)
            for kind in KINDS
            if len(
                chance := np.array([s for w in wrong if w.kind == kind and (s := getattr(w, step)) < SHARED])
            )
        }
        report[step] = {
            "fitted": {
                "location": round(fitted.location, 2),
                "scale": round(fitted.scale, 3),
                "clips": len(fit),
            },
            "in_use": {"location": tail.location, "scale": tail.scale},
            "check": rows,
            "highest": np.round(np.sort(check_chance)[-5:], 2).tolist(),
            "share_material": int((fit >= SHARED).sum() + (check >= SHARED).sum()),
            "q99_by_length": by_length,
            "q99_by_kind": by_kind,
        }
        lines += [f"## {step} step", ""]
        lines += [f"Fitted on {len(fit)} clips: location {fitted.location:.2f}, scale {fitted.scale:.3f}."]
        lines += [f"In use: location {tail.location}, scale {tail.scale}.", ""]
        lines += [
            "| rate promised per clip | score | clips checked | above it | rate measured |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {row['promised']:g} | {row['score']} | {row['clips']} | {row['above']} | {row['measured']:.5f} |"
            for row in rows
        ]
        lines += ["", f"99 % of wrong scores lie below, by length: {by_length}; by kind: {by_kind}."]
        lines += [f"Clips that share material with another cluster: {report[step]['share_material']}.", ""]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "null_model.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "null_model.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


def _fit(scores: npt.NDArray[np.float64], n_indexed: int) -> Tail:
    """Exponential tail above the 90 % quantile, moved to REFERENCE_POSTINGS."""
    ordered = np.sort(scores)[::-1]
    n_tail = len(ordered) // 10
    level = ordered[n_tail]
    scale = float((ordered[:n_tail] - level).mean())
    return Tail(location=float(level) + scale * (log(0.1) + log(REFERENCE_POSTINGS / n_indexed)), scale=scale)


def _row(promised: float, tail: Tail, scores: npt.NDArray[np.float64], n_indexed: int) -> dict[str, Any]:
    """How many clips score above the level at which the tail in use promises this rate, for one step."""
    score = tail.location + tail.scale * log(n_indexed / REFERENCE_POSTINGS / promised)
    assert abs(false_accept_rate(score, tail, n_indexed=n_indexed, n_steps=1) / promised - 1) < 1e-6
    above = int((scores > score).sum())
    return {
        "promised": promised,
        "score": round(score, 2),
        "clips": len(scores),
        "above": above,
        "measured": above / len(scores),
    }


if __name__ == "__main__":
    main()
