"""What a data set is: tracks, and what people did with them, by time.

Always true: track ids are 1..n_tracks, so that a track's row in every column is its id less one; the events of a
history are ordered by user, then by time.
"""

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fpserver.terms import KINDS, FeedbackKind, History, Vectors

Mask: TypeAlias = npt.NDArray[np.bool_]
Places: TypeAlias = npt.NDArray[np.int64]
Reals: TypeAlias = npt.NDArray[np.float64]

HEARD_OUT = 0.5  # a play of at least this fraction says that the track was liked well enough
LIKED_RATING = 4.0  # of 5; the usual line in the literature on these ratings
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """What nobody may recommend by: the evaluation's own knowledge."""

    space: Vectors  # (n_tracks, d), rows of length 1 (or 0): where tracks lie for a listener
    liking: npt.NDArray[np.float32] | None = None  # (n_users, n_tracks) true probability of liking at the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Tracks in columns of n_tracks, and all that was done with them."""

    name: str
    simulated: bool
    history: History
    artist: tuple[str | None, ...]
    genre: tuple[str | None, ...]
    tags: tuple[str | None, ...]  # separated by commas
    audio: Vectors | None  # (n_tracks, d): what a recording sounds like
    released_at: Reals  # when a track can first be recommended, seconds since 1970
    hidden: Hidden | None = None

    @property
    def n_tracks(self) -> int:
        """Tracks there are, released or not."""
        return len(self.artist)

    def shown(self, history: History) -> "Dataset":
        """What a recommender may see: the catalogue, and this history instead of all."""
        return replace(self, history=history, hidden=None)


def select(history: History, which: Mask | Places | slice) -> History:
    """Some of the events, in the order given."""
    return history.taken(which)


def history_of(
    *,
    user: npt.ArrayLike,
    track_id: npt.ArrayLike,
    kind: npt.ArrayLike,
    value: npt.ArrayLike,
    at: npt.ArrayLike,
) -> History:
    """Columns in any order as a history."""
    users, times = np.asarray(user, np.int32), np.asarray(at, np.float64)
    order = np.lexsort((times, users))
    return History(
        user=users[order],
        track_id=np.asarray(track_id, np.int64)[order],
        kind=np.asarray(kind, np.uint8)[order],
        value=np.asarray(value, np.float32)[order],
        at=times[order],
    )


def number(kind: FeedbackKind) -> int:
    """By which a kind is stored."""
    return KINDS.index(kind)


def positive(history: History) -> Mask:
    """Events that say: more of this. Heard at least half, liked, rated 4 or 5."""
    kind, value = history.kind, history.value
    return np.asarray(
        ((kind == number(FeedbackKind.PLAY)) & (value >= HEARD_OUT))
        | (kind == number(FeedbackKind.LIKE))
        | ((kind == number(FeedbackKind.RATING)) & (value >= LIKED_RATING))
    )


def users_of(history: History) -> tuple[Places, Places]:
    """(numbers, first place) of the users there are; their events reach to the next one's first."""
    numbers, first = np.unique(history.user, return_index=True)
    return numbers.astype(np.int64), first.astype(np.int64)


def rows_of_length_one(vectors: npt.NDArray[np.floating]) -> Vectors:
    """Each row divided by its length; a row of zeros stays."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1), np.float32)
