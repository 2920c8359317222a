"""Count what lies under the peaks of a track that is heard, and what lies elsewhere: the table of `matching.evidence`.

    python -m loadtest.evidence_table CORPUS [--clips 60]

Clips of tuning tracks, degraded in the ways of KINDS. Under each of the track's peaks, at the true place, a cell of
the clip is counted by its kind; so are the cells at the same peaks shifted in time and in frequency. Prints the
logarithm of the ratio of the two shares, to be rounded into `RATIOS`, one table a way of degrading and one of all.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fpserver.config import Config
from fpserver.fingerprint.cells import levels_of
from fpserver.fingerprint.constellation import band, constellation_of, frames_per_s
from fpserver.fingerprint.landmarks import fingerprint_of
from fpserver.matching.evidence import NEAR, RATIOS, kinds_of
from loadtest.accuracy.cells import Cell, Codec, Noise, Room
from loadtest.accuracy.clips import Studio, at_rate, render, studio
from loadtest.corpus import as_samples, music, samples_of, thirds

CONFIG = Config().fingerprint
SHIFTS = np.r_[-40:-7:4, 8:41:4]  # frames; twice as many bins
SEED = 5
KINDS = (
    Cell(name="clean", family="", seconds=5),
    Cell(name="noise 0 dB", family="", seconds=5, noise=Noise.MIXED, snr_db=0),
    Cell(name="noise -6 dB", family="", seconds=5, noise=Noise.MIXED, snr_db=-6),
    Cell(name="noise -12 dB", family="", seconds=10, noise=Noise.MIXED, snr_db=-12),
    Cell(name="broadband -6 dB", family="", seconds=10, noise=Noise.BROADBAND, snr_db=-6),
    Cell(name="phone 0 dB", family="", seconds=10, noise=Noise.MIXED, snr_db=0, room=Room.SIMULATED),
    Cell(name="gsm -9 dB", family="", seconds=10, noise=Noise.MIXED, snr_db=-9, codec=Codec.GSM),
)
Counts = npt.NDArray[np.float64]  # (2: under peaks, elsewhere; levels; kinds)


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--clips", type=int, default=60, help="of each kind")
    args = parser.parse_args()
    tuning = thirds(music(args.corpus)).tuning
    made_of = studio(args.corpus, tuning, tuning, SEED)
    total = np.zeros((2, *RATIOS.shape))
    for cell in KINDS:
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            counts = sum(pool.map(partial(_counts, made_of, cell), range(args.clips)), np.zeros_like(total))
        total += counts
        print(cell.name, _ratios(counts), sep="\n", flush=True)
    print("all", _ratios(total), sep="\n")


def _counts(made_of: Studio, cell: Cell, number: int) -> Counts:
    clip, pcm = render(made_of, cell, number)
    track = next(each for each in made_of.known if each.name == clip.parts[0].track)
    pcm_of_track = samples_of(track.path, CONFIG.rate_hz)
    assert pcm_of_track is not None, f"{track.path} could be decoded when the clip was cut"
    peaks = fingerprint_of(constellation_of(as_samples(pcm_of_track), CONFIG), CONFIG).peaks
    heard = at_rate(pcm, CONFIG.rate_hz)
    first_bin = band(CONFIG)[0]
    levels = levels_of(heard, CONFIG)
    kinds = kinds_of(constellation_of(heard, CONFIG), levels.shape, first_bin=first_bin)
    frame = peaks.frame - round(clip.parts[0].start_s * frames_per_s(CONFIG))
    bin_ = peaks.bin - first_bin
    counts = np.zeros((2, *RATIOS.shape))
    _count(counts[0], levels, kinds, frame, bin_)
    for shift in SHIFTS:
        _count(counts[1], levels, kinds, frame + shift, bin_)
        _count(counts[1], levels, kinds, frame, bin_ + 2 * shift)
    return counts


def _count(
    counts: Counts,
    levels: npt.NDArray[np.uint8],
    kinds: npt.NDArray[np.uint8],
    frame: npt.NDArray[np.int32],
    bin_: npt.NDArray[np.int32],
) -> None:
    inside = (frame >= 0) & (frame < levels.shape[0]) & (bin_ >= 0) & (bin_ < levels.shape[1])
    place = frame[inside], bin_[inside]
    np.add.at(counts, (levels[place], kinds[place]), 1)


def _ratios(counts: Counts) -> npt.NDArray[np.float64]:
    shares = (counts + 1) / (counts + 1).sum(axis=(1, 2), keepdims=True)
    ratios: npt.NDArray[np.float64] = np.round(np.log(shares[0] / shares[1]), 2)
    return ratios


assert RATIOS.shape[1] == len(NEAR) + 1

if __name__ == "__main__":
    main()
