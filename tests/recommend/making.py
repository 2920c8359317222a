"""Events to keep, and a plain model of who keeps them."""

from collections.abc import Sequence

import numpy as np

from fpserver.terms import KINDS, FeedbackEvent, FeedbackKind, History


def event(
    user: str = "ann",
    event_id: str = "1",
    *,
    track_id: int = 7,
    kind: FeedbackKind = FeedbackKind.LIKE,
    value: float = 1.0,
    at: float = 1000.0,
) -> FeedbackEvent:
    """An event; what is not said is alike in all of them."""
    return FeedbackEvent(user=user, event_id=event_id, track_id=track_id, kind=kind, value=value, at=at)


def events(rng: np.random.Generator, n_events: int, *, n_users: int) -> list[FeedbackEvent]:
    """Events of some users, in no order; a tenth of the ids come twice."""
    return [
        event(
            f"user {rng.integers(n_users)} ü",
            f"e{rng.integers(n_events * 5)}",
            track_id=int(rng.integers(1, 2**28)),
            kind=KINDS[int(rng.integers(len(KINDS)))],
            value=float(np.float32(rng.uniform(0, 5))),
            at=float(rng.integers(0, 50)),  # many of one moment
        )
        for _ in range(n_events)
    ]


class Model:
    """What is kept, in dicts."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, FeedbackEvent]] = {}

    def put(self, given: Sequence[FeedbackEvent]) -> list[bool]:
        """As the store does it."""
        return [self._put(each) for each in given]

    def _put(self, given: FeedbackEvent) -> bool:
        of_user = self.kept.setdefault(given.user, {})
        new = given.event_id not in of_user
        of_user.setdefault(given.event_id, given)
        return new

    def events(self, user: str) -> list[FeedbackEvent]:
        """Newest first."""
        return sorted(self.kept.get(user, {}).values(), key=lambda each: (-each.at, each.event_id))

    def rows(self, user: str) -> list[tuple[float, int, int, float]]:
        """Oldest first."""
        return sorted(row(each) for each in self.kept.get(user, {}).values())


def row(given: FeedbackEvent) -> tuple[float, int, int, float]:
    """(at, track_id, kind, value) of an event."""
    return given.at, given.track_id, KINDS.index(given.kind), given.value


def rows(history: History) -> list[tuple[float, int, int, float]]:
    """The same of a history, in its order."""
    columns = (history.at, history.track_id, history.kind, history.value)
    return list(zip(*(column.tolist() for column in columns), strict=True))
