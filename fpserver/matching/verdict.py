"""Turn candidates into matches: evidence, confidence, order.

Each track is judged at its best alignment. Nothing is accepted here: whoever asked compares the expected rate of
false accepts with the one he allows.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from fpserver.matching.candidates import AS_PLAYED
from fpserver.matching.confidence import chance_level, confidence, false_accept_rate
from fpserver.matching.evidence import ClipMap, Evidence
from fpserver.matching.warp import MIN_GAIN, MOST, refined, settled
from fpserver.terms import Candidate, Match, Peaks

MAX_SETTLED = 2  # of the best tracks, whose place and speed are looked at once more
MAX_PLACES = 8  # of each of them
APART = 4  # frames between two places of a track
FIT_SCALE = 10.0  # of a fit against a vote, where only the order counts
VOTE_WEIGHT = 0.5  # of the root of the votes against a standard deviation of evidence


@dataclass(frozen=True, slots=True)
class _Judged:
    """A track at one of the places where it may be."""

    candidate: Candidate
    peaks: Peaks
    evidence: Evidence
    score: float


def matches_of(
    clip_map: ClipMap,
    candidates: Sequence[Candidate],
    peaks: Sequence[Peaks | None],
    *,
    max_verified: int,
    share: float,
) -> list[Match]:
    """The candidates that have evidence, one match a track, best first.

    Args:
        clip_map: what the clip's cells say.
        candidates: (track, alignment) pairs to judge.
        peaks: of each candidate's track, around the alignment; candidates without are passed over.
        max_verified: so many of the candidates, by votes and a quick fit, are judged.
        share: of the rate of false accepts that this step may spend.
    """
    places: dict[int, list[_Judged]] = defaultdict(list)
    for candidate, stored in _most_likely(clip_map, candidates, peaks, max_verified):
        placed = candidate if candidate.warp == AS_PLAYED else refined(clip_map, candidate, stored)
        if evidence := clip_map.evidence(placed, stored):
            score = score_of(evidence.z, candidate.votes)
            places[candidate.track_id].append(_Judged(placed, stored, evidence, score))
    for some in places.values():
        some.sort(key=lambda each: -each.score)
    tracks = sorted(places.values(), key=lambda some: (-some[0].score, some[0].candidate.track_id))
    best = [some[0] for some in tracks]
    chance = chance_level([each.score for each in best])
    for i, each in enumerate(best[:MAX_SETTLED]):
        if each.score > chance:
            best[i] = replace(each, evidence=_settled(clip_map, tracks[i]))
    matches = []
    for each in best:
        lead = each.score - chance
        rate = false_accept_rate(
            lead, unevenness=clip_map.unevenness, n_frames=clip_map.n_frames, share=share
        )
        matches.append(
            Match(
                track_id=each.candidate.track_id,
                alignment=each.evidence.alignment,
                warp=each.evidence.warp,
                clip_start_frame=each.evidence.clip_start_frame,
                clip_end_frame=each.evidence.clip_end_frame,
                score=each.score,
                lead=lead,
                confidence=confidence(rate),
                false_accept_rate=rate,
                n_votes=each.candidate.n_votes,
                z_time=each.evidence.z_time,
                z_bin=each.evidence.z_bin,
            )
        )
    return matches


def _settled(clip_map: ClipMap, places: Sequence[_Judged]) -> Evidence:
    """The evidence where a track fits best, after a look at each of its places for a change of speed.

    A clip at another speed fits but in part as it is played, and so it does wherever the track repeats that part. Where
    most of the clip agrees at the best place, that is the one.
    """
    first = places[0].evidence
    if first.clip_end_frame - first.clip_start_frame >= MOST * clip_map.n_frames:
        places = places[:1]
    apart: list[_Judged] = []
    for each in places:
        begins = each.evidence.alignment
        if len(apart) < MAX_PLACES and all(abs(begins - other.evidence.alignment) > APART for other in apart):
            apart.append(each)
    best_fit, best = -inf, places[0].evidence
    for each in apart:
        agrees = each.evidence.clip_start_frame, each.evidence.clip_end_frame
        placed = settled(clip_map, each.candidate, each.peaks, agrees=agrees)
        changed = clip_map.evidence(placed, each.peaks) if placed is not each.candidate else None
        evidence = changed or each.evidence
        fit = clip_map.fits(each.peaks, [(evidence.warp, evidence.alignment)])[0]
        if changed:
            fit /= MIN_GAIN
        if fit > best_fit:
            best_fit, best = fit, evidence
    return best


def score_of(z: float, votes: float) -> float:
    """Evidence of both kinds in one number: what the clip's cells say, and how many hashes agree."""
    return float(z + VOTE_WEIGHT * votes**0.5)


def _most_likely(
    clip_map: ClipMap, candidates: Sequence[Candidate], peaks: Sequence[Peaks | None], limit: int
) -> list[tuple[Candidate, Peaks]]:
    """Candidates that have peaks, by quick fit and votes, best first."""
    stored = [(c, p) for c, p in zip(candidates, peaks, strict=True) if p is not None]
    likely = [clip_map.fits(p, [(c.warp, c.alignment)])[0] / FIT_SCALE + c.votes for c, p in stored]
    return [stored[i] for i in np.argsort(-np.array(likely), kind="stable")[:limit]]
