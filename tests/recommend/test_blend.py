"""Weights: found again where they are known, assumed where nothing says otherwise."""

import numpy as np
import pytest

from fpserver.recommend.blend import ASSUMED, STRATEGIES, Question, Signal, Weights, learn

TRUE = {Signal.SOUND: 3.0, Signal.ARTIST: 0.0, Signal.FACTORS: 2.0, Signal.POPULAR: 1.0, Signal.GENRE: -1.0}
PLACES = {signal: place for place, signal in enumerate(Signal)}


def questions(n: int, seed: int = 0, *, n_tracks: int = 50, n_chosen: int = 1) -> list[Question]:
    """People who choose by TRUE, give or take; other signals say nothing."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        signals = np.zeros((n_tracks, len(Signal)), np.float32)
        worth = rng.gumbel(size=n_tracks)
        for signal, weight in TRUE.items():
            signals[:, PLACES[signal]] = rng.normal(size=n_tracks)
            worth += weight * signals[:, PLACES[signal]]
        chosen = np.zeros(n_tracks, np.bool_)
        chosen[np.argsort(-worth)[:n_chosen]] = True
        made.append(Question(signals=signals, chosen=chosen))
    return made


def test_weights_are_found_by_which_people_chose() -> None:
    found = learn(questions(600)).by_strategy["hybrid"]
    for signal, weight in TRUE.items():
        assert found[signal] == pytest.approx(weight, abs=0.35), signal


def test_a_strategy_knows_its_own_signals_only() -> None:
    weights = learn(questions(100)).by_strategy
    assert {name: set(each) for name, each in weights.items()} == {
        name: set(signals) for name, signals in STRATEGIES.items()
    }
    assert weights["content"][Signal.SOUND] > 1 > abs(weights["content"][Signal.ARTIST])
    assert weights["collaborative"][Signal.FACTORS] > 1


def test_more_questions_lead_further_from_what_is_assumed() -> None:
    few, more, many = (learn(questions(n)).by_strategy["hybrid"] for n in (1, 20, 400))
    away = [abs(each[Signal.SOUND] - TRUE[Signal.SOUND]) for each in (few, more, many)]
    assert away[0] > away[1] > away[2]
    assert few[Signal.SOUND] == pytest.approx(ASSUMED[Signal.SOUND], abs=0.5)


def test_what_nothing_is_known_of_is_as_assumed() -> None:
    found = learn(questions(50)).by_strategy["hybrid"]
    for signal in set(Signal) - set(TRUE):
        assert found[signal] == pytest.approx(ASSUMED.get(signal, 0.0), abs=1e-3), signal
    assert Weights().by_strategy["hybrid"] == {signal: ASSUMED.get(signal, 0.0) for signal in Signal}


def test_several_may_be_chosen_and_extremes_are_borne() -> None:
    found = learn(questions(200, n_chosen=4)).by_strategy["hybrid"]
    assert found[Signal.SOUND] > found[Signal.FACTORS] > found[Signal.ARTIST] > found[Signal.GENRE]
    huge = questions(20)
    for question in huge:
        question.signals[:, PLACES[Signal.POPULAR]] *= 1e6
    found = learn(huge).by_strategy["hybrid"]
    assert all(np.isfinite(weight) for weight in found.values())
