"""How simulated listeners meet tracks, and what they do with them.

A session has one mood: one of the listener's tastes. Each track in it comes from one of four places: what he liked
before, an artist of whom he liked something, a choice from a shelf (subgenre) that suits the mood, or what everybody
hears. Fame decides what comes to be chosen from, so data are biased towards it, as all real data are. What he does
then depends on whether he likes the track, with chance: people also skip what they like, and let run what they do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fpserver.terms import FeedbackKind, History
from loadtest.recommend.data import DAY_S, Places, Reals, history_of, number
from loadtest.recommend.world import N_DAYS, START_AT, Listener, World

SESSION_EVENTS = 7.0  # mean, geometric: half an hour
TRACK_S = 240.0
# Much listening is repeated listening (Anderson et al., "The dynamics of repeat consumption", 2014); what is left over
# is what everybody hears: charts, parties, shops.
REPEATED, BY_ARTIST, CHOSEN = 0.35, 0.15, 0.35
N_OFFERED = 15  # tracks that come up before one is chosen: a page of a service
CHOICE_NOISE = 1.0  # log odds, Gumbel's: a listener knows only roughly what he will like
REPEATED_BACK = 30.0  # mean, geometric: how many liked events back a repeated one is
NEW_BOOST, NEW_DAYS = 4.0, 30.0  # a new track is met five times as often, which fades in a month
MOOD_SPREAD = 0.7  # log odds, of the moment
WEEK_S, QUARTER_S = 7 * DAY_S, 91.25 * DAY_S  # fame is renewed weekly, tastes quarterly

# A quarter to a half of streams are skipped (Lamere 2014; Brost et al., "The music streaming sessions dataset", 2019).
SKIPPED_IF_LIKED, SKIPPED_IF_NOT = 0.1, 0.7
LIKES, DISLIKES = 0.04, 0.02  # of liked plays, of skips: few people press buttons

PLAY, SKIP, LIKE, DISLIKE = (
    number(kind) for kind in (FeedbackKind.PLAY, FeedbackKind.SKIP, FeedbackKind.LIKE, FeedbackKind.DISLIKE)
)


@dataclass(slots=True)
class Events:
    """Columns that grow."""

    user: list[int] = field(default_factory=list)
    track: list[int] = field(default_factory=list)  # place, not id
    kind: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    at: list[float] = field(default_factory=list)

    def add(self, user: int, track: int, kind: int, value: float, at: float) -> None:
        """One more."""
        self.user.append(user)
        self.track.append(track)
        self.kind.append(kind)
        self.value.append(value)
        self.at.append(at)


class Radio:
    """What comes to be heard: tracks that are out, by fame and newness."""

    def __init__(self, world: World) -> None:
        weeks = START_AT + np.arange(N_DAYS // 7 + 1)[:, None] * WEEK_S
        age_days = (weeks - world.released_at) / DAY_S
        new = NEW_BOOST * np.exp(-np.maximum(age_days, 0) / NEW_DAYS) * (world.released_at > START_AT)
        self._fame = np.where(age_days >= 0, world.fame * (1 + new), 0.0)  # (n_weeks, n_tracks)
        self._up_to = self._fame.cumsum(axis=1)
        self._of_artist, self._on_shelf = _grouped(world.artist), _grouped(world.sub)
        self._shelf = world.sub

    def draw(self, size: tuple[int, ...], at: float, rng: np.random.Generator) -> Places:
        """Any tracks, by fame."""
        up_to = self._up_to[_week(at)]
        drawn = np.searchsorted(up_to, rng.random(size) * up_to[-1], side="right")
        return np.asarray(np.minimum(drawn, len(up_to) - 1), np.int64)

    def draw_of(self, artist: int, at: float, rng: np.random.Generator) -> int:
        """A track of an artist who has one out, by fame."""
        return int(self._among(self._of_artist[artist], (), at, rng))

    def draw_from_shelf(
        self, mood: Reals, size: tuple[int, ...], at: float, rng: np.random.Generator
    ) -> Places:
        """Tracks of one subgenre, by fame; subgenres by how well their tracks suit the mood on the whole."""
        is_out = self._fame[_week(at)] > 0
        n_out = np.bincount(self._shelf, is_out, minlength=len(self._on_shelf))
        suits = np.bincount(self._shelf, is_out * mood, minlength=len(self._on_shelf)) / np.maximum(n_out, 1)
        suits[n_out == 0] = -np.inf
        shelf = int(np.argmax(suits + rng.gumbel(size=len(suits))))
        return self._among(self._on_shelf[shelf], size, at, rng)

    def _among(self, tracks: Places, size: tuple[int, ...], at: float, rng: np.random.Generator) -> Places:
        up_to = self._fame[_week(at), tracks].cumsum()
        drawn = np.searchsorted(up_to, rng.random(size) * up_to[-1], side="right")
        return np.asarray(tracks[np.minimum(drawn, len(tracks) - 1)])


def listen(world: World, listeners: Sequence[Listener], rng: np.random.Generator) -> History:
    """Everybody's events."""
    radio, events = Radio(world), Events()
    for user, each in enumerate(listeners):
        _live(user, each, world=world, radio=radio, events=events, rng=rng)
    return history_of(
        user=events.user,
        track_id=np.array(events.track) + 1,
        kind=events.kind,
        value=events.value,
        at=events.at,
    )


