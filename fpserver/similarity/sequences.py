"""Compare recordings moment by moment, so that the same melody at another tempo is near: dynamic time warping.

Two sequences of vectors are laid on each other along a path; what it costs is the mean difference along it, 0..1,
the likeness is 1 − cost. Whole against whole, the path may leave the diagonal of the two lengths by `BAND` of each; a
part may lie anywhere in the longer, at half to twice the tempo. The difference of two moments is 1 − cosine of their
chroma, or half that of their timbre, which may point in opposite directions; silence is 0 from silence, 1 from notes.

Milliseconds of one core for two recordings of 240 s (480 moments): chroma 0.8, with transpositions 1.7, timbre 1.7;
20 s sought in 240 s: 0.4, 4.4 and 0.7. Time and nothing else grows with the product of the lengths.

Whole: Sakoe and Chiba, "Dynamic programming algorithm optimization for spoken word recognition", 1978, symmetric form
(a diagonal step counts twice, the sum is divided by both lengths). Part: steps (1, 1), (2, 1), (1, 2), each moment of
the shorter counts once: Müller, "Fundamentals of Music Processing", 2015, section 7.2.
"""

from dataclasses import dataclass

import numpy as np

from fpserver.compiling import compiled
from fpserver.errors import InvalidRequest, LengthsDiffer
from fpserver.similarity.transforms import Reals, turn
from fpserver.terms import MOMENT_HOP_S, MOMENT_S, Vectors

