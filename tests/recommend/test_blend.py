"""Weights: in the order in which made people choose, drawn to 0, and none where nothing says otherwise."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from fpserver.recommend import blend
from fpserver.recommend.blend import (
    ASSUMED,
    FINDERS,
    SHRINK,
    SIGNALS,
    STRATEGIES,
    Question,
    Signal,
    Weight,
    Weights,
    assumed,
    learn,
    levels,
    parts,
)

TRUE = {Signal.SOUND: 3.0, Signal.ARTIST: 0.0, Signal.FACTORS: 2.0, Signal.POPULAR: 1.0, Signal.GENRE: -1.0}
PLACES = {signal: place for place, signal in enumerate(SIGNALS)}


def questions(
    n: int,
    seed: int = 0,
    *,
    n_tracks: int = 50,
    n_chosen: int = 1,
    to_new: Mapping[Signal, float] | None = None,
) -> list[Question]:
    """People who choose by TRUE, give or take, and the new ones by something else; other signals say nothing."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        newness = rng.random() if to_new is None else rng.choice([0.1, 1.0])
        signals = np.zeros((n_tracks, len(SIGNALS)), np.float32)
        worth = rng.gumbel(size=n_tracks)
        for signal, by_true in TRUE.items():
            signals[:, PLACES[signal]] = rng.normal(size=n_tracks)
            weight = by_true if to_new is None or newness < 1 else to_new.get(signal, 0)
            worth += weight * signals[:, PLACES[signal]]
        chosen = np.zeros(n_tracks, np.bool_)
        chosen[np.argsort(-worth)[:n_chosen]] = True
        made.append(Question(signals=signals, chosen=chosen, newness=newness))
    return made


def gain(weight: Weight, newness: float = 0.5) -> float:
    return weight.always + newness * weight.new


def scored(weights: Weights, question: Question, strategy: str = "hybrid") -> np.ndarray:
    """The score of each track, as it is given to who asks."""
    told = {signal: question.signals[:, place] for signal, place in PLACES.items()}
    total = np.zeros(len(question.chosen))
    for signal, part in parts(weights, strategy, levels(told), newness=question.newness).items():
        total += part.gain * (told[signal] - part.mean)
    return total


