"""From a score to the expected rate of false accepts.

What chance reaches depends on the clip (a steady one fits in many places), on the catalogue, and on how much was tried.
All of it shows in the other tracks that the same step judged, the cohort: a score counts by its lead, how far it stands
above two of their standard deviations over their mean. (Speaker recognition knows this as T-norm; Auckenthaler, Carey,
Lloyd-Thomas, "Score Normalization for Text-Independent Speaker Verification Systems", Digital Signal Processing 10,
2000.) The lead of a clip's best wrong track has an exponential tail (maxima of many bounded trials: Gumbel,
"Statistics of Extremes", 1958):

    false accepts per clip at a lead or above  =  exp((LOCATION − lead) / scale)

for every step and size of catalogue; the scale is wider for clips under three seconds, which have few peaks. Fitted by
`loadtest/null_model.py`; docs/decisions/0011 has the figures and how the fit was checked. A search of n steps accepts
at 1/n of the rate asked for, so that the sum stays below it.
"""

from collections.abc import Sequence
from math import exp, log

import numpy as np

COHORT = 9  # tracks after the best
MAX_CHANCE = (
    4.0  # a higher score of the cohort's counts as this: another recording of the same may be among them
)
USUAL_CHANCE = 2.4  # instead of each track that a small catalogue lacks
SPREADS = 2.0  # standard deviations over the cohort's mean, from which a lead counts
LOCATION = -0.07
LENGTHS_S, SCALES = (1.0, 3.0), (0.43, 0.34)  # of clips; between them in proportion to the logarithm
LARGEST_EXPONENT = 100.0  # the rate is 1 long before; keeps exp within a float


def chance_level(scores: Sequence[float]) -> float:
    """The score from which a lead counts: two standard deviations over the mean of the scores after the best.

    Args:
        scores: of all tracks that a step judged, best first.
    """
    others = [min(score, MAX_CHANCE) for score in scores[1 : 1 + COHORT]]
    cohort = others + [USUAL_CHANCE] * (COHORT - len(others))
    return float(np.mean(cohort) + SPREADS * np.std(cohort))


def false_accept_rate(lead: float, *, seconds: float, n_steps: int) -> float:
    """Expected wrong answers per unknown clip with this lead or a larger one, 0..1, over all steps of the search.

    Args:
        lead: of the best score over `chance_level`.
        seconds: length of the clip.
        n_steps: that the search may take.
    """
    scale = float(np.interp(log(max(seconds, LENGTHS_S[0])), np.log(LENGTHS_S), SCALES))
    return min(1.0, n_steps * exp(min((LOCATION - lead) / scale, LARGEST_EXPONENT)))


def confidence(rate: float) -> float:
    """Probability that the answer is right where every second clip asked about is in the catalogue, 0..1."""
    return 1.0 / (1.0 + rate)
