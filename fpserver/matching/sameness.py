"""Whether two tracks are the same recording, once as it was catalogued and once as it came again.

A recording that was encoded anew, or cut a fraction of a frame later, keeps its length and most of its peaks all the
way through; another mix, another take or a loop they share keeps them in parts. So the part that agrees least decides,
in both directions: the old track's peaks beside the new one's, and the other way round. The new one's highest peaks
are asked for apart: what was added softly has a few of these. docs/decisions/0004 has the figures behind the limits.
"""

import numpy as np
import numpy.typing as npt

from fpserver.terms import Constellation, Peaks, TrackPeaks

N_PARTS = 8
MIN_SHARE_OF_OLD = 0.78  # of the old track's kept peaks stand among the new one's dense peaks
MIN_SHARE_OF_NEW = 0.70  # of the new track's kept peaks stand among the old one's
MIN_SHARE_OF_STRONG = 0.78  # of the new track's highest peaks stand among the old one's kept peaks
CELLS_PER_FRAME = 1 << 16  # more than twice the bins there are: neighbours never lie in another frame


def is_same_recording(*, old: Peaks, new: TrackPeaks, new_dense: Constellation, alignment: int) -> bool:
    """Whether the new recording is the old one again.

    Args:
        old, new: peaks as the index keeps them.
        new_dense: all the new recording's peaks.
        alignment: old frame − new frame.
    """
    if least_agreement(new_dense, old, alignment) < MIN_SHARE_OF_OLD:
        return False
    if least_agreement(old, new, -alignment) < MIN_SHARE_OF_NEW:
        return False
    strong = Peaks(frame=new.frame[new.strong], bin=new.bin[new.strong], n_frames=new.n_frames)
    return least_agreement(old, strong, -alignment) >= MIN_SHARE_OF_STRONG


def least_agreement(there: Peaks, track: Peaks, alignment: int) -> float:
    """Share of the track's peaks that stand there too, in the one of eight parts where it is smallest, 0..1."""
    parts = np.array_split(held(there, track, alignment), N_PARTS)
    return min((float(part.mean()) if len(part) else 0.0) for part in parts)


def held(there: Peaks, track: Peaks, alignment: int) -> npt.NDArray[np.bool_]:
    """For each of the track's peaks that falls into the other recording: whether it stands there, ±1 frame, ±1 bin."""
    frame = track.frame.astype(np.int64) - alignment
    inside = (frame >= 0) & (frame < there.n_frames)
    asked = frame[inside] * CELLS_PER_FRAME + track.bin[inside]
    cells = np.r_[there.frame.astype(np.int64) * CELLS_PER_FRAME + there.bin, np.iinfo(np.int64).max]
    stands = np.zeros(len(asked), np.bool_)
    for frames in (-1, 0, 1):
        cell = asked + frames * CELLS_PER_FRAME
        stands |= cells[np.searchsorted(cells, cell - 1)] <= cell + 1  # the first from the bin below on
    return stands
