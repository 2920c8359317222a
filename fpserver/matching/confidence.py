"""From a score to the expected rate of false accepts.

The best score that a clip reaches with tracks it does not come from has an exponential tail (maxima of many bounded
trials: Gumbel, "Statistics of Extremes", 1958). For a catalogue of REFERENCE_POSTINGS postings, and with n_indexed
postings in proportion (down to MIN_POSTINGS: a small catalogue, too, fills a step's candidates),

    false accepts per clip above score s  =  n_indexed / REFERENCE_POSTINGS · exp((location − s) / scale)

Each step of the search has its own tail, and each length of clip its own location: a second of music has few other
times to compare with. Fitted by `loadtest/null_model.py`; docs/decisions/0009 has the figures and how the fit was
checked. A search of n steps accepts at 1/n of the rate asked for, so that the sum stays below it.
"""

from dataclasses import dataclass
from math import exp, log

import numpy as np

LARGEST_EXPONENT = 100.0  # the rate is 1 long before; keeps exp within a float
REFERENCE_POSTINGS = 2_000_000  # 24 h of music at the default settings
MIN_POSTINGS = 500_000
LENGTHS_S = (
    1.0,
    2.0,
    5.0,
    10.0,
)  # of clips, for which locations are given; shorter and longer ones as the ends


@dataclass(frozen=True, slots=True)
class Tail:
    """An exponential tail of wrong scores, at REFERENCE_POSTINGS."""

    locations: tuple[float, float, float, float]  # one false accept per clip is expected above this score
    scale: float  # a factor e fewer for each such step of score

    def location(self, seconds: float) -> float:
        """For a clip so long: between two lengths in proportion to its logarithm."""
        return float(np.interp(log(max(seconds, 0.1)), np.log(LENGTHS_S), self.locations))


PLAIN = Tail((3.2, 2.9, 2.8, 2.7), 0.45)
DENSE = Tail((3.4, 3.3, 3.1, 3.0), 0.52)
WARPED = Tail((3.6, 3.3, 3.1, 3.0), 0.45)


def false_accept_rate(score: float, tail: Tail, *, seconds: float, n_indexed: int, n_steps: int) -> float:
    """Expected wrong answers per unknown clip at this score or above, 0..1, over all steps of the search."""
    exponent = min((tail.location(seconds) - score) / tail.scale, LARGEST_EXPONENT)
    return min(1.0, n_steps * max(n_indexed, MIN_POSTINGS) / REFERENCE_POSTINGS * exp(exponent))


def confidence(rate: float) -> float:
    """Probability that the answer is right where every second clip asked about is in the catalogue, 0..1."""
    return 1.0 / (1.0 + rate)
