"""The clip's walk: from a file to the tracks it holds, or to the honest answer that it holds none.

hear         decode and find peaks, in a child process
search       step by step, until something is accepted (search.py)
describe     names of the tracks accepted
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpserver import metrics, stages
from fpserver.fingerprint.constellation import frames_per_s
from fpserver.hearing import hear_clip
from fpserver.search import Clock, Step, search
from fpserver.services import Services
from fpserver.terms import Hearing, Match, Track, TrackStatus

EXPLAINED_CANDIDATES = 10
MIN_PART_S = 2.0  # a part of a clip that long that no match accounts for may hold another track
LAST_FOR_PARTS = "dense"  # step that still looks for one


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


async def _go_on() -> None:
    """Nobody has to be asked."""


async def identify_file(
    services: Services,
    path: Path,
    options: IdentifyOptions,
    *,
    longer: Callable[[], Awaitable[None]] = _go_on,
) -> Identification:
    """Identify a clip that lies in a file: audio, or a fingerprint body.

    `longer` is asked before the search goes on after its first step: from there on it takes long.

    Raises:
        AudioError, FingerprintInvalid, FingerprintForeign: it cannot be used.
        StoreUnavailable: no shard answers.
    """
    config = services.config
    clock = Clock({})
    try:
        with clock.stage("pool"):
            hearing: Hearing = await services.pool.run(
                hear_clip, path, config.audio, config.fingerprint, timeout_s=config.audio.clip_timeout_s
            )
        clock.spent_s["pool"] = max(0.0, clock.spent_s["pool"] - sum(hearing.timings_s.values()))
        clock.spent_s |= hearing.timings_s
        identification = await identify_hearing(services, hearing, options, clock, longer=longer)
    finally:
        for stage, seconds in clock.spent_s.items():
            stages.note(stage, seconds)
    _measure(identification)
    return identification


async def identify_hearing(
    services: Services,
    hearing: Hearing,
    options: IdentifyOptions,
    clock: Clock,
    *,
    longer: Callable[[], Awaitable[None]] = _go_on,
) -> Identification:
    """Identify a clip that was heard already; the clock is told the time of each stage, `longer` as above.

    Raises:
        StoreUnavailable: no shard answers.
    """
    max_rate = options.max_false_accept_rate or services.config.matching.max_false_accept_rate
    matches: list[IdentifiedMatch] = []
    steps: list[Step] = []
    warped = options.speed == "auto"
    async for step in search(services.index, hearing, services.config, clock, warped=warped):
        steps.append(step)
        with clock.stage("tracks"):
            known = {found.match.track_id for found in matches}
            accepted = [
                match
                for match in step.ranked
                if match.false_accept_rate <= max_rate and match.track_id not in known
            ]
            matches += await _describe(services, accepted)
        if matches and (step.name == LAST_FOR_PARTS or _unheard_s(matches, hearing) < MIN_PART_S):
            break
        if len(steps) == 1:
            await longer()
    return Identification(
        duration_s=hearing.duration_s,
        truncated=hearing.truncated,
        n_landmarks=max(step.n_landmarks for step in steps),
        matches=sorted(matches, key=lambda found: -found.match.score)[: options.limit],
        degraded=any(step.degraded for step in steps),
        timings_s=dict(clock.spent_s),
        n_hashes=sum(step.n_lookups for step in steps),
        n_postings=sum(step.n_postings for step in steps),
        explanation={"steps": [_explained(step) for step in steps]} if options.explain else None,
    )


def _unheard_s(matches: list[IdentifiedMatch], hearing: Hearing) -> float:
    """The longest stretch of the clip that no match accounts for, seconds."""
    longest, heard_to = 0.0, 0.0
    for start, end in sorted((found.clip_start_s, found.clip_end_s) for found in matches):
        longest, heard_to = max(longest, start - heard_to), max(heard_to, end)
    return max(longest, hearing.duration_s - heard_to)


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


def _explained(step: Step) -> dict[str, Any]:
    return {
        "step": step.name,
        "n_hashes": step.n_lookups,
        "n_postings": step.n_postings,
        "n_stopped": step.n_stopped,
        "n_candidates": step.n_candidates,
        "candidates": [
            {
                "track_id": match.track_id,
                "alignment_frames": match.alignment,
                "speed": match.warp.speed,
                "pitch": match.warp.pitch,
                "n_votes": match.n_votes,
                "z_time": match.z_time,
                "z_bin": match.z_bin,
                "score": match.score,
                "lead": match.lead,
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
