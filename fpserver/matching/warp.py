"""Which warps are tried, and how one that fits is made exact.

A clip played at another speed has both its speed and its pitch changed; a stretched one only its speed; a transposed
one only its pitch. Neighbouring hypotheses lie so near that the low frequencies of a clip between two still fit either;
the likely ones are tried once more, finer, for its high ones. From there the best fit is climbed to.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fpserver.matching.evidence import ClipMap, Place
from fpserver.terms import Candidate, Peaks, Warp

STEP = 0.004  # between hypotheses, ln: 250 bins become one more
FINE_STEP = STEP / 4
TEMPO_STEP = 0.016  # a pair's bins stay as they are, and its frames become half a frame more
WIDE_STEP = 0.008  # of speed and tempo where a candidate is settled
SPEEDS = 0.85, 1.15  # times as fast; for speed and tempo
PITCHES = 2 ** (-4 / 12), 2 ** (4 / 12)  # four semitones down and up
CLIMBING = np.array([0.003, 0.001])  # steps, ln; the coarse ones first
MAX_STEPS = 12  # of each size
SHIFTS = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])  # frames, tried with each step
MIN_GAIN = 1.08  # a clip that fits better by this is no longer called unchanged
MIN_NATS = 12.0  # and by this at least: in a clip of few peaks so many tries bring as much by chance
MIN_MOVED = 1.0  # frames that a change of tempo must move the clip's ends by: a smaller one no peak can tell

MOST = 0.85  # of a clip that agrees if its speed is right
MAX_CLIMBS = 3

Change = tuple[float, float]  # by how much the speed, and the pitch, are changed with one ln
SPEED, TEMPO, PITCH = (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)


def hypotheses() -> list[Warp]:
    """Speed, tempo and pitch, without the clip as it is; small changes first."""
    return [
        *(Warp(speed=each, pitch=each) for each in _grid(*SPEEDS, STEP)),
        *(Warp(speed=each) for each in _grid(*SPEEDS, TEMPO_STEP)),
        *(Warp(pitch=each) for each in _grid(*PITCHES, STEP)),
    ]


def finer(warps: Sequence[Warp]) -> list[Warp]:
    """Four for each that changes the pitch, FINE_STEP apart, with the warp in their middle; a tempo stays as it is."""
    return [
        _changed(warp, _change_of(warp), quarter * FINE_STEP)
        for warp in warps
        for quarter in ((-1.5, -0.5, 0.5, 1.5) if warp.pitch != 1 else (0.0,))
    ]


def refined(clip_map: ClipMap, candidate: Candidate, peaks: Peaks) -> Candidate:
    """A warped candidate at the best fit nearby; what was not changed stays as it is."""
    change = _change_of(candidate.warp)
    start = candidate.warp, candidate.alignment
    (best, alignment), _ = _climbed(clip_map, peaks, start, change, pivot=clip_map.n_frames / 2)
    return replace(candidate, warp=best, alignment=alignment)


def settled(clip_map: ClipMap, candidate: Candidate, peaks: Peaks, *, agrees: tuple[int, int]) -> Candidate:
    """A candidate with the change of speed or tempo that its step did not look for, or not so finely.

    Args:
        clip_map: what the clip's cells say.
        candidate: to be settled.
        peaks: of its track.
        agrees: first and last clip frame of the part that agrees, in whose middle the alignment is right. Where that is
            not most of the clip, all speeds are looked at, not just those nearby.
    """
    first, last = agrees
    pivot = (first + last) / 2
    warps = [candidate.warp]
    if last - first < MOST * clip_map.n_frames:
        warps += [_changed(candidate.warp, change, ln) for change, ln in _WIDE]
    at_pivot = candidate.alignment + candidate.warp.speed * pivot
    starts = [(warp, at_pivot - warp.speed * pivot) for warp in warps]
    fits = clip_map.fits(peaks, starts)
    climbs = [
        _climbed(clip_map, peaks, starts[i], change, pivot=pivot)
        for i in np.argsort(-fits, kind="stable")[:MAX_CLIMBS]
        for change in (SPEED, TEMPO)
    ]
    (warp, alignment), best = max(climbs, key=lambda climb: climb[1])
    if candidate.warp.speed == 1 and warp.pitch == candidate.warp.pitch:
        moved = abs(np.log(warp.speed)) * clip_map.n_frames / 2
        if moved < MIN_MOVED:
            return candidate
    shifted = [(candidate.warp, candidate.alignment + shift) for shift in SHIFTS]
    unchanged = float(clip_map.fits(peaks, shifted).max())
    if best <= max(MIN_GAIN * unchanged, unchanged + MIN_NATS, 0.0):
        return candidate
    return replace(candidate, warp=warp, alignment=alignment)


def _climbed(
    clip_map: ClipMap, peaks: Peaks, start: Place, change: Change, *, pivot: float
) -> tuple[Place, float]:
    """(place, its fit) at the top of the hill on which the start stands; each step may also shift the clip."""
    return clip_map.climbed(
        peaks, start, change=change, pivot=pivot, tried=(CLIMBING, SHIFTS), max_steps=MAX_STEPS
    )


def _change_of(warp: Warp) -> Change:
    """What makes a warp of no warp."""
    return PITCH if warp.speed == 1 else TEMPO if warp.pitch == 1 else SPEED


def _changed(warp: Warp, change: Change, by: float) -> Warp:
    of_speed, of_pitch = change
    return Warp(
        speed=warp.speed * float(np.exp(by * of_speed)), pitch=warp.pitch * float(np.exp(by * of_pitch))
    )


def _grid(lowest: float, highest: float, step: float) -> list[float]:
    first, last = (round(float(np.log(end)) / step) for end in (lowest, highest))
    return [float(np.exp(i * step)) for i in sorted(range(first, last + 1), key=abs) if i]


_WIDE = [(change, float(np.log(speed))) for change in (SPEED, TEMPO) for speed in _grid(*SPEEDS, WIDE_STEP)]
