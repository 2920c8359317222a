"""fpserver's own recommender, as a server has it: a shelf, a model that is trained, and a ranker that is asked.

Each strategy is one recommender, and so are the parts of which they are made; all are learned by one training. Nothing
is chosen here: weights are learned from what is given, and the settings are the defaults.
"""

from dataclasses import dataclass, field

import numpy as np

from fpserver.config import RecommendConfig
from fpserver.recommend import ranking
from fpserver.recommend.blend import Signal
from fpserver.recommend.ranking import Ranker
from fpserver.recommend.shelf import Described, Shelf, build
from fpserver.recommend.taste import likings
from fpserver.recommend.train import Size, train
from fpserver.terms import History, Vectors, fold
from loadtest.recommend.baselines import Recommender
from loadtest.recommend.data import Dataset, Reals
from loadtest.recommend.tasks import Task

N_PAIRS = 10_000


@dataclass(slots=True)
class _Server:
    """One training for all that ask the same question."""

    fitted: tuple[int, int, float] | None = None
    ranker: Ranker | None = None

    def fit(self, dataset: Dataset, learned_from: History, at: float) -> Ranker:
        key = (id(dataset.artist), len(learned_from), at)
        if self.ranker is None or self.fitted != key:
            config = RecommendConfig()
            size = Size(n_factors=config.n_factors, n_neighbors=config.n_neighbors)
            model = train(learned_from, shelf_of(dataset, until=at), size=size)
            self.ranker, self.fitted = ranking.ranker(shelf_of(dataset), model), key
        return self.ranker


@dataclass(slots=True, kw_only=True)
class _Asked:
    """The server, asked in one way."""

    name: str
    server: _Server
    _ranker: Ranker = field(init=False)

    def fit(self, dataset: Dataset, train: History, *, at: float) -> None:
        """Train, unless it was trained for another way of asking."""
        self._ranker = self.server.fit(dataset, train, at)


@dataclass(slots=True, kw_only=True)
class Strategy(_Asked):
    """One strategy of the server."""

    strategy: str

    def scores(self, history: History, *, at: float) -> Reals:
        """As a request is answered."""
        told = ranking.signals(self._ranker, likings(history))
        return ranking.score(self._ranker, told, self.strategy).astype(np.float64)


@dataclass(slots=True, kw_only=True)
class Part(_Asked):
    """One signal alone."""

    signal: Signal

    def scores(self, history: History, *, at: float) -> Reals:
        """What the signal says; 0 where it says nothing."""
        told = ranking.signals(self._ranker, likings(history))
        return told.signals.get(self.signal, np.zeros(len(self._ranker.shelf), np.float32)).astype(np.float64)


def recommenders(task: Task) -> list[Recommender]:
    """The best first."""
    server = _Server()
    return [
        Strategy(strategy="hybrid", server=server, name="fpserver, hybrid"),
        Strategy(strategy="collaborative", server=server, name="fpserver, collaborative"),
        Strategy(strategy="content", server=server, name="fpserver, content"),
        Part(signal=Signal.FACTORS, server=server, name="fpserver, factors alone"),
        Part(signal=Signal.NEIGHBOURS, server=server, name="fpserver, neighbours alone"),
        Part(signal=Signal.NEIGHBOURS_MET, server=server, name="fpserver, meetings alone"),
    ]


def shelf_of(dataset: Dataset, *, until: float = np.inf) -> Shelf:
    """The catalogue as a server holds it at a moment; sounds are scaled as descriptions are: random tracks 1 apart."""
    audio = None if dataset.audio is None else _scaled(dataset.audio)
    tracks = [
        Described(
            track_id=row + 1,
            artist=fold(dataset.artist[row]),
            genre=fold(dataset.genre[row]),
            tags=tuple(fold(tag).strip() for tag in (dataset.tags[row] or "").split(",") if tag.strip()),
            audio=None if audio is None else audio[row],
            added_at=float(dataset.released_at[row]),
        )
        for row in range(dataset.n_tracks)
        if dataset.released_at[row] <= until
    ]
    return build(tracks, n_dimensions=0 if audio is None else audio.shape[1])


def _scaled(audio: Vectors) -> Vectors:
    rng = np.random.default_rng(0)
    first, second = rng.integers(len(audio), size=(2, N_PAIRS))
    squared = ((audio[first] - audio[second]) ** 2).sum(1)
    return np.asarray(audio / np.sqrt(np.median(squared[first != second])), np.float32)
