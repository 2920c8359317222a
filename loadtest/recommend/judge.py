"""Asks a recommender all questions of all folds, and keeps each user's figures.

Tracks that nobody met before T are *cold*, all others *warm*. How much worse a recommender is at cold ones is asked
twice, of users for whom tracks of both kinds are right: among all tracks, where the right ones of the other kind are
taken out of the list; and within pools of equal size (all cold tracks, as many random warm ones), since in the whole
catalogue a cold track has to stand against far more warm ones than cold ones.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from fpserver.terms import TrackIds
from loadtest.recommend import bootstrap, metrics
from loadtest.recommend.baselines import Recommender
from loadtest.recommend.bootstrap import Values
from loadtest.recommend.data import Dataset, Mask, Places, Reals
from loadtest.recommend.splits import N_GIVEN, Fold, Question, first_given, open_to

N_POOLS = 5  # random pools of warm tracks a question, whose figures are averaged
SEED = 2
TRUTH = "true liking, which nobody knows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was found of one recommender."""

    name: str
    figures: dict[str, Values]
    coverage: float  # mean over folds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A question, put in a fold: the scores that came back, and what may be listed."""

    question: Question
    fold: Fold
    dataset: Dataset
    scores: Reals
    may: Mask
    tie_break: Places

    def listed(self, may: Mask | None = None, *, n: int = metrics.N_LISTED) -> TrackIds:
        """The best tracks among those that may be."""
        return metrics.best(self.scores, self.may if may is None else may, self.tie_break, n=n) + 1


@dataclass(slots=True)
class _Rows:
    """Figures as they come in."""

    values: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    covered: list[float] = field(default_factory=list)  # a fold

    def add(self, name: str, user: int, value: float) -> None:
        self.values[name].append((user, value))

    def judged(self, name: str) -> Judged:
        """Of all folds."""
        figures = {
            figure: bootstrap.by_user(
                np.array([user for user, _ in pairs]), np.array([value for _, value in pairs])
            )
            for figure, pairs in self.values.items()
        }
        return Judged(name=name, figures=figures, coverage=float(np.mean(self.covered)))


def judge(
    dataset: Dataset,
    folds: Sequence[Fold],
    recommender: Recommender,
    *,
    cold: bool = True,
    curve: bool = True,
) -> Judged:
    """All figures of a recommender; without cold tracks or the curve of new users it takes less time."""
    rows = _Rows()
    for each in folds:
        recommender.fit(dataset.shown(each.train), each.train, at=each.at)
        _ask(dataset, each, lambda q: recommender.scores(q.given, at=q.at), rows, cold=cold)
        if curve:
            _ask_with_less(dataset, each, recommender, rows)
    return rows.judged(recommender.name)


def judge_truth(dataset: Dataset, folds: Sequence[Fold]) -> Judged | None:
    """Figures of lists by true liking, which nobody can know; None where it is not known to us either."""
    if dataset.hidden is None or dataset.hidden.liking is None:
        return None
    liking, rows = dataset.hidden.liking, _Rows()
    for each in folds:
        _ask(dataset, each, lambda q: liking[q.user].astype(np.float64), rows, cold=True)
    return rows.judged(TRUTH)


def _ask(
    dataset: Dataset, fold: Fold, scores_of: Callable[[Question], Reals], rows: _Rows, *, cold: bool
) -> None:
    """All questions of a fold."""
    lists = []
    for question in fold.questions:
        asked = _put(dataset, fold, question, scores_of(question))
        lists.append(asked.listed())
        for name, value in _figures(asked, cold=cold):
            rows.add(name, question.user, value)
    rows.covered.append(metrics.coverage(lists, _n_open(dataset, fold)))


def _ask_with_less(dataset: Dataset, fold: Fold, recommender: Recommender, rows: _Rows) -> None:
    """nDCG of new users of whom at least the most is given, with less of it given.

    What they met by the time they are asked stays out of the lists, so that every point of the curve ranks the same.
    """
    for question in fold.questions:
        if not question.is_new or len(question.given) < max(N_GIVEN):
            continue
        for n in N_GIVEN:
            scores = recommender.scores(first_given(question, n), at=question.at)
            listed = _put(dataset, fold, question, scores).listed()
            rows.add(f"given {n}", question.user, metrics.ndcg(listed, question.right))


def _put(dataset: Dataset, fold: Fold, question: Question, scores: Reals) -> _Asked:
    if scores.shape != (dataset.n_tracks,):
        raise ValueError(f"scores have shape {scores.shape}, must be ({dataset.n_tracks},)")
    return _Asked(
        question=question,
        fold=fold,
        dataset=dataset,
        scores=np.asarray(scores, np.float64),
        may=open_to(dataset, question),
        tie_break=np.random.default_rng([SEED, question.user]).permutation(dataset.n_tracks),
    )


def _n_open(dataset: Dataset, fold: Fold) -> int:
    """Tracks that were out when the last question was asked."""
    last = max((each.at for each in fold.questions), default=fold.at)
    return int(np.count_nonzero(dataset.released_at <= last))


def _figures(asked: _Asked, *, cold: bool) -> Iterator[tuple[str, float]]:
    question, fold, hidden = asked.question, asked.fold, asked.dataset.hidden
    listed = asked.listed(n=metrics.N_RECALLED)
    found = metrics.ndcg(listed, question.right)
    first = listed[: metrics.N_LISTED]
    yield "ndcg", found
    yield "recall", metrics.recall(listed, question.right)
    yield "ndcg new" if question.is_new else "ndcg known", found
    yield "novelty", metrics.novelty(first, fold.n_heard, fold.n_users)
    if hidden is not None:
        yield "diversity", metrics.diversity(first, hidden.space)
        if hidden.liking is not None:
            yield "liking", float(hidden.liking[question.user, first - 1].mean())
    if cold:
        yield from _cold(asked)


def _cold(asked: _Asked) -> Iterator[tuple[str, float]]:
    """nDCG of cold and of warm tracks, where some of both are right."""
    question = asked.question
    is_cold = asked.fold.n_heard == 0
    cold, warm = (question.right[which[question.right - 1]] for which in (is_cold, ~is_cold))
    if not len(cold) or not len(warm):
        return
    for name, right, others in (("cold", cold, warm), ("warm", warm, cold)):
        may = asked.may.copy()
        may[others - 1] = False
        yield f"{name} among all", metrics.ndcg(asked.listed(may), right)
    pool = asked.may & is_cold
    in_pools = [
        metrics.ndcg(asked.listed(_mask(each, len(pool))), right)
        for each in _warm_pools(asked, int(pool.sum()))
        if len(right := np.intersect1d(warm, each + 1))
    ]
    if in_pools:
        yield "cold in pool", metrics.ndcg(asked.listed(pool), cold)
        yield "warm in pool", float(np.mean(in_pools))


def _warm_pools(asked: _Asked, size: int) -> Iterator[Places]:
    """Random warm tracks, the same for every recommender."""
    warm = np.flatnonzero(asked.may & (asked.fold.n_heard > 0))
    rng = np.random.default_rng([SEED, asked.question.user])
    for _ in range(N_POOLS):
        yield rng.choice(warm, size=min(size, len(warm)), replace=False)


def _mask(places: Places, n: int) -> Mask:
    found = np.zeros(n, bool)
    found[places] = True
    return found
