"""audfprint (the audfprint2 package), in this process: its analyser, its matcher, its defaults for queries.

It answers with one track, as its command line does, or with as many as the clip holds. Two things are replaced for
speed, and tests hold them to the originals: its loops over frames run compiled, and its table of fixed buckets is a
sorted list of postings. A bucket that would overflow keeps a random choice of its postings, as audfprint's does. Sound
comes in as samples at 11,025 Hz instead of through FFmpeg.

Ellis, "Robust Landmark-Based Audio Fingerprinting", 2012; Wang, "An Industrial-Strength Audio Search Algorithm", 2003.
"""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numba
import numpy as np
import numpy.typing as npt

from fpserver.terms import Samples
from loadtest.accuracy.answers import Answer, Guess, digest
from loadtest.accuracy.clips import Clip, at_rate
from loadtest.corpus import Pcm, Recording, as_samples, samples_of

try:
    analyzer: Any = import_module("audfprint2.core.analyzer")
    matcher: Any = import_module("audfprint2.core.matcher")
except ImportError:
    analyzer = matcher = None

Table: TypeAlias = npt.NDArray[Any]

RATE_HZ = 11025
FRAME_S = 256 / RATE_HZ
QUERY_SHIFTS = 4  # audfprint's own for matching
MATCH_WINDOW = 2  # frames, likewise
FLOOR = 5  # aligned hashes, likewise
ALIGNMENTS_PER_TRACK = (
    3  # its 100 cost a hundred times the time without a floor, and the best is among the first
)
HASH_BITS = 20
BYTES_PER_POSTING = 4
MAX_GUESSES = 5
REVISION = 2  # to be raised when the same clip begins to get another answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """audfprint with these settings."""

    name: str
    density: float  # peaks per second, about
    fan_out: int
    bucket: int  # postings per hash at most
    search_depth: int  # tracks examined
    max_time_frames: int  # offsets are kept modulo this


DEFAULT = Variant(
    name="audfprint default", density=20, fan_out=3, bucket=100, search_depth=100, max_time_frames=16384
)
TUNED = Variant(
    name="audfprint tuned", density=70, fan_out=8, bucket=1000, search_depth=500, max_time_frames=65536
)
# Settings between the default and 100/10, among which the one of a given size is sought.
LADDER = (
    (10, 3), (15, 3), (20, 3), (25, 3), (30, 4), (35, 4), (40, 5), (45, 5), (50, 6), (55, 6), (60, 7), (70, 8),
    (80, 9), (90, 9), (100, 10),
)  # fmt: skip


def matched(mb_per_hour: float, catalogue: Sequence[Recording]) -> Variant:
    """The step of LADDER whose postings take most nearly `mb_per_hour`, measured on every 16th track."""
    sample = [
        as_samples(pcm[: 120 * RATE_HZ]) for each in catalogue[::16] if (pcm := _at_rate(each)) is not None
    ]
    hours = sum(map(len, sample)) / RATE_HZ / 3600

    def size(step: tuple[int, int]) -> float:
        n_postings = sum(len(hashes_of(each, density=step[0], fan_out=step[1], shifts=1)) for each in sample)
        return BYTES_PER_POSTING * n_postings / 1e6 / hours

    density, fan_out = min(LADDER, key=lambda step: abs(size(step) - mb_per_hour))
    return Variant(
        name="audfprint matched",
        density=density,
        fan_out=fan_out,
        bucket=1000,
        search_depth=500,
        max_time_frames=65536,
    )


