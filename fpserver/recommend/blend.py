"""How much each signal counts: learned from what people did next.

A person's next track is the one with the largest Σ weight · signal, give or take: weights are those under which what
was liked next is likeliest among everything there was (a conditional logit), drawn to weights that are assumed when
nothing is learned. Signals come alone, and some once more times how much is known of the person or of the track, so
that new people and new tracks are recommended by what there is.

McFadden, "Conditional Logit Analysis of Qualitative Choice Behavior", 1974.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from scipy.optimize import minimize

from fpserver.terms import Vector, Vectors


class Signal(StrEnum):
    """What speaks for a track, or against it."""

    SOUND = "sound"  # like the nearest of what is liked
    SOUND_MEAN = "sound_mean"  # like what is liked, on the whole
    ARTIST = "artist"
    GENRE = "genre"
    TAGS = "tags"
    FACTORS = "factors"
    FACTORS_KNOWN = "factors_known"  # times how much is known of the person
    EXPECTED = "expected"  # as by factors, those that are expected of a track; times how little is known of the track
    NEIGHBOURS = "neighbours"  # of what is liked, by likings
    NEIGHBOURS_MET = "neighbours_met"  # of what was met, by meetings
    NEIGHBOURS_LATELY = "neighbours_lately"  # of the last few, by meetings
    POPULAR = "popular"
    POPULAR_NEW = "popular_new"  # times how little is known of the person
    LATELY = "lately"  # popular in the last days of all that was learned from
    EXPECTED_POPULAR = (
        "expected_popular"  # how popular a track should be; times how little is known of the track
    )
    UNHEARD = "unheard"  # how little is known of the track


CONTENT = (Signal.SOUND, Signal.SOUND_MEAN, Signal.ARTIST, Signal.GENRE, Signal.TAGS)
COLLABORATIVE = (
    Signal.FACTORS,
    Signal.FACTORS_KNOWN,
    Signal.NEIGHBOURS,
    Signal.NEIGHBOURS_MET,
    Signal.NEIGHBOURS_LATELY,
    Signal.POPULAR_NEW,
)
STRATEGIES: Mapping[str, Sequence[Signal]] = {
    "content": CONTENT,
    "collaborative": COLLABORATIVE,
    "hybrid": tuple(Signal),
}
ASSUMED = {
    Signal.SOUND: 2.0,
    Signal.SOUND_MEAN: 1.0,
    Signal.ARTIST: 0.5,
    Signal.GENRE: 0.5,
    Signal.TAGS: 0.3,
    Signal.FACTORS: 1.0,
    Signal.EXPECTED: 1.0,
    Signal.NEIGHBOURS: 1.0,
    Signal.POPULAR: 0.3,
}
SHRINK = (
    3.0  # of squared differences from what is assumed, in standard deviations; the likelihood has weight 1
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """Of each signal, by strategy."""

    by_strategy: Mapping[str, Mapping[Signal, float]] = field(
        default_factory=lambda: {
            name: {signal: ASSUMED.get(signal, 0.0) for signal in signals}
            for name, signals in STRATEGIES.items()
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """What somebody could have heard next, and what it was."""

    signals: Vectors  # (n_tracks, n_signals), in the order of Signal
    chosen: np.ndarray  # (n_tracks,), bool


def learn(questions: Sequence[Question]) -> Weights:
    """The weights under which what was chosen is likeliest."""
    return Weights(by_strategy={name: _learn(questions, signals) for name, signals in STRATEGIES.items()})


def _learn(questions: Sequence[Question], signals: Sequence[Signal]) -> dict[Signal, float]:
    columns = [list(Signal).index(signal) for signal in signals]
    assumed = np.array([ASSUMED.get(signal, 0.0) for signal in signals])
    stacked = np.concatenate([question.signals[:, columns] for question in questions]).astype(np.float64)
    scale = np.maximum(stacked.std(0), 1e-6)
    stacked /= scale
    starts = np.cumsum([0, *(len(question.chosen) for question in questions)])[:-1]
    chosen = np.concatenate([question.chosen for question in questions])
    n_chosen = np.add.reduceat(chosen, starts)
    lengths = np.diff(np.append(starts, len(chosen)))
    of_chosen = (chosen / np.repeat(n_chosen, lengths)) @ stacked

    def loss(scaled: Vector) -> tuple[float, Vector]:
        scores = stacked @ scaled
        peak = np.repeat(np.maximum.reduceat(scores, starts), lengths)
        raised = np.exp(scores - peak)
        totals = np.add.reduceat(raised, starts)
        share = raised / np.repeat(totals, lengths)
        away = scaled - assumed * scale
        value = float((np.log(totals) + np.maximum.reduceat(scores, starts)).sum() - of_chosen @ scaled)
        slope = share @ stacked - of_chosen + 2 * SHRINK * away
        return value + SHRINK * float(away @ away), slope

    found = minimize(loss, assumed * scale, jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return {signal: float(weight) for signal, weight in zip(signals, found.x / scale, strict=True)}
