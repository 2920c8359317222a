"""What next: from what somebody has heard and liked to tracks, best first, each with its reasons.

    feedback.history     what the user did, up to this moment: one round trip
    taste                what that says of each track
    ranking, choosing    every track on the shelf is scored, some are chosen        on the thinking thread
    tracks.get           who is no more is none: one round trip
    reasons              what spoke for each, and which liked track that comes from

Of somebody of whom nothing is known the answer is a start: what people hear, as varied as it comes.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from fpserver.desk import Desk, Ready
from fpserver.recommend import choosing, ranking
from fpserver.recommend.reasons import Reason, Why, reasons
from fpserver.recommend.shelf import Passes, Slots
from fpserver.recommend.taste import Likings, likings
from fpserver.similarity.mix import Mix
from fpserver.stages import measured
from fpserver.terms import KINDS, FeedbackKind, Group, History, Sieve, Track, TrackStatus, Vector
from fpserver.thinking import think

MARGIN = 3  # tracks more than asked for: some may have gone in the last second
KNOWN = 5  # liked tracks of somebody who is known
START_DIVERSITY = 0.5
START_PER_ARTIST = 1
LATELY_S = 12 * 3600.0  # what was heard so lately does not come again, even to who wants to hear things again
MIN_ALIKE = 0.6  # groups that sound less alike are no reason
MAX_ALIKE = 2  # groups that a reason names


class Standing(StrEnum):
    """How much is known of who asks."""

    UNKNOWN = "unknown"  # nothing that is liked
    NEW = "new"
    KNOWN = "known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked."""

    user: str | None = None
    liked: Sequence[int] = ()  # tracks to start from, beside what the user likes
    disliked: Sequence[int] = ()
    strategy: str = "hybrid"
    k: int = 10
    diversity: float = 0.1
    max_per_artist: int | None = None  # None: the usual, but for whoever asks for one artist
    seed: int | None = None
    again: bool = False  # whether tracks that the user has heard may be named
    sieve: Sieve = field(default_factory=Sieve)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A reason, with what is known of the track that it names."""

    reason: Reason
    because_of: Track | None
    alike: Mapping[Group, float]  # groups by which the two sound most alike, 0..1


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A track, and why."""

    track: Track
    score: float  # standard deviations above the mean of the catalogue
    reasons: Sequence[Told]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestions:
    """The answer."""

    standing: Standing
    n_liked: int
    model: str | None  # version of the model; None: there is none
    suggestions: Sequence[Suggestion]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """What was chosen, before anybody has looked whether it is still there."""

    standing: Standing
    n_liked: int
    track_ids: Sequence[int]
    scores: Sequence[float]
    reasons: Sequence[Sequence[Reason]]
    alike: Mapping[tuple[int, int], Mapping[Group, float]]  # by (track, liked track)


async def suggest(desk: Desk, wish: Wish) -> Suggestions:
    """Answer a wish.

    Raises:
        Overloaded: the copy of the catalogue is still being filled.
        StoreUnavailable: the store does not answer.
        InvalidRequest: the sieve has a field that there is none of.
    """
    ready, now = desk.ready, time.time()
    with measured("recommend", "history"):
        history = _none() if wish.user is None else await desk.services.feedback.history(wish.user)
    usual = desk.services.config.recommend.max_per_artist
    with measured("recommend", "choose"):
        choice = await think(_chosen, ready, history, wish, now, usual)
    named = {reason.because_of for each in choice.reasons for reason in each if reason.because_of}
    with measured("recommend", "tracks"):
        tracks = await desk.services.tracks.get([*dict.fromkeys([*choice.track_ids, *sorted(named)])])
    return Suggestions(
        standing=choice.standing,
        n_liked=choice.n_liked,
        model=ready.version,
        suggestions=_told(choice, tracks)[: wish.k],
    )


def _chosen(ready: Ready, history: History, wish: Wish, now: float, usual_per_artist: int) -> _Choice:
    """Score all, choose some, say why."""
    shelf, taste = ready.ranker.shelf, likings(_with_wishes(history, wish, now))
    may = ready.stocked.passing(wish.sieve) & ~_barred(ready, taste, wish, now)
    n_liked = int((taste.weight > 0).sum())
    told = ranking.signals(ready.ranker, taste, wish.strategy)
    scores = ranking.score(ready.ranker, told, wish.strategy)
    diversity = wish.diversity
    if not n_liked:
        scores = _start(scores, wish)
        diversity = max(diversity, START_DIVERSITY)
    slots = choosing.choose(
        shelf,
        scores,
        may,
        k=wish.k + MARGIN,
        diversity=diversity,
        max_per_artist=_per_artist(wish, usual_per_artist, n_liked=n_liked),
        seed=wish.seed,
    )
    if not len(slots):
        return _Choice(
            standing=_standing(n_liked), n_liked=n_liked, track_ids=(), scores=(), reasons=(), alike={}
        )
    why = reasons(ready.ranker, told, wish.strategy, taste, slots)
    spread = max(float(scores.std()), 1e-9)
    return _Choice(
        standing=_standing(n_liked),
        n_liked=n_liked,
        track_ids=shelf.track_id[slots].tolist(),
        scores=((scores[slots] - scores.mean()) / spread).tolist(),
        reasons=why,
        alike=_alike(ready, slots, why),
    )


