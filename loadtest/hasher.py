"""How the landmark hasher is set, and what other settings would do: equal bytes, equal bounds, 100,000 tracks.

    python -m loadtest.hasher CORPUS [--clips 40] [--hours 200] [--variants a,b] [--all-queries] [--seed 11]

Each variant of the fingerprint's settings makes an index of the tuning tracks and of so many hours of synthetic ones,
and is asked for clips of tuning tracks. Reported is the share of clips whose true (track, alignment) has most votes,
or is among the first 40 or 300. Chance alignments are counted on tracks of other clusters and stand for as many as an
index of 100,000 tracks holds; beyond the 30 highest, their number falls exponentially. The bound on postings shrinks
with the index, so that a clip reads what it would read there, rarest lists first.

Where a variant says nothing of `strong_peaks_per_s`, it is chosen for POSTINGS_PER_S: compared is what is equally
large. Constants that are no settings are changed in this process only. Writes NAME.json, variant by variant, and
NAME.md to loadtest/results/; variants measured with other clips, hours or seed are dropped from them.
"""

import argparse
import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import pdtr

from fpserver.config import Config, FingerprintConfig
from fpserver.fingerprint import constellation, landmarks
from fpserver.fingerprint.constellation import band, constellation_of, frames_per_s
from fpserver.fingerprint.landmarks import fingerprint_of
from fpserver.fingerprint.query import query_of
from fpserver.matching.candidates import candidates_of, hits_of
from fpserver.terms import Constellation, Samples
from loadtest.accuracy.cells import Cell, Codec, Noise, Room
from loadtest.accuracy.clips import Studio, at_rate, render, studio
from loadtest.corpus import Pcm, Recording, as_samples, music, samples_of, thirds
from loadtest.memory_index import MemoryIndex

