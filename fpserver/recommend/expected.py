"""What to expect of a track that nobody, or hardly anybody, has heard: from what is known of it without that.

A ridge regression from sound, artist, genre and tags to what is learned from people: factors, and how many hear it. So
a track is at home among its likes from its first minute.

Gantner et al., "Learning Attribute-to-Feature Mappings for Cold-Start Recommendations", ICDM 2010.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from fpserver.recommend.shelf import Numbers, Shelf, Slots
from fpserver.terms import Vector, Vectors

PENALTY = 2.0
FEW = 30.0  # people of whom a track has half of what is learned from people, and half of what is expected


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expectations:
    """By how much each thing that is known of a track moves what is expected, in rows of n_targets."""

    base: Vector  # of a track of which nothing is known
    audio: Vectors  # (d, n_targets)
    artist: Vectors  # (n_artists, n_targets)
    genre: Vectors
    tag: Vectors
    artists: Sequence[str]  # the texts of the rows; the first is "", whose row is 0
    genres: Sequence[str]
    tag_names: Sequence[str]
    scales: str  # version of the scales of the audio vectors that were learned from

    def of(self, shelf: Shelf) -> Vectors:
        """What is expected of each track, (n_slots, n_targets)."""
        expected = np.repeat(self.base[None], len(shelf), 0)
        if self.scales == shelf.scales and shelf.audio.shape[1] == len(self.audio):
            expected += shelf.audio @ self.audio
        expected += _rows(self.artist, self.artists, shelf.artists)[shelf.artist]
        expected += _rows(self.genre, self.genres, shelf.genres)[shelf.genre]
        expected += shelf.tags @ _rows(self.tag, self.tag_names, shelf.tag_names)
        return expected.astype(np.float32)


def learn(shelf: Shelf, slots: Slots, targets: Vectors, n_users: Vector) -> Expectations:
    """Learn from tracks that people know.

    Args:
        shelf: what is known of all tracks.
        slots: of the tracks to learn from.
        targets: (len(slots), n_targets).
        n_users: (len(slots),), how many people know each: what few know counts less.
    """
    from sklearn.linear_model import Ridge  # noqa: PLC0415 – takes a second, which only learning needs

    blocks = [
        sparse.csr_array(shelf.audio),
        _one_hot(shelf.artist, len(shelf.artists)),
        _one_hot(shelf.genre, len(shelf.genres)),
        shelf.tags,
    ]
    known = sparse.csr_matrix(sparse.hstack(blocks, format="csr"))[slots]
    ridge = Ridge(alpha=PENALTY, solver="sparse_cg", tol=1e-3, max_iter=200)
    ridge.fit(known, targets, sample_weight=n_users / (n_users + FEW))
    ends = np.cumsum([block.shape[1] for block in blocks])[:-1]
    audio, artist, genre, tag = np.split(ridge.coef_.T.astype(np.float32), ends)
    return Expectations(
        base=np.asarray(ridge.intercept_, np.float32),
        audio=audio,
        artist=artist,
        genre=genre,
        tag=tag,
        artists=shelf.artists,
        genres=shelf.genres,
        tag_names=shelf.tag_names,
        scales=shelf.scales,
    )


def _one_hot(numbers: Numbers, n_texts: int) -> sparse.csr_array:
    there = np.flatnonzero(numbers)
    shape = (len(numbers), n_texts)
    return sparse.csr_array((np.ones(len(there), np.float32), (there, numbers[there])), shape=shape)


def _rows(rows: Vectors, names: Sequence[str], wanted: Sequence[str]) -> Vectors:
    """The rows of these texts; zeros for those that there are none of."""
    known = {name: row for row, name in enumerate(names)}
    places = np.array([known.get(name, -1) for name in wanted], np.int64)
    found = np.zeros((len(wanted), rows.shape[1]), np.float32)
    found[places >= 0] = rows[places[places >= 0]]
    return found
