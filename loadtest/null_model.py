"""Fit the tail of wrong leads, and check it on clips that the fit has not seen.

    python -m loadtest.null_model CORPUS [--clips 3000]

Every clip is searched, through all steps, among the reporting and tuning tracks of the corpus. In each step the best
track of another cluster is a wrong one; its lead is over the other wrong ones, as it would be were the clip's own
track not catalogued. Clips of tuning tracks make the fit: an exponential tail over the highest tenth of all steps, once
for even clips and once for uneven ones. Clips of unknown tracks check it: how many of them are promised
to be 100, 30, 10, … of a thousand or rarer, and are there so many? Clips that share material with another cluster (a
score no chance reaches) are counted apart. Writes null_model.md, .json and .png to loadtest/results/. `loadtest.scale`
checks the same tail in larger catalogues.
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
from fpserver.matching.confidence import (
    COHORT,
    LOCATION,
    SCALES,
    SHORT_FRAMES,
    UNEVEN,
    WIDER,
    chance_level,
    false_accept_rate,
)
from fpserver.search import STEPS, Clock, clip_map_of, search
from fpserver.terms import Constellation, Hearing, Samples
from loadtest.accuracy.cells import Cell, Codec, Noise, Room
from loadtest.accuracy.clips import Studio, at_rate, render, studio
from loadtest.corpus import Recording, as_samples, music, samples_of, thirds
from loadtest.memory_index import MemoryIndex

RESULTS = Path(__file__).parent / "results"
CONFIG = Config()
RATE_HZ = CONFIG.fingerprint.rate_hz
SHARED = 20.0  # a wrong score above this is no chance: the two recordings share material
LIMIT = (UNEVEN[0] * UNEVEN[1]) ** 0.5
EVEN_CLIPS, UNEVEN_CLIPS = f"unevenness below {LIMIT:.3f}", f"unevenness from {LIMIT:.3f}"
FITTED = 0.1  # of the leads, the highest
LEVELS = (0.1, 0.03, 0.01, 0.003, 0.001)
LENGTHS_S = (1.0, 2.0, 3.0, 5.0, 10.0, 20.0)
LENGTH_SHARES = (0.2, 0.2, 0.1, 0.2, 0.2, 0.1)
KINDS = (
    Cell(name="clean", family="", seconds=1),
    Cell(name="mp3", family="", seconds=1, codec=Codec.MP3),
    Cell(name="noise +5 dB", family="", seconds=1, noise=Noise.MIXED, snr_db=5),
    Cell(name="noise -6 dB", family="", seconds=1, noise=Noise.MIXED, snr_db=-6),
    Cell(name="noise -12 dB", family="", seconds=1, noise=Noise.MIXED, snr_db=-12),
    Cell(name="phone", family="", seconds=1, noise=Noise.MIXED, snr_db=5, room=Room.SIMULATED),
    Cell(name="speed", family="", seconds=1, speed=1.05),
    Cell(name="no music", family="", seconds=1, unknown="other"),
)
SHARES = (0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.05, 0.15)
HIGHEST = 5  # told
SEED = 3
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """The wrong tracks that one clip found."""

    kind: str
    seconds: float
    n_frames: int
    unevenness: float
    check: bool  # of an unknown track
    scores: Mapping[str, Sequence[float]]  # by step: of the best, and of its cohort

    def lead(self, step: str) -> float:
        """Of the best wrong track over the others."""
        scores = self.scores[step]
        return scores[0] - chance_level(scores) if scores else float("-inf")

    def shares_material(self) -> bool:
        """Whether chance does not explain what was found."""
        return any(max(scores, default=0.0) >= SHARED for scores in self.scores.values())


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
    _INDEX.append(MemoryIndex(dense, CONFIG.fingerprint))
    with ProcessPoolExecutor(os.cpu_count()) as pool:  # forked: the index is shared
        wrong = list(pool.map(_wrong, range(args.clips), chunksize=10))
    setting = {"tracks": len(_CATALOGUE), "postings": len(_INDEX[0])}
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
    hearing = hearing_of(at_rate(pcm, RATE_HZ))
    clip_map = clip_map_of(hearing, CONFIG)
    return Wrong(
        kind=kind.name,
        seconds=seconds,
        n_frames=clip_map.n_frames,
        unevenness=clip_map.unevenness,
        check=check,
        scores=asyncio.run(_scores(hearing, own)),
    )


async def _scores(hearing: Hearing, own: set[str]) -> dict[str, list[float]]:
    """The scores of each step's best tracks of other clusters."""
    best = {}
    async for step in search(_INDEX[0], hearing, CONFIG, Clock({}), warped=True):
        wrong = [match.score for match in step.ranked if _CATALOGUE[match.track_id - 1].cluster not in own]
        best[step.name] = wrong[: 1 + COHORT]
    return best


