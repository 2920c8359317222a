"""A made-up crowd: who heard what, with the skew that people and music have; to measure size with, not taste."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fpserver.terms import KINDS, FeedbackKind, TrackIds

N_SCENES = 40
SCENES_EACH = 3  # that a person likes
AT_HOME = 0.75  # share of events with tracks of these
FAME = 0.8  # exponent of Zipf's law
KIND_SHARES = {
    FeedbackKind.PLAY: 0.82,
    FeedbackKind.SKIP: 0.09,
    FeedbackKind.LIKE: 0.05,
    FeedbackKind.DISLIKE: 0.02,
    FeedbackKind.RATING: 0.02,
}
YEAR_S = 365 * 86400.0
BEGIN_S = 1_760_000_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Events in columns, in the order in which they happened."""

    user: npt.NDArray[np.int64]
    track_id: TrackIds
    kind: npt.NDArray[np.int64]  # place in KINDS
    value: npt.NDArray[np.float64]
    at: npt.NDArray[np.float64]


def crowd(track_ids: TrackIds, *, n_users: int, n_events: int, seed: int) -> Crowd:
    """So many events of so many people: how many each has is log-normal, what they hear famous by Zipf's law."""
    rng = np.random.default_rng(seed)
    busy = rng.lognormal(0, 1.2, n_users)
    user = rng.choice(n_users, n_events, p=busy / busy.sum())
    scenes = rng.integers(N_SCENES, size=(n_users, SCENES_EACH))
    scene_of = rng.integers(N_SCENES, size=len(track_ids))
    famous = rng.permutation(len(track_ids))  # tracks, the most famous first
    by_scene = [famous[scene_of[famous] == scene] for scene in range(N_SCENES)]
    track = famous[_places(len(track_ids), n_events, rng)]
    wanted = scenes[user, rng.integers(SCENES_EACH, size=n_events)]
    wanted[rng.random(n_events) >= AT_HOME] = -1
    for scene, tracks in enumerate(by_scene):
        here = np.flatnonzero(wanted == scene)
        if len(tracks):
            track[here] = tracks[_places(len(tracks), len(here), rng)]
    kind = rng.choice(
        [KINDS.index(each) for each in KIND_SHARES], n_events, p=list(KIND_SHARES.values())
    ).astype(np.int64)
    value = np.ones(n_events)
    plays, skips = kind == KINDS.index(FeedbackKind.PLAY), kind == KINDS.index(FeedbackKind.SKIP)
    value[plays] = np.round(rng.beta(4, 1, int(plays.sum())), 2)
    value[skips] = np.round(rng.beta(1, 6, int(skips.sum())), 2)
    rated = kind == KINDS.index(FeedbackKind.RATING)
    value[rated] = rng.integers(1, 6, int(rated.sum()))
    return Crowd(
        user=user,
        track_id=track_ids[track],
        kind=kind,
        value=value,
        at=BEGIN_S + np.sort(rng.random(n_events)) * YEAR_S,
    )


def _places(n: int, n_drawn: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Ranks below n, by Zipf's law."""
    shares = np.cumsum(np.arange(1, n + 1) ** -FAME)
    places: npt.NDArray[np.int64] = np.searchsorted(shares, rng.random(n_drawn) * shares[-1])
    return np.minimum(places, n - 1)
