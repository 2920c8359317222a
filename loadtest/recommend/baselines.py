"""Whom fpserver is compared with: chance, popularity, item-item cosine, and the library's own models.

Each turns a user's history into one score per track. A model that says nothing of anything (a user without history, a
track without listeners) scores 0 there; equal scores are ranked by popularity, so that none of them is worse than
popularity for want of an answer. Nothing here knows what a track is or sounds like.

Hu, Koren and Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008; Sarwar et al., "Item-based
collaborative filtering", WWW 2001; the library: implicit 0.7.
"""

import warnings
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender
from implicit.utils import ParameterWarning
from scipy import sparse

from fpserver.terms import FeedbackKind, History
from loadtest.recommend.data import DAY_S, LIKED_RATING, Dataset, Reals, number, positive

SEED = 1
BELOW_ANY_SCORE = 1e-6  # of the largest score: popularity decides between equals, and nothing else


class Recommender(Protocol):
    """Somebody who is asked what next. Higher is better; −∞: never.

    What was met and what is not released yet is left out by whoever asks.
    """

    name: str

    def fit(self, dataset: Dataset, train: History, *, at: float) -> None:
        """Learn from what happened before a moment."""

    def scores(self, history: History, *, at: float) -> Reals:
        """One score per track, (n_tracks,), for somebody who did this; he may be unknown."""


class Counted(StrEnum):
    """What an event counts."""

    ANY = "any"  # 1, whatever it was: to have met a track says something
    POSITIVE = "positive"  # 1 if it was liked, else 0
    GRADED = "graded"  # by how much it was liked


def weights(history: History, counted: Counted) -> Reals:
    """How much each event counts, 0 or more."""
    if counted is Counted.ANY:
        return np.ones(len(history))
    if counted is Counted.POSITIVE:
        return positive(history).astype(np.float64)
    kind, value = history.kind, history.value.astype(np.float64)
    return np.select(
        [
            kind == number(FeedbackKind.PLAY),
            kind == number(FeedbackKind.LIKE),
            kind == number(FeedbackKind.RATING),
        ],
        [value, np.full(len(value), 2.0), np.maximum(value - 1, 0) / (LIKED_RATING - 1)],
        0.0,
    )


def matrix(history: History, n_tracks: int, *, counted: Counted, most: float) -> Any:
    """(n_users, n_tracks) sparse: the sum of what a user's events with a track count, at most `most`."""
    shape = (int(history.user[-1]) + 1 if len(history) else 1, n_tracks)
    summed = sparse.csr_matrix(
        (weights(history, counted).astype(np.float32), (history.user, history.track_id - 1)), shape=shape
    )
    summed.data = np.minimum(summed.data, most)
    summed.eliminate_zeros()
    return summed


def popularity(train: History, n_tracks: int) -> Reals:
    """Users who met each track and liked it, (n_tracks,)."""
    liked = matrix(train, n_tracks, counted=Counted.POSITIVE, most=1)
    return np.asarray(liked.sum(axis=0), np.float64).ravel()


def with_popularity(scores: Reals, popular: Reals) -> Reals:
    """Equals in the order of popularity."""
    largest = float(np.abs(scores).max(initial=0)) or 1.0
    return scores + BELOW_ANY_SCORE * largest * popular / max(float(popular.max(initial=0)), 1.0)


@dataclass(slots=True, kw_only=True)
class Random:
    """Any order, another one each time."""

    name: str = "random"
    _n_tracks: int = 0

    def fit(self, dataset: Dataset, train: History, *, at: float) -> None:
        self._n_tracks = dataset.n_tracks

    def scores(self, history: History, *, at: float) -> Reals:
        return np.random.default_rng([SEED, int(at), len(history)]).random(self._n_tracks)


@dataclass(slots=True, kw_only=True)
class Popularity:
    """By how many users liked a track, in the last days or ever."""

    days: float = np.inf
    name: str = "popularity"
    _popular: Reals = field(default_factory=lambda: np.zeros(0))

    def fit(self, dataset: Dataset, train: History, *, at: float) -> None:
        recent = train.at >= at - self.days * DAY_S
        ever = popularity(train, dataset.n_tracks)
        lately = History(
            user=train.user[recent],
            track_id=train.track_id[recent],
            kind=train.kind[recent],
            value=train.value[recent],
            at=train.at[recent],
        )
        self._popular = with_popularity(popularity(lately, dataset.n_tracks), ever)

    def scores(self, history: History, *, at: float) -> Reals:
        return self._popular