def _write(wrong: Sequence[Wrong], setting: Mapping[str, int]) -> None:
    kinds = [kind.name for kind in KINDS]
    chance = [each for each in wrong if not each.shares_material()]
    fit, check = (_half(chance, check=half) for half in (False, True))
    by_unevenness = {
        EVEN_CLIPS: [each for each in chance if each.unevenness < LIMIT],
        UNEVEN_CLIPS: [each for each in chance if each.unevenness >= LIMIT],
    }
    by_length = {
        f"{seconds:g} s": [each for each in chance if each.seconds == seconds] for seconds in LENGTHS_S
    }
    report: dict[str, Any] = {
        "clips": len(wrong),
        **setting,
        "kinds": kinds,
        "share_material": len(wrong) - len(chance),
        "fitted": {
            name: dict(
                zip(
                    ("location", "scale"),
                    np.round(fitted(_leads(_half(some, check=False))), 3).tolist(),
                    strict=True,
                )
            )
            for name, some in by_unevenness.items()
        },
        "in_use": {
            "location": LOCATION,
            "unevenness": UNEVEN,
            "scales": SCALES,
            "short_frames": SHORT_FRAMES,
            "wider": WIDER,
        },
        "fit": len(fit),
        "check": len(check),
        "promised": {step: _promised(chance, [step]) for step in STEPS}
        | {"all steps": _promised(chance, STEPS)}
        | {name: _promised(some, STEPS) for name, some in (by_unevenness | by_length).items()},
        "q99_by_length": {name: _q99(some) for name, some in by_length.items()},
        "q99_by_kind": {kind: _q99([each for each in chance if each.kind == kind]) for kind in kinds},
        "highest": {
            step: np.sort([each.lead(step) for each in chance])[: -HIGHEST - 1 : -1].round(2).tolist()
            for step in STEPS
        },
    }
    lines = _told(report)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "null_model.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "null_model.md").write_text("\n".join(lines), encoding="utf-8")
    _plot(RESULTS / "null_model.png", fit, check)
    print("\n".join(lines))


def _half(wrong: Sequence[Wrong], *, check: bool) -> list[Wrong]:
    return [each for each in wrong if each.check == check]


def fitted(leads: Floats) -> tuple[float, float]:
    """(location, scale) of the exponential tail of the highest leads."""
    level = float(np.quantile(leads, 1 - FITTED))
    scale = float((leads[leads > level] - level).mean())
    return level + scale * log(FITTED), scale


def _leads(wrong: Sequence[Wrong], steps: Sequence[str] = STEPS) -> Floats:
    return np.array([each.lead(step) for step in steps for each in wrong])


def _rates(wrong: Sequence[Wrong], steps: Sequence[str]) -> Floats:
    """What is promised for each lead, in one step."""
    return np.array(
        [
            false_accept_rate(each.lead(step), unevenness=each.unevenness, n_frames=each.n_frames, share=1.0)
            for step in steps
            for each in wrong
        ]
    )


def _promised(wrong: Sequence[Wrong], steps: Sequence[str]) -> list[dict[str, float]]:
    rows = []
    rates = {
        name: _rates(_half(wrong, check=check), steps) for name, check in (("fit", False), ("check", True))
    }
    for level in LEVELS:
        row = {"rate": level}
        for name, some in rates.items():
            row |= {
                f"{name}_measured": float(np.mean(some <= level)),
                f"{name}_clips": int(np.sum(some <= level)),
            }
        rows.append(row)
    return rows


def _told(report: Mapping[str, Any]) -> list[str]:
    lines = [
        "# Wrong leads and their tail",
        "",
        f"{report['clips']} clips ({', '.join(report['kinds'])}) of {min(LENGTHS_S):g} to {max(LENGTHS_S):g} s; "
        f"{report['tracks']} tracks, {report['postings']} postings. Clips that share material with another cluster, "
        f"left out: {report['share_material']}.",
        "",
        f"Fitted on {report['fit']} clips: {report['fitted']}. In use: {report['in_use']}. "
        f"Checked on {report['check']} clips. Rates are of one step.",
        "",
    ]
    for step, rows in report["promised"].items():
        lines += [
            f"## {step}",
            "",
            "| promised | fit: clips at it or rarer | measured | check: clips | measured |",
            "|---|---|---|---|---|",
            *(
                f"| {row['rate']:g} | {row['fit_clips']} | {row['fit_measured']:.5f} "
                f"| {row['check_clips']} | {row['check_measured']:.5f} |"
                for row in rows
            ),
            "",
        ]
        if step in STEPS:
            lines += [f"Highest leads: {report['highest'][step]}.", ""]
    lines += [
        f"99 % of leads lie below, by length: {report['q99_by_length']}; by kind: {report['q99_by_kind']}.",
        "",
    ]
    return lines


def _q99(wrong: Sequence[Wrong]) -> float:
    return round(float(np.quantile(_leads(wrong), 0.99)), 2) if wrong else 0.0


def _plot(path: Path, fit: Sequence[Wrong], check: Sequence[Wrong]) -> None:
    """Share of clips promised to be so rare or rarer, over the promise: on the diagonal where it is kept."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        return
    figure = Figure(figsize=(5 * len(STEPS), 4))
    for i, step in enumerate(STEPS, 1):
        axis = figure.add_subplot(1, len(STEPS), i)
        for name, some in (("fit", fit), ("check", check)):
            rates = np.sort(_rates(some, [step]))
            axis.step(rates, np.arange(1, len(rates) + 1) / len(rates), label=f"{name}, {len(rates)} clips")
        axis.plot([1e-5, 1], [1e-5, 1], color="grey", lw=0.7)
        axis.set(xscale="log", yscale="log", xlim=(1e-5, 1), ylim=(1e-4, 1), title=f"{step} step")
        axis.set(xlabel="rate promised for the best wrong lead", ylabel="share of clips")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=90, bbox_inches="tight")


if __name__ == "__main__":
    main()
