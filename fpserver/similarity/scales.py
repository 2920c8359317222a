"""Learn from a catalogue what near and far mean, so that no group of descriptors drowns another.

Vectors of each group are made comparable (`transforms`), scaled and shortened (`projections`), and divided so that the
squared distance of two random tracks is 1 in the middle; that of a mix is then about 1 as well, whatever its weights.
Tonal vectors stay blocks of twelve pitch classes: transposing a track by n semitones turns each block by n.
Scales are a value: the same descriptions and seed give the same bytes, and their digest is their version.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

from fpserver.errors import InvalidRequest, NotDescribed
from fpserver.similarity import learning, projections, transforms
from fpserver.similarity.chances import Pairs, assumed, distances_of, share_farther
from fpserver.similarity.engines.engine import MIXED
from fpserver.similarity.mix import Mix, usual
from fpserver.similarity.projections import Projection
from fpserver.similarity.transforms import Reals
from fpserver.terms import SEGMENTS, Group, Vector, Vectors

VERSION = 1
MAX_LEARNED = 5000  # tracks that are learned from; beyond, a random choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """What was learned; makes vectors of descriptors into vectors whose distances mean something."""

    n_tracks: int
    groups: Mapping[Group, Projection]  # in the order of `Group`; without those that no track has
    inner: Vectors | None  # (2, n): centre and spread of the sounds that timbre sums up
    moments: Projection | None
    pairs: Mapping[Group, Pairs]
    moment_distances: Vector  # of random moments, ascending

    def embed(self, vectors: Mapping[Group, Vector]) -> dict[Group, Vector]:
        """Comparable vectors of what one recording is described by.

        Groups that the catalogue has no scale for are left out.

        Raises:
            InvalidRequest: a vector is of another size than the catalogue's, or holds what is no number.
        """
        return {
            group: self.embed_all(group, vectors[group][None])[0] for group in self.groups if group in vectors
        }

    def embed_all(self, group: Group, vectors: Vectors | Sequence[Vector]) -> Vectors:
        """The same for one group of many recordings, (n, n_dimensions) → (n, size)."""
        projection = self._known(group)
        return projection(_comparable(group, _finite(group, vectors, self._n_raw(group)), self.inner))

    def embed_moments(self, timbre: Vectors) -> Vectors:
        """Comparable vectors of moments, (n, n_dimensions) → (n, size).

        Raises:
            NotDescribed: no track of the catalogue has moments.
            InvalidRequest: they are of another size than the catalogue's, or hold what is no number.
        """
        if self.moments is None:
            raise NotDescribed("no track of the catalogue is described by moments")
        return self.moments(_finite(SEGMENTS, timbre, len(self.moments.centre)))

    def sizes(self) -> dict[str, int]:
        """Dimensions of each space that there are scales for."""
        sizes: dict[str, int] = {group.value: each.size for group, each in self.groups.items()}
        if sizes:
            sizes[MIXED] = sum(sizes.values())
        if self.moments is not None:
            sizes[SEGMENTS] = self.moments.size
        return sizes

    @property
    def slices(self) -> dict[Group, slice]:
        """Where each group lies in a mixed vector."""
        ends = np.cumsum([each.size for each in self.groups.values()]).tolist()
        return {
            group: slice(end - self.groups[group].size, end)
            for group, end in zip(self.groups, ends, strict=True)
        }

    def mixed(self, embedded: Mapping[Group, Vector]) -> Vector:
        """All groups end to end.

        Raises:
            NotDescribed: a group that the catalogue has is missing.
        """
        missing = [group.value for group in self.groups if group not in embedded]
        if missing or not self.groups:
            raise NotDescribed(f"not described by {', '.join(missing) or 'any group'}, all groups are needed")
        return np.concatenate([embedded[group] for group in self.groups]).astype(np.float32)

    def weights(self, mix: Mix | Mapping[Group, float]) -> Vector:
        """By what squared differences of each dimension of a mixed vector are multiplied.

        Raises:
            NotDescribed: the mix has a group that no track of the catalogue is described by.
        """
        shares = (mix if isinstance(mix, Mix) else Mix(weights=mix)).shares
        slices = self.slices
        weights = np.zeros(sum(each.size for each in self.groups.values()), np.float32)
        for group, share in shares.items():
            self._known(group)
            weights[slices[group]] = share
        return weights

    def searched(self, embedded: Mapping[Group, Vector]) -> Vector:
        """A mixed vector as engines hold it: plain distances between such vectors are those of the usual mix.

        Groups that are missing are 0: only for asking, with weights that leave them out.
        """
        searched: Vector = self.searched_all({group: vector[None] for group, vector in embedded.items()})[0]
        return searched

    def searched_all(self, embedded: Mapping[Group, Vectors]) -> Vectors:
        """The same for many recordings, (n, size) of each group → (n, n_dimensions)."""
        n = max((len(vectors) for vectors in embedded.values()), default=1)
        mixed = np.zeros((n, sum(each.size for each in self.groups.values())), np.float32)
        for group, place in self.slices.items():
            if group in embedded:
                mixed[:, place] = embedded[group]
        searched: Vectors = mixed * np.sqrt(self.usual_weights)
        return searched

    def search_weights(self, mix: Mix) -> Vector | None:
        """By what squared differences of `searched` vectors are multiplied for a mix; None: as they are.

        Raises:
            NotDescribed: the mix has a group that no track of the catalogue is described by.
        """
        weights = self.weights(mix) / self.usual_weights
        return None if np.allclose(weights, 1.0, rtol=1e-5) else weights.astype(np.float32)

    @property
    def usual_weights(self) -> Vector:
        """By what squared differences of each dimension of a mixed vector are multiplied, in the usual mix."""
        return self.weights(usual(self.groups))

    def similarity_of(self, distance: float, mix: Mix) -> float:
        """Share of random pairs of tracks that are farther apart than this, by this mix; 1 for a distance of 0."""
        return float(self.similarities_of(np.array([distance]), mix)[0])

    def similarities_of(self, distances: Reals | Vector, mix: Mix) -> Reals:
        """The same for many distances."""
        for group in mix.shares:
            self._known(group)
        return share_farther(np.asarray(distances, np.float64), random=distances_of(self.pairs, mix))

    def moment_similarities_of(self, distances: Reals | Vector) -> Reals:
        """Share of random pairs of moments that are farther apart than each distance."""
        random = np.sort(np.concatenate((self.moment_distances, np.sqrt(assumed()))))
        return share_farther(np.asarray(distances, np.float64), random=random)

    @property
    def version(self) -> str:
        """Names these scales: vectors of other scales cannot be compared with theirs."""
        return hashlib.sha256(self.pack()).hexdigest()[:16]

    def pack(self) -> bytes:
        """As bytes, to be kept."""
        document = {
            "version": VERSION,
            "n_tracks": self.n_tracks,
            "groups": {group.value: each.packed() for group, each in self.groups.items()},
            "inner": None if self.inner is None else _packed(self.inner),
            "moments": None if self.moments is None else self.moments.packed(),
            "pairs": {
                group.value: [_packed(each.squared), _packed(each.transposed), _packed(each.lengths)]
                for group, each in self.pairs.items()
            },
            "moment_distances": _packed(self.moment_distances),
        }
        return bytes(msgpack.packb(document))

    def _known(self, group: Group) -> Projection:
        if group not in self.groups:
            raise NotDescribed(f"no track of the catalogue is described by {group.value}")
        return self.groups[group]

    def _n_raw(self, group: Group) -> int:
        if group is Group.TIMBRE and self.inner is not None:
            n = self.inner.shape[1]
            return int(n + n * (n + 1) // 2)
        return len(self.groups[group].centre)


def learn(descriptions: Sequence[Mapping[Group, Vector]], moments: Sequence[Vectors], *, seed: int) -> Scales:
    """Learn scales of a catalogue, or of a sample of it, from one description on.

    Args:
        descriptions: what each track is described by; groups may be missing.
        moments: timbre of the moments of each track, or of some, (n_moments, n_dimensions) each.
        seed: of every random choice.

    Raises:
        NotDescribed: there is nothing to learn from.
        InvalidRequest: vectors of one group differ in size, or hold what is no number.
    """
    rng = np.random.default_rng(seed)
    if not any(descriptions):
        raise NotDescribed("no track is described, scales need at least one")
    drawn = np.sort(rng.permutation(len(descriptions))[:MAX_LEARNED])
    sample = [descriptions[index] for index in drawn]
    drawn_pairs = learning.random_pairs(len(sample), rng)
    groups: dict[Group, Projection] = {}
    pairs: dict[Group, Pairs] = {}
    inner: Vectors | None = None
    for group in Group:
        rows = [index for index, each in enumerate(sample) if group in each]
        if not rows:
            continue
        vectors = _finite(group, [sample[index][group] for index in rows], len(sample[rows[0]][group]))
        if group is Group.TIMBRE:
            inner = np.stack(transforms.inner_scale(vectors)).astype(np.float32)
        vectors = _comparable(group, vectors, inner)
        projection = learning.projection(group, vectors, rng)
        embedded = np.full((len(sample), projection.size), np.nan)
        embedded[rows] = projection(vectors)
        groups[group], pairs[group] = learning.divided(group, projection, embedded[drawn_pairs])
    of_moments: Projection | None = None
    distances: Vector = np.zeros(0, np.float32)
    if any(map(len, moments)):
        some = learning.some_moments(moments, rng)
        sounds = _finite(SEGMENTS, some, len(some[0]))
        of_moments, distances = learning.of_moments(sounds, rng)
    return Scales(
        n_tracks=len(descriptions),
        groups=groups,
        inner=inner,
        moments=of_moments,
        pairs=pairs,
        moment_distances=distances,
    )


def unpack(kept: bytes) -> Scales:
    """What `Scales.pack` kept.

    Raises:
        InvalidRequest: these are no scales, or those of another version of this program.
    """
    try:
        document: dict[str, Any] = msgpack.unpackb(kept)
        version = document["version"]
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise InvalidRequest(f"{len(kept)} bytes are no scales: {error!r}") from error
    if version != VERSION:
        raise InvalidRequest(f"scales are of version {version}, this program reads {VERSION}")
    inner = document["inner"]
    return Scales(
        n_tracks=document["n_tracks"],
        groups={Group(name): projections.unpacked(each) for name, each in document["groups"].items()},
        inner=None if inner is None else _floats(inner).reshape(2, -1),
        moments=None if document["moments"] is None else projections.unpacked(document["moments"]),
        pairs={
            Group(name): Pairs(
                squared=_floats(squared),
                transposed=_floats(transposed),
                lengths=_floats(lengths).reshape(-1, 2),
            )
            for name, (squared, transposed, lengths) in document["pairs"].items()
        },
        moment_distances=_floats(document["moment_distances"]),
    )


def _comparable(group: Group, vectors: Reals, inner: Vectors | None) -> Reals:
    if group is Group.TIMBRE and inner is not None:
        centre, spread = inner.astype(np.float64)
        return transforms.log_gaussians(vectors, centre=centre, spread=spread)
    return transforms.comparable(group, vectors)


def _finite(what: str, vectors: Any, n_dimensions: int) -> Reals:
    for vector in vectors:
        if np.shape(vector) != (n_dimensions,):
            raise InvalidRequest(
                f"{what} has {np.shape(vector)} numbers, the catalogue's have {n_dimensions}"
            )
    array = np.asarray(vectors, np.float64).reshape(-1, n_dimensions)
    if not np.isfinite(array).all():
        raise InvalidRequest(f"{what} holds a number that is not finite")
    return array


def _packed(column: Vector | Vectors) -> bytes:
    return column.astype("<f4").tobytes()


def _floats(kept: bytes) -> Vector:
    return np.frombuffer(kept, "<f4").astype(np.float32)
