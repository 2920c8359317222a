"""The made-up crowd is of the size that was asked for, and as uneven as people and music are."""

import numpy as np

from fpserver.terms import KINDS, FeedbackKind
from loadtest.recommend_crowd import crowd

IDS = np.arange(1000, 3000)


def test_a_crowd_has_so_many_events_in_the_order_of_their_times_within_their_rules() -> None:
    people = crowd(IDS, n_users=300, n_events=20_000, seed=1)
    assert len(people.user) == len(people.track_id) == len(people.kind) == 20_000
    assert np.all(np.diff(people.at) >= 0)
    assert set(people.track_id.tolist()) <= set(IDS.tolist())
    assert people.user.min() >= 0 and people.user.max() < 300
    rated = people.kind == KINDS.index(FeedbackKind.RATING)
    assert set(people.value[rated].tolist()) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert people.value[~rated].min() >= 0 and people.value[~rated].max() <= 1


def test_few_tracks_and_few_people_have_much_of_all_events() -> None:
    people = crowd(IDS, n_users=300, n_events=20_000, seed=1)
    for column, n in ((people.track_id - IDS[0], len(IDS)), (people.user, 300)):
        counts = np.sort(np.bincount(column, minlength=n))[::-1]
        assert 0.3 < counts[: n // 10].sum() / counts.sum() < 0.9


def test_the_same_seed_is_the_same_crowd() -> None:
    first, second, other = (crowd(IDS, n_users=50, n_events=1000, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.track_id, second.track_id)
    assert not np.array_equal(first.track_id, other.track_id)
