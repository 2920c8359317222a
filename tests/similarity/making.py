"""Descriptions made of nothing but a seed: as many numbers per group as real ones have, of about their size."""

import numpy as np

from fpserver.similarity import scales
from fpserver.similarity.scales import Scales
from fpserver.terms import Group, Vector, Vectors

N_MFCC = 40
SIZES = {Group.TEMPORAL: 6, Group.SPECTRAL: 22, Group.RHYTHM: 42, Group.TONAL: 96}
ALL = dict.fromkeys(Group, 1.0)


def description(seed: int) -> dict[Group, Vector]:
    """A made-up track."""
    rng = np.random.default_rng(seed)
    vectors = {group: rng.gamma(2, size=size).astype(np.float32) for group, size in SIZES.items()}
    return vectors | {Group.TIMBRE: gaussian(seed)}


def gaussian(seed: int, *, n: int = N_MFCC) -> Vector:
    """Means and the upper triangle of the covariance of some made-up frames."""
    rng = np.random.default_rng(seed)
    frames = rng.normal(size=(3 * n, n)) * rng.uniform(1, 10, n) + rng.normal(0, 20, n)
    return np.concatenate([frames.mean(0), np.cov(frames.T)[np.triu_indices(n)]]).astype(np.float32)


def moments(seed: int, *, n_moments: int = 40) -> Vectors:
    """Timbre of the moments of a made-up track: they wander slowly."""
    rng = np.random.default_rng(seed)
    wandering = rng.normal(size=40) + rng.normal(0, 0.7, (n_moments, 40)).cumsum(0)
    return np.asarray(wandering, np.float32)


def melody(seed: int, *, n_moments: int = 80, hop: float = 1.0) -> Vectors:
    """Chroma of a made-up melody that changes its chord every four moments; `hop` is how fast it is played."""
    rng = np.random.default_rng(seed)
    chords = rng.random((n_moments, 12)).astype(np.float32) ** 4
    at = np.minimum(np.arange(0, n_moments, hop) // 4, n_moments - 1).astype(int)
    rows = chords[at]
    return np.asarray(rows / rows.max(axis=1, keepdims=True), np.float32)


def learned(n_tracks: int, *, seed: int = 1) -> Scales:
    """Scales of a made-up catalogue, tracks 0..n_tracks − 1."""
    tracks = range(n_tracks)
    return scales.learn([description(i) for i in tracks], [moments(i) for i in tracks], seed=seed)