class Postings:
    """All postings, sorted by hash; answers the matcher's questions as audfprint's HashTable does."""

    def __init__(self, hashes: Table, tracks: Table, times: Table, n_tracks: int, variant: Variant) -> None:
        order = np.argsort(hashes, kind="stable")
        order = order[_kept(hashes[order], variant.bucket)]
        self.track = tracks[order].astype(np.int32)
        self.time = (times[order] & (variant.max_time_frames - 1)).astype(np.int32)
        self.first = np.searchsorted(hashes[order], np.arange((1 << HASH_BITS) + 1))
        self.hashesperid = np.bincount(tracks, minlength=n_tracks).astype(np.uint32)

    def get_hits(self, hashes: Table) -> Table:
        """(n_hits, 4) int32: track, time in the track less time in the clip, hash, time in the clip."""
        hash_, time_ = hashes[:, 1] & ((1 << HASH_BITS) - 1), hashes[:, 0]
        sizes = self.first[hash_ + 1] - self.first[hash_]
        row_of_hit = np.repeat(np.arange(len(hash_)), sizes)
        at = (
            np.arange(sizes.sum())
            - np.repeat(np.cumsum(sizes) - sizes, sizes)
            + self.first[hash_][row_of_hit]
        )
        time_of_hit = time_[row_of_hit]
        return np.stack(
            [self.track[at], self.time[at] - time_of_hit, hash_[row_of_hit], time_of_hit], axis=1
        ).astype(np.int32)


class AudfprintPeer:
    """audfprint's variants, each with its floor of five aligned hashes and without."""

    def __init__(
        self, variants: Sequence[Variant], catalogue: Sequence[Recording], cache: Path, processes: int
    ) -> None:
        if analyzer is None:
            raise ModuleNotFoundError("audfprint2 is not installed: pip install -r locks/loadtest.txt")
        self.variants = list(variants)
        self.names = [each.name for each in catalogue]
        self._catalogue = digest(*self.names)
        hours = sum(each.seconds for each in catalogue) / 3600
        self.tables, self.mb_per_hour = {}, {}
        for variant in variants:
            hashes, tracks, times = _all_hashes(variant, catalogue, cache, processes)
            self.tables[variant.name] = Postings(hashes, tracks, times, len(catalogue), variant)
            n_stored = len(self.tables[variant.name].track)
            self.mb_per_hour[variant.name] = BYTES_PER_POSTING * n_stored / 1e6 / hours

    @property
    def systems(self) -> list[str]:
        """Two a variant."""
        return [name for each in self.variants for name in (each.name, f"{each.name}, no floor")]

    def settings_digest(self, system: str) -> str:
        """Of the variant and the catalogue."""
        variant = next(each for each in self.variants if system.startswith(each.name))
        return digest(REVISION, astuple(variant), self._catalogue)

    def ask(self, clip: Clip, pcm: Pcm) -> list[Answer]:
        """One answer a system."""
        samples = at_rate(pcm, RATE_HZ)
        answers = []
        for variant in self.variants:
            begin = time.process_time()
            hashes = hashes_of(samples, density=variant.density, fan_out=variant.fan_out, shifts=QUERY_SHIFTS)
            analysed_s = time.process_time() - begin
            for floor, name in ((FLOOR, variant.name), (0, f"{variant.name}, no floor")):
                begin = time.process_time()
                guesses = self._match(variant, hashes, floor, n_answers=max(1, len(clip.parts)))
                seconds = analysed_s + time.process_time() - begin
                answers.append(
                    Answer(
                        system=name,
                        clip=clip.key,
                        guesses=guesses,
                        seconds=seconds,
                        detail={"n_hashes": len(hashes)},
                    )
                )
        return answers

    def _match(self, variant: Variant, hashes: Table, floor: int, *, n_answers: int) -> list[Guess]:
        if not len(hashes):
            return []
        matching = matcher.Matcher()
        matching.window, matching.threshcount = MATCH_WINDOW, floor
        matching.search_depth, matching.max_alignments_per_id = variant.search_depth, ALIGNMENTS_PER_TRACK
        found = matching.match_hashes(self.tables[variant.name], hashes)
        guesses: dict[str, Guess] = {}
        for track, count, offset, *_ in np.asarray(found)[:200].tolist():
            guess = Guess(
                track=self.names[track],
                score=float(count),
                accepted=count >= max(floor, 1) and len({*guesses, self.names[track]}) <= n_answers,
                offset_s=offset * FRAME_S,
            )
            guesses.setdefault(guess.track, guess)
        return list(guesses.values())[:MAX_GUESSES]


