"""Fit the tail of wrong scores, and check it on clips that the fit has not seen.

    python -m loadtest.null_model CORPUS [--clips 3000] [--synthetic 0]

Every clip is searched, through all steps, among the reporting and tuning tracks of the corpus (and so many synthetic
ones); the best score of each step with a track of another cluster is a wrong one. Clips of tuning tracks make the fit:
an exponential tail over the highest tenth of each length, of one scale for all lengths. Clips of unknown tracks check
it: how many of them are promised to be 100, 30, 10, … of a thousand or rarer, and are there so many? Clips that share
material with another cluster (a score no chance reaches) are counted apart. Writes null_model.md, .json and .png to
loadtest/results/.
"""

import argparse
import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fpserver.config import Config
from fpserver.fingerprint.constellation import constellation_of
from fpserver.hearing import detail_of
from fpserver.matching.confidence import DENSE, PLAIN, REFERENCE_POSTINGS, WARPED, Tail, false_accept_rate
from fpserver.matching.confidence import LENGTHS_S as LENGTHS_OF_TAIL
from fpserver.search import Clock, search
from fpserver.terms import Constellation, Hearing, Samples
from loadtest.accuracy.cells import Cell, Codec, Noise, Room
from loadtest.accuracy.clips import Studio, at_11025, render, studio
from loadtest.corpus import Recording, as_samples, music, samples_of, thirds
from loadtest.memory_index import MemoryIndex

RESULTS = Path(__file__).parent / "results"
CONFIG = Config()
RATE_HZ = CONFIG.fingerprint.rate_hz
TAILS = {"plain": PLAIN, "dense": DENSE, "warped": WARPED}
SHARED = 20.0  # a wrong score above this is no chance: the two recordings share material
LEVELS = (0.1, 0.03, 0.01, 0.003, 0.001)
LENGTHS_S = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0)
LENGTH_SHARES = (0.2, 0.2, 0.1, 0.2, 0.2, 0.1)
KINDS = (
    Cell(name="clean", family="", seconds=1),
    Cell(name="mp3", family="", seconds=1, codec=Codec.MP3),
    Cell(name="noise +5 dB", family="", seconds=1, noise=Noise.MIXED, snr_db=5),
    Cell(name="noise -6 dB", family="", seconds=1, noise=Noise.MIXED, snr_db=-6),
    Cell(name="phone", family="", seconds=1, noise=Noise.MIXED, snr_db=5, room=Room.SIMULATED),
    Cell(name="speed", family="", seconds=1, speed=1.05),
    Cell(name="no music", family="", seconds=1, unknown="other"),
)
SHARES = (0.35, 0.1, 0.15, 0.1, 0.1, 0.05, 0.15)
SEED = 3
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """The best wrong scores of one clip, by step."""

    kind: str
    seconds: float
    check: bool  # of an unknown track
    scores: Mapping[str, float]


_CATALOGUE: list[Recording] = []
_STUDIOS: list[Studio] = []
_INDEX: list[MemoryIndex] = []


