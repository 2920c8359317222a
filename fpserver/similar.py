"""What is like it: from a track or a clip to its nearest tracks.

Distances are those of `similarity`: of mixes of groups, or of sequences laid on each other. An engine says who may be
near; whoever is named in an answer is looked up in the catalogue, so what was removed meanwhile is never one.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from fpserver.comparable import Likeness, embedded_of, existing, lay, sequence_of
from fpserver.describing import describe_clip
from fpserver.errors import NotDescribed
from fpserver.following import Near, Neighbourhood, is_described
from fpserver.services import Services
from fpserver.similarity import measures
from fpserver.similarity.engines.engine import MIXED, Found
from fpserver.similarity.measures import Apart
from fpserver.similarity.mix import Mix, usual
from fpserver.similarity.scales import Scales
from fpserver.similarity.transforms import turn
from fpserver.stages import measured
from fpserver.terms import SEGMENTS, Group, Moments, Sieve, Track, Vector

MARGIN = 10  # neighbours more than asked for: some may be gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A track that is near."""

    track: Track
    distance: float
    similarity: float  # 0..1
    groups: Mapping[Group, Apart] = field(default_factory=dict)
    semitones: int | None = None  # how much higher it sounds, where transpositions count
    start_s: float | None = (
        None  # where in the longer the shorter lies, where sequences were laid on each other
    )
    end_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What neighbours are sought of."""

    embedded: Mapping[Group, Vector]
    choosing: Likeness  # by what candidates are chosen
    moments: Moments | None


async def like_track(
    near_by: Neighbourhood, track_id: int, likeness: Likeness, *, k: int, sieve: Sieve
) -> list[Neighbour]:
    """The `k` nearest tracks of a track, nearest first.

    Raises:
        TrackNotFound: no track has this id.
        NotDescribed: it is not described, or not by what is asked for.
        StoreUnavailable: the store or the engine does not answer.
    """
    near = near_by.near
    track = (await existing(near_by.services, [track_id]))[track_id]
    groups = [group for group in near.scales.groups if group in track.described]
    asked = await _asked(near_by.services, near.scales, track_id, likeness, _choosing(likeness, groups))
    sieve = replace(sieve, without=sieve.without | {track_id})
    return await _neighbours(near_by, near, asked, likeness, k=k, sieve=sieve)


async def ids_like_track(
    near_by: Neighbourhood, track_id: int, likeness: Likeness, *, k: int, sieve: Sieve
) -> list[int]:
    """Ids of the `k` nearest tracks of a track, as the engine knows them; errors as of `like_track`."""
    near = near_by.near
    await existing(near_by.services, [track_id])
    embedded = (await embedded_of(near_by.services, near.scales, [track_id], likeness.mix))[track_id]
    sieve = replace(sieve, without=sieve.without | {track_id})
    return await _candidates(near, embedded, likeness, k=k, sieve=sieve)


async def like_clip(
    near_by: Neighbourhood, path: Path, likeness: Likeness, *, k: int, sieve: Sieve
) -> list[Neighbour]:
    """The `k` nearest tracks of a clip, nearest first.

    Raises:
        AudioError: the clip cannot be used, is too short, or silent.
        NotDescribed: no track is described by what is asked for.
        StoreUnavailable: the store or the engine does not answer.
    """
    near, services = near_by.near, near_by.services
    choosing = _choosing(likeness, list(near.scales.groups))
    parts = frozenset({*choosing.mix.shares, *([SEGMENTS] if likeness.warped else [])})
    with measured("similar", "describe"):
        description = await services.pool.run(
            describe_clip,
            path,
            services.config.audio,
            services.config.features,
            parts,
            timeout_s=services.config.audio.clip_timeout_s,
        )
    embedded = await asyncio.to_thread(near.scales.embed, description.vectors)
    asked = Asked(embedded=embedded, choosing=choosing, moments=description.moments)
    return await _neighbours(near_by, near, asked, likeness, k=k, sieve=sieve)


def _choosing(likeness: Likeness, groups: Sequence[Group]) -> Likeness:
    """By what candidates are chosen: for warping the usual mix of the groups there are."""
    if not likeness.warped or not groups:
        return likeness
    return replace(likeness, mix=Mix(weights=usual(groups), transpose=likeness.mix.transpose))


async def _asked(
    services: Services, scales: Scales, track_id: int, likeness: Likeness, choosing: Likeness
) -> Asked:
    """The description of a track, as far as it is needed."""
    embedded = (await embedded_of(services, scales, [track_id], choosing.mix))[track_id]
    moments = (await services.descriptions.moments([track_id])).get(track_id) if likeness.warped else None
    if likeness.warped and moments is None:
        raise NotDescribed(f"track {track_id} has no segments, which time warping compares")
    return Asked(embedded=embedded, choosing=choosing, moments=moments)


async def _neighbours(
    near_by: Neighbourhood, near: Near, asked: Asked, likeness: Likeness, *, k: int, sieve: Sieve
) -> list[Neighbour]:
    n_candidates = k + MARGIN
    if likeness.warped:
        n_candidates = max(n_candidates, near_by.services.config.similarity.dtw_candidates)
    with measured("similar", "candidates"):
        candidates = await _candidates(near, asked.embedded, asked.choosing, k=n_candidates, sieve=sieve)
    with measured("similar", "tracks"):
        records = await near_by.services.tracks.get(candidates)
    tracks = {track_id: track for track_id, track in records.items() if is_described(track)}
    with measured("similar", "compare"):
        if likeness.warped:
            assert asked.moments is not None
            return (await _warped(near_by.services, near.scales, asked.moments, tracks, likeness))[:k]
        chosen = [track_id for track_id in candidates if track_id in tracks][:k]
        theirs = await _held(near, chosen, likeness.mix)
        others = [(tracks[track_id], theirs[track_id]) for track_id in chosen if track_id in theirs]
        return await asyncio.to_thread(_compared, asked.embedded, others, near.scales, likeness.mix)


async def _held(near: Near, track_ids: Sequence[int], mix: Mix) -> dict[int, dict[Group, Vector]]:
    """What the engine holds of the groups that count; without tracks that lack one of them."""
    groups = list(mix.shares)
    held = await asyncio.gather(*(near.engine.vectors(group.value, track_ids) for group in groups))
    return {
        track_id: {group: vectors[track_id][0] for group, vectors in zip(groups, held, strict=True)}
        for track_id in track_ids
        if all(track_id in vectors for vectors in held)
    }


async def _candidates(
    near: Near, embedded: Mapping[Group, Vector], likeness: Likeness, *, k: int, sieve: Sieve
) -> list[int]:
    """Ids of the nearest tracks, nearest first."""
    mix, scales = likeness.mix, near.scales
    space, query, weights = _question(embedded, mix, scales)
    queries = query[None]
    if mix.transpose and Group.TONAL in mix.shares:
        place = slice(0, len(query)) if space == Group.TONAL else scales.slices[Group.TONAL]
        queries = np.repeat(queries, 12, axis=0)
        for semitones in range(12):
            queries[semitones, place] = turn(query[place], semitones)
    found = await near.engine.nearest(
        space, queries, k=k, weights=weights, metric=mix.metric, sieve=sieve, exact=likeness.exact
    )
    return _merged(found, k=k)


def _question(
    embedded: Mapping[Group, Vector], mix: Mix, scales: Scales
) -> tuple[str, Vector, Vector | None]:
    """(space, query, weights of its dimensions; None: all the same)."""
    shares = mix.shares
    if len(shares) == 1:
        (group,) = shares
        return group.value, embedded[group].astype(np.float32), None
    return MIXED, scales.searched(embedded), scales.search_weights(mix)


def _merged(found: Sequence[Found], *, k: int) -> list[int]:
    """The nearest tracks of several questions, each once."""
    best: dict[int, float] = {}
    for each in found:
        for track_id, distance in zip(each.track_id.tolist(), each.distance.tolist(), strict=True):
            best[track_id] = min(distance, best.get(track_id, distance))
    return sorted(best, key=lambda track_id: (best[track_id], track_id))[:k]


def _compared(
    embedded: Mapping[Group, Vector],
    others: Sequence[tuple[Track, Mapping[Group, Vector]]],
    scales: Scales,
    mix: Mix,
) -> list[Neighbour]:
    """Each of the others beside what was asked about, by group; nearest first."""
    compared = measures.compare_all(embedded, [theirs for _, theirs in others], mix=mix, scales=scales)
    neighbours = [
        Neighbour(
            track=track,
            distance=apart.whole.distance,
            similarity=apart.whole.similarity,
            groups=apart.groups,
            semitones=apart.semitones,
        )
        for (track, _), apart in zip(others, compared, strict=True)
    ]
    return sorted(neighbours, key=lambda each: (each.distance, each.track.track_id))


async def _warped(
    services: Services, scales: Scales, asked: Moments, tracks: Mapping[int, Track], likeness: Likeness
) -> list[Neighbour]:
    """The tracks by how well their sequences lie on the one asked about."""
    moments = await services.descriptions.moments(list(tracks))

    def laid() -> list[Neighbour]:
        neighbours = []
        ours = sequence_of(asked, scales, likeness.mix)
        for track_id, theirs in moments.items():
            aligned = lay(ours, sequence_of(theirs, scales, likeness.mix), likeness.mix, part=None)
            neighbours.append(
                Neighbour(
                    track=tracks[track_id],
                    distance=aligned.distance,
                    similarity=aligned.similarity,
                    semitones=aligned.semitones,
                    start_s=aligned.start_s,
                    end_s=aligned.end_s,
                )
            )
        return sorted(neighbours, key=lambda each: (each.distance, each.track.track_id))

    return await asyncio.to_thread(laid)