def _live(
    user: int, one: Listener, *, world: World, radio: Radio, events: Events, rng: np.random.Generator
) -> None:
    """All sessions of one listener."""
    begins = np.sort(rng.uniform(one.begins_at, one.ends_at, size=one.n_sessions))
    liked: list[int] = []  # as often as he liked it
    quarter, log_odds = -1, np.zeros((0, 0))
    for at in begins:
        if int((at - START_AT) // QUARTER_S) != quarter:
            quarter = int((at - START_AT) // QUARTER_S)
            log_odds = one.log_odds(world, START_AT + quarter * QUARTER_S)
        mood = log_odds[rng.choice(len(one.share), p=one.share)]
        tracks = _tracks(mood, liked, world=world, radio=radio, at=float(at), rng=rng)
        _hear(user, tracks, mood, liked=liked, events=events, at=float(at), rng=rng)


def _tracks(
    mood: Reals, liked: Sequence[int], *, world: World, radio: Radio, at: float, rng: np.random.Generator
) -> Places:
    """Of one session."""
    n = int(rng.geometric(1 / SESSION_EVENTS))
    offered = radio.draw_from_shelf(mood, (n, N_OFFERED), at, rng)
    suits = mood[offered] + CHOICE_NOISE * rng.gumbel(size=offered.shape)
    chosen = offered[np.arange(n), suits.argmax(axis=1)]
    where = rng.random(n)
    tracks = np.where(where < REPEATED + BY_ARTIST + CHOSEN, chosen, radio.draw((n,), at, rng))
    if liked:
        for i in np.flatnonzero(where < REPEATED + BY_ARTIST):
            back = min(int(rng.geometric(1 / REPEATED_BACK)), len(liked))
            before = liked[-back]
            is_repeated = where[i] < REPEATED
            tracks[i] = before if is_repeated else radio.draw_of(int(world.artist[before]), at, rng)
    return tracks


def _hear(
    user: int,
    tracks: Places,
    mood: Reals,
    *,
    liked: list[int],
    events: Events,
    at: float,
    rng: np.random.Generator,
) -> None:
    """What he does with each of a session."""
    n = len(tracks)
    log_odds = mood[tracks] + MOOD_SPREAD * rng.normal(size=n)
    likes = rng.random(n) < 1 / (1 + np.exp(-log_odds))
    skips = rng.random(n) < np.where(likes, SKIPPED_IF_LIKED, SKIPPED_IF_NOT)
    heard = np.where(skips, rng.beta(1, 4, size=n), rng.beta(12, 1, size=n))  # a fifth; nearly all
    presses = rng.random(n) < np.where(skips, DISLIKES * ~likes, LIKES * likes)
    for track, does_like, does_skip, fraction, does_press in zip(
        tracks.tolist(), likes.tolist(), skips.tolist(), heard.tolist(), presses.tolist(), strict=True
    ):
        events.add(user, track, SKIP if does_skip else PLAY, fraction, at)
        at += max(fraction * TRACK_S, 1.0)
        if does_press:
            events.add(user, track, DISLIKE if does_skip else LIKE, 1.0, at - 0.5)
        if does_like and not does_skip:
            liked.append(track)


def _grouped(labels: Places) -> list[Places]:
    """Places of each label 0, 1, …"""
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(labels.max() + 2))
    return [order[a:b] for a, b in pairwise(bounds)]


def _week(at: float) -> int:
    return min(int((at - START_AT) // WEEK_S), N_DAYS // 7)


def shares(history: History) -> dict[str, float]:
    """What came out, for the report: shares of kinds, of repeats, and how unequal users and tracks are."""
    heard = (history.kind == PLAY) | (history.kind == SKIP)
    user, track = history.user[heard].astype(np.int64), history.track_id[heard]
    pairs = len(np.unique(user * (int(track.max()) + 1) + track))
    return {
        "n_events": float(len(history)),
        **{
            kind.value: float(np.mean(history.kind == number(kind)))
            for kind in (FeedbackKind.PLAY, FeedbackKind.SKIP, FeedbackKind.LIKE, FeedbackKind.DISLIKE)
        },
        "repeated": 1 - pairs / int(heard.sum()),
        "events of the busiest tenth of users": _of_top_tenth(np.bincount(user)),
        "events of the most heard tenth of tracks": _of_top_tenth(np.bincount(track)[1:]),
        "median events of a user": float(np.median(np.unique(user, return_counts=True)[1])),
    }


def _of_top_tenth(counts: npt.NDArray[np.int64]) -> float:
    ordered = np.sort(counts[counts > 0])[::-1]
    return float(ordered[: max(1, len(ordered) // 10)].sum() / ordered.sum())
