"""What is stored of tracks, made ready to be compared; or why it cannot be."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from fpserver.errors import NotDescribed, TrackNotFound
from fpserver.services import Services
from fpserver.similarity import sequences
from fpserver.similarity.mix import Mix
from fpserver.similarity.scales import Scales
from fpserver.terms import DescriptionStatus, Group, Moments, Track, Vector, Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """What is meant by near."""

    mix: Mix  # warped: whether it is melodies that are laid on each other, or sounds
    warped: bool = (
        False  # sequences of the nearest by the usual mix are laid on each other, dynamic time warping
    )
    exact: bool = False  # every track is compared, not only those that an index holds likely


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


async def embedded_of(
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


def sequence_of(moments: Moments, scales: Scales, mix: Mix) -> Vectors:
    """What is laid on others: chroma where tonal counts most, else timbre."""
    return moments.chroma if _is_melodic(mix) else scales.embed_moments(moments.timbre)


def lay(a: Vectors, b: Vectors, mix: Mix, *, part: bool | None) -> sequences.Aligned:
    """One sequence on the other, both made for this mix.

    `part`: whether the shorter may lie anywhere in the longer; None: when it is less than half as long.
    """
    if part is None:
        part = max(len(a), len(b)) > sequences.MAX_RATIO * min(len(a), len(b))
    if _is_melodic(mix):
        return sequences.chroma_distance(a, b, transpose=mix.transpose, part=part)
    return sequences.timbre_distance(a, b, part=part)


def _is_melodic(mix: Mix) -> bool:
    shares = mix.shares
    return shares.get(Group.TONAL, 0) >= max(shares.values())
