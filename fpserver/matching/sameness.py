"""Whether two tracks are the same recording, once as it was catalogued and once as it came again.

A recording that was encoded anew, or cut a fraction of a frame later, keeps its length and most of its peaks all the
way through; another mix, another take or a loop they share keeps them in parts. So the part that agrees least decides,
in both directions: the old track's peaks on the new one's map, and the other way round. docs/decisions/0004 has the
figures behind the limits.
"""

import numpy as np

from fpserver.matching.evidence import ClipMap
from fpserver.terms import Constellation

N_PARTS = 8
MIN_SHARE_OF_OLD = 0.75  # of the old track's peaks stand among the new one's dense peaks
MIN_SHARE_OF_NEW = 0.65  # of the new track's highest peaks stand among the old one's highest


def least_agreement(clip_map: ClipMap, track: Constellation, alignment: int) -> float:
    """Share of the track's peaks that the map holds, in the one of eight parts where it is smallest, 0..1."""
    parts = np.array_split(clip_map.holds(track, alignment), N_PARTS)
    return min((float(part.mean()) if len(part) else 0.0) for part in parts)


def is_same_recording(
    *, old: Constellation, new: Constellation, new_dense: Constellation, alignment: int, n_bins: int
) -> bool:
    """Whether the new recording is the old one again.

    Args:
        old, new: constellations as the index keeps them.
        new_dense: all the new recording's peaks.
        alignment: old frame − new frame.
        n_bins: bins of the spectrogram.
    """
    if least_agreement(ClipMap(new_dense, n_bins=n_bins), old, alignment) < MIN_SHARE_OF_OLD:
        return False
    return least_agreement(ClipMap(old, n_bins=n_bins), new, -alignment) >= MIN_SHARE_OF_NEW
