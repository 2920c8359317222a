"""Why a track was recommended: what spoke for it more than for others, and which liked track that comes from.

A signal speaks for a track by its weight times how far it stands above its mean over the shelf. What speaks together
for the same thing is one reason; its share is that of all that speaks for the track. Where nothing stands above its
mean, as for the worst of few tracks, what the person likes counts from 0. Reasons are data; words are put to them at
the edge.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from fpserver.recommend.blend import Signal
from fpserver.recommend.content import likeness
from fpserver.recommend.ranking import Ranker, Told
from fpserver.recommend.shelf import NOWHERE, Shelf, Slots
from fpserver.recommend.taste import Likings
from fpserver.terms import Vector, Vectors

MIN_SHARE = 0.12
MAX_REASONS = 3
MAX_COMPARED = 50  # liked tracks among which the one is sought that a reason names


class Why(StrEnum):
    """Kinds of reasons."""

    LIKE = "like"  # it is like a track that is liked, by what it is
    PEOPLE = "people"  # who likes a track that is liked, likes it too
    TASTE = "taste"  # it fits all that is liked, as others' likings go together
    POPULAR = "popular"
    NEW = "new"  # nobody has heard it yet
    START = "start"  # nothing speaks for anything yet


SPEAKS = {
    Signal.SOUND: Why.LIKE,
    Signal.SOUND_MEAN: Why.LIKE,
    Signal.ARTIST: Why.LIKE,
    Signal.GENRE: Why.LIKE,
    Signal.TAGS: Why.LIKE,
    Signal.NEIGHBOURS: Why.PEOPLE,
    Signal.NEIGHBOURS_MET: Why.PEOPLE,
    Signal.NEIGHBOURS_LATELY: Why.PEOPLE,
    Signal.FACTORS: Why.TASTE,
    Signal.EXPECTED: Why.TASTE,
    Signal.POPULAR: Why.POPULAR,
    Signal.LATELY: Why.POPULAR,
    Signal.EXPECTED_POPULAR: Why.NEW,
    Signal.UNHEARD: Why.NEW,
}
OWN = frozenset({Why.LIKE, Why.PEOPLE, Why.TASTE})  # that come from what the person likes
OTHER = frozenset(Why) - OWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason for one track."""

    why: Why
    share: float  # of all that speaks for the track, 0..1
    because_of: int | None = None  # a liked track
    same_artist: bool = False
    same_genre: bool = False
    tags: tuple[str, ...] = ()  # that both have


def reasons(ranker: Ranker, told: Told, strategy: str, likings: Likings, slots: Slots) -> list[list[Reason]]:
    """The reasons for each of some tracks, strongest first; at least one each."""
    liked = _liked(ranker, likings)
    speaks = _speaks(ranker, told, strategy, slots)
    alone = _speaks(ranker, told, strategy, slots, above_mean=False)
    own = OWN if len(liked.slots) else frozenset()  # what is unlike the disliked is not liked for that
    alike = likeness(ranker.shelf, slots, liked.slots) * liked.weight
    near = _near(ranker, liked, slots) * liked.weight
    found = []
    for place, slot in enumerate(slots.tolist()):
        for_it = _for_it(speaks, place, OTHER | own) or _for_it(alone, place, own)
        total = sum(for_it.values())
        strongest = sorted(for_it, key=lambda why: (-for_it[why], why))
        shares = {why: for_it[why] / total for why in strongest[:MAX_REASONS]} or {Why.START: 1.0}
        kept = [why for why in shares if shares[why] >= MIN_SHARE] or strongest[:1]
        of = {Why.LIKE: alike[place], Why.PEOPLE: near[place]}
        found.append(
            [_reason(ranker.shelf, why, shares[why], slot, liked.slots, of.get(why)) for why in kept]
        )
    return found


def _for_it(speaks: Mapping[Why, Vector], place: int, kinds: Set[Why]) -> dict[Why, float]:
    """What of these kinds speaks for one of them, and how much."""
    return {why: float(column[place]) for why, column in speaks.items() if why in kinds and column[place] > 0}


def _speaks(
    ranker: Ranker, told: Told, strategy: str, slots: Slots, *, above_mean: bool = True
) -> dict[Why, Vector]:
    """How much each kind of reason speaks for each of these tracks."""
    speaks: dict[Why, Vector] = {}
    for signal, part in told.parts(ranker, strategy).items():
        usual = np.float32(part.mean if above_mean else 0)
        adds = np.float32(part.gain) * (told.signals[signal][slots] - usual)
        why = SPEAKS[signal]
        speaks[why] = speaks[why] + adds if why in speaks else adds
    return speaks


@dataclass(frozen=True, slots=True, kw_only=True)
class _Liked:
    slots: Slots
    weight: Vector


def _liked(ranker: Ranker, likings: Likings) -> _Liked:
    slots = ranker.shelf.slots_of(likings.track_id)
    weight = np.where(slots != NOWHERE, likings.weight, 0)
    strongest = np.argsort(-weight, kind="stable")[:MAX_COMPARED]
    strongest = strongest[weight[strongest] > 0]
    return _Liked(slots=slots[strongest], weight=weight[strongest])


def _reason(shelf: Shelf, why: Why, share: float, slot: int, liked: Slots, by_liked: Vector | None) -> Reason:
    """A reason with the liked track that speaks most for it, if there is one."""
    share = round(share, 3)
    if by_liked is None or not len(liked) or by_liked.max() <= 0:
        return Reason(why=why, share=share)
    of = int(liked[by_liked.argmax()])
    common = np.intersect1d(_tags(shelf, slot), _tags(shelf, of)).tolist()
    return Reason(
        why=why,
        share=share,
        because_of=int(shelf.track_id[of]),
        same_artist=bool(shelf.artist[slot] and shelf.artist[slot] == shelf.artist[of]),
        same_genre=bool(shelf.genre[slot] and shelf.genre[slot] == shelf.genre[of]),
        tags=tuple(shelf.tag_names[number] for number in common),
    )


def _tags(shelf: Shelf, slot: int) -> Slots:
    tags: Slots = shelf.tags.indices[shelf.tags.indptr[slot] : shelf.tags.indptr[slot + 1]]
    return tags


def _near(ranker: Ranker, liked: _Liked, slots: Slots) -> Vectors:
    """How strongly each track is a neighbour of each that is liked, (len(slots), len(liked.slots))."""
    near = np.zeros((len(slots), len(liked.slots)), np.float32)
    if ranker.learned is None or not len(slots):
        return near
    order = np.argsort(slots)
    for neighbours in (ranker.learned.by_likings, ranker.learned.by_meetings):
        theirs, strength, column = neighbours.of_each(liked.slots)
        places = order[np.minimum(np.searchsorted(slots, theirs, sorter=order), len(slots) - 1)]
        hit = slots[places] == theirs
        np.add.at(near, (places[hit], column[hit]), strength[hit])
    return near