@pytest.mark.parametrize("newness", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("n_chosen", [1, 4])
def test_weights_have_the_order_and_the_sign_by_which_people_chose(newness: float, n_chosen: int) -> None:
    found = learn(questions(600, n_chosen=n_chosen)).by_strategy["hybrid"]
    gains = {signal: gain(found[signal], newness) for signal in TRUE}
    assert sorted(gains, key=lambda signal: -gains[signal]) == sorted(TRUE, key=lambda signal: -TRUE[signal])
    assert abs(gains[Signal.ARTIST]) < 0.1
    for signal, weight in TRUE.items():
        if weight:
            assert np.sign(gains[signal]) == np.sign(weight), signal
            assert abs(gains[signal]) < abs(weight), "drawn to 0"


def test_what_has_the_best_score_is_chosen_most_often() -> None:
    weights = learn(questions(300))
    asked = questions(400, seed=1)
    ranks = np.array(
        [int((scored(weights, each) > scored(weights, each)[each.chosen]).sum()) for each in asked]
    )
    by_rank = np.bincount(ranks, minlength=10)
    assert by_rank[0] == by_rank.max() > 0.5 * len(asked)
    assert by_rank[0] > by_rank[1] > by_rank[2:].max()


def test_a_weight_of_new_people_is_found_where_they_choose_otherwise() -> None:
    found = learn(questions(800, to_new={Signal.POPULAR: 3.0})).by_strategy["hybrid"]
    assert found[Signal.POPULAR].new > 0 > found[Signal.SOUND].new
    known, new = ({signal: gain(found[signal], newness) for signal in TRUE} for newness in (0.0, 1.0))
    assert max(known, key=lambda signal: known[signal]) is Signal.SOUND
    assert max(new, key=lambda signal: new[signal]) is Signal.POPULAR


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_other_weights_make_what_was_chosen_likelier_for_so_little(strategy: str) -> None:
    asked = questions(60, n_chosen=2, n_tracks=20)
    weights = learn(asked)
    spreads = np.mean([each.signals.astype(np.float64).std(0) for each in asked], axis=0)
    columns = [PLACES[signal] for signal in STRATEGIES[strategy]]
    told = []
    for each in asked:
        signals = each.signals.astype(np.float64)
        unit = np.sqrt(signals.std(0) * spreads)
        levelled = np.divide(signals - signals.mean(0), unit, out=np.zeros_like(signals), where=unit > 0)
        told.append(np.hstack([levelled[:, columns], each.newness * levelled[:, columns]]))
    units = np.concatenate(told).std(0)

    def loss(flat: np.ndarray) -> float:
        of_each = []
        for each, columns_of in zip(asked, told, strict=True):
            scores = columns_of @ flat
            of_each.append(np.log(np.exp(scores).sum()) - scores[each.chosen].mean())
        return float(np.mean(of_each) + SHRINK * ((units * flat) ** 2).sum())

    found = weights.by_strategy[strategy]
    flat = np.array([each.always for each in found.values()] + [each.new for each in found.values()])
    least = loss(flat)
    for place in range(len(flat)):
        for step in (-0.03, 0.03):
            aside = flat.copy()
            aside[place] += step
            assert loss(aside) > least - 1e-6


def test_few_questions_say_about_the_same_as_many() -> None:
    """The draw to 0 is of each question: a handful does not run away, and many are still drawn."""
    few, many = (learn(questions(n)).by_strategy["hybrid"] for n in (40, 800))
    for signal, weight in TRUE.items():
        assert gain(few[signal]) == pytest.approx(gain(many[signal]), abs=0.35), signal
        assert abs(gain(many[signal])) < max(abs(weight), 0.1)
    one = learn(questions(1)).by_strategy["hybrid"]
    assert all(abs(gain(weight)) < 3 for weight in one.values())


def test_a_strategy_knows_its_own_signals_only() -> None:
    weights = learn(questions(200)).by_strategy
    assert {name: set(each) for name, each in weights.items()} == {
        name: set(signals) for name, signals in STRATEGIES.items()
    }
    by_content, by_people = weights["content"], weights["collaborative"]
    assert gain(by_content[Signal.SOUND]) > 0.5 > abs(gain(by_content[Signal.ARTIST]))
    assert gain(by_people[Signal.FACTORS]) > gain(by_people[Signal.POPULAR]) > 0


def test_what_nothing_is_known_of_has_no_weight() -> None:
    found = learn(questions(50)).by_strategy["hybrid"]
    for signal in set(Signal) - set(TRUE):
        assert (found[signal].always, found[signal].new) == (0, 0), signal


def test_before_anything_is_learned_weights_are_assumed() -> None:
    weights = assumed()
    assert set(weights.by_strategy) == set(STRATEGIES)
    for name, signals in STRATEGIES.items():
        assert weights.by_strategy[name] == {
            signal: Weight(always=ASSUMED.get(signal, 0), new=0) for signal in signals
        }
        assert any(weight.always > 0 for weight in weights.by_strategy[name].values())
    assert weights.spreads == dict.fromkeys(Signal, 1)


def test_parts_are_levelled_between_the_spread_of_this_question_and_the_usual_one() -> None:
    rng = np.random.default_rng(3)
    weights = Weights(
        by_strategy={"content": {each: Weight(always=rng.normal(), new=rng.normal()) for each in Signal}},
        spreads={each: rng.uniform(0.1, 3) for each in Signal},
    )
    told = {each: rng.normal(2, rng.uniform(0.1, 9), 70).astype(np.float32) for each in Signal}
    del told[Signal.TAGS]
    found = parts(weights, "content", levels(told), newness=0.3)
    assert set(found) == set(told)
    for signal, part in found.items():
        column = told[signal].astype(np.float64).tolist()
        mean = sum(column) / len(column)
        spread = (sum((each - mean) ** 2 for each in column) / len(column)) ** 0.5
        weight = weights.by_strategy["content"][signal]
        expected = (weight.always + 0.3 * weight.new) / (spread * weights.spreads[signal]) ** 0.5
        assert part.gain == pytest.approx(expected, rel=1e-4), signal
        assert part.mean == pytest.approx(mean, rel=1e-4), signal


def test_a_signal_that_is_flat_or_weighs_nothing_or_is_not_told_adds_nothing() -> None:
    weights = Weights(
        by_strategy={
            "content": {
                Signal.SOUND: Weight(always=1),
                Signal.ARTIST: Weight(always=2),
                Signal.GENRE: Weight(always=0, new=0),
                Signal.TAGS: Weight(always=1, new=-2),  # 0 to who is half as new
            }
        },
        spreads=dict.fromkeys(Signal, 0.0),
    )
    steps = np.arange(4, dtype=np.float32)
    told = {Signal.SOUND: steps, Signal.GENRE: steps, Signal.TAGS: steps, Signal.POPULAR: steps}
    found = parts(weights, "content", levels(told | {Signal.ARTIST: np.full(4, 7, np.float32)}), newness=0.5)
    assert set(found) == {Signal.SOUND} and np.isfinite(found[Signal.SOUND].gain)


def test_a_signal_that_is_flat_in_a_question_says_nothing_there() -> None:
    asked = questions(60)
    lifted = []
    for each in asked:
        signals = each.signals.copy()
        signals[:, PLACES[Signal.TAGS]] = 5.0
        lifted.append(replace(each, signals=signals))
    plain, flat = learn(asked).by_strategy["hybrid"], learn(lifted).by_strategy["hybrid"]
    for signal in Signal:
        assert gain(flat[signal]) == pytest.approx(gain(plain[signal]), abs=1e-3), signal
    assert flat[Signal.TAGS] == Weight(always=0, new=0)


def test_the_usual_spread_is_that_of_the_mean_question() -> None:
    asked = questions(30)
    loud = [replace(each, signals=each.signals * 7) for each in asked]
    expected = np.mean([each.signals.std(0) for each in asked], axis=0)
    for made, times in ((asked, 1), (loud, 7)):
        found = learn(made).spreads
        np.testing.assert_allclose([found[each] for each in SIGNALS], times * expected, rtol=1e-4)
    quiet, louder = learn(asked).by_strategy["hybrid"], learn(loud).by_strategy["hybrid"]
    for signal in TRUE:  # in other units the same is said
        assert gain(louder[signal]) == pytest.approx(gain(quiet[signal]), abs=0.02), signal


def hidden(question: Question) -> Question:
    """The same, but what was chosen is what each finder holds least likely."""
    signals = question.signals.copy()
    chosen = np.zeros(len(signals), np.bool_)
    chosen[0] = True
    for signal in FINDERS:
        column = signals[:, PLACES[signal]]
        least = int(column.argmin())
        column[[0, least]] = column[[least, 0]]
    return replace(question, signals=signals, chosen=chosen)


def noisy(question: Question, rng: np.random.Generator) -> Question:
    """The same with something that every signal says, at random where nothing is said."""
    silent = ~question.signals.any(0)
    signals = question.signals + silent * rng.normal(0, 1, question.signals.shape).astype(np.float32)
    return replace(question, signals=signals)


def test_from_what_no_signal_finds_nothing_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blend, "LIKELY", 4)
    rng = np.random.default_rng(8)
    found = [noisy(each, rng) for each in questions(80, n_tracks=120)]
    unfound = [hidden(each) for each in found]
    for each in unfound:
        likely = blend._likely(each)
        assert not likely[each.chosen].any() and 4 <= likely.sum() <= 4 * len(FINDERS)
    alone, both = learn(found), learn([*found, *unfound])
    for name, by_signal in alone.by_strategy.items():
        for signal, weight in by_signal.items():
            assert gain(both.by_strategy[name][signal]) == pytest.approx(gain(weight), abs=2e-3), signal
    assert learn(unfound).by_strategy == assumed().by_strategy, "nothing is left to learn from"


def test_only_what_finds_tracks_says_which_are_likely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blend, "LIKELY", 1)
    for signal in Signal:
        signals = np.zeros((30, len(SIGNALS)), np.float32)
        for finder in FINDERS:
            signals[3, PLACES[finder]] = 1
        signals[17, PLACES[signal]] = 2
        question = Question(signals=signals, chosen=np.zeros(30, np.bool_), newness=0.0)
        expected = {3, 17} if signal in FINDERS else {3}
        assert set(np.flatnonzero(blend._likely(question)).tolist()) == expected, signal


def test_extremes_are_borne() -> None:
    for times in (1e6, 1e-6):
        odd = questions(20)
        for question in odd:
            question.signals[:, PLACES[Signal.POPULAR]] *= np.float32(times)
        weights = learn(odd)
        for weight in weights.by_strategy["hybrid"].values():
            assert np.isfinite(weight.always) and np.isfinite(weight.new)
        assert all(np.isfinite(scored(weights, each)).all() for each in odd)
