"""Turn candidates into matches: evidence, confidence, order.

Each track is judged at its best alignment. Nothing is accepted here: whoever asked compares the expected rate of
false accepts with the one he allows.
"""

from collections.abc import Mapping, Sequence

from fpserver.matching.confidence import Tail, confidence, false_accept_rate
from fpserver.matching.evidence import ClipMap, Evidence
from fpserver.terms import Candidate, Constellation, Match


def matches_of(
    clip_map: ClipMap,
    candidates: Sequence[Candidate],
    constellations: Mapping[int, Constellation],
    *,
    tail: Tail,
    n_indexed: int,
    n_steps: int,
) -> list[Match]:
    """The candidates that have evidence, one match a track, best first.

    Args:
        clip_map: the clip's peaks, spread.
        candidates: (track, alignment) pairs to judge.
        constellations: stored peaks by track; candidates without are passed over.
        tail: distribution of wrong scores in this step of the search.
        n_indexed: postings in the whole index.
        n_steps: steps that the search may take.
    """
    best: dict[int, tuple[Candidate, Evidence]] = {}
    for candidate in candidates:
        if candidate.track_id not in constellations:
            continue
        evidence = clip_map.evidence(candidate, constellations[candidate.track_id])
        known = best.get(candidate.track_id)
        if evidence and (known is None or evidence.score > known[1].score):
            best[candidate.track_id] = candidate, evidence
    matches = []
    for candidate, evidence in best.values():
        rate = false_accept_rate(evidence.score, tail, n_indexed=n_indexed, n_steps=n_steps)
        matches.append(
            Match(
                track_id=candidate.track_id,
                alignment=candidate.mean_alignment,
                clip_start_frame=evidence.clip_start_frame,
                clip_end_frame=evidence.clip_end_frame,
                score=evidence.score,
                confidence=confidence(rate),
                false_accept_rate=rate,
                n_votes=candidate.n_votes,
                z_time=evidence.z_time,
                z_bin=evidence.z_bin,
            )
        )
    return sorted(matches, key=lambda match: (-match.score, match.track_id))