RESULTS = Path(__file__).parent / "results"
CONFIG = Config()
SETTINGS, MATCHING = CONFIG.fingerprint, CONFIG.matching
CELLS = (
    Cell(name="clean 1 s", family="", seconds=1),
    Cell(name="clean 2 s", family="", seconds=2),
    Cell(name="noise 0 dB 5 s", family="", seconds=5, noise=Noise.MIXED, snr_db=0),
    Cell(name="noise -9 dB 5 s", family="", seconds=5, noise=Noise.MIXED, snr_db=-9),
    Cell(name="noise -12 dB 10 s", family="", seconds=10, noise=Noise.MIXED, snr_db=-12),
    Cell(name="phone 0 dB 10 s", family="", seconds=10, noise=Noise.MIXED, snr_db=0, room=Room.SIMULATED),
    Cell(name="GSM -9 dB 10 s", family="", seconds=10, noise=Noise.MIXED, snr_db=-9, codec=Codec.GSM),
)
FIRST = (1, 40, 300)
FULL_HOURS = 100_000 * 190 / 3600
BYTES_PER_POSTING, BITS_PER_PEAK = 9.0, 13.6  # decisions 0007 and 0016, at 40 peaks a second
POSTINGS_PER_S = 26.3  # of the tuning tracks under the defaults
N_TAIL = 30
NOT_FOUND = 1e6  # chance alignments above a true one that is not among the candidates
N_CANDIDATES = 400
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a clip asks, within which bounds."""

    peaks_per_s: int
    fan_out: int
    phases: int = 2
    max_lookups: int = 10_500  # what a query may take that has no step of its own
    max_postings: int = 900_000

    @property
    def name(self) -> str:
        """As the page calls it."""
        return f"{self.peaks_per_s}x{self.fan_out}, {('one phase', 'two phases')[self.phases - 1]}"


PLAIN = Query(
    peaks_per_s=CONFIG.plain.peaks_per_s,
    fan_out=CONFIG.plain.fan_out,
    phases=1,
    max_lookups=CONFIG.plain.max_lookups,
    max_postings=CONFIG.plain.max_postings,
)
DENSE = Query(
    peaks_per_s=CONFIG.dense.peaks_per_s,
    fan_out=CONFIG.dense.fan_out,
    max_lookups=CONFIG.dense.max_lookups,
    max_postings=CONFIG.dense.max_postings,
)
QUERIES = (
    PLAIN,
    DENSE,
    Query(peaks_per_s=40, fan_out=8, phases=1),
    Query(peaks_per_s=60, fan_out=8),
    Query(peaks_per_s=60, fan_out=12),
    Query(peaks_per_s=120, fan_out=16),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What is set otherwise: keys of FingerprintConfig, and constants of `fingerprint.constellation`."""

    name: str
    family: str
    settings: Mapping[str, int] = field(default_factory=dict)
    constants: Mapping[str, float] = field(default_factory=dict)
    fully_asked: bool = False  # with all of QUERIES
    timed: bool = False  # whether it changes how long extraction takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What asking for a clip gave, as it would be in a full index."""

    higher: float  # chance alignments with more votes than the true one
    n_lookups: int
    n_postings: float
    left_out: float  # share of hashes whose lists are too long for the bound
    n_real: int  # postings read of real tracks of other clusters
    n_synthetic: int  # of synthetic ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Everything's peaks under one analysis."""

    tracks: list[Constellation]
    clips: list[list[Constellation]]  # each clip's, and once more with frames half a hop later


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A clip, and where it is from."""

    cell: str
    pcm: Pcm
    track_id: int
    start_s: float


def _density(strong: int, fan_out: int) -> Variant:
    settings = {"strong_peaks_per_s": strong, "fan_out": fan_out}
    return Variant(name=f"{strong}x{fan_out}", family="strong peaks x fan-out", settings=settings)


def _neighbourhood(frames: int, bins: int) -> Variant:
    constants = {"PEAK_FRAMES": frames, "PEAK_BINS": bins}
    return Variant(name=f"peak ±{frames} x ±{bins}", family="peak neighbourhood", constants=constants)


def _whitening(frames: int, bins: int) -> Variant:
    constants = {"WHITENING_FRAMES": frames, "WHITENING_BINS": bins}
    return Variant(name=f"mean of ±{frames} x ±{bins}", family="whitening", constants=constants)


def _zone(name: str, **settings: int) -> Variant:
    return Variant(name=name, family="target zone", settings=settings)


# Of windows: surroundings, neighbourhood and zone as long and as high as the default's.
WINDOWS = "window/hop"
VARIANTS = (
    Variant(
        name="default",
        family="",
        settings={"strong_peaks_per_s": SETTINGS.strong_peaks_per_s},
        fully_asked=True,
        timed=True,
    ),
    _density(20, 1),
    _density(27, 1),
    _density(35, 1),
    _density(14, 2),
    _density(20, 2),
    _density(9, 3),
    _density(11, 3),
    _zone("±63 bins", max_delta_bins=63),
    _zone("±255 bins", max_delta_bins=255),
    _zone("10 frames", max_delta_frames=10),
    _zone("20 frames", max_delta_frames=20),
    _zone("31 frames", max_delta_frames=31),
    _zone("31 frames and ±255 bins", max_delta_frames=31, max_delta_bins=255),
    _zone("from 3 frames on", min_delta_frames=3),
    Variant(
        name="11025 Hz 2048/512 to 5000 Hz and 31 frames",
        family=WINDOWS,
        settings={
            "rate_hz": 11025,
            "window": 2048,
            "hop": 512,
            "max_delta_frames": 31,
            "max_delta_bins": 127,
        },
        constants={"WHITENING_BINS": 12, "PEAK_BINS": 8, "MAX_HZ": 5000.0},
        timed=True,
    ),
    Variant(
        name="2048/372",
        family=WINDOWS,
        settings={"window": 2048, "max_delta_bins": 85},
        constants={"WHITENING_BINS": 17, "PEAK_BINS": 11},
        timed=True,
    ),
    Variant(
        name="4096/372",
        family=WINDOWS,
        settings={"window": 4096, "max_delta_bins": 170},
        constants={"WHITENING_BINS": 33, "PEAK_BINS": 21},
        timed=True,
    ),
    Variant(
        name="3072/186",
        family=WINDOWS,
        settings={"hop": 186, "min_delta_frames": 2, "max_delta_frames": 30},
        constants={"WHITENING_FRAMES": 40, "PEAK_FRAMES": 6},
        timed=True,
    ),
    Variant(name="up to 3400 Hz", family="band", constants={"MAX_HZ": 3400.0}),
    Variant(name="from 250 Hz", family="band", constants={"MIN_HZ": 250.0}),
    _neighbourhood(2, 16),
    _neighbourhood(5, 16),
    _neighbourhood(3, 8),
    _neighbourhood(3, 24),
    _whitening(10, 25),
    _whitening(40, 25),
    _whitening(20, 12),
    _whitening(20, 50),
)


def main() -> None:
    """Measure variant by variant, and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--clips", type=int, default=40, help="of each cell")
    parser.add_argument("--hours", type=int, default=200, help="synthetic, among the tuning tracks")
    parser.add_argument("--variants", help="names, or families, separated by commas; all without it")
    parser.add_argument("--all-queries", action="store_true", help="ask each variant all of them")
    parser.add_argument("--seed", type=int, default=11, help="of the clips")
    parser.add_argument("--name", default="hasher", help="of the files of results")
    parser.add_argument("--page", action="store_true", help="write NAME.md again, measure nothing")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    target = args.out / f"{args.name}.json"
    report = _kept(target)
    wanted = set(args.variants.split(",")) if args.variants else {each.name for each in VARIANTS}
    chosen = [each for each in VARIANTS if not args.page and wanted & {each.name, each.family}]
    if chosen:
        tuning = thirds(music(args.corpus)).tuning
        made_of = studio(args.corpus, tuning, tuning, args.seed)
        setting = {"tracks": len(made_of.known), "clips": args.clips, "hours": args.hours, "seed": args.seed}
        if report.get("setting") != setting:
            report = {"setting": setting, "variants": {}}
        clips = [_clip(made_of, cell, number) for cell in CELLS for number in range(args.clips)]
    analysis, heard = None, None
    for variant in chosen:
        with varied(variant) as config:
            wanted_analysis = config.rate_hz, config.window, config.hop, variant.constants
            if heard is None or analysis != wanted_analysis:
                analysis = wanted_analysis
                heard = hear(made_of.known, clips, config)
            queries = QUERIES if args.all_queries or variant.fully_asked else (PLAIN, DENSE)
            figures = _figures(variant, heard, made_of.known, clips, config, queries, args.hours)
            if variant.timed:
                figures["times_real_time"] = _speed(made_of.known, config)
        report["variants"][variant.name] = figures
        print(_row(variant.name, figures, DENSE.name, None), flush=True)
        _write(report, target)
    _write(report, target)


