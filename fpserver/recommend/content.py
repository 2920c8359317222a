"""What a track is, beside what somebody likes: its sound, its artist, its genre, its tags.

Texts (an artist, a genre, a tag) speak for a track by how much more often they stand on what is liked than on all:

    log((W_liked(text) + m·p(text)) / ((W_liked + m)·p(text)))     p: share of all tracks; m: PRIOR

and against it by the same of what is disliked. Sound speaks by the nearest of what is liked: exp(-d² / 2σ²), where d is
1 between random tracks in the middle.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fpserver.recommend.shelf import Numbers, Shelf, Slots
from fpserver.terms import Vector, Vectors

PRIOR = 3.0  # weight of likings that are assumed to be like the whole catalogue
WIDTH = 0.45  # σ: the distance at which a track is still like another
MAX_SEEDS = 12  # liked tracks whose sound is compared; the strongest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shares:
    """Share of all tracks that has each text, by its number."""

    artist: Vector
    genre: Vector
    tag: Vector


def shares(shelf: Shelf) -> Shares:
    """What is usual on a shelf."""
    n = max(1, len(shelf))
    return Shares(
        artist=_share(shelf.artist, len(shelf.artists), n),
        genre=_share(shelf.genre, len(shelf.genres), n),
        tag=(np.asarray(shelf.tags.sum(0)).ravel() / n).astype(np.float32),
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
    n_tags = np.diff(shelf.tags.indptr)
    return np.asarray(shelf.tags @ odds / np.sqrt(np.maximum(n_tags, 1)), np.float32)


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


def sound_likeness(audio: Vectors, squares: Vector, of: Vectors) -> Vectors:
    """How alike each of some tracks sounds to each of the others, (n_slots, len(of)), 0..1.

    Args:
        audio: (n_slots, d).
        squares: of their lengths, (n_slots,).
        of: (n, d), not of tracks without audio.
    """
    distances = audio @ of.T
    distances *= -2
    distances += squares[:, None]
    distances += np.einsum("ij,ij->i", of, of)[None]
    np.maximum(distances, 0, out=distances)
    distances *= -0.5 / WIDTH**2
    np.exp(distances, out=distances)
    return np.asarray(distances, np.float32)
