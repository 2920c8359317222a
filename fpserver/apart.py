"""How far are they apart: two tracks side by side, or many, each from each."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fpserver.comparable import Likeness, embedded_of, existing, lay, sequence_of, why_not_described
from fpserver.errors import InvalidRequest, LengthsDiffer, NotDescribed
from fpserver.following import Neighbourhood
from fpserver.services import Services
from fpserver.similarity import measures, sequences
from fpserver.similarity.measures import Comparison
from fpserver.similarity.mix import Mix, usual
from fpserver.similarity.scales import Scales
from fpserver.terms import Group, Moments, Vector, Vectors

MAX_DTW_MATRIX = 64  # tracks: 2,016 pairs, some seconds


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

    def next_block() -> Vectors | None:
        block = next(blocks, None)
        if block is None or not as_similarity:
            return block
        return 1 - block if likeness.warped else _similarities(block, near.scales, likeness.mix)

    while (block := await asyncio.to_thread(next_block)) is not None:
        yield block


def _similarities(block: Vectors, scales: Scales, mix: Mix) -> Vectors:
    flat = scales.similarities_of(block.ravel(), mix)
    return flat.reshape(block.shape).astype(np.float32)


async def _mixed_blocks(
    services: Services, scales: Scales, track_ids: Sequence[int], likeness: Likeness
) -> Iterator[Vectors]:
    embedded = await embedded_of(services, scales, track_ids, likeness.mix)
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
    laid = await asyncio.to_thread(
        lambda: [sequence_of(moments[track_id], scales, likeness.mix) for track_id in track_ids]
    )
    by_length = sorted(laid, key=len)
    await asyncio.to_thread(  # before the first row is told: whether the longest can be laid on the shortest
        lay, by_length[0], by_length[-1], likeness.mix, part=False
    )
    whole = np.zeros((len(track_ids), len(track_ids)), np.float32)

    def rows() -> Iterator[Vectors]:
        for i, a in enumerate(laid):
            for j in range(i + 1, len(laid)):
                aligned = lay(a, laid[j], likeness.mix, part=False)
                whole[i, j] = whole[j, i] = aligned.distance
            yield whole[i : i + 1].copy()

    return rows()
