"""Which moments sound like this one: from a clip, or a moment of a track, to places in tracks.

An engine says which tracks have vectors near to those of the clip; these are then compared moment by moment with what
the store holds of them, so that a place is judged by the whole clip and not by one second of it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite
from pathlib import Path

import numpy as np

from fpserver.comparable import existing, why_not_described
from fpserver.describing import describe_shifted
from fpserver.errors import InvalidRequest, NotDescribed
from fpserver.following import Near, Neighbourhood, is_described
from fpserver.similarity.engines.engine import Found
from fpserver.similarity.moments import Hit, candidates, hits
from fpserver.stages import measured
from fpserver.terms import MOMENT_HOP_S, MOMENT_S, SEGMENTS, Moments, Sieve, Track, Vectors

MAX_ASKED = 64  # moments of a clip whose nearest vectors are sought, evenly spread over it
N_NEAREST = 200  # of each
MAX_MOMENT_S = 60.0  # of a track, to start from


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in a track that sounds like what was asked about."""

    track: Track
    hit: Hit


async def like_clip(near_by: Neighbourhood, path: Path, *, limit: int, sieve: Sieve) -> list[Place]:
    """Places that sound like a clip, best first. A clip is heard to `audio.max_clip_s`.

    Raises:
        AudioError: the clip cannot be used, is shorter than a moment, or silent.
        NotDescribed: no track has segments.
        StoreUnavailable: the store or the engine does not answer.
    """
    near, config = _with_segments(near_by), near_by.services.config
    with measured("segments", "describe"):
        shifts_s, timbres = await near_by.services.pool.run(
            describe_shifted, path, config.audio, timeout_s=config.audio.clip_timeout_s
        )
    clip = [near.scales.embed_moments(timbre) for timbre in timbres]
    return await _places(near_by, near, clip, shifts_s, limit=limit, sieve=sieve)


async def like_moment(
    near_by: Neighbourhood, track_id: int, start_s: float, end_s: float | None, *, limit: int, sieve: Sieve
) -> list[Place]:
    """Places that sound like a moment of a track, best first, without what overlaps it.

    Raises:
        InvalidRequest: the moment is empty, too long, or outside of what is described of the track.
        TrackNotFound: no track has this id.
        NotDescribed: it has no segments.
        StoreUnavailable: the store or the engine does not answer.
    """
    near, services = _with_segments(near_by), near_by.services
    track = (await existing(services, [track_id]))[track_id]
    moments = (await services.descriptions.moments([track_id])).get(track_id)
    if moments is None:
        described = f"track {track_id} has no segments" if track.described else why_not_described(track)
        raise NotDescribed(described)
    end_s = start_s + MOMENT_S if end_s is None else end_s
    if not isfinite(start_s) or not start_s < end_s <= start_s + MAX_MOMENT_S:
        raise InvalidRequest(
            f"end_s is {end_s:g}, must be after start_s, {start_s:g}, and at most {MAX_MOMENT_S:g} later"
        )
    first = floor(start_s / MOMENT_HOP_S)
    if first >= len(moments):
        described_s = (len(moments) - 1) * MOMENT_HOP_S + MOMENT_S
        raise InvalidRequest(f"start_s is {start_s:g}, track {track_id} is described to {described_s:g} s")
    last = max(first + 1, ceil((end_s - MOMENT_S) / MOMENT_HOP_S) + 1)
    clip = [near.scales.embed_moments(moments.timbre[first:last])]
    here = (track_id, first * MOMENT_HOP_S, end_s)
    return await _places(near_by, near, clip, [0.0], limit=limit, sieve=sieve, without=here)


async def _places(
    near_by: Neighbourhood,
    near: Near,
    clip: Sequence[Vectors],
    shifts_s: Sequence[float],
    *,
    limit: int,
    sieve: Sieve,
    without: tuple[int, float, float] | None = None,
) -> list[Place]:
    services = near_by.services
    with measured("segments", "candidates"):
        found = await _nearest(near, clip, sieve)
        likely = await asyncio.to_thread(candidates, found)
    with measured("segments", "tracks"):
        records = await services.tracks.get(likely)
    tracks = {track_id: track for track_id, track in records.items() if is_described(track)}

    def compare(moments: Mapping[int, Moments]) -> list[Hit]:
        theirs = {track_id: near.scales.embed_moments(each.timbre) for track_id, each in moments.items()}
        return hits(clip, theirs, shifts_s=shifts_s, scales=near.scales, limit=limit, without=without)

    with measured("segments", "compare"):
        moments = await services.descriptions.moments(list(tracks))
        best = await asyncio.to_thread(compare, moments)
    return [Place(track=tracks[hit.track_id], hit=hit) for hit in best]


async def _nearest(near: Near, clip: Sequence[Vectors], sieve: Sieve) -> list[list[Found]]:
    """For each shift and each of its moments the nearest vectors; of long clips, for some moments."""
    n_moments = sum(map(len, clip))
    step = max(1, ceil(n_moments / MAX_ASKED))
    asked = [(shift, row) for shift, rows in enumerate(clip) for row in range(0, len(rows), step)]
    queries = np.stack([clip[shift][row] for shift, row in asked])
    answers = await near.engine.nearest(SEGMENTS, queries, k=N_NEAREST, sieve=sieve)
    nothing = Found(
        track_id=np.zeros(0, np.int64), row=np.zeros(0, np.int64), distance=np.zeros(0, np.float32)
    )
    found = [[nothing] * len(rows) for rows in clip]
    for (shift, row), answer in zip(asked, answers, strict=True):
        found[shift][row] = answer
    return found


def _with_segments(near_by: Neighbourhood) -> Near:
    near = near_by.near
    if SEGMENTS not in near.scales.sizes():
        raise NotDescribed(
            "no track of the catalogue has segments: features.segments is off, or was when they were described"
        )
    return near
