"""From what people did to what they like: one number per person and track.

    verdict   of the last like (2), dislike (-2) or rating (from -1.2 for 1 to 2 for 5); nothing said: 0
    heard     log2(1 + fractions heard, added up), of plays that were heard for a good part
    left      one half for each play or skip that was broken off early, 2 at most

    liking = verdict + (heard - left, unless the verdict is against it)

A track is liked when that is above 0, and disliked when a verdict is below 0. Beside that, having met a track at all
counts, as often as it was, MANY times at most: people meet what lies near what they like. What was only broken off once
says nothing either way.

Old likings and meetings count less: they halve every HALF_LIFE_S before the newest event of the same person, so that
who comes back after a year is known as who left. Dislikes stay.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fpserver.terms import KINDS, FeedbackKind, History, TrackIds

Reals: TypeAlias = npt.NDArray[np.float64]

HALF_LIFE_S = 180 * 86400.0
HEARD_FRACTION = 0.5  # a play of less was broken off
BROKEN_OFF = 0.5
MOST_BROKEN_OFF = 2.0
VERDICT = 2.0
MEETING = 0.5  # what having met a track at all is worth, beside liking it
MANY = 10  # times of meeting a track, of which more say no more
MIDDLE = 2.5  # a rating that says nothing; 3 is better than that, since people choose what they hear and rate
_NUMBER = {kind: number for number, kind in enumerate(KINDS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Likings:
    """What each person thinks of each track, ordered by person, then track."""

    user: npt.NDArray[np.int32]
    track_id: TrackIds
    liking: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]  # liking above 0, less for what is long ago
    met: npt.NDArray[np.float32]  # how often it was met, less for what is long ago; 0: a verdict against it
    disliked: npt.NDArray[np.bool_]  # a verdict against it
    last_at: Reals  # of the newest event, seconds since 1970

    def __len__(self) -> int:
        return len(self.track_id)

    @property
    def signed(self) -> npt.NDArray[np.float32]:
        """The weight of what is liked, the liking of what is not."""
        return np.where(self.liking > 0, self.weight, self.liking)

    @property
    def drawn(self) -> npt.NDArray[np.float32]:
        """How much somebody is drawn to a track, by liking and by meeting it: what factors are learned from."""
        return np.where(self.disliked, self.liking, self.signed + MEETING * self.met).astype(np.float32)

    def taken(self, which: npt.NDArray[np.bool_]) -> "Likings":
        """Some of them."""
        return Likings(
            user=self.user[which],
            track_id=self.track_id[which],
            liking=self.liking[which],
            weight=self.weight[which],
            met=self.met[which],
            disliked=self.disliked[which],
            last_at=self.last_at[which],
        )


def likings(history: History) -> Likings:
    """One number per person and track, from all events."""
    order = np.lexsort((history.at, history.track_id, history.user))
    user, track_id, at = history.user[order], history.track_id[order], history.at[order]
    kind, value = history.kind[order], history.value[order].astype(np.float64)
    n = len(order)
    if not n:
        return _none()
    new = np.ones(n, np.bool_)
    new[1:] = (user[1:] != user[:-1]) | (track_id[1:] != track_id[:-1])
    starts = np.flatnonzero(new)
    ends = np.append(starts[1:], n)
    pair = np.cumsum(new) - 1
    verdict, last_verdict = _verdicts(kind, value, pair, len(starts))
    is_play, is_skip = kind == _NUMBER[FeedbackKind.PLAY], kind == _NUMBER[FeedbackKind.SKIP]
    whole = is_play & (value >= HEARD_FRACTION)
    heard = np.log2(1 + np.bincount(pair, np.where(whole, value, 0), len(starts)))
    left = BROKEN_OFF * np.bincount(pair, (is_play & ~whole) | is_skip, len(starts))
    against = last_verdict & (verdict < 0)
    liking = verdict + np.where(against, 0, heard - np.minimum(left, MOST_BROKEN_OFF))
    last_at = at[ends - 1]
    of_user = user[starts]
    newest = np.full(int(of_user[-1]) + 1, -np.inf)
    np.maximum.at(newest, of_user, last_at)
    fresh = 0.5 ** ((newest[of_user] - last_at) / HALF_LIFE_S)
    return Likings(
        user=of_user,
        track_id=track_id[starts],
        liking=liking.astype(np.float32),
        weight=(np.maximum(liking, 0) * fresh).astype(np.float32),
        met=np.where(against, 0, np.minimum(ends - starts, MANY) * fresh).astype(np.float32),
        disliked=against,
        last_at=last_at,
    )


def _verdicts(
    kind: npt.NDArray[np.uint8], value: Reals, pair: npt.NDArray[np.int64], n_pairs: int
) -> tuple[Reals, npt.NDArray[np.bool_]]:
    """(the last verdict on each pair, whether there is one)."""
    verdict = np.select(
        [kind == _NUMBER[FeedbackKind.LIKE], kind == _NUMBER[FeedbackKind.DISLIKE]],
        [VERDICT, -VERDICT],
        (value - MIDDLE) * VERDICT / (5 - MIDDLE),  # of a rating of 1..5
    )
    said = (kind != _NUMBER[FeedbackKind.PLAY]) & (kind != _NUMBER[FeedbackKind.SKIP])
    last = np.full(n_pairs, -1)
    np.maximum.at(last, pair[said], np.flatnonzero(said))
    there = last >= 0
    return np.where(there, verdict[last], 0.0), there


def _none() -> Likings:
    return Likings(
        user=np.empty(0, np.int32),
        track_id=np.empty(0, np.int64),
        liking=np.empty(0, np.float32),
        weight=np.empty(0, np.float32),
        met=np.empty(0, np.float32),
        disliked=np.empty(0, np.bool_),
        last_at=np.empty(0),
    )