def hashes_of(samples: Samples, *, density: float, fan_out: int, shifts: int) -> Table:
    """(n, 2) int32: frame and hash, each once, of samples at 11,025 Hz."""
    analysis = compiled_analyzer(density=density, fan_out=fan_out)
    found = []
    for shift in range(shifts):
        peaks = analysis.find_peaks(samples[int(shift / shifts * analysis.n_hop) :], RATE_HZ)
        found.append(analyzer.landmarks2hashes(analysis.peaks2landmarks(peaks)))
    return np.unique(np.concatenate(found), axis=0)


def compiled_analyzer(*, density: float, fan_out: int) -> Any:
    """audfprint's analyser with its loops over frames compiled."""
    analysis = analyzer.Analyzer(density)
    analysis.maxpairsperpeak = fan_out
    for name, compiled in (
        ("_decaying_threshold_fwd_prune", _forward),
        ("_decaying_threshold_bwd_prune_peaks", _backward),
        ("peaks2landmarks", _landmarks),
    ):
        setattr(analysis, name, partial(compiled, analysis))
    return analysis


def _forward(analysis: Any, sgram: Table, decay: float) -> Table:
    n_bins, n_frames = sgram.shape
    threshold = analysis.spreadpeaksinvector(sgram[:, : min(10, n_frames)].max(axis=1), analysis.f_sd)
    peaks = np.zeros(sgram.shape)
    bump = _bump(n_bins, analysis.f_sd)
    _forward_loop(np.ascontiguousarray(sgram.T), threshold, bump, decay, analysis.maxpksperframe, peaks)
    return peaks


def _backward(analysis: Any, sgram: Table, peaks: Table, decay: float) -> Table:
    threshold = analysis.spreadpeaksinvector(sgram[:, -1], analysis.f_sd)
    _backward_loop(np.ascontiguousarray(sgram.T), threshold, _bump(len(sgram), analysis.f_sd), decay, peaks)
    return peaks


def _landmarks(analysis: Any, peaks: Sequence[tuple[int, int]]) -> Table:
    if not peaks:
        return np.zeros((0, 4), np.int32)
    frames, bins = np.array(peaks, np.int32).T
    limits = analysis.maxpairsperpeak, analysis.targetdf, analysis.mindt, analysis.targetdt
    pairs = np.zeros((len(peaks) * analysis.maxpairsperpeak, 4), np.int32)
    return pairs[: _pairs_loop(np.ascontiguousarray(frames), np.ascontiguousarray(bins), *limits, pairs)]


def _bump(n_bins: int, width: float) -> Table:
    return np.asarray(np.exp(-0.5 * (np.arange(-n_bins, n_bins + 1) / width) ** 2))


def _forward_plain(
    frames: Table, threshold: Table, bump: Table, decay: float, max_peaks: int, peaks: Table
) -> None:
    n_frames, n_bins = frames.shape
    for frame in range(n_frames):
        values = frames[frame]
        found = np.zeros(n_bins, np.int64)
        n_found = 0
        for i in range(n_bins):
            rises = i == 0 or values[i] >= values[i - 1]
            falls = i == n_bins - 1 or values[i + 1] < values[i]
            if rises and falls and values[i] > threshold[i]:
                found[n_found] = i
                n_found += 1
        for _ in range(min(max_peaks, n_found)):
            best = -1
            for k in range(n_found):
                if found[k] >= 0 and (best < 0 or values[found[k]] >= values[found[best]]):
                    best = k
            at = found[best]
            found[best] = -1
            for i in range(n_bins):
                threshold[i] = max(threshold[i], values[at] * bump[n_bins - at + i])
            peaks[at, frame] = 1
        for i in range(n_bins):
            threshold[i] *= decay


