"""Clips of 3 s cut from catalogue tracks and degraded: is the moment they were cut from found, among all moments?

The truth is strict (the right track, at most `TOLERANCE_S` off) or what sounds the same: music repeats itself, so a hit
is also right where the recording, within half a hop, correlates with the clean clip by at least `SAME`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve

from fpserver.similarity import moments
from fpserver.similarity.engines.engine import Found
from fpserver.similarity.moments import Hit
from fpserver.similarity.scales import Scales
from fpserver.terms import Samples, Vectors
from loadtest.accuracy import degrade
from loadtest.accuracy.clips import NOISE_KINDS, Studio, recorded
from loadtest.corpus import RATE_HZ, Recording, as_samples, samples_of
from loadtest.similarity.described import describe_samples

CLIP_S = 3.0
SNR_DB = 10.0
MP3_BPS = 32_000
TOLERANCE_S = 0.5
SAME = 0.8
LEAST_LEVEL = 0.25  # power of a clip, of its track's: at most 6 dB below
NEAREST = 200  # vectors that are asked for of each moment
SHIFTS_S = (0.0, 0.125, 0.25, 0.375)
TRUTHS = ("strict", "same", "track")  # the moment; what sounds the same; anywhere in the track
MISSED = 10
TREATMENTS = ("clean", "noise 10 dB", "mp3 32k", "noise 10 dB, mp3 32k")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A clip, clean, and where it was cut."""

    recording: Recording
    start_s: float
    samples: Samples


def cuts(recordings: Sequence[Recording], n: int, *, seed: int) -> Iterator[Cut]:
    """Clips from places that are loud enough; tracks take turns, in a random order."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(recordings))
    for number in range(n):
        recording = recordings[order[number % len(recordings)]]
        pcm = samples_of(recording.path)
        if pcm is None:
            continue
        track = as_samples(pcm)
        power = float(np.mean(track**2))
        n_samples = round(CLIP_S * RATE_HZ)
        while True:
            begin = int(rng.integers(len(track) - n_samples))
            samples = track[begin : begin + n_samples]
            if np.mean(samples**2) >= LEAST_LEVEL * power:
                break
        yield Cut(recording=recording, start_s=begin / RATE_HZ, samples=samples)


def degraded(cut: Cut, treatment: str, studio: Studio, rng: np.random.Generator) -> Samples:
    """What is heard of a cut."""
    samples = cut.samples
    if "noise" in treatment:
        kind = str(rng.choice(sorted(NOISE_KINDS)))
        noise = recorded(studio.beds[kind], kind, len(samples), rng)
        samples = degrade.add_noise(samples, noise, snr_db=SNR_DB)
    if np.abs(samples).max() > 1:
        samples = degrade.normalised(samples)
    if "mp3" in treatment:
        samples = degrade.coded(samples, "mp3", MP3_BPS)
    return samples


def heard(samples: Samples, shifts_s: Sequence[float]) -> list[Vectors]:
    """Moments of a clip, from each shift on."""
    found = []
    for shift_s in shifts_s:
        description = describe_samples(samples[round(shift_s * RATE_HZ) :])
        if description is None or description.moments is None:
            raise ValueError("the clip is silent")
        found.append(description.moments.timbre)
    return found


class Catalogue:
    """All moments of all tracks, searched exactly."""

    def __init__(self, tracks: Sequence[Vectors], scales: Scales) -> None:
        self.scales = scales
        self.tracks = dict(enumerate((scales.embed_moments(each) for each in tracks), 1))
        self._all = np.concatenate(list(self.tracks.values()))
        self._track_id = np.repeat(list(self.tracks), [len(each) for each in self.tracks.values()])
        self._row = np.concatenate([np.arange(len(each)) for each in self.tracks.values()])
        self._squares = np.sum(self._all**2, axis=1)

    def __len__(self) -> int:
        return len(self._all)

    def nearest(self, queries: Vectors, k: int = NEAREST) -> list[Found]:
        """For each query its nearest vectors."""
        squared = self._squares - 2 * queries @ self._all.T + np.sum(queries**2, axis=1)[:, None]
        found = []
        for row in squared:
            best = np.argpartition(row, k)[:k]
            best = best[np.argsort(row[best], kind="stable")]
            distance = np.sqrt(np.maximum(row[best], 0)).astype(np.float32)
            found.append(Found(track_id=self._track_id[best], row=self._row[best], distance=distance))
        return found

    def search(self, clip: Sequence[Vectors], shifts_s: Sequence[float]) -> list[Hit]:
        """The places most like a clip, of which the moments are raw."""
        embedded = [self.scales.embed_moments(each) for each in clip]
        found = [self.nearest(each) for each in embedded]
        tracks = {track_id: self.tracks[track_id] for track_id in moments.candidates(found)}
        return moments.hits(embedded, tracks, shifts_s=shifts_s, scales=self.scales)


def ranks(
    cut: Cut, samples: Samples, catalogue: Catalogue, recordings: Sequence[Recording]
) -> dict[str, int]:
    """Place of the first right hit, from 0, by each truth; MISSED: none among the first ten.

    Args:
        cut: what is the truth.
        samples: what is heard of it.
        catalogue: of the recordings, in their order.
        recordings: track 1, 2, ….
    """
    found = catalogue.search(heard(samples, SHIFTS_S), SHIFTS_S)[:MISSED]
    first = dict.fromkeys(TRUTHS, MISSED)
    for place, hit in enumerate(found):
        recording = recordings[hit.track_id - 1]
        is_track = recording.path == cut.recording.path
        is_there = is_track and abs(hit.start_s - cut.start_s) <= TOLERANCE_S
        is_same = first["same"] == MISSED and (is_there or sounds_same(cut, recording, hit.start_s))
        for truth, is_right in (("strict", is_there), ("same", is_same), ("track", is_track)):
            if is_right:
                first[truth] = min(first[truth], place)
    return first


def sounds_same(cut: Cut, recording: Recording, start_s: float) -> bool:
    """Whether the clean clip is heard again about there, nearly sample by sample."""
    pcm = samples_of(recording.path)
    if pcm is None:
        return False
    begin = max(0, round((start_s - TOLERANCE_S) * RATE_HZ))
    there = as_samples(pcm[begin : begin + len(cut.samples) + round(2 * TOLERANCE_S * RATE_HZ)])
    return len(there) >= len(cut.samples) and bool(correlation(cut.samples, there).max() >= SAME)


def correlation(clip: Samples, there: Samples) -> npt.NDArray[np.float64]:
    """Normalised, at every place of `there` where the clip fits."""
    long, short = there.astype(np.float64), clip.astype(np.float64)
    product = fftconvolve(long, short[::-1], mode="valid")
    squares = np.concatenate(([0.0], np.cumsum(long**2)))
    energy = squares[len(short) :] - squares[: -len(short)]
    return np.asarray(product / np.sqrt(np.maximum(energy * np.sum(short**2), 1e-12)))