@dataclass(slots=True, kw_only=True)
class ItemCosine:
    """Sum, over what a user met, of cosine(listeners of one, listeners of the other), shrunk where few are shared."""

    counted: Counted = Counted.POSITIVE
    shrink: float = 10.0  # shared listeners (as dot product) at which a cosine is halved
    name: str = "item-item cosine"
    _alike: Any = None
    _popular: Reals = field(default_factory=lambda: np.zeros(0))

    def fit(self, dataset: Dataset, train: History, *, at: float) -> None:
        heard = matrix(train, dataset.n_tracks, counted=self.counted, most=1)
        shared = (heard.T @ heard).tocoo()
        length = np.sqrt(np.asarray(heard.multiply(heard).sum(axis=0)).ravel())
        apart = shared.row != shared.col
        row, column, dot = shared.row[apart], shared.col[apart], shared.data[apart]
        cosine = dot / (length[row] * length[column]) * dot / (dot + self.shrink)
        self._alike = sparse.csr_matrix((cosine, (row, column)), shape=shared.shape)
        self._popular = popularity(train, dataset.n_tracks)

    def scores(self, history: History, *, at: float) -> Reals:
        row = matrix(history, len(self._popular), counted=self.counted, most=1)
        return with_popularity(np.asarray((row @ self._alike).todense(), np.float64).ravel(), self._popular)


@dataclass(slots=True, kw_only=True)
class ImplicitItems:
    """The library's item-item neighbours."""

    kind: str = "bm25"  # bm25, tfidf, cosine
    n_neighbors: int = 50
    k1: float = 1.2  # BM25's: above how much hearing more of a track counts little more
    counted: Counted = Counted.POSITIVE
    name: str = "implicit: item-item"
    _model: Any = None
    _popular: Reals = field(default_factory=lambda: np.zeros(0))

    def fit(self, dataset: Dataset, train: History, *, at: float) -> None:
        n = self.n_neighbors + 1  # the nearest is the track itself
        if self.kind == "bm25":
            self._model = BM25Recommender(K=n, K1=self.k1, num_threads=1)
        else:
            self._model = {"tfidf": TFIDFRecommender, "cosine": CosineRecommender}[self.kind](
                K=n, num_threads=1
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ParameterWarning)  # of what the library hands to itself
            self._model.fit(
                matrix(train, dataset.n_tracks, counted=self.counted, most=5), show_progress=False
            )
        self._popular = popularity(train, dataset.n_tracks)

    def scores(self, history: History, *, at: float) -> Reals:
        n_tracks = len(self._popular)
        row = matrix(history, n_tracks, counted=self.counted, most=5)
        found = np.zeros(n_tracks)
        if row.nnz:
            places, scores = self._model.recommend(0, row, N=n_tracks, filter_already_liked_items=False)
            found[places] = scores
        return with_popularity(found, self._popular)


@dataclass(slots=True, kw_only=True)
class ImplicitFactors:
    """The library's factorisation; a user's factors are found anew from what is given of him."""

    n_factors: int = 32
    alpha: float = 10.0  # how much more a track that was met counts than one that was not
    regularization: float = 0.1
    counted: Counted = Counted.POSITIVE
    name: str = "implicit: ALS"
    _model: Any = None
    _popular: Reals = field(default_factory=lambda: np.zeros(0))

    def fit(self, dataset: Dataset, train: History, *, at: float) -> None:
        self._model = AlternatingLeastSquares(
            factors=self.n_factors,
            alpha=self.alpha,
            regularization=self.regularization,
            iterations=15,
            num_threads=1,
            random_state=SEED,
        )
        self._model.fit(matrix(train, dataset.n_tracks, counted=self.counted, most=5), show_progress=False)
        self._popular = popularity(train, dataset.n_tracks)

    def scores(self, history: History, *, at: float) -> Reals:
        n_tracks = len(self._popular)
        row = matrix(history, n_tracks, counted=self.counted, most=5)
        found = np.zeros(n_tracks)
        if row.nnz:
            places, scores = self._model.recommend(
                0, row, N=n_tracks, filter_already_liked_items=False, recalculate_user=True
            )
            found[places] = scores
        return with_popularity(found, self._popular)
