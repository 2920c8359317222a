"""Whether what is sampled over time grows: two estimates that single high samples do not move.

The middle of the last fifth against that of the first, and the median slope of all pairs of samples (Theil and Sen)
over the whole time. What grows steadily shows in both; one step shows in the first.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import theilslopes

FIFTH = 5
MAX_PAIRED = 400  # samples: of more, means of as many groups are paired


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """From the first samples to the last."""

    first: float  # median of the first fifth
    last: float
    by_slope: float  # what the slope makes of the whole time

    @property
    def share(self) -> float:
        """The larger of the two estimates, as share of what there was first."""
        return max(self.last - self.first, self.by_slope) / self.first if self.first else 0.0


def growth(time_s: npt.ArrayLike, values: npt.ArrayLike, *, after_s: float = 0.0) -> Growth:
    """How much values grew from `after_s` on.

    Raises:
        ValueError: fewer than ten samples are left.
    """
    times, heights = np.asarray(time_s, np.float64), np.asarray(values, np.float64)
    kept = times >= after_s
    times, heights = times[kept], heights[kept]
    if len(times) < 2 * FIFTH:
        raise ValueError(f"{len(times)} samples after {after_s:g} s, at least {2 * FIFTH} are needed")
    n = len(times) // FIFTH
    groups = np.array_split(np.arange(len(times)), min(len(times), MAX_PAIRED))
    slope = theilslopes(
        [float(np.mean(heights[group])) for group in groups],
        [float(np.mean(times[group])) for group in groups],
    ).slope
    return Growth(
        first=float(np.median(heights[:n])),
        last=float(np.median(heights[-n:])),
        by_slope=float(slope * (times[-1] - times[0])),
    )
