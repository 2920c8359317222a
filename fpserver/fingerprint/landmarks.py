"""Turn a constellation into landmarks.

Every peak is an anchor once. Its targets lie in the target zone: later by min_delta_frames..max_delta_frames, at
most max_delta_bins away; the nearest `fan_out` of them in time are taken. Order: anchor frame, anchor bin, target.

Wang, "An Industrial-Strength Audio Search Algorithm", ISMIR 2003.
"""

import numpy as np
import numpy.typing as npt

from fpserver.config import FingerprintConfig
from fpserver.fingerprint.constellation import is_among_highest, thin
from fpserver.terms import (
    Bins,
    Constellation,
    Fingerprint,
    Frames,
    Hashes,
    Landmarks,
    Peaks,
    TrackPeaks,
)

# | anchor_bin : 11 | 128 + delta_bin : 8 | delta_frames : 4 |
ANCHOR_BIN_BITS, DELTA_BIN_BITS, DELTA_FRAMES_BITS = 11, 8, 4
HASH_BITS = ANCHOR_BIN_BITS + DELTA_BIN_BITS + DELTA_FRAMES_BITS
DELTA_BIN_BIAS = 1 << (DELTA_BIN_BITS - 1)


def pack(anchor_bin: Bins, delta_bin: Bins, delta_frames: Frames) -> Hashes:
    """Hashes of landmarks; `unpack` is the way back. All three must fit their bits."""
    biased = (delta_bin + DELTA_BIN_BIAS).astype(np.uint32)
    upper = (anchor_bin.astype(np.uint32) << DELTA_BIN_BITS) | biased
    return ((upper << DELTA_FRAMES_BITS) | delta_frames.astype(np.uint32)).astype(np.uint32)


def unpack(hashes: Hashes) -> tuple[Bins, Bins, Frames]:
    """(anchor_bin, delta_bin, delta_frames) of each hash."""
    delta_frames = hashes & ((1 << DELTA_FRAMES_BITS) - 1)
    upper = hashes >> DELTA_FRAMES_BITS
    delta_bin = (upper & ((1 << DELTA_BIN_BITS) - 1)).astype(np.int32) - DELTA_BIN_BIAS
    return (upper >> DELTA_BIN_BITS).astype(np.int32), delta_bin, delta_frames.astype(np.int32)


def landmarks_of(peaks: Peaks, config: FingerprintConfig, *, fan_out: int) -> Landmarks:
    """Every peak paired with the nearest `fan_out` peaks of its target zone."""
    anchor, target = pairs_of(peaks, config, fan_out=fan_out)
    return Landmarks(hash=hashes_of(peaks, anchor, target), offset=peaks.frame[anchor])


def hashes_of(peaks: Peaks, anchor: npt.NDArray[np.intp], target: npt.NDArray[np.intp]) -> Hashes:
    """Hash of each pair of peaks."""
    frame, bin_ = peaks.frame, peaks.bin
    return pack(bin_[anchor], bin_[target] - bin_[anchor], frame[target] - frame[anchor])


def fingerprint_of(constellation: Constellation, config: FingerprintConfig) -> Fingerprint:
    """What the index keeps of a track, from its constellation: the highest peaks, and pairs of the highest of these."""
    kept = thin(constellation, config.track_peaks_per_s, config)
    strong = is_among_highest(kept, config.strong_peaks_per_s, config)
    peaks = TrackPeaks(frame=kept.frame, bin=kept.bin, n_frames=kept.n_frames, strong=strong)
    return Fingerprint(landmarks=track_landmarks(peaks, config), peaks=peaks)


def track_landmarks(peaks: TrackPeaks, config: FingerprintConfig) -> Landmarks:
    """The landmarks of a track, from the peaks that the index keeps."""
    strong = peaks.strong
    highest = Peaks(frame=peaks.frame[strong], bin=peaks.bin[strong], n_frames=peaks.n_frames)
    return landmarks_of(highest, config, fan_out=config.fan_out)


def pairs_of(
    peaks: Peaks, config: FingerprintConfig, *, fan_out: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Indices of anchors and targets, ordered by anchor, then target."""
    frame, bin_ = peaks.frame, peaks.bin
    n_targets = np.zeros(len(frame), np.int32)
    anchors, targets = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)]
    for distance in range(1, len(frame)):
        delta_frames = frame[distance:] - frame[:-distance]
        near = delta_frames <= config.max_delta_frames
        if not near.any():
            break
        delta_bins = np.abs(bin_[distance:] - bin_[:-distance])
        in_zone = near & (delta_frames >= config.min_delta_frames) & (delta_bins <= config.max_delta_bins)
        anchor = np.flatnonzero(in_zone & (n_targets[:-distance] < fan_out))
        n_targets[anchor] += 1
        anchors.append(anchor)
        targets.append(anchor + distance)
    anchor, target = np.concatenate(anchors), np.concatenate(targets)
    order = np.lexsort((target, anchor))
    return anchor[order], target[order]
