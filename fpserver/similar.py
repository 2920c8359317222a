"""What is like it: from a track or a clip to its nearest tracks, and from two or many tracks to how far they are apart.

Distances are those of `similarity`: of mixes of groups, or of sequences laid on each other. An engine says who may be
near; whoever is named in an answer is looked up in the catalogue, so what was removed meanwhile is never one.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from fpserver.describing import describe_clip
from fpserver.errors import InvalidRequest, LengthsDiffer, NotDescribed, TrackNotFound
from fpserver.following import Near, Neighbourhood, is_described
from fpserver.services import Services
from fpserver.similarity import measures, sequences
from fpserver.similarity.engine import MIXED, Found
from fpserver.similarity.measures import Apart, Comparison
from fpserver.similarity.mix import Mix, usual
from fpserver.similarity.scales import Scales
from fpserver.similarity.transforms import turn
from fpserver.terms import (
    SEGMENTS,
    DescriptionStatus,
    Group,
    Moments,
    Sieve,
    Track,
    Vector,
    Vectors,
)

MARGIN = 10  # neighbours more than asked for: some may be gone
MAX_DTW_MATRIX = 64  # tracks: 2,016 pairs, some seconds

SequenceOf: TypeAlias = Literal["chroma", "timbre"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """What is meant by near."""

    mix: Mix
    warped: bool = (
        False  # sequences are laid on each other, dynamic time warping; the mix names the candidates
    )
    exact: bool = False  # every track is compared, not only those that an index holds likely


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
    await existing(near_by.services, [track_id])
    asked = await _asked(near_by.services, near.scales, track_id, likeness)
    sieve = replace(sieve, without=sieve.without | {track_id})
    return await _neighbours(near_by, near, asked, likeness, k=k, sieve=sieve)


async def ids_like_track(
    near_by: Neighbourhood, track_id: int, likeness: Likeness, *, k: int, sieve: Sieve
) -> list[int]:
    """Ids of the `k` nearest tracks of a track, as the engine knows them; errors as of `like_track`."""
    near = near_by.near
    await existing(near_by.services, [track_id])
    asked = await _asked(near_by.services, near.scales, track_id, likeness)
    sieve = replace(sieve, without=sieve.without | {track_id})
    return await _candidates(near, asked.embedded, likeness, k=k, sieve=sieve)


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
    parts = frozenset(
        {*(group.value for group in likeness.mix.shares), *([SEGMENTS] if likeness.warped else [])}
    )
    description = await services.pool.run(
        describe_clip,
        path,
        services.config.audio,
        services.config.features,
        parts,
        timeout_s=services.config.audio.clip_timeout_s,
    )
    embedded = await asyncio.to_thread(near.scales.embed, description.vectors)
    asked = Asked(embedded=embedded, moments=description.moments)
    return await _neighbours(near_by, near, asked, likeness, k=k, sieve=sieve)


async def _asked(services: Services, scales: Scales, track_id: int, likeness: Likeness) -> Asked:
    """The description of a track, as far as the likeness needs it."""
    embedded = (await _embedded(services, scales, [track_id], likeness.mix))[track_id]
    moments = (await services.descriptions.moments([track_id])).get(track_id) if likeness.warped else None
    if likeness.warped and moments is None:
        raise NotDescribed(f"track {track_id} has no segments, which time warping compares")
    return Asked(embedded=embedded, moments=moments)


async def _neighbours(
    near_by: Neighbourhood, near: Near, asked: Asked, likeness: Likeness, *, k: int, sieve: Sieve
) -> list[Neighbour]:
    n_candidates = k + MARGIN
    if likeness.warped:
        n_candidates = max(n_candidates, near_by.services.config.similarity.dtw_candidates)
    candidates = await _candidates(near, asked.embedded, likeness, k=n_candidates, sieve=sieve)
    tracks = {
        track_id: track
        for track_id, track in (await near_by.services.tracks.get(candidates)).items()
        if is_described(track)
    }
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
    neighbours = []
    for track, theirs in others:
        apart = measures.compare(embedded, theirs, mix=mix, scales=scales)
        neighbours.append(
            Neighbour(
                track=track,
                distance=apart.whole.distance,
                similarity=apart.whole.similarity,
                groups=apart.groups,
                semitones=apart.semitones,
            )
        )
    return sorted(neighbours, key=lambda each: (each.distance, each.track.track_id))


async def _warped(
    services: Services, scales: Scales, asked: Moments, tracks: Mapping[int, Track], likeness: Likeness
) -> list[Neighbour]:
    """The tracks by how well their sequences lie on the one asked about."""
    moments = await services.descriptions.moments(list(tracks))

    def lay() -> list[Neighbour]:
        neighbours = []
        for track_id, theirs in moments.items():
            aligned = _lay(asked, theirs, scales, likeness.mix, part=None)
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

    return await asyncio.to_thread(lay)


def _lay(a: Moments, b: Moments, scales: Scales, mix: Mix, *, part: bool | None) -> sequences.Aligned:
    """One sequence on the other: chroma where tonal counts most, else timbre.

    `part`: whether the shorter may lie anywhere in the longer; None: when it is less than half as long.
    """
    if part is None:
        part = max(len(a), len(b)) > sequences.MAX_RATIO * min(len(a), len(b))
    shares = mix.shares
    if shares.get(Group.TONAL, 0) >= max(shares.values()):
        return sequences.chroma_distance(a.chroma, b.chroma, transpose=mix.transpose, part=part)
    ours, theirs = (scales.embed_moments(each.timbre) for each in (a, b))
    return sequences.timbre_distance(ours, theirs, part=part)


# ---------------------------------------------------------------- pairs and matrices


@dataclass(frozen=True, slots=True, kw_only=True)
class PairReport:
    """How far two tracks are apart, by everything there is."""

    euclidean: Comparison
    cosine: Comparison
    transposed: Comparison | None  # tonal at the best of twelve transpositions
    warped: Mapping[str, sequences.Aligned]  # "chroma", "timbre", where both have segments
    not_warped: str | None  # why there is nothing of that


async def pair(near_by: Neighbourhood, a: int, b: int) -> PairReport:
    """Two tracks beside each other, by every group that both are described by.

    Raises:
        TrackNotFound: there is no such track.
        NotDescribed: one is not described.
        StoreUnavailable: the store does not answer.
    """
    near, services = near_by.near, near_by.services
    tracks = await existing(services, [a, b])
    raw = await services.descriptions.vectors([a, b], list(Group))
    for track_id in (a, b):
        if not raw[track_id]:
            raise NotDescribed(why_not_described(tracks[track_id]))
    moments = await services.descriptions.moments([a, b])
    return await asyncio.to_thread(_paired, near.scales, [raw[a], raw[b]], [moments.get(a), moments.get(b)])


def _paired(
    scales: Scales, raw: Sequence[Mapping[Group, Vector]], moments: Sequence[Moments | None]
) -> PairReport:
    first, second = map(scales.embed, raw)
    both = usual([group for group in first if group in second])
    if not both:
        raise NotDescribed("the two tracks have no group of descriptors in common")

    def compare(**how: object) -> Comparison:
        return measures.compare(first, second, mix=Mix(weights=both, **how), scales=scales)  # type: ignore[arg-type]

    warped, reason = {}, None
    ours, theirs = moments
    if ours is None or theirs is None:
        reason = "time warping compares segments, and one of the tracks has none"
    else:
        try:
            warped["chroma"] = sequences.chroma_distance(ours.chroma, theirs.chroma, transpose=True)
            warped["timbre"] = sequences.timbre_distance(
                *(scales.embed_moments(each.timbre) for each in (ours, theirs))
            )
        except LengthsDiffer as error:
            reason = error.message
    return PairReport(
        euclidean=compare(),
        cosine=compare(metric="cosine"),
        transposed=compare(transpose=True) if Group.TONAL in both else None,
        warped=warped,
        not_warped=reason,
    )


async def matrix(
    near_by: Neighbourhood, track_ids: Sequence[int], likeness: Likeness, *, as_similarity: bool
) -> AsyncIterator[Vectors]:
    """Rows of distances (or similarities) of all these tracks to all of them, some at a time, in the order given.

    Raises:
        InvalidRequest: there are too many tracks, or one is named twice.
        TrackNotFound: there is no such track.
        NotDescribed: one is not described by what is asked for.
        LengthsDiffer: two sequences cannot be laid on each other.
        StoreUnavailable: the store does not answer.
    """
    near, services = near_by.near, near_by.services
    limit = MAX_DTW_MATRIX if likeness.warped else services.config.similarity.max_matrix_tracks
    if len(track_ids) > limit:
        raise InvalidRequest(f"track_ids names {len(track_ids)} tracks, at most {limit} are compared at once")
    if len(set(track_ids)) < len(track_ids):
        twice = next(each for each in track_ids if track_ids.count(each) > 1)
        raise InvalidRequest(f"track_ids names track {twice} more than once")
    await existing(services, track_ids)
    blocks = (
        await _warped_blocks(services, near.scales, track_ids, likeness)
        if likeness.warped
        else await _mixed_blocks(services, near.scales, track_ids, likeness)
    )
    while (block := await asyncio.to_thread(next, blocks, None)) is not None:
        if as_similarity:
            block = 1 - block if likeness.warped else _similarities(block, near.scales, likeness.mix)
        yield block


def _similarities(block: Vectors, scales: Scales, mix: Mix) -> Vectors:
    flat = scales.similarities_of(block.ravel(), mix)
    return flat.reshape(block.shape).astype(np.float32)


async def _mixed_blocks(
    services: Services, scales: Scales, track_ids: Sequence[int], likeness: Likeness
) -> Iterator[Vectors]:
    embedded = await _embedded(services, scales, track_ids, likeness.mix)
    n_dimensions = len(scales.weights(likeness.mix))
    rows = np.zeros((len(track_ids), n_dimensions), np.float32)
    for row, track_id in zip(rows, track_ids, strict=True):
        for group, place in scales.slices.items():
            if group in likeness.mix.shares:
                row[place] = embedded[track_id][group]
    return measures.matrix(rows, mix=likeness.mix, scales=scales)


async def _warped_blocks(
    services: Services, scales: Scales, track_ids: Sequence[int], likeness: Likeness
) -> Iterator[Vectors]:
    moments = await services.descriptions.moments(track_ids)
    for track_id in track_ids:
        if track_id not in moments:
            raise NotDescribed(f"track {track_id} has no segments, which time warping compares")
    whole = np.zeros((len(track_ids), len(track_ids)), np.float32)

    def rows() -> Iterator[Vectors]:
        for i, a in enumerate(track_ids):
            for j in range(i + 1, len(track_ids)):
                aligned = _lay(moments[a], moments[track_ids[j]], scales, likeness.mix, part=False)
                whole[i, j] = whole[j, i] = aligned.distance
            yield whole[i : i + 1].copy()

    return rows()


# ---------------------------------------------------------------- shared


async def existing(services: Services, track_ids: Sequence[int]) -> dict[int, Track]:
    """The tracks of these ids.

    Raises:
        TrackNotFound: one is not there.
    """
    tracks = await services.tracks.get(track_ids)
    for track_id in track_ids:
        if track_id not in tracks:
            raise TrackNotFound(f"no track {track_id}")
    return tracks


async def _embedded(
    services: Services, scales: Scales, track_ids: Sequence[int], mix: Mix
) -> dict[int, dict[Group, Vector]]:
    """Comparable vectors of the groups that count, of every track.

    Raises:
        NotDescribed: one lacks one of them.
    """
    groups = list(mix.shares)
    scales.weights(mix)  # the catalogue has them all, or it is said which it has not
    raw = await services.descriptions.vectors(track_ids, groups)
    for track_id, vectors in raw.items():
        lacking = [group.value for group in groups if group not in vectors]
        if lacking:
            track = (await existing(services, [track_id]))[track_id]
            raise NotDescribed(
                why_not_described(track)
                if not track.described
                else f"track {track_id} is not described by {', '.join(lacking)}"
            )
    return await asyncio.to_thread(
        lambda: {track_id: scales.embed(vectors) for track_id, vectors in raw.items()}
    )


def why_not_described(track: Track) -> str:
    """Why a track is not described."""
    named = f"track {track.track_id}"
    if track.description is DescriptionStatus.WAITING:
        return f"{named} is not described yet: it waits for a worker that has nothing to index"
    if track.description is DescriptionStatus.FAILED:
        return f"{named} could not be described: {track.description_message}"
    if track.description is DescriptionStatus.NO_AUDIO:
        return f"{named} cannot be described: it came as a fingerprint, or its file is gone"
    return f"{named} is not described, its status is {track.status.value}: `fpserver describe` describes what lacks it"
