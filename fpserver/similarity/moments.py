"""Find where in the catalogue it sounds like a clip: pure part, between the engine's answers and the hits.

Each of the clip's moments has nearest vectors in the catalogue. A vector at row r of a track, near to the clip's moment
i, votes for the clip to begin at row r − i of that track; tracks with the best-voted beginnings are candidates. Each is
then compared with the whole clip at every beginning, with the tracks' own vectors: nothing is judged by votes alone.
Of beginnings of one track that overlap only the best is a hit. Order: distance, then track, then time.
"""

from bisect import insort
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fpserver.errors import InvalidRequest
from fpserver.similarity.engines.engine import Found
from fpserver.similarity.scales import Scales
from fpserver.similarity.transforms import Reals
from fpserver.terms import MOMENT_HOP_S, MOMENT_S, Vectors

MAX_HITS = 50
MAX_CANDIDATES = 100  # tracks that are compared with the whole clip
ROUNDING = 1e-13  # of squared lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A moment of a track that sounds like the clip."""

    track_id: int
    start_s: float  # where the clip would begin
    end_s: float
    distance: float  # root of the mean squared distance of aligned moments
    similarity: float  # share of random pairs of moments that are farther apart


def candidates(found: Sequence[Sequence[Found]], *, limit: int = MAX_CANDIDATES) -> list[int]:
    """Tracks that are worth comparing with the whole clip, likeliest first.

    Args:
        found: for each sub-hop shift of the clip, and each of its moments in order, the nearest vectors.
        limit: most tracks.

    A vote weighs 1 less its distance divided by the farthest that was found; a moment votes once for a beginning.
    """
    farthest = max(
        (float(each.distance.max()) for shift in found for each in shift if len(each.row)), default=0.0
    )
    best: dict[int, float] = defaultdict(float)
    for shift in found:
        votes: dict[tuple[int, int], float] = defaultdict(float)
        for moment, near in enumerate(shift):
            weights = 1.001 - near.distance.astype(np.float64) / max(farthest, 1e-9)
            for track_id, row, weight in zip(
                near.track_id.tolist(), near.row.tolist(), weights.tolist(), strict=True
            ):
                votes[track_id, row - moment] += weight
        for (track_id, _), weight in votes.items():
            best[track_id] = max(best[track_id], weight)
    return sorted(best, key=lambda track_id: (-best[track_id], track_id))[:limit]


def hits(
    clip: Sequence[Vectors],
    tracks: Mapping[int, Vectors],
    *,
    shifts_s: Sequence[float],
    scales: Scales,
    limit: int = MAX_HITS,
    without: tuple[int, float, float] | None = None,
) -> list[Hit]:
    """The places that sound most like a clip, best first.

    Args:
        clip: comparable vectors of the clip's moments, (n_moments, size), for each sub-hop shift.
        tracks: comparable vectors of the candidates' moments, (n_moments, size) each.
        shifts_s: where in the clip the first moment of each shift begins.
        scales: that the vectors were made with.
        limit: most hits.
        without: (track_id, start_s, end_s), nothing that overlaps this is a hit.

    Raises:
        InvalidRequest: the clip has no moments.
    """
    if not clip or len(clip) != len(shifts_s) or not all(map(len, clip)):
        raise InvalidRequest(
            f"clip has {[len(each) for each in clip]} moments, needs at least 1 in each shift"
        )
    length_s = max(
        shift_s + (len(each) - 1) * MOMENT_HOP_S + MOMENT_S
        for each, shift_s in zip(clip, shifts_s, strict=True)
    )
    places: list[tuple[float, int, float]] = []  # (distance, track_id, start_s), ascending
    for track_id in sorted(tracks):
        starts_s, distances = _profile(clip, tracks[track_id], shifts_s)
        free = np.ones(len(starts_s), bool)
        if without is not None and without[0] == track_id:
            free &= (starts_s + length_s <= without[1]) | (starts_s >= without[2])
        while len(places) < limit or distances[free].min(initial=np.inf) < places[-1][0]:
            if not free.any():
                break
            best = int(np.argmin(np.where(free, distances, np.inf)))
            insort(places, (float(distances[best]), track_id, float(starts_s[best])))
            del places[limit:]
            free &= np.abs(starts_s - starts_s[best]) >= length_s
    similarities = scales.moment_similarities_of(np.array([distance for distance, _, _ in places]))
    return [
        Hit(
            track_id=track_id,
            start_s=max(start_s, 0.0),
            end_s=max(start_s, 0.0) + length_s,
            distance=distance,
            similarity=float(similarity),
        )
        for (distance, track_id, start_s), similarity in zip(places, similarities, strict=True)
    ]


def _profile(clip: Sequence[Vectors], track: Vectors, shifts_s: Sequence[float]) -> tuple[Reals, Reals]:
    """(start_s, distance) of every beginning of the clip in a track, at every shift, by start.

    A track that is shorter than the clip is compared with as many of the clip's first moments as it has.
    """
    starts: list[Reals] = []
    distances: list[Reals] = []
    for moments, shift_s in zip(clip, shifts_s, strict=True):
        aligned = moments[: len(track)]
        squared = _squared(aligned, track)
        n_starts = len(track) - len(aligned) + 1
        total: Reals = np.zeros(n_starts)
        for index, row in enumerate(squared):
            total += row[index : index + n_starts]
        starts.append((np.arange(n_starts) * MOMENT_HOP_S - shift_s).astype(np.float64))
        distances.append(np.sqrt(total / len(aligned)).astype(np.float64))
    order = np.argsort(np.concatenate(starts), kind="stable")
    return np.concatenate(starts)[order], np.concatenate(distances)[order]


def _squared(a: Vectors, b: Vectors) -> Reals:
    """Squared distances, (n_a, n_b); by a matrix product, and so 0 where rounding alone would be left."""
    ours, theirs = a.astype(np.float64), b.astype(np.float64)
    lengths = np.sum(ours**2, axis=1)[:, np.newaxis] + np.sum(theirs**2, axis=1)
    squared = lengths - 2 * ours @ theirs.T
    return np.where(squared > ROUNDING * lengths, squared, 0.0)
