"""The clip's walk: from a file to the tracks it holds, or to the honest answer that it holds none.

hear         decode and find peaks, in a child process
search       the plain step; the dense one only while nothing was accepted
  pair       the clip's peaks into hashes
  look up    one round trip per node
  candidates time-offset histogram
  evidence   candidates' stored constellations over the clip's peaks
describe     names of the tracks accepted
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from fpserver import metrics
from fpserver.config import Config, MatchingConfig
from fpserver.fingerprint.constellation import frames_per_s, thin
from fpserver.fingerprint.landmarks import landmarks_of
from fpserver.hearing import hear_clip
from fpserver.matching.candidates import candidates_of, hits_of
from fpserver.matching.confidence import DENSE, PLAIN, Tail
from fpserver.matching.evidence import ClipMap
from fpserver.matching.verdict import matches_of
from fpserver.services import Services
from fpserver.terms import (
    Candidate,
    Constellation,
    Hearing,
    Landmarks,
    Lookup,
    Match,
    Track,
    TrackStatus,
)
from fpserver.thinking import think

N_STEPS = 2
EXPLAINED_CANDIDATES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifyOptions:
    """What the asker may choose."""

    limit: int = 5
    max_false_accept_rate: float | None = None  # None: as configured
    speed: str = "auto"  # auto | off: whether other speeds may be looked for
    explain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifiedMatch:
    """A match with its track, in seconds."""

    track: Track
    match: Match
    track_offset_s: float  # where in the track the clip's first sample lies; negative: the track begins later
    clip_start_s: float
    clip_end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Identification:
    """The answer to a clip; no matches is an answer."""

    duration_s: float
    truncated: bool
    n_landmarks: int
    matches: list[IdentifiedMatch]
    degraded: bool
    timings_s: dict[str, float]
    n_hashes: int
    n_postings: int
    explanation: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _StepResult:
    """What one step of the search looked at, and found."""

    name: str
    n_landmarks: int
    n_hashes: int
    found: Lookup
    ranked: list[Match]
    degraded: bool


class _Clock:
    """Time spent per stage."""

    def __init__(self, spent_s: dict[str, float]) -> None:
        self.spent_s = defaultdict(float, spent_s)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = perf_counter()
        yield
        self.spent_s[name] += perf_counter() - start


async def identify_file(services: Services, path: Path, options: IdentifyOptions) -> Identification:
    """Identify a clip that lies in a file: audio, or a fingerprint body.

    Raises:
        AudioError, FingerprintInvalid, FingerprintForeign: it cannot be used.
        StoreUnavailable: no shard answers.
    """
    config = services.config
    start = perf_counter()
    hearing: Hearing = await services.pool.run(
        hear_clip, path, config.audio, config.fingerprint, timeout_s=config.audio.clip_timeout_s
    )
    clock = _Clock(hearing.timings_s)
    clock.spent_s["pool"] = max(0.0, perf_counter() - start - sum(hearing.timings_s.values()))
    identification = await _identify(services, hearing, options, clock)
    _measure(identification)
    return identification


async def _identify(
    services: Services, hearing: Hearing, options: IdentifyOptions, clock: _Clock
) -> Identification:
    max_rate = options.max_false_accept_rate or services.config.matching.max_false_accept_rate
    with clock.stage("matching"):
        clip_map = await think(ClipMap, hearing.constellation, n_bins=services.config.fingerprint.window // 2)
    matches: list[IdentifiedMatch] = []
    steps: list[_StepResult] = []
    for name, tail in (("plain", PLAIN), ("dense", DENSE)):
        steps.append(await _search(services, name, tail, hearing.constellation, clip_map, clock))
        with clock.stage("tracks"):
            accepted = [match for match in steps[-1].ranked if match.false_accept_rate <= max_rate]
            matches = await _describe(services, accepted)
        if matches:
            break
    return Identification(
        duration_s=hearing.duration_s,
        truncated=hearing.truncated,
        n_landmarks=max(step.n_landmarks for step in steps),
        matches=matches[: options.limit],
        degraded=any(step.degraded for step in steps),
        timings_s=dict(clock.spent_s),
        n_hashes=sum(step.n_hashes for step in steps),
        n_postings=sum(len(step.found) for step in steps),
        explanation={"steps": [_explained(step) for step in steps]} if options.explain else None,
    )


async def _search(
    services: Services, name: str, tail: Tail, clip: Constellation, clip_map: ClipMap, clock: _Clock
) -> _StepResult:
    with clock.stage("fingerprint"):
        landmarks = await think(_landmarks, name, clip, services.config)
        hashes, hash_of_landmark = await think(np.unique, landmarks.hash, return_inverse=True)
    with clock.stage("index"):
        found = await services.index.lookup(hashes)
    with clock.stage("matching"):
        candidates = await think(_candidates, found, hash_of_landmark, landmarks, services.config.matching)
    with clock.stage("index"):
        constellations = await services.index.constellations([each.track_id for each in candidates])
    with clock.stage("matching"):
        missing = any(each.track_id not in constellations for each in candidates)
        ranked = await think(
            matches_of,
            clip_map,
            candidates,
            constellations,
            tail=tail,
            n_indexed=found.n_indexed,
            n_steps=N_STEPS,
        )
    return _StepResult(
        name=name,
        n_landmarks=len(landmarks),
        n_hashes=len(hashes),
        found=found,
        ranked=ranked,
        degraded=found.degraded or missing,
    )


def _landmarks(step: str, clip: Constellation, config: Config) -> Landmarks:
    if step == "plain":
        clip = thin(clip, config.matching.plain_peaks_per_s, config.fingerprint)
        return landmarks_of(clip, config.fingerprint, fan_out=config.matching.plain_fan_out)
    return landmarks_of(clip, config.fingerprint, fan_out=config.matching.dense_fan_out)


def _candidates(
    found: Lookup,
    hash_of_landmark: "np.ndarray[Any, np.dtype[np.intp]]",
    landmarks: Landmarks,
    config: MatchingConfig,
) -> list[Candidate]:
    hits = hits_of(found, hash_of_landmark, landmarks.offset, max_hits=config.max_hits)
    return candidates_of(hits, max_candidates=config.max_candidates)


async def _describe(services: Services, accepted: list[Match]) -> list[IdentifiedMatch]:
    """The accepted matches with their tracks, in seconds; without tracks that are not, or no longer, indexed."""
    if not accepted:
        return []
    frame_s = 1 / frames_per_s(services.config.fingerprint)
    tracks = await services.tracks.get([match.track_id for match in accepted])
    return [
        IdentifiedMatch(
            track=tracks[match.track_id],
            match=match,
            track_offset_s=match.alignment * frame_s,
            clip_start_s=match.clip_start_frame * frame_s,
            clip_end_s=match.clip_end_frame * frame_s,
        )
        for match in accepted
        if match.track_id in tracks and tracks[match.track_id].status is TrackStatus.INDEXED
    ]


def _explained(step: _StepResult) -> dict[str, Any]:
    return {
        "step": step.name,
        "n_hashes": step.n_hashes,
        "n_postings": len(step.found),
        "n_stopped": step.found.n_stopped,
        "candidates": [
            {
                "track_id": match.track_id,
                "alignment_frames": match.alignment,
                "n_votes": match.n_votes,
                "z_time": match.z_time,
                "z_bin": match.z_bin,
                "score": match.score,
                "false_accept_rate": match.false_accept_rate,
            }
            for match in step.ranked[:EXPLAINED_CANDIDATES]
        ],
    }


def _measure(identification: Identification) -> None:
    for stage, seconds in identification.timings_s.items():
        metrics.STAGE_SECONDS.labels("identify", stage).observe(seconds)
    outcome = "match" if identification.matches else "no_match"
    metrics.IDENTIFICATIONS.labels(outcome, str(identification.degraded).lower()).inc()
    metrics.HASHES_ASKED.observe(identification.n_hashes)
    metrics.POSTINGS_READ.observe(identification.n_postings)
    if identification.matches:
        metrics.CONFIDENCE.observe(identification.matches[0].match.confidence)
