"""From everybody's feedback to a model.

Twice: first from all but the newest events and without some tracks, to learn from the events left out how much each
signal counts, for known and for new tracks; then from everything.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from fpserver.recommend import blend, expected, factors, neighbours
from fpserver.recommend.blend import Question, Signal, Weights
from fpserver.recommend.model import Model
from fpserver.recommend.ranking import Ranker, ranker, signals
from fpserver.recommend.shelf import Shelf, Slots
from fpserver.recommend.taste import Likings, Reals, likings
from fpserver.terms import History, TrackIds, Vector

HELD_BACK = 0.3  # newest share of events, from which weights are learned
PRETENDED_NEW = 0.1  # share of tracks that are new in the first training
LATELY = 0.1  # newest share of events that say what is popular lately
MAX_ASKED = 600  # people from whose newest events weights are learned
MAX_CANDIDATES = 2000  # tracks of all that each of them could have heard, at random
MIN_ASKED = 30  # fewer say nothing: weights are the assumed ones
MAX_NEIGHBORS, ENOUGH_NEIGHBORS = 400, 2_000_000  # where tracks are few, more neighbours are kept of each


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a model is."""

    n_factors: int
    n_neighbors: int
    n_threads: int = 1


def train(history: History, shelf: Shelf, *, size: Size, seed: int = 0) -> Model | None:
    """Learn; None: nobody has liked anything on the shelf.

    Args:
        history: of all people.
        shelf: all tracks.
        size: of the model.
        seed: the same gives the same model.
    """
    rng = np.random.default_rng(seed)
    return _fit(history, shelf, size, seed, _weights(history, shelf, size, seed, rng))


def _weights(history: History, shelf: Shelf, size: Size, seed: int, rng: np.random.Generator) -> Weights:
    """How much each signal counts."""
    if not len(history) or not len(shelf):
        return blend.assumed()
    since = np.quantile(history.at, 1 - HELD_BACK)
    new = rng.random(len(shelf)) < PRETENDED_NEW
    before = history.at < since
    slots = shelf.slots_of(history.track_id)
    early = history.taken(before & ~((slots >= 0) & new[slots]))
    model = _fit(early, shelf, size, seed, blend.assumed())
    if model is None:
        return blend.assumed()
    there_since = _there_since(shelf, slots, history.at)
    questions = _questions(history, since, ranker(shelf, model), there_since, rng)
    return blend.learn(questions) if len(questions) >= MIN_ASKED else blend.assumed()


def _there_since(shelf: Shelf, slots: Slots, at: Reals) -> Reals:
    """When each track could first be heard, by slot: since it was added, or an event says that it was heard before.

    Args:
        shelf: the tracks.
        slots: of each event's track.
        at: of each event.
    """
    since = shelf.added_at.copy()
    np.minimum.at(since, slots[slots >= 0], at[slots >= 0])
    return since


def _questions(
    history: History, since: float, asked: Ranker, there_since: Reals, rng: np.random.Generator
) -> list[Question]:
    """What some people liked since, of all they could have heard."""
    users = np.unique(history.user[history.at >= since])
    rng.shuffle(users)
    starts, ends = np.searchsorted(history.user, users), np.searchsorted(history.user, users, "right")
    questions: list[Question] = []
    for start, end in zip(starts, ends, strict=True):
        question = _question(history.taken(slice(start, end)), since, asked, there_since, rng)
        if question is not None:
            questions.append(question)
        if len(questions) == MAX_ASKED:
            break
    return questions


def _question(
    theirs: History, since: float, asked: Ranker, there_since: Reals, rng: np.random.Generator
) -> Question | None:
    shelf = asked.shelf
    live = np.flatnonzero(theirs.at >= since)
    cut = theirs.at[live[rng.integers(len(live))]]
    before = likings(theirs.taken(theirs.at < cut))
    after = likings(theirs.taken(theirs.at >= cut))
    next_slots = shelf.slots_of(after.track_id[after.liking > 0])
    next_slots = next_slots[next_slots >= 0]
    heard = np.zeros(len(shelf), np.bool_)
    known = shelf.slots_of(before.track_id)
    heard[known[known >= 0]] = True
    could_be = ~heard & (there_since <= cut)
    next_slots = next_slots[could_be[next_slots]]
    if not len(next_slots):
        return None
    could = np.flatnonzero(could_be)
    if len(could) > MAX_CANDIDATES:
        could = np.union1d(rng.choice(could, MAX_CANDIDATES, replace=False), next_slots)
    told = signals(asked, before)
    columns = np.zeros((len(could), len(Signal)), np.float32)
    for i, signal in enumerate(Signal):
        if signal in told.signals:
            columns[:, i] = told.signals[signal][could]
    return Question(signals=columns, chosen=np.isin(could, next_slots), newness=told.newness)


def _fit(history: History, shelf: Shelf, size: Size, seed: int, weights: Weights) -> Model | None:
    """A model of all events, with these weights."""
    known = likings(history)
    known = known.taken(shelf.slots_of(known.track_id) >= 0)
    positive = known.liking > 0
    if not positive.any():
        return None
    track_id = np.unique(known.track_id)
    drawn = _matrix(known, known.drawn, track_id)
    vectors = factors.learn(drawn, n_factors=size.n_factors, seed=seed, n_threads=size.n_threads)
    n_users = np.bincount(np.searchsorted(track_id, known.track_id[positive]), minlength=len(track_id))
    n_lately = _n_lately(known.taken(positive), track_id)
    told = np.column_stack([vectors, np.log1p(n_users)]).astype(np.float32)
    n_neighbors = max(size.n_neighbors, min(MAX_NEIGHBORS, ENOUGH_NEIGHBORS // len(track_id)))
    kept = {"n_neighbors": n_neighbors, "n_threads": size.n_threads}
    return Model(
        track_id=track_id,
        n_people=drawn.shape[0],
        factors=vectors,
        near=neighbours.of_likings(_matrix(known, known.weight, track_id), **kept),
        met_near=neighbours.of_meetings(_matrix(known, known.met, track_id), **kept),
        n_users=n_users.astype(np.float32),
        n_lately=n_lately.astype(np.float32),
        expectations=expected.learn(shelf, shelf.slots_of(track_id), told, n_users.astype(np.float32)),
        weights=weights,
    )


def _n_lately(liked: Likings, track_id: TrackIds) -> Vector:
    lately = liked.last_at >= np.quantile(liked.last_at, 1 - LATELY)
    rows = np.searchsorted(track_id, liked.track_id[lately])
    return np.bincount(rows, minlength=len(track_id)).astype(np.float32)


def _matrix(known: Likings, weight: Vector, track_id: TrackIds) -> sparse.csr_array:
    """(n_users, n_tracks), without what weighs nothing."""
    users, rows = np.unique(known.user, return_inverse=True)
    columns = np.searchsorted(track_id, known.track_id)
    matrix = sparse.csr_array((weight, (rows, columns)), shape=(len(users), len(track_id)))
    matrix.eliminate_zeros()
    return matrix