def _backward_plain(frames: Table, threshold: Table, bump: Table, decay: float, peaks: Table) -> None:
    n_frames, n_bins = frames.shape
    for frame in range(n_frames - 1, -1, -1):
        values = frames[frame]
        left = peaks[:, frame].copy()
        while True:
            at = -1
            for i in range(n_bins):
                if left[i] > 0 and (at < 0 or values[i] >= values[at]):
                    at = i
            if at < 0:
                break
            left[at] = 0
            if values[at] >= threshold[at]:
                for i in range(n_bins):
                    threshold[i] = max(threshold[i], values[at] * bump[n_bins - at + i])
                if frame + 1 < n_frames:
                    peaks[at, frame + 1] = 0
            else:
                peaks[at, frame] = 0
        for i in range(n_bins):
            threshold[i] *= decay


def _pairs_plain(
    frames: Table, bins: Table, fan_out: int, max_bins: int, min_frames: int, max_frames: int, pairs: Table
) -> int:
    """Pairs written; peaks are ordered by frame, then bin."""
    n_pairs, n_peaks = 0, len(frames)
    for i in range(n_peaks):
        n_own = 0
        for j in range(i + 1, n_peaks):
            ahead = frames[j] - frames[i]
            if ahead >= max_frames or n_own >= fan_out:
                break
            if ahead >= min_frames and abs(bins[j] - bins[i]) < max_bins:
                pairs[n_pairs, 0], pairs[n_pairs, 1] = frames[i], bins[i]
                pairs[n_pairs, 2], pairs[n_pairs, 3] = bins[j], ahead
                n_pairs += 1
                n_own += 1
    return n_pairs


_forward_loop = numba.njit(cache=True)(_forward_plain)
_backward_loop = numba.njit(cache=True)(_backward_plain)
_pairs_loop = numba.njit(cache=True)(_pairs_plain)


def _kept(sorted_hashes: Table, bucket: int) -> Table:
    """Which of the postings, sorted by hash, their buckets keep: all, or a random choice of `bucket`."""
    draw = np.random.default_rng(0).random(len(sorted_hashes))
    order = np.lexsort((draw, sorted_hashes))
    first = np.searchsorted(sorted_hashes, sorted_hashes)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - first[order]
    return np.asarray(rank < bucket)


def _all_hashes(
    variant: Variant, catalogue: Sequence[Recording], cache: Path, processes: int
) -> tuple[Table, Table, Table]:
    """(hash, track, frame) of every posting; computed once and kept."""
    names = [each.name for each in catalogue]
    kept = cache / f"audfprint-index-{digest(variant.density, variant.fan_out, names)}.npy"
    if not kept.is_file():
        work = partial(_track_hashes, density=variant.density, fan_out=variant.fan_out)
        with ProcessPoolExecutor(processes) as pool:
            found = list(pool.map(work, catalogue))
        tracks = np.repeat(np.arange(len(found)), [len(each) for each in found])
        rows = np.column_stack([np.concatenate(found), tracks]).astype(np.int32)
        cache.mkdir(parents=True, exist_ok=True)
        partial_path = kept.with_suffix(f".{os.getpid()}.part")
        with partial_path.open("wb") as file:
            np.save(file, rows)
        partial_path.replace(kept)
    frames, hashes, tracks = np.load(kept).T
    return hashes, tracks, frames


def _track_hashes(recording: Recording, *, density: float, fan_out: int) -> Table:
    pcm = _at_rate(recording)
    if pcm is None:
        return np.zeros((0, 2), np.int32)
    return hashes_of(as_samples(pcm), density=density, fan_out=fan_out, shifts=1)


def _at_rate(recording: Recording) -> Pcm | None:
    return samples_of(recording.path, RATE_HZ)
