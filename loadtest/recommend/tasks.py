"""The two tasks: each data set with its folds, and an earlier fold to choose settings on.

What settings are chosen on ends before the first reported fold begins, for everybody alike.
"""

from dataclasses import dataclass
from pathlib import Path

from loadtest.recommend import movielens, simulated, splits, world
from loadtest.recommend.data import DAY_S, Dataset
from loadtest.recommend.splits import Fold

MOVIELENS_SHARES = (0.5, 0.6, 0.7, 0.8, 0.9)  # of all ratings before T
MOVIELENS_CHOSEN_AT = 0.35
SIMULATED_CHOSEN_AT = 0.5  # of the days


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A data set, what is reported, and what settings are chosen on."""

    dataset: Dataset
    folds: tuple[Fold, ...]
    earlier: tuple[Fold, ...]


def real(cache: Path) -> Task:
    """MovieLens 100K: several moments, since most people are there for a day."""
    dataset = movielens.load(cache)
    moments = [splits.moment(dataset, share) for share in MOVIELENS_SHARES]
    chosen_at = splits.moment(dataset, MOVIELENS_CHOSEN_AT)
    return Task(
        dataset=dataset,
        folds=tuple(splits.fold(dataset, at=at) for at in moments),
        earlier=(splits.fold(dataset, at=chosen_at, until=moments[0]),),
    )


def made(*, n_users: int = 3000, n_tracks: int = 5000, n_artists: int = 400, seed: int = 1) -> Task:
    """The simulated population: one moment, after three quarters of the time."""
    dataset = simulated.simulate(n_users=n_users, n_tracks=n_tracks, n_artists=n_artists, seed=seed)
    until = world.learned_until()
    chosen_at = world.START_AT + SIMULATED_CHOSEN_AT * world.N_DAYS * DAY_S
    return Task(
        dataset=dataset,
        folds=(splits.fold(dataset, at=until),),
        earlier=(splits.fold(dataset, at=chosen_at, until=until),),
    )