def _per_artist(wish: Wish, usual: int, *, n_liked: int) -> int:
    """Most tracks of one artist."""
    if wish.max_per_artist is not None:
        return wish.max_per_artist
    if "artist" in wish.sieve.equal:
        return wish.k + MARGIN
    return usual if n_liked else min(usual, START_PER_ARTIST)


def _with_wishes(history: History, wish: Wish, now: float) -> History:
    """What the user did, and what the question says is liked and disliked, as if that were said just now."""
    said = [(track_id, FeedbackKind.LIKE) for track_id in wish.liked]
    said += [(track_id, FeedbackKind.DISLIKE) for track_id in wish.disliked]
    n = len(said)
    return History(
        user=np.zeros(len(history) + n, np.int32),
        track_id=np.concatenate([history.track_id, np.array([track_id for track_id, _ in said], np.int64)]),
        kind=np.concatenate([history.kind, np.array([KINDS.index(kind) for _, kind in said], np.uint8)]),
        value=np.concatenate([history.value, np.ones(n, np.float32)]),
        at=np.concatenate([history.at, np.full(n, now)]),
    )


def _barred(ready: Ready, taste: Likings, wish: Wish, now: float) -> Passes:
    """By slot: what is not recommended: disliked, heard lately, asked about; and all that was heard, unless `again`."""
    shelf = ready.ranker.shelf
    barred = np.ones(len(taste), np.bool_)
    if wish.again:
        barred = (taste.liking < 0) | taste.disliked | (taste.last_at > now - LATELY_S)
    slots = shelf.slots_of(taste.track_id[barred])
    by_slot = np.zeros(len(shelf), np.bool_)
    by_slot[slots[slots >= 0]] = True
    return by_slot


def _start(scores: Vector, wish: Wish) -> Vector:
    """Scores for somebody of whom nothing is known: where nothing speaks for anything, chance does."""
    if np.ptp(scores) > 0 if len(scores) else True:
        return scores
    return np.random.default_rng(wish.seed or 0).random(len(scores), np.float32)


def _standing(n_liked: int) -> Standing:
    if not n_liked:
        return Standing.UNKNOWN
    return Standing.NEW if n_liked < KNOWN else Standing.KNOWN


def _alike(
    ready: Ready, slots: Slots, why: Sequence[Sequence[Reason]]
) -> dict[tuple[int, int], dict[Group, float]]:
    """By what groups tracks and the liked ones that their reasons name sound alike."""
    shelf, scales = ready.ranker.shelf, ready.scales
    if scales is None:
        return {}
    pairs = [
        (slot, reason.because_of)
        for slot, each in zip(slots.tolist(), why, strict=True)
        for reason in each
        if reason.why is Why.LIKE and reason.because_of is not None
    ]
    ours = np.array([slot for slot, _ in pairs], np.int64)
    theirs = shelf.slots_of(np.array([track_id for _, track_id in pairs], np.int64))
    both = shelf.has_audio[ours] & shelf.has_audio[theirs]
    found: dict[tuple[int, int], dict[Group, float]] = {}
    squares = (shelf.audio[ours[both]] - shelf.audio[theirs[both]]) ** 2
    there = [pair for pair, sounds in zip(pairs, both.tolist(), strict=True) if sounds]
    for group, place in scales.slices.items():
        mix = Mix(weights={group: 1.0})
        share = float(scales.usual_weights[place][0])
        alike = scales.similarities_of(np.sqrt(squares[:, place].sum(1) / share), mix)
        for (slot, track_id), how in zip(there, alike.tolist(), strict=True):
            found.setdefault((int(shelf.track_id[slot]), track_id), {})[group] = how
    return found


def _told(choice: _Choice, tracks: Mapping[int, Track]) -> list[Suggestion]:
    """The chosen that are still there, with what their reasons name."""
    suggestions = []
    for track_id, score, why in zip(choice.track_ids, choice.scores, choice.reasons, strict=True):
        track = tracks.get(track_id)
        if track is None or track.status is not TrackStatus.INDEXED:
            continue
        told = [_reason(reason, track_id, choice, tracks) for reason in why]
        suggestions.append(Suggestion(track=track, score=score, reasons=told))
    return suggestions


def _reason(reason: Reason, track_id: int, choice: _Choice, tracks: Mapping[int, Track]) -> Told:
    of = tracks.get(reason.because_of or 0)
    alike = choice.alike.get((track_id, reason.because_of or 0), {}) if reason.why is Why.LIKE else {}
    nearest = sorted(alike, key=lambda group: -alike[group])[:MAX_ALIKE]
    return Told(
        reason=reason if of is not None else replace(reason, because_of=None),
        because_of=of,
        alike={group: alike[group] for group in nearest if alike[group] >= MIN_ALIKE},
    )


def _none() -> History:
    return History(
        user=np.empty(0, np.int32),
        track_id=np.empty(0, np.int64),
        kind=np.empty(0, np.uint8),
        value=np.empty(0, np.float32),
        at=np.empty(0),
    )
