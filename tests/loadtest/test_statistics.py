import numpy as np
import pytest

from loadtest.accuracy.statistics import (
    clopper_pearson,
    half_point,
    mcnemar,
    paired_difference,
    threshold_at,
    wilson,
)


def test_intervals_are_those_of_the_textbook() -> None:
    share = wilson(15, 20)
    assert (share.value, share.low, share.high) == pytest.approx((0.75, 0.531, 0.888), abs=1e-3)
    none = clopper_pearson(0, 3000)
    assert (none.value, none.low, none.high) == pytest.approx((0, 0, 0.00123), abs=1e-5)
    assert clopper_pearson(3, 3000).high == pytest.approx(0.00292, abs=1e-5)


def test_a_difference_that_hangs_on_one_track_is_not_sure() -> None:
    ours = [True] * 10 + [False] * 90
    theirs = [False] * 100
    of_one_track = ["a"] * 10 + [f"t{i}" for i in range(90)]
    of_many = [f"t{i}" for i in range(100)]
    assert paired_difference(ours, theirs, of_one_track).low == 0
    assert paired_difference(ours, theirs, of_many).low > 0.03
    assert paired_difference(ours, theirs, of_many).value == pytest.approx(0.1)
    assert mcnemar(ours, theirs) == (10, 0)


def test_the_half_of_a_logistic_curve_is_found(rng: np.random.Generator) -> None:
    snr = np.repeat([-21.0, -18, -15, -12, -9, -6, -3], 200)
    right = rng.random(len(snr)) < 1 / (1 + np.exp(-(snr + 13) / 2))
    half = half_point(snr.tolist(), right.tolist(), [f"t{i % 100}" for i in range(len(snr))])
    assert half is not None
    assert half.value == pytest.approx(-13, abs=0.6)
    assert half.low < -13.0 < half.high


def test_no_half_is_claimed_outside_what_was_measured() -> None:
    assert half_point([0, 0, -3, -3, -6, -6], [True] * 6, list("abcdef")) is None
    assert half_point([0, -3], [True, False], list("ab")) is None


def test_a_threshold_lets_through_the_rate_and_no_more() -> None:
    scores = list(range(1000))
    assert sum(score > threshold_at(scores, 0.01) for score in scores) == 10
    assert sum(score > threshold_at(scores, 0.001) for score in scores) == 1