def _clip(made_of: Studio, cell: Cell, number: int) -> Asked:
    clip, pcm = render(made_of, cell, number)
    part = clip.parts[0]
    names = [track.name for track in made_of.known]
    return Asked(
        cell=cell.name,
        pcm=pcm,
        track_id=1 + names.index(part.track),
        start_s=part.start_s,
    )


@contextmanager
def varied(variant: Variant) -> Iterator[FingerprintConfig]:
    """The variant's settings, while its constants, and as many bits as its hashes need, are in force."""
    config = msgspec.structs.replace(SETTINGS, **variant.settings)
    with patched(constellation, variant.constants):
        context = 2 * constellation.WHITENING_FRAMES + constellation.PEAK_FRAMES
        with (
            patched(constellation, {"CONTEXT_FRAMES": context}),
            patched(landmarks, _bits(config)),
        ):
            yield config


def _bits(config: FingerprintConfig) -> dict[str, int]:
    anchor = (band(config)[1] - 1).bit_length()
    delta_bin, delta_frames = config.max_delta_bins.bit_length() + 1, config.max_delta_frames.bit_length()
    return {
        "ANCHOR_BIN_BITS": anchor,
        "DELTA_BIN_BITS": delta_bin,
        "DELTA_FRAMES_BITS": delta_frames,
        "HASH_BITS": anchor + delta_bin + delta_frames,
        "DELTA_BIN_BIAS": 1 << (delta_bin - 1),
    }


@contextmanager
def patched(module: ModuleType, values: Mapping[str, float]) -> Iterator[None]:
    """Other values of a module's constants, for a while."""
    kept = {name: getattr(module, name) for name in values}
    try:
        for name, value in values.items():
            setattr(module, name, value)
        yield
    finally:
        for name, value in kept.items():
            setattr(module, name, value)


