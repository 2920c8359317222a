"""Held-out time: what is learned from, what is asked, and what would be right.

A fold has one moment T. Recommenders learn from all events before T. Whoever did something from T on is asked once, at
the moment t between the first and the second half of his events from T on. The first half is given with the question
beside what he did before T, but nothing learned from it beforehand; right are the tracks of the second half that he
liked (heard at least half of, liked, rated 4 or 5), had never met before, and that were released by t.

So nothing that anybody did after T is known to a recommender, but what the one who asks did before t.
Who has no events before T is *new*.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fpserver.terms import History, TrackIds
from loadtest.recommend.data import Dataset, Mask, positive, select, users_of

N_GIVEN = (0, 1, 3, 5, 10)  # events given of a new user, for the curve


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What next, for this user, now?"""

    user: int  # number in the data set
    at: float  # seconds since 1970
    given: History  # all he did before, oldest first; his number is 0
    n_trained: int  # how many of them, from the first on, are among what was learned from
    met: TrackIds  # tracks in `given`, ascending
    right: TrackIds  # ascending, at least one

    @property
    def is_new(self) -> bool:
        """Whether nothing of this user was learned from."""
        return self.n_trained == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One moment T, and all that is asked after it."""

    at: float
    train: History  # users are numbered anew from 0
    questions: tuple[Question, ...]
    n_heard: np.ndarray  # (n_tracks,) users in `train` who met a track
    n_users: int  # in `train`


def moment(dataset: Dataset, share: float) -> float:
    """When this share of all events had happened."""
    return float(np.quantile(dataset.history.at, share))


def fold(dataset: Dataset, *, at: float, until: float = np.inf) -> Fold:
    """Split at a moment; events from `until` on do not exist."""
    history = dataset.history
    train = _numbered_anew(select(history, history.at < at))
    asked = list(_questions(dataset, at=at, until=until))
    pairs = np.unique(np.stack([train.user, train.track_id]), axis=1)
    return Fold(
        at=at,
        train=train,
        questions=tuple(asked),
        n_heard=np.bincount(pairs[1] - 1, minlength=dataset.n_tracks),
        n_users=len(np.unique(train.user)),
    )


def _questions(dataset: Dataset, *, at: float, until: float) -> Iterator[Question]:
    history = dataset.history
    numbers, first = users_of(history)
    for user, begin, end in zip(numbers, first, [*first[1:], len(history)], strict=True):
        times = history.at[begin:end]
        split, stop = (int(begin + np.searchsorted(times, each)) for each in (at, until))
        middle = split + (stop - split) // 2
        question = _question(dataset, int(user), begin=int(begin), split=split, middle=middle, stop=stop)
        if question is not None:
            yield question


def _question(
    dataset: Dataset, user: int, *, begin: int, split: int, middle: int, stop: int
) -> Question | None:
    """Asked of the events `begin`..`middle` − 1; None where nothing of `middle`..`stop` − 1 is right."""
    if middle == stop:
        return None
    at = float(dataset.history.at[middle])
    given = select(dataset.history, slice(begin, middle))
    later = select(dataset.history, slice(middle, stop))
    met = np.unique(given.track_id)
    right = np.setdiff1d(later.track_id[positive(later)], met)
    right = right[dataset.released_at[right - 1] <= at]
    if not len(right):
        return None
    return Question(user=user, at=at, given=_alone(given), n_trained=split - begin, met=met, right=right)


def open_to(dataset: Dataset, question: Question) -> Mask:
    """Tracks that may be recommended: released, and not met; (n_tracks,)."""
    may = dataset.released_at <= question.at
    may[question.met - 1] = False
    return np.asarray(may)


def first_given(question: Question, n: int) -> History:
    """The first n events of a new user, as all that is known of him."""
    return select(question.given, slice(0, n))


def _alone(history: History) -> History:
    """One user's events, under the number 0."""
    return History(
        user=np.zeros(len(history), np.int32),
        track_id=history.track_id,
        kind=history.kind,
        value=history.value,
        at=history.at,
    )


def _numbered_anew(history: History) -> History:
    """Users in their order, without gaps."""
    _, user = np.unique(history.user, return_inverse=True)
    return History(
        user=user.astype(np.int32),
        track_id=history.track_id,
        kind=history.kind,
        value=history.value,
        at=history.at,
    )
