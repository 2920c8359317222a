"""What the evaluation of recommendation counts, splits and simulates."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fpserver.terms import FeedbackKind, History
from loadtest.recommend import (
    baselines,
    bootstrap,
    judge,
    listening,
    metrics,
    movielens,
    simulated,
    splits,
    tasks,
    tuning,
)
from loadtest.recommend.__main__ import run
from loadtest.recommend.bootstrap import Values
from loadtest.recommend.data import (
    Dataset,
    Hidden,
    Reals,
    history_of,
    number,
    positive,
    rows_of_length_one,
    users_of,
)
from loadtest.recommend.page import page

PLAY, LIKE, RATING = (number(kind) for kind in (FeedbackKind.PLAY, FeedbackKind.LIKE, FeedbackKind.RATING))
N_TRACKS = 6


def ids(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def plays(*events: tuple[int, int, float]) -> History:
    """(user, track id, time), each heard as a whole."""
    user, track_id, at = zip(*events, strict=True) if events else ((), (), ())
    return history_of(
        user=user, track_id=track_id, kind=[PLAY] * len(events), value=[1.0] * len(events), at=at
    )


def small(history: History, *, released_at: list[float] | None = None) -> Dataset:
    return Dataset(
        name="small",
        simulated=False,
        history=history,
        artist=(None,) * N_TRACKS,
        genre=(None,) * N_TRACKS,
        tags=(None,) * N_TRACKS,
        audio=None,
        released_at=np.array(released_at or [0.0] * N_TRACKS),
        hidden=Hidden(space=rows_of_length_one(np.eye(N_TRACKS))),
    )


# Three users; T is 10. User 0 is known, user 1 is new, user 2 is gone.
EVENTS = plays(
    (0, 1, 1), (0, 2, 2), (0, 3, 11), (0, 2, 12), (0, 4, 13), (0, 5, 14),
    (1, 1, 15), (1, 6, 16), (1, 5, 17), (1, 3, 18),
    (2, 1, 3), (2, 3, 4),
)  # fmt: skip


def test_ndcg_of_a_list_worked_out_by_hand() -> None:
    # right at places 1 and 2: 1/log2(3) + 1/log2(4) = 1.13093, of at most 1 + 1/log2(3) = 1.63093
    assert metrics.ndcg(ids(3, 1, 2), ids(1, 2)) == pytest.approx(0.693426, abs=1e-6)
    assert metrics.ndcg(ids(1, 2, 3), ids(1, 2)) == 1
    assert metrics.ndcg(ids(), ids(1)) == 0
    assert metrics.ndcg(np.arange(20) + 1, ids(11)) == 0  # the eleventh place counts nothing


def test_ndcg_of_more_right_ones_than_places_is_one_when_all_places_are_right() -> None:
    assert metrics.ndcg(np.arange(10) + 1, np.arange(30) + 1) == pytest.approx(1)


def test_recall_counts_the_first_twenty_among_all_that_are_right() -> None:
    listed = np.arange(25) + 1
    assert metrics.recall(listed, ids(1, 20, 21, 40)) == 0.5


def test_diversity_is_the_mean_distance_of_pairs() -> None:
    space = rows_of_length_one(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
    # pairs: apart 1, same 0, apart 1
    assert metrics.diversity(ids(1, 2, 3), space) == pytest.approx(2 / 3)
    assert np.isnan(metrics.diversity(ids(1), space))


def test_novelty_is_in_bits_and_finite_for_what_nobody_met() -> None:
    n_heard = ids(8, 2, 0)
    assert metrics.novelty(ids(1), n_heard, 8) == 0
    assert metrics.novelty(ids(2), n_heard, 8) == 2
    assert metrics.novelty(ids(3), n_heard, 8) == 3  # as if met by one
    assert metrics.novelty(ids(1, 2), n_heard, 8) == 1


def test_coverage_counts_each_track_once() -> None:
    assert metrics.coverage([ids(1, 2), ids(2, 3), ids()], 6) == 0.5


def test_the_best_are_those_that_may_be_with_ties_broken_as_told() -> None:
    scores = np.array([1.0, 3.0, 3.0, 9.0, -np.inf])
    may = np.array([True, True, True, False, True])
    assert metrics.best(scores, may, ids(0, 2, 1, 3, 4), n=2).tolist() == [2, 1]
    assert metrics.best(scores, may, ids(0, 1, 2, 3, 4), n=9).tolist() == [1, 2, 0]


def test_the_best_agree_with_sorting_everything() -> None:
    rng = np.random.default_rng(1)
    scores, tie_break = rng.integers(5, size=50).astype(float), rng.permutation(50)
    plain = sorted(range(50), key=lambda i: (-scores[i], tie_break[i]))
    assert metrics.best(scores, np.ones(50, bool), tie_break, n=12).tolist() == plain[:12]


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        metrics.best(np.array([np.nan]), np.ones(1, bool), ids(0), n=1)


def test_folds_of_a_user_are_averaged_before_users_are() -> None:
    values = bootstrap.by_user(ids(7, 3, 7, 3), np.array([1.0, 0.0, 0.0, np.nan]))
    assert values.user.tolist() == [3, 7]
    assert values.value.tolist() == [0.0, 0.5]
    assert bootstrap.mean(values).value == 0.25


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide() -> None:
    value = np.random.default_rng(2).normal(5, 2, size=400)
    found = bootstrap.mean(Values(user=np.arange(400), value=value))
    error = value.std() / 20
    assert found.value == pytest.approx(value.mean())
    assert found.low == pytest.approx(value.mean() - 1.96 * error, abs=0.02)
    assert found.high == pytest.approx(value.mean() + 1.96 * error, abs=0.02)


def test_a_difference_is_paired_over_the_users_that_both_have() -> None:
    ours = Values(user=ids(1, 2, 3), value=np.array([1.0, 5.0, 9.0]))
    theirs = Values(user=ids(2, 3, 4), value=np.array([4.0, 8.0, 0.0]))
    found = bootstrap.difference(ours, theirs)
    assert (found.value, found.low, found.high) == (1, 1, 1)  # each user 1 more: no doubt at all


def test_a_ratio_is_of_means() -> None:
    ours = Values(user=ids(1, 2), value=np.array([1.0, 3.0]))
    theirs = Values(user=ids(1, 2), value=np.array([2.0, 6.0]))
    found = bootstrap.ratio(ours, theirs)
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_positive_is_heard_half_liked_or_rated_four() -> None:
    kinds = [PLAY, PLAY, number(FeedbackKind.SKIP), LIKE, number(FeedbackKind.DISLIKE), RATING, RATING]
    values = [0.5, 0.49, 0.9, 1, 1, 4, 3]
    n = len(kinds)
    history = history_of(user=[0] * n, track_id=[1] * n, kind=kinds, value=values, at=range(n))
    assert positive(history).tolist() == [True, False, False, True, False, True, False]


def test_a_fold_learns_from_before_and_asks_after() -> None:
    fold = splits.fold(small(EVENTS), at=10)
    assert fold.train.track_id.tolist() == [1, 2, 1, 3]
    assert fold.train.user.tolist() == [0, 0, 1, 1]  # numbered anew
    assert fold.n_users == 2
    assert fold.n_heard.tolist() == [2, 1, 1, 0, 0, 0]
    known, new = fold.questions
    assert (known.user, known.at, known.n_trained, known.is_new) == (0, 13, 2, False)
    assert known.given.track_id.tolist() == [1, 2, 3, 2]
    assert known.right.tolist() == [4, 5]
    assert (new.user, new.at, new.n_trained, new.is_new) == (1, 17, 0, True)
    assert new.given.track_id.tolist() == [1, 6]
    assert new.given.user.tolist() == [0, 0]
    assert new.right.tolist() == [3, 5]


def test_tracks_met_before_are_never_right_and_never_listed() -> None:
    again = plays((0, 1, 1), (0, 2, 11), (0, 1, 12), (0, 2, 13), (0, 3, 14))
    (question,) = splits.fold(small(again), at=10).questions
    assert question.met.tolist() == [1, 2]
    assert question.right.tolist() == [3]
    assert splits.open_to(small(again), question).tolist() == [False, False, True, True, True, True]


def test_what_is_not_released_when_asked_is_neither_right_nor_listed() -> None:
    dataset = small(EVENTS, released_at=[0, 0, 0, 0, 13.5, 0])
    known, _ = splits.fold(dataset, at=10).questions
    assert known.right.tolist() == [4]
    assert not splits.open_to(dataset, known)[4]


def test_nobody_is_asked_for_whom_nothing_is_right() -> None:
    assert splits.fold(small(plays((0, 1, 1), (0, 2, 11), (0, 1, 12))), at=10).questions == ()


def test_a_fold_that_ends_knows_nothing_of_what_comes_later() -> None:
    later = plays(*((0, track, at) for track, at in ((1, 1), (2, 11), (3, 12), (4, 99), (5, 100))))
    (question,) = splits.fold(small(later), at=10, until=50).questions
    assert question.given.track_id.tolist() == [1, 2]
    assert question.right.tolist() == [3]


class Spy:
    """Remembers what it is shown; likes tracks by their id."""

    name = "spy"

    def __init__(self) -> None:
        self.seen: list[tuple[Dataset, History, float]] = []
        self.asked: list[tuple[History, float]] = []

    def fit(self, dataset: Dataset, train: History, *, at: float) -> None:
        self.seen.append((dataset, train, at))

    def scores(self, history: History, *, at: float) -> Reals:
        self.asked.append((history, at))
        return -np.arange(N_TRACKS, dtype=np.float64)


def test_a_recommender_sees_nothing_hidden_and_nothing_late() -> None:
    spy, dataset = Spy(), small(EVENTS)
    judge.judge(dataset, [splits.fold(dataset, at=10)], spy)
    ((shown, train, at),) = spy.seen
    assert shown.hidden is None
    assert shown.history is train
    assert train.at.max() < at == 10
    assert all((history.at < now).all() for history, now in spy.asked)


def test_what_happens_to_others_later_changes_no_question_and_no_learning() -> None:
    dataset = small(EVENTS)
    others = replace(
        dataset, history=plays(*zip(EVENTS.user, EVENTS.track_id, EVENTS.at, strict=True), (3, 6, 20))
    )
    one, other = splits.fold(dataset, at=10), splits.fold(others, at=10)
    assert one.train.track_id.tolist() == other.train.track_id.tolist()
    assert [q.right.tolist() for q in one.questions] == [
        q.right.tolist() for q in other.questions if q.user < 2
    ]


def test_figures_of_a_known_list() -> None:
    dataset = small(EVENTS)
    found = judge.judge(dataset, [splits.fold(dataset, at=10)], Spy())
    # user 0 gets 4, 5, 6 and wants 4, 5; user 1 gets 2, 3, 4, 5 and wants 3, 5
    second = (1 / np.log2(3) + 1 / np.log2(5)) / (1 + 1 / np.log2(3))
    assert found.figures["ndcg"].value.tolist() == pytest.approx([1, second])
    assert found.figures["ndcg known"].user.tolist() == [0]
    assert found.figures["ndcg new"].user.tolist() == [1]
    assert found.figures["recall"].value.tolist() == [1, 1]
    assert found.figures["diversity"].value.tolist() == [1, 1]
    assert found.coverage == 5 / 6


def test_cold_and_warm_tracks_are_asked_of_the_same_users() -> None:
    dataset = small(EVENTS)
    figures = judge.judge(dataset, [splits.fold(dataset, at=10)], Spy()).figures
    # user 1 wants 3 (warm) and 5 (cold: nobody met it); his list without the other right one is 2, 4, 5 and 2, 3, 4
    assert figures["cold among all"].user.tolist() == [1]
    assert figures["cold among all"].value.tolist() == pytest.approx([1 / np.log2(4)])
    assert figures["warm among all"].value.tolist() == pytest.approx([1 / np.log2(3)])
    assert figures["cold in pool"].value.tolist() == pytest.approx([1 / np.log2(3)])  # 4, 5
    assert figures["warm in pool"].value.tolist() == pytest.approx([1 / np.log2(3)])  # 2, 3: all there are


def test_a_recommender_of_another_shape_is_refused() -> None:
    dataset = replace(small(EVENTS), artist=(None,) * 5, released_at=np.zeros(5))
    with pytest.raises(ValueError, match="shape"):
        judge.judge(dataset, [splits.fold(small(EVENTS), at=10)], Spy())


def test_popularity_counts_users_not_plays() -> None:
    train = plays((0, 1, 1), (0, 1, 2), (0, 1, 3), (1, 2, 1), (2, 2, 1))
    assert baselines.popularity(train, 3).tolist() == [1, 2, 0]


def test_cosines_agree_with_a_plain_computation() -> None:
    train = plays((0, 1, 1), (0, 2, 2), (1, 1, 1), (1, 2, 2), (1, 3, 3), (2, 3, 1), (2, 4, 2))
    cosine = baselines.ItemCosine(shrink=0)
    cosine.fit(small(train), train, at=10)
    heard = np.zeros((3, N_TRACKS))
    heard[train.user, train.track_id - 1] = 1
    given = plays((0, 1, 1), (0, 3, 2))
    plain = np.zeros(N_TRACKS)
    for have in (0, 2):
        for other in range(N_TRACKS):
            if other != have and heard[:, other].any():
                length = np.linalg.norm(heard[:, have]) * np.linalg.norm(heard[:, other])
                plain[other] += heard[:, have] @ heard[:, other] / length
    assert cosine.scores(given, at=11) == pytest.approx(plain, abs=1e-4)


@pytest.mark.parametrize(
    "made", [baselines.Popularity, baselines.ItemCosine, baselines.ImplicitItems, baselines.ImplicitFactors]
)
def test_without_history_everything_is_as_popular_as_it_is(made: type[baselines.Popularity]) -> None:
    train = plays((0, 1, 1), (0, 2, 2), (1, 2, 1), (1, 3, 3), (2, 2, 1), (2, 3, 2), (3, 4, 1))
    recommender = made()
    recommender.fit(small(train), train, at=10)
    scores = recommender.scores(plays(), at=11)
    assert np.argsort(-scores, kind="stable")[:2].tolist() == [1, 2]


def test_the_library_ranks_what_the_same_people_heard_first() -> None:
    ours, theirs = (
        [(u, t, t) for u in range(6) for t in (1, 2, 3)],
        [(u, t, t) for u in range(6, 12) for t in (4, 5, 6)],
    )
    train = plays(*ours, *theirs)
    for recommender in (
        baselines.ImplicitItems(kind="cosine", n_neighbors=3),
        baselines.ImplicitFactors(n_factors=2, alpha=5, regularization=0.1),
    ):
        recommender.fit(small(train), train, at=10)
        scores = recommender.scores(plays((0, 1, 1), (0, 2, 2)), at=11)
        assert scores[2] > scores[3:].max(), recommender.name


@pytest.fixture(scope="module")
def population() -> Dataset:
    return simulated.simulate(n_users=80, n_tracks=400, n_artists=30)


def test_the_same_seed_makes_the_same_population(population: Dataset) -> None:
    again = simulated.simulate(n_users=80, n_tracks=400, n_artists=30)
    assert np.array_equal(population.history.at, again.history.at)
    assert np.array_equal(population.history.track_id, again.history.track_id)
    assert population.tags == again.tags
    other = simulated.simulate(n_users=80, n_tracks=400, n_artists=30, seed=2)
    assert len(other.history) != len(population.history) or not np.array_equal(
        other.history.at, population.history.at
    )


def test_histories_are_ordered_by_user_and_time(population: Dataset) -> None:
    history = population.history
    numbers, first = users_of(history)
    assert (np.diff(history.user) >= 0).all()
    assert numbers.tolist() == sorted(set(history.user.tolist()))
    for begin, end in zip(first, [*first[1:], len(history)], strict=True):
        assert (np.diff(history.at[begin:end]) >= 0).all()


def test_nobody_hears_a_track_before_it_is_out(population: Dataset) -> None:
    history = population.history
    assert (history.at >= population.released_at[history.track_id - 1]).all()


def test_listeners_play_what_they_like(population: Dataset) -> None:
    assert population.hidden is not None and population.hidden.liking is not None
    history, liking = population.history, population.hidden.liking
    heard = positive(history)
    assert liking[history.user[heard], history.track_id[heard] - 1].mean() > 2 * liking.mean()


def test_a_population_has_repeats_skips_and_few_pressed_buttons(population: Dataset) -> None:
    shares = listening.shares(population.history)
    assert 0.2 < shares["skip"] < 0.6
    assert 0.3 < shares["repeated"] < 0.8
    assert 0 < shares["like"] < 0.05
    assert 0 < shares["dislike"] < 0.05


def test_some_tracks_and_some_users_are_new_after_the_moment() -> None:
    task = tasks.made(n_users=80, n_tracks=400, n_artists=30)
    (fold,) = task.folds
    assert any(each.is_new for each in fold.questions)
    assert 0.05 < (task.dataset.released_at > fold.at).mean() < 0.3
    assert all(question.at < fold.at for question in task.earlier[0].questions)


def test_the_library_of_films_is_read_from_its_wheel(tmp_path: Path) -> None:
    tables = {
        "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        "2\t10\t5\t880000000\n1\t20\t2\t870000000\n",
        "item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "10\tToy Story\t1995\tAnimation Comedy\n20\tNobody's\tV\tunknown\n",
        "kg": "head_id:token\trelation_id:token\ttail_id:token\n"
        "m.a\tfilm.film.directed_by\tm.d\nm.a\tfilm.film.actor\tm.x\nm.b\tfilm.film.actor\tm.x\nm.a\tfilm.film.actor\tm.y\n",
        "link": "item_id:token\tentity_id:token\n10\tm.a\n20\tm.b\n",
    }
    with zipfile.ZipFile(tmp_path / "recbole-1.2.1-py3-none-any.whl", "w") as wheel:
        for ending, text in tables.items():
            wheel.writestr(movielens.INSIDE + ending, text)
    found = movielens.load(tmp_path)
    assert found.history.user.tolist() == [0, 1]  # by number of the user
    assert found.history.track_id.tolist() == [2, 1]
    assert found.history.value.tolist() == [2, 5]
    assert found.artist == ("m.d", None)
    assert found.genre == ("Animation", None)
    assert found.tags == ("Animation,Comedy,1990s,actor m.x", "actor m.x")  # m.y links nothing
    assert found.released_at.tolist() == [788918400.0, 0.0]


def test_the_report_says_what_was_found_and_what_was_missed() -> None:
    task = tasks.made(n_users=80, n_tracks=400, n_artists=30)
    settings = [(baselines.Popularity, {"days": 30}), (baselines.Random, {})]
    found = run(task, settings)
    assert json.loads(json.dumps(found))["n"]["users"] == 80
    text = page({"machine": "here", "sets": [found | {"n_ours": 1}]})
    assert f"## {found['name']}" in text
    assert "| popularity |" in text
    assert "coverage is at least twice that of popularity" in text
    assert "nan" not in text


def test_settings_are_taken_from_an_earlier_report() -> None:
    chosen = [(made, {name: values[-1] for name, values in grid.items()}) for made, grid in tuning.GRIDS]
    written = json.loads(json.dumps({made(**each).name: each for made, each in chosen}))
    assert list(tuning.again(written)) == chosen
