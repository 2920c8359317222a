"""From somebody's taste to a score for every track on the shelf."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from fpserver.recommend import blend, content, factors
from fpserver.recommend.blend import CONTENT, STRATEGIES, Level, Part, Signal, Weights
from fpserver.recommend.content import Shares, Sounds
from fpserver.recommend.expected import FEW
from fpserver.recommend.model import Model
from fpserver.recommend.shelf import NOWHERE, Numbers, Shelf, Slots
from fpserver.recommend.taste import Likings
from fpserver.terms import Vector, Vectors

KNOWN = 5.0  # tracks after which somebody is half as new
LATELY = 3  # last liked tracks


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Neighbours:
    """Who is near whom: as the model says it by its rows, asked by slot."""

    row: Slots  # of each slot in the model; NOWHERE: nobody has heard it
    slot: Slots  # of each row on the shelf; one behind the last for those that are not on it
    starts: Slots  # of each row: where its neighbours begin; the next row's start is where they end
    near: Numbers  # rows of neighbours
    strength: Vector

    def of(self, slot: int) -> tuple[Slots, Vector]:
        """(slots of a track's neighbours, how strong each is)."""
        row = int(self.row[slot])
        if row == NOWHERE:
            return self.slot[:0], self.strength[:0]
        here = slice(int(self.starts[row]), int(self.starts[row + 1]))
        return self.slot[self.near[here]], self.strength[here]

    def of_each(self, slots: Slots) -> tuple[Slots, Vector, Slots]:
        """(neighbours of these tracks, one track's after the other's, how strong each is, whose: place in `slots`)."""
        rows = self.row[slots]
        places = np.flatnonzero(rows != NOWHERE)
        first = self.starts[rows[places]]
        lengths = self.starts[rows[places] + 1] - first
        which = np.repeat(places, lengths)
        ends = np.cumsum(lengths)
        at = np.arange(len(which)) + np.repeat(first - ends + lengths, lengths)
        return self.slot[self.near[at]], self.strength[at], which

    def of_all(self, slots: Slots, weight: Vector) -> Vector:
        """How strongly each track is a neighbour of these, (n_slots,)."""
        near, strength, which = self.of_each(slots)
        total = np.bincount(near, strength * weight[which], minlength=len(self.row) + 1)[:-1]
        return np.maximum(total, 0).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Learned:
    """A model as it stands on a shelf: everything by slot."""

    factors: Vectors  # 0 for what nobody has heard
    expected: Vectors  # factors, times `unheard`
    gram: Vectors
    by_likings: Neighbours
    by_meetings: Neighbours
    popular: Vector
    lately: Vector
    expected_popular: Vector  # times `unheard`
    unheard: Vector  # 0..1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranker:
    """A shelf, and what was learned, ready to be asked."""

    shelf: Shelf
    shares: Shares
    sounds: Sounds
    weights: Weights
    learned: Learned | None


def ranker(shelf: Shelf, model: Model | None) -> Ranker:
    """Everything that does not depend on who asks."""
    return Ranker(
        shelf=shelf,
        shares=content.shares(shelf),
        sounds=content.sounds(shelf),
        weights=blend.assumed() if model is None else model.weights,
        learned=None if model is None else _placed(shelf, model),
    )


def _placed(shelf: Shelf, model: Model) -> Learned:
    places = np.minimum(np.searchsorted(model.track_id, shelf.track_id), len(model.track_id) - 1)
    row = np.where(model.track_id[places] == shelf.track_id, places, NOWHERE)
    there = row != NOWHERE
    slot = np.full(len(model.track_id), len(shelf), np.int64)
    slot[row[there]] = np.flatnonzero(there)
    told = np.column_stack([model.factors, np.log1p(model.n_users), np.log1p(model.n_lately), model.n_users])
    by_slot = np.zeros((len(shelf), told.shape[1]), np.float32)
    by_slot[there] = told[row[there]]
    unheard = (FEW / (FEW + by_slot[:, -1])).astype(np.float32)
    expected = model.expectations.of(shelf) * unheard[:, None]
    return Learned(
        factors=np.ascontiguousarray(by_slot[:, :-3]),
        expected=np.ascontiguousarray(expected[:, :-1]),
        gram=factors.gram(model.factors, n_users=model.n_people),
        by_likings=_neighbours(model.near, row, slot),
        by_meetings=_neighbours(model.met_near, row, slot),
        popular=np.ascontiguousarray(by_slot[:, -3]),
        lately=np.ascontiguousarray(by_slot[:, -2]),
        expected_popular=np.ascontiguousarray(expected[:, -1]),
        unheard=unheard,
    )


def _neighbours(near: sparse.csr_array, row: Slots, slot: Slots) -> Neighbours:
    return Neighbours(
        row=row, slot=slot, starts=near.indptr.astype(np.int64), near=near.indices, strength=near.data
    )


@dataclass(frozen=True, kw_only=True, eq=False)  # no slots: levels are kept
class Told:
    """What speaks for each track, to one who asks."""

    signals: dict[Signal, Vector]  # (n_slots,) each; without those that say nothing of anything
    newness: float  # 1: nothing is known of who asks; towards 0: much is

    @cached_property
    def levels(self) -> dict[Signal, Level]:
        """Where each signal lies: looked at once, for scores and for reasons."""
        return blend.levels(self.signals)

    def parts(self, ranker: Ranker, strategy: str) -> dict[Signal, Part]:
        """What each signal adds to a score."""
        return blend.parts(ranker.weights, strategy, self.levels, newness=self.newness)


def signals(ranker: Ranker, likings: Likings, strategy: str = "hybrid") -> Told:
    """What speaks for each track; without what counts for nothing by this strategy, as far as that saves work."""
    shelf = ranker.shelf
    slots = shelf.slots_of(likings.track_id)
    there = slots != NOWHERE
    slots, likings = slots[there], likings.taken(there)
    counting = set(STRATEGIES[strategy])
    told: dict[Signal, Vector] = {}
    if not counting.isdisjoint(CONTENT):
        told |= _content(ranker, slots, likings)
    if ranker.learned is not None and not counting <= set(CONTENT):
        told |= _collaborative(ranker.learned, slots, likings)
    return Told(signals=told, newness=KNOWN / (KNOWN + int((likings.drawn > 0).sum())))


def _content(ranker: Ranker, slots: Slots, likings: Likings) -> dict[Signal, Vector]:
    shelf, drawn = ranker.shelf, likings.drawn
    told = {}
    if len(slots):
        told[Signal.ARTIST] = content.artist_scores(shelf, ranker.shares, slots, drawn)
        told[Signal.GENRE] = content.genre_scores(shelf, ranker.shares, slots, drawn)
        told[Signal.TAGS] = content.tag_scores(shelf, ranker.shares, slots, drawn)
    liked = np.flatnonzero((drawn > 0) & shelf.has_audio[slots])
    if len(liked):
        liked = liked[content.seeds(drawn[liked])]
        weight = drawn[liked]
        nearest, mean = ranker.sounds.of_liked(slots[liked], weight)
        told[Signal.SOUND], told[Signal.SOUND_MEAN] = nearest, mean
    return told


def _collaborative(learned: Learned, slots: Slots, likings: Likings) -> dict[Signal, Vector]:
    signed, drawn = likings.signed, likings.drawn
    told = {
        Signal.POPULAR: learned.popular,
        Signal.LATELY: learned.lately,
        Signal.EXPECTED_POPULAR: learned.expected_popular,
        Signal.UNHEARD: learned.unheard,
    }
    if not len(slots):
        return told
    counting = np.argsort(-np.abs(drawn), kind="stable")[: factors.MAX_LIKED]
    liked = slots[counting]
    vector = factors.fold_in(learned.factors[liked], drawn[counting], learned.gram)
    known_of = learned.factors[liked] * (1 - learned.unheard[liked])[:, None] + learned.expected[liked]
    told[Signal.EXPECTED] = learned.expected @ factors.fold_in(known_of, drawn[counting], learned.gram)
    told[Signal.FACTORS] = learned.factors @ vector
    told[Signal.NEIGHBOURS] = learned.by_likings.of_all(liked, signed[counting])
    newest = np.argsort(-likings.last_at, kind="stable")[: factors.MAX_LIKED]
    told[Signal.NEIGHBOURS_MET] = learned.by_meetings.of_all(slots[newest], likings.met[newest])
    newest = newest[signed[newest] > 0][:LATELY]
    told[Signal.NEIGHBOURS_LATELY] = learned.by_likings.of_all(slots[newest], likings.met[newest])
    return told


def score(ranker: Ranker, told: Told, strategy: str) -> Vector:
    """Σ weight · signal, (n_slots,)."""
    total = np.zeros(len(ranker.shelf), np.float32)
    for signal, part in told.parts(ranker, strategy).items():
        total += np.float32(part.gain) * (told.signals[signal] - np.float32(part.mean))
    return total
