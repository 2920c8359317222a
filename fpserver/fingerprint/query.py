"""Turn a clip's peaks into the landmarks to ask the index for: few, many, or as another speed would have them.

A track keeps few landmarks, so a clip asks with many more pairs than it would keep itself. Where a step may ask for
less than the clip offers, pairs of its highest peaks go first: they are the last to drown in noise.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fpserver.config import FingerprintConfig
from fpserver.fingerprint.constellation import band, ranks_of, some_of
from fpserver.fingerprint.landmarks import hashes_of, pack, pairs_of
from fpserver.terms import Constellation, Hashes, Landmarks, Warp

Indices = npt.NDArray[np.intp]

NOTHING: Hashes = np.zeros(0, np.uint32)
SPREAD_BINS = 1.5  # that a peak may move between two neighbouring warps and still be asked for first
SPREAD_WEIGHT = 4.0  # of the logarithm of how many bins a peak moves, against the ranks' logarithms


def query_of(
    constellations: Sequence[Constellation],
    config: FingerprintConfig,
    *,
    peaks_per_s: int,
    fan_out: int,
    max_hashes: int,
    read: Hashes = NOTHING,
) -> Landmarks:
    """Landmarks of one clip.

    Args:
        constellations: the clip's peaks; once more with frames half a hop later, if a dense query is wanted.
        config: analysis settings.
        peaks_per_s: highest peaks that are paired.
        fan_out: most pairs per anchor.
        max_hashes: distinct ones; those of the highest peaks are kept.
        read: hashes that may be asked for beyond these, since what is found for them is known.
    """
    hashes, offsets, prominence = [], [], []
    for each in constellations:
        peaks, rank = _thinned(each, peaks_per_s, config)
        anchor, target = pairs_of(peaks, config, fan_out=fan_out)
        hashes.append(hashes_of(peaks, anchor, target))
        offsets.append(peaks.frame[anchor])
        prominence.append(_drown(rank, anchor, target))
    first = np.argsort(np.concatenate(prominence), kind="stable")
    first = first[: _n_with(np.concatenate(hashes)[first], max_hashes, read)]
    return Landmarks(hash=np.concatenate(hashes)[first], offset=np.concatenate(offsets)[first])


def warped_query_of(
    constellation: Constellation,
    warps: Sequence[Warp],
    config: FingerprintConfig,
    *,
    step: float,
    peaks_per_s: int,
    fan_out: int,
    max_hashes: int,
    read: Hashes = NOTHING,
) -> tuple[Landmarks, npt.NDArray[np.int64]]:
    """Landmarks as the track would have them if the clip were it under each of the warps.

    The same pairs are asked for under each warp. Those of high peaks go first, and those of low frequencies: one at bin
    100 has the same hash under several neighbouring warps, one at bin 800 is another under each and meets its own only
    where the warp is exact.

    Args:
        constellation, config, peaks_per_s, fan_out, read: as for `query_of`.
        warps: hypotheses.
        step: between two neighbouring ones, ln.
        max_hashes: distinct ones, over all warps.

    Returns:
        Landmarks with the clip's own frames as offsets, and which warp each belongs to.
    """
    peaks, rank = _thinned(constellation, peaks_per_s, config)
    anchor, target = pairs_of(peaks, config, fan_out=fan_out)
    highest_bin = np.maximum(peaks.bin[anchor], peaks.bin[target])
    late = _drown(rank, anchor, target) + SPREAD_WEIGHT * np.log(
        np.maximum(highest_bin * step / SPREAD_BINS, 1)
    )
    first = np.argsort(late, kind="stable")[:max_hashes]
    anchor, target = anchor[first, None], target[first, None]
    pitch = np.array([warp.pitch for warp in warps])
    speed = np.array([warp.speed for warp in warps])
    anchor_bin = np.rint(peaks.bin[anchor] / pitch).astype(np.int32)  # (n_pairs, n_warps)
    delta_bin = np.rint(peaks.bin[target] / pitch).astype(np.int32) - anchor_bin
    delta_frames = np.rint((peaks.frame[target] - peaks.frame[anchor]) * speed).astype(np.int32)
    lowest, beyond = band(config)
    fits = (
        (anchor_bin >= lowest)
        & (anchor_bin + np.maximum(delta_bin, 0) < beyond)
        & (np.abs(delta_bin) <= config.max_delta_bins)
        & (delta_frames >= config.min_delta_frames)
        & (delta_frames <= config.max_delta_frames)
    )
    pair, warp_of = np.nonzero(fits)
    hashes = pack(anchor_bin[fits], delta_bin[fits], delta_frames[fits])
    n = _n_with(hashes, max_hashes, read)
    if n < len(hashes):
        n = int(np.searchsorted(pair, pair[n]))  # the last pair is asked for under all warps or none
    return Landmarks(hash=hashes[:n], offset=peaks.frame[anchor[pair[:n], 0]]), warp_of[:n]


def _n_with(hashes: Hashes, max_distinct: int, read: Hashes) -> int:
    """How many of the hashes, from the first on, are at most so many distinct ones beside those that were read."""
    distinct, first = np.unique(hashes, return_index=True)
    new = np.sort(first[~np.isin(distinct, read, assume_unique=True)])  # where each that is new comes first
    return len(hashes) if len(new) <= max_distinct else int(new[max_distinct])


def _thinned(
    constellation: Constellation, peaks_per_s: int, config: FingerprintConfig
) -> tuple[Constellation, npt.NDArray[np.int32]]:
    """The highest peaks, and the rank of each."""
    rank = ranks_of(constellation, config)
    kept = rank < peaks_per_s
    return some_of(constellation, kept), rank[kept]


def _drown(rank: npt.NDArray[np.int32], anchor: Indices, target: Indices) -> npt.NDArray[np.float64]:
    """How early noise takes a pair away: grows with the ranks of both peaks."""
    lost: npt.NDArray[np.float64] = np.log1p(rank[anchor]) + np.log1p(rank[target])
    return lost