def hear(tracks: Sequence[Recording], clips: Sequence[Asked], config: FingerprintConfig) -> Heard:
    """Everything's peaks."""
    return Heard(
        tracks=[constellation_of(_samples(track, config), config) for track in tracks],
        clips=[
            [constellation_of(samples[begin:], config) for begin in (0, config.hop // 2)]
            for samples in (at_rate(clip.pcm, config.rate_hz) for clip in clips)
        ],
    )


def _figures(
    variant: Variant,
    heard: Heard,
    tracks: Sequence[Recording],
    clips: Sequence[Asked],
    config: FingerprintConfig,
    queries: Sequence[Query],
    synthetic_hours: int,
) -> dict[str, Any]:
    if "strong_peaks_per_s" not in variant.settings:
        config = equally_large(heard.tracks, config)
    seconds = sum(each.n_frames for each in heard.tracks) / frames_per_s(config)
    kept = [fingerprint_of(each, config) for each in heard.tracks]
    postings_per_s = sum(len(each.landmarks) for each in kept) / seconds
    peaks_per_s = sum(len(each.peaks) for each in kept) / seconds
    bytes_per_s = postings_per_s * BYTES_PER_POSTING + peaks_per_s * BITS_PER_PEAK / 8
    n_synthetic = round(synthetic_hours * 3600 / seconds * len(tracks))
    index = MemoryIndex(heard.tracks, config, n_synthetic=n_synthetic)
    n_full = postings_per_s * 3600 * FULL_HOURS
    per_track = np.bincount(index.track_id)
    n_real, n_made = per_track[: len(tracks) + 1].sum(), per_track[len(tracks) + 1 :].sum()
    asked, met = {}, np.zeros(2)  # postings read, per posting there is: of real tracks, of synthetic ones
    for query in queries:
        answers: dict[str, list[Answer]] = {cell.name: [] for cell in CELLS}
        for clip, phases in zip(clips, heard.clips, strict=True):
            cluster = tracks[clip.track_id - 1].cluster
            own = [i for i, track in enumerate(tracks, 1) if track.cluster == cluster]
            ratio = n_full / (len(index) - per_track[own].sum())
            answer = asyncio.run(
                _ask(index, query, clip, phases, config, own=own, n_tracks=len(tracks), ratio=ratio)
            )
            answers[clip.cell].append(answer)
            met += answer.n_real / (n_real - per_track[own].sum()), answer.n_synthetic / n_made
        asked[query.name] = {cell: _summed_up(those) for cell, those in answers.items()}
    return {
        "family": variant.family,
        "strong_peaks_per_s": config.strong_peaks_per_s,
        "fan_out": config.fan_out,
        "hash_bits": landmarks.HASH_BITS,
        "postings_per_s": round(postings_per_s, 2),
        "peaks_per_s": round(peaks_per_s, 2),
        "mb_per_hour": round(3600 * bytes_per_s / 1e6, 3),
        "postings_in_index": len(index),
        "real_over_synthetic": round(float(met[0] / met[1]), 2),
        "queries": asked,
    }


def _summed_up(answers: Sequence[Answer]) -> dict[str, Any]:
    return {
        "higher": [float(f"{each.higher:.2g}") for each in answers],
        "lookups": float(np.median([each.n_lookups for each in answers])),
        "postings": round(float(np.median([each.n_postings for each in answers])), -2),
        "left_out": round(float(np.mean([each.left_out for each in answers])), 3),
    }


def equally_large(tracks: Sequence[Constellation], config: FingerprintConfig) -> FingerprintConfig:
    """So many strong peaks that postings are nearest to POSTINGS_PER_S, in every tenth track."""
    some = tracks[::10]
    n_wanted = POSTINGS_PER_S * sum(each.n_frames for each in some) / frames_per_s(config)
    return min(
        (
            msgspec.structs.replace(config, strong_peaks_per_s=strong)
            for strong in range(1, config.track_peaks_per_s + 1)
        ),
        key=lambda each: abs(sum(len(fingerprint_of(track, each).landmarks) for track in some) - n_wanted),
    )


async def _ask(
    index: MemoryIndex,
    query: Query,
    clip: Asked,
    phases: Sequence[Constellation],
    config: FingerprintConfig,
    *,
    own: Sequence[int],
    n_tracks: int,
    ratio: float,
) -> Answer:
    """Ask for a clip; `own`, of the `n_tracks` real ones, are of its cluster, `ratio` is full size over this."""
    pairs = query_of(
        phases[: query.phases],
        config,
        peaks_per_s=query.peaks_per_s,
        fan_out=query.fan_out,
        max_hashes=query.max_lookups,
    )
    hashes, hash_of_landmark = np.unique(pairs.hash, return_inverse=True)
    found = await index.lookup(hashes, max_postings=round(query.max_postings / ratio))
    hits = hits_of(found, hash_of_landmark, pairs.offset, max_hits=MATCHING.max_hits)
    candidates = candidates_of(hits, max_candidates=N_CANDIDATES)
    begins = clip.start_s * frames_per_s(config)
    true = [
        each.votes
        for each in candidates
        if each.track_id == clip.track_id and abs(each.alignment - begins) <= 2
    ]
    chance = np.array([each.votes for each in candidates if each.track_id not in own])
    return Answer(
        higher=min(expected_higher(max(true), chance, ratio), NOT_FOUND) if true else NOT_FOUND,
        n_lookups=len(hashes),
        n_postings=len(found) * ratio,
        left_out=found.n_stopped / max(1, len(hashes)),
        n_real=int(np.count_nonzero((found.track_id <= n_tracks) & ~np.isin(found.track_id, own))),
        n_synthetic=int(np.count_nonzero(found.track_id > n_tracks)),
    )


def expected_higher(votes: float, chance: Floats, ratio: float) -> float:
    """Chance alignments above `votes` in an index `ratio` times as large; beyond the 30 highest, an exponential tail.

    Args:
        votes: of the true alignment.
        chance: votes of chance alignments, the highest first.
        ratio: how many times as many a full index holds.
    """
    above = int(np.count_nonzero(chance >= votes))
    if above >= N_TAIL or len(chance) <= N_TAIL:
        return above * ratio
    excess = float(np.mean(chance[:N_TAIL] - chance[N_TAIL]))
    if excess <= 0:
        return above * ratio
    return float(N_TAIL * np.exp((chance[N_TAIL] - votes) / excess) * ratio)


def likely(higher: Sequence[float], among: int) -> Floats:
    """For each clip, how likely its true alignment is among the first so many, of Poisson's numbers of higher ones."""
    probability: Floats = pdtr(among - 1, np.asarray(higher, np.float64))
    return probability


def _speed(tracks: Sequence[Recording], config: FingerprintConfig) -> float:
    """Seconds of music per second of one core, decoded samples to fingerprint: three tracks, the least of three."""
    some = [_samples(track, config) for track in tracks[:: max(1, len(tracks) // 3)][:3]]
    spent = []
    for _ in range(3):
        start = process_time()
        for samples in some:
            fingerprint_of(constellation_of(samples, config), config)
        spent.append(process_time() - start)
    return float(round(sum(map(len, some)) / config.rate_hz / min(spent)))


def _samples(track: Recording, config: FingerprintConfig) -> Samples:
    pcm = samples_of(track.path, config.rate_hz)
    return np.zeros(0, np.float32) if pcm is None else as_samples(pcm)


def page_of(report: Mapping[str, Any]) -> str:
    """The report as tables, one for each family of variants and query."""
    setting, variants = report["setting"], report["variants"]
    default = variants.get("default")
    lines = [
        "# The landmark hasher and its settings",
        "",
        f"{setting['clips']} clips a cell of {setting['tracks']} tuning tracks, among {setting['hours']} h of "
        f"synthetic ones; chance alignments counted as {FULL_HOURS:,.0f} h (100,000 tracks) have them, postings "
        "bounded as there. In a cell: percent of clips whose true alignment is first / among 40 / among 300 by "
        "votes, before anything is verified. Mean: of the cells, among 300. Clean, noisy: paired difference of "
        "the clean and of the other cells to the default, among 300, ± standard error, points. MB per hour at "
        f"{BYTES_PER_POSTING:g} B a posting and {BITS_PER_PEAK:g} bits a peak. Look-ups, and postings read at "
        "100,000 tracks: of the median clip, mean of the cells. Left out: "
        "hashes whose lists are too long for the bound.",
        "",
    ]
    asked = dict.fromkeys(query for each in variants.values() for query in each["queries"])
    for query in sorted(asked, key=lambda query: (query != DENSE.name, query != PLAIN.name)):
        basis = default["queries"][query] if default else None
        for family in dict.fromkeys(each["family"] for each in variants.values() if each["family"]):
            rows = [
                _row(name, each, query, basis)
                for name, each in variants.items()
                if each["family"] in ("", family) and query in each["queries"]
            ]
            if len(rows) > bool(default):
                lines += [f"## {family}, asked with {query}", "", *_head("variant"), *rows, ""]
    if default:
        lines += ["## queries of the default fingerprint", "", *_head("query")]
        lines += [_row(query, default, query, default["queries"][DENSE.name]) for query in default["queries"]]
    lines += [
        "",
        "## Synthetic tracks",
        "",
        "Postings read of real tracks of other clusters, per posting that these have, over the same of synthetic "
        "tracks: above 1, real chance is harder than counted.",
        "",
        "| variant | real over synthetic |",
        "|---|---|",
        *(
            f"| {name} | {each['real_over_synthetic']:.2f} |"
            for name, each in variants.items()
            if "real_over_synthetic" in each
        ),
        "",
        "## Extraction",
        "",
        "Decoded samples to fingerprint on one core, processor time, three tracks, the least of three.",
        "",
        "| variant | times real time |",
        "|---|---|",
        *(
            f"| {name} | {each['times_real_time']:,.0f} |"
            for name, each in variants.items()
            if "times_real_time" in each
        ),
        "",
    ]
    return "\n".join(lines)


def _head(first: str) -> list[str]:
    columns = [first, "strong x fan-out", "bits", "MB/h", *(cell.name for cell in CELLS)]
    columns += ["mean", "clean", "noisy", "look-ups", "postings", "left out"]
    return [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def _row(name: str, variant: Mapping[str, Any], query: str, basis: Mapping[str, Any] | None) -> str:
    """A line of a table; `basis` are the cells that it is compared with."""
    cells = variant["queries"][query]
    columns = [
        name,
        f"{variant['strong_peaks_per_s']}x{variant['fan_out']}",
        variant["hash_bits"],
        f"{variant['mb_per_hour']:.2f}",
        *(
            " / ".join(f"{100 * likely(each['higher'], n).mean():.0f}" for n in FIRST)
            for each in cells.values()
        ),
        f"{100 * np.mean([likely(each['higher'], FIRST[-1]).mean() for each in cells.values()]):.1f}",
        *(_difference(cells, basis, kind) for kind in (True, False)),
        *(f"{np.mean([each[key] for each in cells.values()]):,.0f}" for key in ("lookups", "postings")),
        f"{np.mean([each['left_out'] for each in cells.values()]):.0%}",
    ]
    return f"| {' | '.join(map(str, columns))} |"


def _difference(cells: Mapping[str, Any], basis: Mapping[str, Any] | None, is_clean: bool) -> str:
    if basis is None or cells is basis:
        return "-"
    some = {name: each for name, each in cells.items() if name.startswith("clean") == is_clean}
    return "{:+.1f} ± {:.1f}".format(*paired(some, basis)) if some else "-"


def paired(cells: Mapping[str, Any], basis: Mapping[str, Any]) -> tuple[float, float]:
    """Mean over the cells of the difference in clips among the first 300, and its standard error, points."""
    differences = [
        likely(cells[name]["higher"], FIRST[-1]) - likely(basis[name]["higher"], FIRST[-1]) for name in cells
    ]
    variances = [each.var(ddof=1) / len(each) for each in differences]
    mean = np.mean([each.mean() for each in differences])
    return float(100 * mean), float(100 * np.sqrt(np.sum(variances)) / len(differences))


def _kept(path: Path) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return kept


def _write(report: Mapping[str, Any], target: Path) -> None:
    """The figures, one line a variant, and the page beside them."""
    variants = ",\n".join(
        f"  {json.dumps(name, ensure_ascii=False)}: {json.dumps(each, ensure_ascii=False)}"
        for name, each in report["variants"].items()
    )
    text = f'{{\n "setting": {json.dumps(report["setting"])},\n "variants": {{\n{variants}\n }}\n}}\n'
    target.parent.mkdir(exist_ok=True)
    target.write_text(text, encoding="utf-8")
    target.with_suffix(".md").write_text(page_of(report), encoding="utf-8")


if __name__ == "__main__":
    main()
