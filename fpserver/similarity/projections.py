"""Learn how to make vectors short and comparable: centred, scaled, on their main axes, of a typical distance of 1.

A projection is made from what is there and what is assumed: with few vectors, spreads and distances are mostly the
assumed ones, and axes that nothing is known of are random directions, which keep distances on average.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fpserver.similarity.transforms import Reals
from fpserver.terms import Vector, Vectors

N_ASSUMED = 5  # tracks that spreads and axes are assumed to be known from beforehand
MAX_SPREADS = 4.0  # a number farther out counts as so far: one odd dimension does not make a track odd
_TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """x → clip((x − centre) / spread) · basis."""

    centre: Vector
    spread: Vector
    basis: Vectors  # (n_dimensions, size)

    @property
    def size(self) -> int:
        """Dimensions of what comes out."""
        return int(self.basis.shape[1])

    def __call__(self, vectors: Reals) -> Vectors:
        """(n, n_dimensions) → (n, size)."""
        scaled = (vectors - self.centre.astype(np.float64)) / self.spread
        return (np.clip(scaled, -MAX_SPREADS, MAX_SPREADS) @ self.basis.astype(np.float64)).astype(np.float32)

    def divided(self, by: float) -> "Projection":
        """The same, with distances so many times smaller."""
        return Projection(centre=self.centre, spread=self.spread, basis=self.basis / np.float32(by))

    def packed(self) -> dict[str, Any]:
        """As it is kept: little-endian 32-bit floats."""
        columns = {"centre": self.centre, "spread": self.spread, "basis": self.basis}
        return {name: column.astype("<f4").tobytes() for name, column in columns.items()}


def unpacked(document: dict[str, bytes]) -> Projection:
    """What `packed` kept."""
    columns = {name: np.frombuffer(kept, "<f4").astype(np.float32) for name, kept in document.items()}
    centre = columns["centre"]
    return Projection(
        centre=centre, spread=columns["spread"], basis=columns["basis"].reshape(len(centre), -1)
    )


def spreads(vectors: Reals, *, typical: Reals) -> Reals:
    """Standard deviation of each column, drawn towards the typical one while there are few rows."""
    n = len(vectors)
    return np.asarray(np.sqrt((n * vectors.var(0) + N_ASSUMED * typical**2) / (n + N_ASSUMED)))


def by_axes(vectors: Reals, *, spread: Reals, size: int, rng: np.random.Generator) -> Projection:
    """Onto the `size` axes along which scaled vectors differ most; all of them, where there are fewer dimensions.

    Args:
        vectors: (n_vectors, n_dimensions), to learn from.
        spread: (n_dimensions,), by which they are scaled.
        size: most dimensions of what comes out.
        rng: for axes along which nothing differs.
    """
    centre = vectors.mean(0)
    scaled = np.clip((vectors - centre) / spread, -MAX_SPREADS, MAX_SPREADS)
    covariance = scaled.T @ scaled / len(scaled)
    values, directions = np.linalg.eigh(covariance)
    values, directions = values[::-1][:size], directions[:, ::-1][:, :size]
    n_known = min(int(np.count_nonzero(values > 1e-9 * max(values[0], _TINY))), len(vectors) - 1)
    if n_known < directions.shape[1]:
        others = rng.normal(size=(len(directions), directions.shape[1] - n_known))
        directions, _ = np.linalg.qr(np.concatenate((directions[:, :n_known], others), axis=1))
        directions[:, n_known:] *= np.sqrt(len(directions) / directions.shape[1])  # they stand for all others
    return Projection(
        centre=centre.astype(np.float32),
        spread=spread.astype(np.float32),
        basis=directions.astype(np.float32),
    )


def by_turns(vectors: Reals, *, typical: Reals, size: int) -> Projection:
    """Blocks of twelve pitch classes made into fewer: turning a vector turns what comes out.

    Each block is moved and scaled as one. What is mixed of them is chosen apart for each frequency along the circle of
    pitch classes (the main axes of the blocks' Fourier coefficients), so that it does not depend on where C is.

    Args:
        vectors: (n, 12 · n_blocks).
        typical: (12 · n_blocks,), spreads before any are known; of a block the first counts.
        size: most dimensions of what comes out, a multiple of 12.
    """
    blocks = vectors.reshape(len(vectors), -1, 12)
    n, n_blocks = blocks.shape[:2]
    centre = blocks.mean((0, 2))
    variance = ((blocks - centre[:, None]) ** 2).mean((0, 2))
    spread = np.sqrt((n * variance + N_ASSUMED * typical[::12] ** 2) / (n + N_ASSUMED))
    scaled = np.clip((blocks - centre[:, None]) / spread[:, None], -MAX_SPREADS, MAX_SPREADS)
    waves = np.fft.fft(scaled, axis=2)
    n_kept = min(size // 12, n_blocks)
    filters = np.zeros((n_blocks, n_kept, 12), np.complex128)
    for frequency in range(7):
        covariance = waves[:, :, frequency].T @ waves[:, :, frequency].conj()
        _, axes = np.linalg.eigh(covariance.real if frequency in {0, 6} else covariance)
        filters[:, :, frequency] = axes[:, ::-1][:, :n_kept].conj()
        filters[:, :, -frequency] = filters[:, :, frequency].conj()
    responses = np.fft.ifft(
        filters, axis=2
    ).real  # what pitch class 0 of a block adds to each of what comes out
    basis = np.stack([np.roll(responses, each, axis=2) for each in range(12)], axis=1)
    return Projection(
        centre=np.repeat(centre, 12).astype(np.float32),
        spread=np.repeat(spread, 12).astype(np.float32),
        basis=basis.reshape(n_blocks * 12, n_kept * 12).astype(np.float32),
    )
