"""What a track is, beside what somebody likes: its sound, its artist, its genre, its tags.

Texts (an artist, a genre, a tag) speak for a track by how much more often they stand on what is liked than on all:

    log((W_liked(text) + m·p(text)) / ((W_liked + m)·p(text)))     p: share of all tracks; m: PRIOR

and against it by the same of what is disliked. Sound speaks by the nearest of what is liked: exp(-d² / 2σ²), where d is
1 between random tracks in the middle.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

from fpserver.recommend.shelf import Numbers, Shelf, Slots
from fpserver.terms import Vector, Vectors

Reals: TypeAlias = npt.NDArray[np.float64]

PRIOR = 3.0  # weight of likings that are assumed to be like the whole catalogue
WIDTH = 0.45  # σ: the distance at which a track is still like another
MAX_SEEDS = 8  # liked tracks whose sound is compared with all; the strongest
MAX_AXES = 48  # along which sounds are compared with all
AT_ONCE = 4096  # tracks
LEAST = np.float32(-80.0)  # exponent; with numbers that are even nearer to 0 processors take long
N_LEARNED = 5000  # sounds from which the axes are found
SAME_ARTIST, SAME_GENRE = 0.5, 0.2  # of likeness by text; tags have the rest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shares:
    """Share of all tracks that has each text, by its number."""

    artist: Vector
    genre: Vector
    tag: Vector
    damping: Vector  # by slot: 1 / √(how many tags a track has)


def shares(shelf: Shelf) -> Shares:
    """What is usual on a shelf."""
    n = max(1, len(shelf))
    return Shares(
        artist=_share(shelf.artist, len(shelf.artists), n),
        genre=_share(shelf.genre, len(shelf.genres), n),
        tag=(np.asarray(shelf.tags.sum(0)).ravel() / n).astype(np.float32),
        damping=(1 / np.sqrt(np.maximum(np.diff(shelf.tags.indptr), 1))).astype(np.float32),
    )


def _share(numbers: Numbers, n_texts: int, n: int) -> Vector:
    return (np.bincount(numbers, minlength=n_texts) / n).astype(np.float32)


def artist_scores(shelf: Shelf, usual: Shares, slots: Slots, liking: Vector) -> Vector:
    """How much the artist of each track speaks for it, (n_slots,)."""
    return _text_scores(shelf.artist, usual.artist, slots, liking)


def genre_scores(shelf: Shelf, usual: Shares, slots: Slots, liking: Vector) -> Vector:
    """How much the genre of each track speaks for it, (n_slots,)."""
    return _text_scores(shelf.genre, usual.genre, slots, liking)


def tag_scores(shelf: Shelf, usual: Shares, slots: Slots, liking: Vector) -> Vector:
    """How much the tags of each track speak for it, together, (n_slots,)."""
    theirs = shelf.tags[slots]
    odds = _odds(theirs.T @ np.maximum(liking, 0), np.maximum(liking, 0).sum(), usual.tag)
    odds -= _odds(theirs.T @ np.maximum(-liking, 0), np.maximum(-liking, 0).sum(), usual.tag)
    return np.asarray((shelf.tags @ odds) * usual.damping, np.float32)


def _text_scores(numbers: Numbers, usual: Vector, slots: Slots, liking: Vector) -> Vector:
    ours = numbers[slots]
    odds = np.zeros(len(usual), np.float32)
    for sign in (1, -1):
        weight = np.maximum(sign * liking, 0)
        there = np.bincount(ours, weight, len(usual))
        odds += sign * _odds(there, weight.sum(), usual)
    odds[0] = 0  # no text says nothing
    return np.asarray(odds[numbers], np.float32)


def _odds(weight: npt.NDArray[Any], in_all: float, usual: Vector) -> Vector:
    expected = PRIOR * np.maximum(usual, 1e-9)
    return np.asarray(np.log((weight + expected) / ((in_all + PRIOR) / PRIOR * expected)), np.float32)


def seeds(weight: Vector) -> Slots:
    """Which of what is liked is compared by sound: the strongest."""
    return np.argsort(-weight, kind="stable")[:MAX_SEEDS]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sounds:
    """Audio vectors of a shelf, on the axes along which they differ most: for comparing one with all, quickly."""

    columns: Vectors  # (n_axes, n_slots)
    squares: Vector  # of their lengths, (n_slots,)
    missing: Slots  # slots without audio

    def of_liked(self, slots: Slots, weight: Vector) -> tuple[Vector, Vector]:
        """How alike all tracks sound to some that are liked, 0 for those without audio.

        Some thousand tracks at a time: what is between stays in the processor's cache.

        Args:
            slots: of those that are liked, at least one.
            weight: how much each is, above 0.

        Returns:
            (to the nearest, less for those that are liked less; to all of them on the whole), each (n_slots,), 0..1.
        """
        of = np.ascontiguousarray(self.columns[:, slots].T) / np.float32(WIDTH**2)
        half = np.float32(0.5 / WIDTH**2)
        own = self.squares[slots, None] * half
        share, strength = weight / weight.sum(), (weight / weight.max())[:, None]
        n_slots = self.columns.shape[1]
        nearest, mean = np.empty(n_slots, np.float32), np.empty(n_slots, np.float32)
        for first in range(0, n_slots, AT_ONCE):
            some = slice(first, first + AT_ONCE)
            alike = of @ self.columns[:, some]
            alike -= self.squares[some] * half
            alike -= own
            np.clip(alike, LEAST, 0, out=alike)
            np.exp(alike, out=alike)
            np.matmul(share, alike, out=mean[some])
            alike *= strength
            np.max(alike, 0, out=nearest[some])
        nearest[self.missing] = mean[self.missing] = 0
        return nearest, mean


def sounds(shelf: Shelf) -> Sounds:
    """The sounds of a shelf; what lies along other axes than the first MAX_AXES makes no difference."""
    vectors, there = shelf.audio, np.flatnonzero(shelf.has_audio)
    if vectors.shape[1] > MAX_AXES and len(there):
        some = vectors[there[:: max(1, len(there) // N_LEARNED)]]
        _, directions = np.linalg.eigh(np.cov(some.T.astype(np.float64), ddof=0))
        vectors = vectors @ directions[:, ::-1][:, :MAX_AXES].astype(np.float32)
    columns = np.ascontiguousarray(vectors.T)
    return Sounds(
        columns=columns,
        squares=np.einsum("ij,ij->j", columns, columns),
        missing=np.flatnonzero(~shelf.has_audio),
    )


def likeness(shelf: Shelf, some: Slots, others: Slots) -> Vectors:
    """How alike tracks are by all that is known of them, (len(some), len(others)), 0..1.

    Half by sound, where both have one; the rest, or all, by artist, genre and shared tags.
    """
    by_text = SAME_ARTIST * _same(shelf.artist[some], shelf.artist[others])
    by_text = by_text + SAME_GENRE * _same(shelf.genre[some], shelf.genre[others])
    by_text = by_text + (1 - SAME_ARTIST - SAME_GENRE) * _shared_tags(shelf.tags[some], shelf.tags[others])
    ours, theirs = shelf.audio[some], shelf.audio[others]
    squares = np.einsum("ij,ij->i", ours, ours)[:, None] + np.einsum("ij,ij->i", theirs, theirs)[None]
    by_sound = np.exp(np.minimum(2 * ours @ theirs.T - squares, 0) * (0.5 / WIDTH**2))
    both = shelf.has_audio[some][:, None] & shelf.has_audio[others][None]
    return np.where(both, (by_text + by_sound) / 2, by_text).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Among:
    """Some tracks, ready to be compared with one of them at a time, as `likeness` does: all at once are too many."""

    artist: Numbers
    genre: Numbers
    starts: Slots  # where each track's tags begin; the next one's start is where they end
    tags: Numbers
    marks: Vector  # by tag: room for those of one track
    audio: Vectors
    squares: Vector  # of their lengths
    has_audio: npt.NDArray[np.bool_]

    def to(self, place: int) -> Vector:
        """How alike each is to the one at this place, (n,), 0..1."""
        alike = (1 - SAME_ARTIST - SAME_GENRE) * self._shared_tags(place)
        if self.artist[place]:
            alike[self.artist == self.artist[place]] += SAME_ARTIST
        if self.genre[place]:
            alike[self.genre == self.genre[place]] += SAME_GENRE
        if self.has_audio[place]:
            away = 2 * (self.audio @ self.audio[place]) - self.squares - self.squares[place]
            by_sound = np.exp(np.minimum(away, 0) * (0.5 / WIDTH**2))
            np.copyto(alike, (alike + by_sound) / 2, where=self.has_audio)
        return alike.astype(np.float32)

    def _shared_tags(self, place: int) -> Reals:
        ours = self.tags[self.starts[place] : self.starts[place + 1]]
        self.marks[ours] = 1
        shared: Reals = np.diff(np.concatenate([[0], np.cumsum(self.marks[self.tags])])[self.starts])
        self.marks[ours] = 0
        shared /= np.maximum(np.diff(self.starts) + len(ours) - shared, 1)
        return shared


def among(shelf: Shelf, slots: Slots) -> Among:
    """These tracks, to be compared with each other."""
    tags, audio = shelf.tags[slots], shelf.audio[slots]
    return Among(
        artist=shelf.artist[slots],
        genre=shelf.genre[slots],
        starts=tags.indptr.astype(np.int64),
        tags=tags.indices,
        marks=np.zeros(tags.shape[1], np.float32),
        audio=audio,
        squares=np.einsum("ij,ij->i", audio, audio),
        has_audio=shelf.has_audio[slots],
    )


def _same(some: Numbers, others: Numbers) -> npt.NDArray[np.bool_]:
    return np.asarray((some[:, None] == others[None]) & (some[:, None] != 0))


def _shared_tags(some: sparse.csr_array, others: sparse.csr_array) -> Vectors:
    """Share of common tags among the tags of both."""
    shared = np.asarray((some @ others.T).todense(), np.float32)
    both = np.diff(some.indptr)[:, None] + np.diff(others.indptr)[None] - shared
    return np.asarray(shared / np.maximum(both, 1), np.float32)
