"""From a score to the expected rate of false accepts.

What chance reaches depends on the clip (a steady one fits in many places), on the catalogue, and on how much was tried.
All of it shows in the other tracks that the same step judged, the cohort: a score counts by its lead, how far it stands
above two of their standard deviations over their mean. (Speaker recognition knows this as T-norm; Auckenthaler, Carey,
Lloyd-Thomas, "Score Normalization for Text-Independent Speaker Verification Systems", Digital Signal Processing 10,
2000.) The lead of a clip's best wrong track has an exponential tail (maxima of many bounded trials: Gumbel,
"Statistics of Extremes", 1958):

    false accepts per clip at a lead or above  =  exp((LOCATION − lead) / scale)

for every step and size of catalogue. The scale is wider for an uneven clip, one whose frames rise and fall as a whole
(beats, pauses): what its peaks say is then not independent, and any other beat goes along; and for a clip of a second,
whose few frames overlap. Fitted by `loadtest/null_model.py`; docs/decisions/0011, 0014 and 0016 have the figures and
how the fit was checked. Each step of a search spends a share of the rate asked for, and all shares together are one
at most, so that the sum of all steps stays below it.
"""

from collections.abc import Sequence
from math import exp, log

import numpy as np

COHORT = 9  # tracks after the best
MAX_CHANCE = (
    4.5  # a higher score of the cohort's counts as this: another recording of the same may be among them
)
USUAL_CHANCE = 2.7  # instead of each track that a small catalogue lacks
SPREADS = 2.0  # standard deviations over the cohort's mean, from which a lead counts
LOCATION = -0.1
UNEVEN, SCALES = (0.03, 0.15), (0.3, 0.37)  # between them in proportion to the logarithm
SHORT_FRAMES, WIDER = (
    (14, 35),
    (1.12, 1.0),
)  # clips of one and of two seconds, and by how much their scale is wider
LARGEST_EXPONENT = 100.0  # the rate is 1 long before; keeps exp within a float


def chance_level(scores: Sequence[float]) -> float:
    """The score from which a lead counts: two standard deviations over the mean of the scores after the best.

    Args:
        scores: of all tracks that a step judged, best first.
    """
    others = [min(score, MAX_CHANCE) for score in scores[1 : 1 + COHORT]]
    cohort = others + [USUAL_CHANCE] * (COHORT - len(others))
    return float(np.mean(cohort) + SPREADS * np.std(cohort))


def false_accept_rate(lead: float, *, unevenness: float, n_frames: int, share: float) -> float:
    """Expected wrong answers per unknown clip, 0..1, of a search that accepts at this lead and each step at its share.

    Args:
        lead: of the best score over `chance_level`.
        unevenness, n_frames: of the clip, as `ClipMap` has them.
        share: of that number which this step may spend, above 0, at most 1.
    """
    scale = float(np.interp(log(max(unevenness, UNEVEN[0])), np.log(UNEVEN), SCALES))
    scale *= float(np.interp(n_frames, SHORT_FRAMES, WIDER))
    return min(1.0, exp(min((LOCATION - lead) / scale, LARGEST_EXPONENT)) / share)


def confidence(rate: float) -> float:
    """Probability that the answer is right where every second clip asked about is in the catalogue, 0..1."""
    return 1.0 / (1.0 + rate)
