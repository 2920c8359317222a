"""Turn candidates into matches: evidence, confidence, order.

Each track is judged at its best alignment. Nothing is accepted here: whoever asked compares the expected rate of
false accepts with the one he allows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fpserver.matching.candidates import AS_PLAYED
from fpserver.matching.confidence import chance_level, confidence, false_accept_rate
from fpserver.matching.evidence import ClipMap, Evidence
from fpserver.matching.warp import refined, settled
from fpserver.terms import Candidate, Match, Peaks

MAX_SETTLED = 2  # of the best, whose speed is looked at once more
FIT_SCALE = 10.0  # of a fit against a vote, where only the order counts
VOTE_WEIGHT = 0.5  # of the root of the votes against a standard deviation of evidence


@dataclass(slots=True)
class _Judged:
    """A track at its best alignment so far."""

    candidate: Candidate
    peaks: Peaks
    evidence: Evidence
    score: float

    def settle(self, clip_map: ClipMap) -> None:
        """Find the change of speed that the step did not look for, or not so finely; the score stays."""
        agrees = self.evidence.clip_start_frame, self.evidence.clip_end_frame
        placed = settled(clip_map, self.candidate, self.peaks, agrees=agrees)
        evidence = clip_map.evidence(placed, self.peaks) if placed is not self.candidate else None
        self.evidence = evidence or self.evidence


def matches_of(
    clip_map: ClipMap,
    candidates: Sequence[Candidate],
    peaks: Sequence[Peaks | None],
    *,
    max_verified: int,
    n_steps: int,
) -> list[Match]:
    """The candidates that have evidence, one match a track, best first.

    Args:
        clip_map: what the clip's cells say.
        candidates: (track, alignment) pairs to judge.
        peaks: of each candidate's track, around the alignment; candidates without are passed over.
        max_verified: so many of the candidates, by votes and a quick fit, are judged.
        n_steps: steps that the search may take.
    """
    judged: dict[int, _Judged] = {}
    for candidate, stored in _most_likely(clip_map, candidates, peaks, max_verified):
        placed = candidate if candidate.warp == AS_PLAYED else refined(clip_map, candidate, stored)
        evidence = clip_map.evidence(placed, stored)
        if evidence is None:
            continue
        score = score_of(evidence.z, candidate.votes)
        known = judged.get(candidate.track_id)
        if known is None or score > known.score:
            judged[candidate.track_id] = _Judged(placed, stored, evidence, score)
    best = sorted(judged.values(), key=lambda each: (-each.score, each.candidate.track_id))
    for each in best[:MAX_SETTLED]:
        each.settle(clip_map)
    chance = chance_level([each.score for each in best])
    matches = []
    for each in best:
        lead = each.score - chance
        rate = false_accept_rate(lead, unevenness=clip_map.unevenness, n_steps=n_steps)
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


def score_of(z: float, votes: float) -> float:
    """Evidence of both kinds in one number: what the clip's cells say, and how many hashes agree."""
    return float(z + VOTE_WEIGHT * votes**0.5)


def _most_likely(
    clip_map: ClipMap, candidates: Sequence[Candidate], peaks: Sequence[Peaks | None], limit: int
) -> list[tuple[Candidate, Peaks]]:
    """Candidates that have peaks, by quick fit and votes, best first."""
    stored = [(c, p) for c, p in zip(candidates, peaks, strict=True) if p is not None]
    likely = [clip_map.fit(p, c.alignment, c.warp) / FIT_SCALE + c.votes for c, p in stored]
    return [stored[i] for i in np.argsort(-np.array(likely), kind="stable")[:limit]]