def main() -> None:
    """Measure, fit, check, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--clips", type=int, default=3000)
    parser.add_argument("--synthetic", type=int, default=0, help="synthetic tracks among the real ones")
    parser.add_argument("--keep", type=Path, help="file for the scores of each clip; read if it is there")
    args = parser.parse_args()
    if args.keep and args.keep.is_file():
        kept = json.loads(args.keep.read_text(encoding="utf-8"))
        _write([Wrong(**each) for each in kept["clips"]], kept["setting"])
        return
    parts = thirds(music(args.corpus))
    _CATALOGUE.extend([*parts.tuning, *parts.reporting])
    _STUDIOS.extend(studio(args.corpus, known, known, SEED) for known in (parts.tuning, parts.unknown))
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        dense = list(pool.map(_dense, _CATALOGUE, chunksize=4))
    _INDEX.append(MemoryIndex(dense, CONFIG.fingerprint, n_synthetic=args.synthetic))
    with ProcessPoolExecutor(os.cpu_count()) as pool:  # forked: the index is shared
        wrong = list(pool.map(_wrong, range(args.clips), chunksize=10))
    setting = {"tracks": len(_CATALOGUE), "synthetic": args.synthetic, "postings": len(_INDEX[0])}
    if args.keep:
        kept = {"setting": setting, "clips": [asdict(each) for each in wrong]}
        args.keep.write_text(json.dumps(kept), encoding="utf-8")
    _write(wrong, setting)


def hearing_of(samples: Samples) -> Hearing:
    """What the server hears of a clip."""
    config = CONFIG.fingerprint
    return Hearing(
        constellation=constellation_of(samples, config),
        detail=detail_of(samples, config),
        duration_s=len(samples) / RATE_HZ,
        truncated=False,
        timings_s={},
    )


def _dense(track: Recording) -> Constellation:
    samples = samples_of(track.path, RATE_HZ)
    return constellation_of(
        np.zeros(0, np.float32) if samples is None else as_samples(samples), CONFIG.fingerprint
    )


def _wrong(number: int) -> Wrong:
    """One clip, and its best wrong scores."""
    rng = np.random.default_rng([number, 2])
    check = bool(number % 3 == 0)
    kind = KINDS[int(rng.choice(len(KINDS), p=SHARES))]
    seconds = float(rng.choice(LENGTHS_S, p=LENGTH_SHARES))
    clip, pcm = render(_STUDIOS[check], replace(kind, seconds=seconds), number)
    own = {each.cluster for part in clip.parts for each in _STUDIOS[check].known if each.name == part.track}
    scores = asyncio.run(_scores(hearing_of(at_11025(pcm)), own))
    return Wrong(kind=kind.name, seconds=seconds, check=check, scores=scores)


async def _scores(hearing: Hearing, own: set[str]) -> dict[str, float]:
    """The best score of each step with a track of another cluster."""
    best = {}
    async for step in search(_INDEX[0], hearing, CONFIG, Clock({}), warped=True):
        wrong = [match.score for match in step.ranked if _cluster(match.track_id) not in own]
        best[step.name] = max(wrong, default=0.0)
    return best


def _cluster(track_id: int) -> str:
    return _CATALOGUE[track_id - 1].cluster if track_id <= len(_CATALOGUE) else ""


def _write(wrong: Sequence[Wrong], setting: Mapping[str, int]) -> None:
    kinds = [kind.name for kind in KINDS]
    report: dict[str, Any] = {"clips": len(wrong), **setting, "kinds": kinds}
    lines = [
        "# Wrong scores and their tail",
        "",
        f"{len(wrong)} clips ({', '.join(kinds)}) of {min(LENGTHS_S):g} to {max(LENGTHS_S):g} s; "
        f"{setting['tracks']} tracks, {setting['synthetic']} synthetic ones, {setting['postings']} postings.",
        "",
    ]
    for step, tail in TAILS.items():
        report[step] = _step(wrong, step, tail, setting["postings"])
        lines += _told(step, report[step])
    name = f"null_model_{setting['synthetic']}" if setting["synthetic"] else "null_model"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (RESULTS / f"{name}.md").write_text("\n".join(lines), encoding="utf-8")
    _plot(RESULTS / f"{name}.png", wrong, setting["postings"])
    print("\n".join(lines))


def _step(wrong: Sequence[Wrong], step: str, tail: Tail, n_indexed: int) -> dict[str, Any]:
    chance = [each for each in wrong if each.scores[step] < SHARED]
    fit, check = ([each for each in chance if each.check == half] for half in (False, True))
    fitted = _fit(fit, step, n_indexed)
    rates = {name: _rates(some, step, tail, n_indexed) for name, some in (("fit", fit), ("check", check))}
    return {
        "fitted": {"locations": np.round(fitted.locations, 2).tolist(), "scale": round(fitted.scale, 3)},
        "in_use": {"locations": tail.locations, "scale": tail.scale},
        "promised": [
            {
                "rate": level,
                **{f"{name}_measured": float(np.mean(some <= level)) for name, some in rates.items()},
                **{f"{name}_clips": int(np.sum(some <= level)) for name, some in rates.items()},
            }
            for level in LEVELS
        ],
        "fit": len(fit),
        "check": len(check),
        "share_material": len(wrong) - len(chance),
        "smallest_rates": np.sort(np.r_[rates["fit"], rates["check"]])[:10].tolist(),
        "q99_by_length": {
            f"{seconds:g} s": _q99([each.scores[step] for each in chance if each.seconds == seconds])
            for seconds in LENGTHS_S
        },
        "q99_by_kind": {
            kind.name: _q99([each.scores[step] for each in chance if each.kind == kind.name])
            for kind in KINDS
        },
    }


def _told(step: str, report: Mapping[str, Any]) -> list[str]:
    return [
        f"## {step} step",
        "",
        f"Fitted on {report['fit']} clips: {report['fitted']}. In use: {report['in_use']}.",
        "",
        f"| rate promised | fit: clips at it or rarer | measured | check ({report['check']}): clips | measured |",
        "|---|---|---|---|---|",
        *(
            f"| {row['rate']:g} | {row['fit_clips']} | {row['fit_measured']:.5f} "
            f"| {row['check_clips']} | {row['check_measured']:.5f} |"
            for row in report["promised"]
        ),
        "",
        f"99 % of wrong scores lie below, by length: {report['q99_by_length']}; by kind: {report['q99_by_kind']}.",
        f"Rarest, as promised: {[float(f'{rate:.1e}') for rate in report['smallest_rates']]}. "
        f"Clips that share material with another cluster: {report['share_material']}.",
        "",
    ]


def _q99(scores: Sequence[float]) -> float:
    return round(float(np.quantile(scores, 0.99)), 2) if scores else 0.0


def _fit(wrong: Sequence[Wrong], step: str, n_indexed: int) -> Tail:
    """One exponential scale above the 90 % quantiles of all lengths, moved to REFERENCE_POSTINGS."""
    nearest = [int(np.argmin(np.abs(np.log(np.array(LENGTHS_OF_TAIL) / each.seconds)))) for each in wrong]
    scores = np.array([each.scores[step] for each in wrong])
    groups = [scores[np.array(nearest) == i] for i in range(len(LENGTHS_OF_TAIL))]
    levels = [float(np.quantile(group, 0.9)) for group in groups]
    excess = np.concatenate([group[group > lv] - lv for group, lv in zip(groups, levels, strict=True)])
    scale = float(excess.mean())
    moved = scale * (log(0.1) + log(REFERENCE_POSTINGS / n_indexed))
    first, second, third, fourth = (level + moved for level in levels)
    return Tail((first, second, third, fourth), scale)


def _rates(wrong: Sequence[Wrong], step: str, tail: Tail, n_indexed: int) -> Floats:
    """What is promised for each clip's best wrong score, in one step."""
    return np.array(
        [
            false_accept_rate(each.scores[step], tail, seconds=each.seconds, n_indexed=n_indexed, n_steps=1)
            for each in wrong
        ]
    )


def _plot(path: Path, wrong: Sequence[Wrong], n_indexed: int) -> None:
    """Share of clips promised to be so rare or rarer, over the promise: on the diagonal where it is kept."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        return
    figure = Figure(figsize=(5 * len(TAILS), 4))
    for i, (step, tail) in enumerate(TAILS.items(), 1):
        axis = figure.add_subplot(1, len(TAILS), i)
        for half, name in ((False, "fit"), (True, "check")):
            some = [each for each in wrong if each.check == half and each.scores[step] < SHARED]
            rates = np.sort(_rates(some, step, tail, n_indexed))
            axis.step(rates, np.arange(1, len(rates) + 1) / len(rates), label=f"{name}, {len(rates)} clips")
        axis.plot([1e-5, 1], [1e-5, 1], color="grey", lw=0.7)
        axis.set(xscale="log", yscale="log", xlim=(1e-5, 1), ylim=(1e-4, 1), title=f"{step} step")
        axis.set(xlabel="rate promised for the best wrong score", ylabel="share of clips")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=90, bbox_inches="tight")


if __name__ == "__main__":
    main()
