"""Vectors of a catalogue larger than the corpus, made from what its recordings and their copies sound like.

Moments are real ones as long as there are any: of recordings, and of copies of them that were sped up, pitched,
shortened or coded. Tracks, and moments beyond that, are made up: on the way from a real one to one of its nearest,
and off it by a share of what neighbours differ in. So they are as crowded where music is crowded, and as thin where it
is not; how far apart near ones are is a model.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fpserver.similarity.engines.scan import Indices
from fpserver.terms import Vectors

SIZES = {"temporal": 6, "spectral": 16, "rhythm": 24, "tonal": 36, "timbre": 64}
N_NEAREST = 5
N_MODELS = 20_000  # vectors that others are made from
OFF_THE_WAY = 0.5  # of what neighbours differ in, as noise
SEED = 20261128


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """What was described of the corpus, scaled so that every dimension varies by 1 (groups: as PCA leaves them)."""

    groups: dict[str, Vectors]  # (n_described, size)
    moments: Vectors
    n_described: int


def corpus(kept: Path) -> Corpus:
    """What `described.py` has kept in a folder."""
    files = sorted(kept.glob("*.npz"))
    columns: dict[str, list[Vectors]] = {name: [] for name in (*SIZES, "moments")}
    for path in files:
        with np.load(path) as one:
            if one.files:
                for name, found in columns.items():
                    found.append(one[name])
    groups = {name: _reduced(np.stack(columns[name]), size) for name, size in SIZES.items()}
    moments = np.concatenate(columns["moments"])
    spread = np.maximum(moments.std(axis=0), 1e-6)
    return Corpus(
        groups=groups,
        moments=((moments - moments.mean(axis=0)) / spread).astype(np.float32),
        n_described=len(columns["moments"]),
    )


def tracks(real: Corpus, n_tracks: int) -> tuple[Vectors, dict[str, slice]]:
    """Made-up tracks, all groups end to end, and where each group lies."""
    mixed = np.concatenate([real.groups[name] for name in SIZES], axis=1)
    bounds = np.cumsum([0, *SIZES.values()])
    parts = {name: slice(int(a), int(b)) for name, a, b in zip(SIZES, bounds, bounds[1:], strict=False)}
    return crowded(mixed, n_tracks, np.random.default_rng(SEED)), parts


def moments(real: Corpus, n_moments: int) -> Vectors:
    """Moments in the order of their tracks: real ones, and made-up ones behind them."""
    n_more = n_moments - len(real.moments)
    if n_more <= 0:
        return real.moments[:n_moments]
    return np.concatenate([real.moments, crowded(real.moments, n_more, np.random.default_rng(SEED))])


def crowded(vectors: Vectors, n_vectors: int, rng: np.random.Generator) -> Vectors:
    """Vectors between near ones of these."""
    some = vectors[rng.choice(len(vectors), min(len(vectors), N_MODELS), replace=False)]
    near = _nearest(some)
    differences = (some - some[near[:, 0]]).astype(np.float64)
    noise = np.linalg.cholesky(np.cov(differences.T) + 1e-6 * np.eye(some.shape[1]))
    made = np.empty((n_vectors, some.shape[1]), np.float32)
    for at in range(0, n_vectors, 100_000):
        first = rng.integers(len(some), size=min(100_000, n_vectors - at))
        second = near[first, rng.integers(N_NEAREST, size=len(first))]
        share = rng.uniform(0, 1, (len(first), 1))
        off = OFF_THE_WAY * rng.standard_normal((len(first), some.shape[1])) @ noise.T
        made[at : at + len(first)] = some[first] + share * (some[second] - some[first]) + off
    return made


def _reduced(vectors: Vectors, size: int) -> Vectors:
    """Every dimension scaled by its spread, the first principal components, scaled so that the group varies by 1."""
    scaled = (vectors - vectors.mean(axis=0)) / np.maximum(vectors.std(axis=0), 1e-6)
    _, directions = np.linalg.eigh(np.cov(scaled.T))
    main = scaled @ directions[:, ::-1][:, :size]
    lengths = np.sqrt(np.mean(np.sum(main**2, axis=1)))
    return np.asarray(main / lengths, np.float32)


def _nearest(vectors: Vectors) -> Indices:
    """The nearest others of each, (n_vectors, N_NEAREST)."""
    squares = np.sum(vectors**2, axis=1)
    near = []
    for at in range(0, len(vectors), 1000):
        away = squares - 2 * vectors[at : at + 1000] @ vectors.T  # but for what is the same for all
        away[np.arange(len(away)), np.arange(at, at + len(away))] = np.inf
        some = np.argpartition(away, N_NEAREST, axis=1)[:, :N_NEAREST]
        order = np.argsort(np.take_along_axis(away, some, axis=1), axis=1)
        near.append(np.take_along_axis(some, order, axis=1))
    return np.concatenate(near)
