"""How much each signal counts: learned from what people did next.

A signal is a number for each track; what it tells is how far a track stands above its mean, in units between its spread
in this question and its usual one: so neither a question with loud signals nor one with faint ones is lost. A track's
score is Σ (weight + weight for new people · newness) · signal; newness falls from 1 to 0 as more is known of who
asks.

Weights are those under which what was liked next is likeliest (a conditional logit) among those tracks that one signal
or another holds likely: what nobody would have found says nothing of how to order what is found. They are drawn to 0,
each question by as much, which levels out what people did by chance.

McFadden, "Conditional Logit Analysis of Qualitative Choice Behavior", 1974.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
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
    NEIGHBOURS = "neighbours"  # of what is liked, by likings
    NEIGHBOURS_MET = "neighbours_met"  # of what was met, by meetings
    NEIGHBOURS_LATELY = "neighbours_lately"  # of the last few that are liked, by likings
    POPULAR = "popular"
    LATELY = "lately"  # popular in the last days of all that was learned from
    EXPECTED = "expected"  # by factors that are expected of a track; times how little is known of it
    EXPECTED_POPULAR = "expected_popular"  # how popular a track should be; times how little is known of it
    UNHEARD = "unheard"  # how little is known of the track


SIGNALS = tuple(Signal)
CONTENT = (Signal.SOUND, Signal.SOUND_MEAN, Signal.ARTIST, Signal.GENRE, Signal.TAGS)
COLLABORATIVE = (
    Signal.FACTORS,
    Signal.NEIGHBOURS,
    Signal.NEIGHBOURS_MET,
    Signal.NEIGHBOURS_LATELY,
    Signal.POPULAR,
)
STRATEGIES: Mapping[str, Sequence[Signal]] = {
    "content": CONTENT,
    "collaborative": COLLABORATIVE,
    "hybrid": SIGNALS,
}
ASSUMED = {  # until something is learned
    Signal.SOUND: 1.0,
    Signal.SOUND_MEAN: 0.5,
    Signal.ARTIST: 0.5,
    Signal.GENRE: 0.3,
    Signal.TAGS: 0.3,
    Signal.FACTORS: 1.0,
    Signal.NEIGHBOURS: 0.5,
    Signal.NEIGHBOURS_MET: 0.5,
    Signal.POPULAR: 0.3,
    Signal.EXPECTED: 0.5,
}
SHRINK = 0.15  # of squared weights, beside the mean log-likelihood of a question
LIKELY = 100  # tracks that each signal holds likeliest
FINDERS = (  # the signals that say which tracks are likely
    Signal.SOUND,
    Signal.FACTORS,
    Signal.NEIGHBOURS,
    Signal.NEIGHBOURS_MET,
    Signal.POPULAR,
    Signal.LATELY,
    Signal.EXPECTED,
)
FLAT = 1e-9  # spread of a signal that tells nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """Of one signal."""

    always: float
    new: float = 0.0  # more, times newness


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """Of each signal, by strategy; and how far each spreads in the usual question."""

    by_strategy: Mapping[str, Mapping[Signal, Weight]]
    spreads: Mapping[Signal, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """What somebody could have heard next, and what it was."""

    signals: Vectors  # (n_tracks, n_signals), in the order of SIGNALS; 0 where a signal tells nothing
    chosen: npt.NDArray[np.bool_]  # (n_tracks,)
    newness: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Where a signal lies in a question, over all tracks."""

    mean: float
    spread: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a signal adds to a score: gain · (signal - mean)."""

    gain: float
    mean: float


def assumed() -> Weights:
    """Weights before anything is learned."""
    return Weights(
        by_strategy={
            name: {signal: Weight(always=ASSUMED.get(signal, 0.0)) for signal in signals}
            for name, signals in STRATEGIES.items()
        },
        spreads=dict.fromkeys(SIGNALS, 1.0),
    )


def levels(told: Mapping[Signal, Vector]) -> dict[Signal, Level]:
    """Where each signal lies; without those of no track."""
    return {
        signal: Level(mean=float(column.mean()), spread=float(column.std()))
        for signal, column in told.items()
        if len(column)
    }


def parts(
    weights: Weights, strategy: str, told: Mapping[Signal, Level], *, newness: float
) -> dict[Signal, Part]:
    """What each signal adds, of those that tell anything."""
    found = {}
    for signal, weight in weights.by_strategy[strategy].items():
        if signal in told:
            level, gain = told[signal], weight.always + weight.new * newness
            if level.spread > FLAT and gain:
                unit = _unit(level.spread, weights.spreads[signal])
                found[signal] = Part(gain=gain / unit, mean=level.mean)
    return found


def _unit(spread: float, usual: float) -> float:
    return float(np.sqrt(spread * max(usual, FLAT)))


def learn(questions: Sequence[Question]) -> Weights:
    """The weights under which what was chosen is likeliest; the assumed ones where no signal finds anything of it."""
    spreads = np.mean([question.signals.std(0) for question in questions], axis=0)
    likely = [_likely(question) for question in questions]
    levelled = [
        (_levelled(question.signals, spreads)[which], question.chosen[which], question.newness)
        for question, which in zip(questions, likely, strict=True)
        if question.chosen[which].any()
    ]
    if not levelled:
        return assumed()
    return Weights(
        by_strategy={name: _learn(levelled, signals) for name, signals in STRATEGIES.items()},
        spreads=dict(zip(SIGNALS, spreads.tolist(), strict=True)),
    )


def _likely(question: Question) -> npt.NDArray[np.bool_]:
    """Tracks that one signal or another holds likely."""
    likely = np.zeros(len(question.chosen), np.bool_)
    k = min(LIKELY, len(likely))
    for signal in FINDERS:
        likely[np.argpartition(-question.signals[:, SIGNALS.index(signal)], k - 1)[:k]] = True
    return likely


def _levelled(signals: Vectors, usual: npt.NDArray[np.floating]) -> Vectors:
    spread = signals.std(0)
    unit = np.sqrt(spread * np.maximum(usual, FLAT))
    return np.asarray(
        np.where(spread > FLAT, (signals - signals.mean(0)) / np.maximum(unit, FLAT), 0), np.float32
    )


def _learn(
    questions: Sequence[tuple[Vectors, npt.NDArray[np.bool_], float]], signals: Sequence[Signal]
) -> dict[Signal, Weight]:
    columns = [SIGNALS.index(signal) for signal in signals]
    stacked = np.concatenate(
        [np.hstack([told[:, columns], newness * told[:, columns]]) for told, _, newness in questions]
    ).astype(np.float64)
    chosen = np.concatenate([which for _, which, _ in questions])
    lengths = np.array([len(which) for _, which, _ in questions])
    starts = np.cumsum(np.append(0, lengths))[:-1]
    n_chosen = np.add.reduceat(chosen.astype(np.int64), starts)
    of_chosen = (chosen / np.repeat(n_chosen, lengths)) @ stacked
    shrink = SHRINK * len(questions)
    units = np.maximum(stacked.std(0), FLAT)  # weights are compared as if all signals spread alike

    def loss(weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        scores = stacked @ weights
        peaks = np.maximum.reduceat(scores, starts)
        raised = np.exp(scores - np.repeat(peaks, lengths))
        totals = np.add.reduceat(raised, starts)
        scaled = units * weights
        value = (np.log(totals) + peaks).sum() - of_chosen @ weights + shrink * scaled @ scaled
        slope = (raised / np.repeat(totals, lengths)) @ stacked - of_chosen + 2 * shrink * units * scaled
        return float(value), slope

    found = minimize(
        loss, np.zeros(2 * len(signals)), jac=True, method="L-BFGS-B", options={"maxiter": 200}
    ).x
    n = len(signals)
    return {
        signal: Weight(always=float(found[i]), new=float(found[n + i])) for i, signal in enumerate(signals)
    }