BAND = 0.1  # of each length: how far a path may leave the diagonal
MAX_RATIO = 2  # of lengths: beyond, only a part can be compared
N_TURNS = (
    2  # transpositions of wholes that are tried: those by which the mean chroma agree best; of parts all
)
_SEMITONES = (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    """How well one sequence lies on another."""

    distance: float  # mean difference along the path, 0..1
    similarity: float  # 1 − distance
    semitones: int | None  # how much higher the second sounds, −5..6; None: it was not transposed
    start_s: float  # in the longer sequence (the second, of equal ones), where the other lies in it
    end_s: float


def chroma_distance(a: Vectors, b: Vectors, *, transpose: bool = False, part: bool = False) -> Aligned:
    """Lay two melodies on each other.

    Args:
        a, b: chroma of moments, (n_moments, 12) each.
        transpose: take the best of twelve transpositions.
        part: the shorter may lie anywhere in the longer; else both are compared as wholes.

    Raises:
        LengthsDiffer: without `part`, one is more than twice as long.
        InvalidRequest: one has no moments, or they are of another size or not finite.
    """
    _check(a, b, part=part)
    turns = ([*_SEMITONES] if part else _likely_turns(a, b)) if transpose else [0]
    found = [(_align(turn(_unit(a), each), _unit(b), part=part), each) for each in turns]
    (cost, start, end), semitones = min(found, key=lambda each: each[0][0])
    return _aligned(cost, start, end, semitones=semitones if transpose else None)


def timbre_distance(a: Vectors, b: Vectors, *, part: bool = False) -> Aligned:
    """Lay two sounds on each other.

    Args:
        a, b: comparable vectors of moments (`Scales.embed_moments`), (n_moments, size) each.
        part: the shorter may lie anywhere in the longer; else both are compared as wholes.

    Raises:
        LengthsDiffer: without `part`, one is more than twice as long.
        InvalidRequest: one has no moments, or they are of another size or not finite.
    """
    _check(a, b, part=part)
    cost, start, end = _align(_unit(a), _unit(b), part=part)
    return _aligned(cost / 2, start, end, semitones=None)


def warm_up() -> None:
    """Have the loops compiled, or read from where they were kept, before anybody waits for them."""
    moments = np.eye(2, 12, dtype=np.float32)
    chroma_distance(moments, moments)
    chroma_distance(moments, moments, part=True)


def _align(a: Reals, b: Reals, *, part: bool) -> tuple[float, int, int]:
    """(mean cost, first and last moment of the longer), of unit vectors."""
    short, long = (a, b) if len(a) <= len(b) else (b, a)
    if not part:
        return float(banded(a, b, BAND)), 0, len(long) - 1
    cost, start, end = anywhere(short, long)
    return float(cost), int(start), int(end)


@compiled
def banded(a: Reals, b: Reals, band: float) -> float:
    """Cost of the best path from the first to the last of both, divided by the sum of their lengths.

    Args:
        a, b: vectors of length 1 (or 0, silence), (n, d) and (m, d).
        band: cell (i, j) may be on the path if i / (n − 1) and j / (m − 1) differ by at most this, or by a cell.
    """
    n, m = len(a), len(b)
    reach = band * (n - 1) * (m - 1) + max(n, m)
    above, row = np.full(m, np.inf), np.full(m, np.inf)
    for i in range(n):
        above, row = row, above
        row[:] = np.inf
        for j in range(m):
            if abs(i * (m - 1) - j * (n - 1)) > reach:
                continue
            here = difference(a, i, b, j)
            if i == 0 and j == 0:
                row[0] = 2 * here
                continue
            best = np.inf
            if i > 0:
                best = above[j] + here
            if j > 0:
                best = min(best, row[j - 1] + here)
            if i > 0 and j > 0:
                best = min(best, above[j - 1] + 2 * here)
            row[j] = best
    return float(row[m - 1] / (n + m))


@compiled
def anywhere(short: Reals, long: Reals) -> tuple[float, int, int]:
    """(cost of the best path divided by the length of `short`, first, last moment in `long`).

    Args:
        short, long: vectors of length 1 (or 0, silence), (n, d) and (m, d), n ≤ m.
    """
    n, m = len(short), len(long)
    # Rows i − 2, i − 1 and i of the costs, and where the path to each cell began.
    before, above, row = np.full(m, np.inf), np.full(m, np.inf), np.full(m, np.inf)
    from_before, from_above, from_row = np.full(m, -1), np.full(m, -1), np.full(m, -1)
    skipped, here = np.zeros(m), np.zeros(m)  # differences of rows i − 1 and i
    for i in range(n):
        before, above, row = above, row, before
        from_before, from_above, from_row = from_above, from_row, from_before
        skipped, here = here, skipped
        for j in range(m):
            here[j] = difference(short, i, long, j)
            best, start = np.inf, -1
            if i == 0:
                best, start = here[j], j
            else:
                if j > 0 and above[j - 1] + here[j] < best:
                    best, start = above[j - 1] + here[j], from_above[j - 1]
                if j > 1 and above[j - 2] + here[j] < best:
                    best, start = above[j - 2] + here[j], from_above[j - 2]
                if i > 1 and j > 0 and before[j - 1] + skipped[j] + here[j] < best:
                    best, start = before[j - 1] + skipped[j] + here[j], from_before[j - 1]
            row[j], from_row[j] = best, start
    end = int(np.argmin(row))
    return float(row[end] / n), int(from_row[end]), end


@compiled
def difference(a: Reals, i: int, b: Reals, j: int) -> float:
    """1 − cosine of two vectors of length 1; 0 of two silent ones, 1 of one."""
    product, ours, theirs = 0.0, False, False
    for k in range(a.shape[1]):
        product += a[i, k] * b[j, k]
        ours |= a[i, k] != 0
        theirs |= b[j, k] != 0
    if not ours and not theirs:
        return 0.0
    return max(0.0, 1 - product)


def _likely_turns(a: Vectors, b: Vectors) -> list[int]:
    """The transpositions by which the mean chroma agree best, best first; of equal ones the smallest."""
    means = [_unit(each.mean(axis=0, keepdims=True))[0] for each in (a, b)]
    agreement = [-float(turn(means[0], each) @ means[1]) for each in _SEMITONES]
    return [_SEMITONES[index] for index in np.argsort(agreement, kind="stable")[:N_TURNS]]


def _aligned(cost: float, start: int, end: int, *, semitones: int | None) -> Aligned:
    distance = min(max(cost, 0.0), 1.0)
    return Aligned(
        distance=distance,
        similarity=1 - distance,
        semitones=semitones,
        start_s=start * MOMENT_HOP_S,
        end_s=end * MOMENT_HOP_S + MOMENT_S,
    )


def _unit(vectors: Vectors) -> Reals:
    array = np.asarray(vectors, np.float64)
    lengths = np.sqrt(np.sum(array**2, axis=1, keepdims=True))
    return np.ascontiguousarray(array / np.where(lengths > 0, lengths, 1.0))


def _check(a: Vectors, b: Vectors, *, part: bool) -> None:
    for each in (a, b):
        if each.ndim != 2 or not each.size or each.shape[1] != b.shape[1]:
            raise InvalidRequest(
                f"moments are of shapes {a.shape} and {b.shape}, need at least one each, of one size"
            )
        if not np.isfinite(each).all():
            raise InvalidRequest("moments hold a number that is not finite")
    if not part and max(len(a), len(b)) > MAX_RATIO * min(len(a), len(b)):
        ours_s, theirs_s = ((len(each) - 1) * MOMENT_HOP_S + MOMENT_S for each in (a, b))
        raise LengthsDiffer(
            f"lengths are {ours_s:g} s and {theirs_s:g} s, compared as wholes one may be at most {MAX_RATIO} times "
            "as long as the other; a part can be sought in any length"
        )
