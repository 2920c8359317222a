"""Distances by every measure that is reported, of some recordings to all tracks."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from fpserver.descriptors import N_MFCC
from fpserver.errors import LengthsDiffer
from fpserver.similarity import sequences
from fpserver.similarity.measures import Mix, distances
from fpserver.similarity.mix import DEFAULT_WEIGHTS
from fpserver.similarity.scales import Scales
from fpserver.terms import Description, Group, Moments, Vectors

Table = npt.NDArray[np.float64]  # (n_asked, n_tracks)

PLAIN = "plain MFCC means"
DEFAULT = "mixed, default weights"
TRANSPOSED = "mixed, default weights, transposed"
MIXES = {
    **{group.value: Mix(weights={group: 1}) for group in Group},
    "tonal, transposed": Mix(weights={Group.TONAL: 1}, transpose=True),
    "mixed, equal weights": Mix(weights=dict.fromkeys(Group, 1.0)),
    "mixed, equal weights, cosine": Mix(weights=dict.fromkeys(Group, 1.0), metric="cosine"),
    DEFAULT: Mix(weights=DEFAULT_WEIGHTS),
    "mixed, default weights, cosine": Mix(weights=DEFAULT_WEIGHTS, metric="cosine"),
    TRANSPOSED: Mix(weights=DEFAULT_WEIGHTS, transpose=True),
}
N_RERANKED = 50
MELODY, MELODY_TRANSPOSED, SOUND = "chroma, warped", "chroma, warped, transposed", "timbre, warped"
RIGHT = {  # copy → the measure that is meant for such changes
    "pitch +2 semitones": MELODY_TRANSPOSED,
    "pitch -2 semitones": MELODY_TRANSPOSED,
    "tempo +10 %": MELODY,
    "tempo -10 %": MELODY,
    "20 s excerpt": MELODY,
    "mp3 32k": Group.TONAL.value,
}
WARPED: Mapping[str, Callable[[Moments, Moments, bool], sequences.Aligned]] = {
    MELODY: lambda a, b, part: sequences.chroma_distance(a.chroma, b.chroma, part=part),
    MELODY_TRANSPOSED: lambda a, b, part: sequences.chroma_distance(
        a.chroma, b.chroma, transpose=True, part=part
    ),
    SOUND: lambda a, b, part: sequences.timbre_distance(a.timbre, b.timbre, part=part),
}


def mixed(scales: Scales, descriptions: Sequence[Description]) -> Vectors:
    """Mixed vectors, (n, size)."""
    return np.stack([scales.mixed(scales.embed(each.vectors)) for each in descriptions])


def by_vectors(
    scales: Scales, asked: Sequence[Description], tracks: Sequence[Description]
) -> dict[str, Table]:
    """By plain MFCC means, each group and the mixes."""
    ours, theirs = mixed(scales, asked), mixed(scales, tracks)
    means = [np.stack([each.vectors[Group.TIMBRE][:N_MFCC] for each in side]) for side in (asked, tracks)]
    tables = {PLAIN: np.asarray(cdist(*means), np.float64)}
    for name, mix in MIXES.items():
        tables[name] = np.stack([distances(row, theirs, mix=mix, scales=scales) for row in ours]).astype(
            float
        )
    return tables


def comparable(scales: Scales, description: Description) -> Moments:
    """Moments with timbre as it is compared."""
    if description.moments is None:
        raise ValueError("not described by moments")
    return Moments(timbre=scales.embed_moments(description.moments.timbre), chroma=description.moments.chroma)


def by_warping(
    first: Table, asked: Sequence[Moments], tracks: Sequence[Moments], *, part: bool
) -> dict[str, Table]:
    """The nearest by `first`, by warping; all others, and those whose lengths differ too much, are infinitely far."""
    tables = {name: np.full(first.shape, np.inf) for name in WARPED}
    for row, moments in enumerate(asked):
        for column in np.argsort(first[row], kind="stable")[:N_RERANKED]:
            for name, measure in WARPED.items():
                try:
                    tables[name][row, column] = measure(moments, tracks[column], part).distance
                except LengthsDiffer:
                    continue
    return tables
