"""From a score to the expected rate of false accepts.

What chance reaches depends on the clip (a steady one fits in many places), on the catalogue, and on how much was tried.
All of it shows in the other tracks that the same step judged, the cohort: a score counts by its lead, how far it stands
above their mean. (In speaker recognition: T-norm; Auckenthaler, Carey, Lloyd-Thomas, "Score Normalization for
Text-Independent Speaker Verification Systems", Digital Signal Processing 10, 2000.) The lead of a clip's best wrong
track has an exponential tail (maxima of many bounded trials: Gumbel, "Statistics of Extremes", 1958):

    false accepts per clip at a lead or above  =  exp((LOCATION − lead) / SCALE)

for every step, length of clip and size of catalogue. Fitted by `loadtest/null_model.py`; docs/decisions/0011 has the
figures and how the fit was checked. A search of n steps accepts at 1/n of the rate asked for, so that the sum stays
below it.
"""

from collections.abc import Sequence
from math import exp

COHORT = 9  # tracks after the best
MAX_CHANCE = (
    4.0  # a higher score of the cohort's counts as this: another recording of the same may be among them
)
USUAL_CHANCE = 2.4  # instead of each track that a small catalogue lacks
LOCATION = 0.33
SCALE = 0.42
LARGEST_EXPONENT = 100.0  # the rate is 1 long before; keeps exp within a float


def cohort_mean(scores: Sequence[float]) -> float:
    """What chance reaches: the mean of the scores after the best.

    Args:
        scores: of all tracks that a step judged, best first.
    """
    others = [min(score, MAX_CHANCE) for score in scores[1 : 1 + COHORT]]
    return (sum(others) + USUAL_CHANCE * (COHORT - len(others))) / COHORT


def false_accept_rate(lead: float, *, n_steps: int) -> float:
    """Expected wrong answers per unknown clip with this lead or a larger one, 0..1, over all steps of the search."""
    return min(1.0, n_steps * exp(min((LOCATION - lead) / SCALE, LARGEST_EXPONENT)))


def confidence(rate: float) -> float:
    """Probability that the answer is right where every second clip asked about is in the catalogue, 0..1."""
    return 1.0 / (1.0 + rate)
