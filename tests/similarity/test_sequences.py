"""Sequences: the same melody at another tempo is near; a part is found where it lies."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpserver.errors import InvalidRequest, LengthsDiffer
from fpserver.similarity import sequences
from fpserver.similarity.sequences import chroma_distance, timbre_distance
from fpserver.similarity.transforms import Reals, turn
from fpserver.terms import Vectors
from tests.similarity.making import melody, moments


def unit(vectors: Vectors) -> Reals:
    array = vectors.astype(np.float64)
    return np.asarray(array / np.linalg.norm(array, axis=1, keepdims=True))


def plain_banded(a: Reals, b: Reals, band: float) -> float:
    """Every cell of the table, one after the other."""
    n, m = len(a), len(b)
    costs: dict[tuple[int, int], float] = {}
    for i in range(n):
        for j in range(m):
            if abs(i * (m - 1) - j * (n - 1)) > band * (n - 1) * (m - 1) + max(n, m):
                continue
            here = 1 - sum(x * y for x, y in zip(a[i], b[j], strict=True))
            ways = [
                costs[before] + weight * here
                for before, weight in (((i - 1, j), 1), ((i, j - 1), 1), ((i - 1, j - 1), 2))
                if before in costs
            ]
            costs[i, j] = 2 * here if (i, j) == (0, 0) else min(ways)
    return float(costs[n - 1, m - 1] / (n + m))


def plain_anywhere(short: Reals, long: Reals) -> tuple[float, int, int]:
    """The best of all paths, sought from each end backwards."""
    here = 1 - short @ long.T

    def best(i: int, j: int) -> tuple[float, int]:
        if i == 0:
            return here[0, j], j
        ways = []
        if j > 0:
            cost, start = best(i - 1, j - 1)
            ways.append((cost + here[i, j], start))
        if j > 1:
            cost, start = best(i - 1, j - 2)
            ways.append((cost + here[i, j], start))
        if i > 1 and j > 0:
            cost, start = best(i - 2, j - 1)
            ways.append((cost + here[i - 1, j] + here[i, j], start))
        return min(ways, default=(np.inf, -1))

    cost, start, end = min((*best(len(short) - 1, j), j) for j in range(len(long)))
    return float(cost / len(short)), start, end


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 99), st.sampled_from([0.0, 0.1, 1.0]))
def test_the_compiled_path_costs_what_the_plain_one_does(n: int, m: int, seed: int, band: float) -> None:
    a, b = unit(melody(seed, n_moments=n)), unit(melody(seed + 1, n_moments=m))
    assert sequences.banded(a, b, band) == pytest.approx(plain_banded(a, b, band), abs=1e-9)
    assert sequences.banded(b, a, band) == pytest.approx(sequences.banded(a, b, band), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 7), st.integers(0, 8), st.integers(0, 99))
def test_the_compiled_search_finds_what_the_plain_one_does(n: int, more: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    short, long = (unit(rng.random((length, 5)).astype(np.float32)) for length in (n, n + more))
    cost, start, end = sequences.anywhere(short, long)
    plain_cost, *plain_place = plain_anywhere(short, long)
    assert cost == pytest.approx(plain_cost)
    assert [start, end] == plain_place


@pytest.mark.parametrize("tempo", [0.8, 0.9, 1.1, 1.25])
def test_a_melody_at_another_tempo_is_nearer_than_any_other_melody(tempo: float) -> None:
    asked = melody(1, n_moments=120, hop=tempo)
    own = chroma_distance(asked, melody(1, n_moments=120))
    others = [chroma_distance(asked, melody(seed, n_moments=120)).distance for seed in range(2, 12)]
    assert own.distance < 0.05 < 3 * own.distance + 0.05 < min(others)
    assert own.similarity == 1 - own.distance


@pytest.mark.parametrize("semitones", [-4, 3, 6])
@pytest.mark.parametrize("part", [False, True])
def test_a_transposed_melody_is_found_at_its_transposition(semitones: int, part: bool) -> None:
    asked = melody(5)
    found = chroma_distance(asked, turn(asked, semitones), transpose=True, part=part)
    assert found.distance == pytest.approx(0, abs=1e-6)
    assert found.semitones == semitones
    assert chroma_distance(asked, turn(asked, semitones), part=part).distance > 0.1


def test_a_part_is_found_where_it_lies() -> None:
    whole = np.random.default_rng(3).random((200, 12)).astype(np.float32)
    found = chroma_distance(whole[60:100], whole, part=True)
    assert found.distance == pytest.approx(0, abs=1e-6)
    assert (found.start_s, found.end_s) == (30.0, 50.5)
    assert chroma_distance(whole, whole[60:100], part=True) == found


@pytest.mark.parametrize("tempo", [0.75, 1.5])
def test_a_part_at_another_tempo_is_found_too(tempo: float) -> None:
    whole = melody(3, n_moments=400)
    found = chroma_distance(melody(3, n_moments=400, hop=tempo)[40:80], whole, part=True)
    assert found.distance < 0.05
    assert found.start_s == pytest.approx(40 * tempo / 2, abs=2)
    assert found.end_s == pytest.approx(80 * tempo / 2, abs=2)


def test_timbre_is_between_the_same_and_the_opposite() -> None:
    a = moments(1)
    assert timbre_distance(a, a).distance == pytest.approx(0, abs=1e-9)
    assert timbre_distance(a, -a).distance == pytest.approx(1, abs=0.2)
    assert 0 < timbre_distance(a, moments(2)).distance < 1
    found = timbre_distance(a[10:20], a, part=True)
    assert (found.start_s, found.end_s, found.semitones) == (5.0, 10.5, None)


def test_silence_is_like_silence_and_unlike_notes() -> None:
    silent = np.zeros((30, 12), np.float32)
    assert chroma_distance(silent, silent).distance == 0
    assert chroma_distance(silent, melody(1, n_moments=30)).distance == 1
    assert chroma_distance(silent, melody(1, n_moments=30), transpose=True).distance == 1


def test_lengths_that_differ_too_much_are_named() -> None:
    whole, short = melody(1, n_moments=100), melody(1, n_moments=40)
    with pytest.raises(LengthsDiffer, match=r"lengths are 50\.5 s and 20\.5 s, .* at most 2 times"):
        chroma_distance(whole, short)
    with pytest.raises(LengthsDiffer):
        timbre_distance(short, whole)
    chroma_distance(whole, melody(1, n_moments=50))
    chroma_distance(whole, short, part=True)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((0, 12), np.float32), np.zeros((5, 11), np.float32), np.full((5, 12), np.nan, np.float32)],
)
def test_what_are_no_moments_is_refused(wrong: Vectors) -> None:
    with pytest.raises(InvalidRequest, match="moments"):
        chroma_distance(wrong, melody(1, n_moments=5))


def test_what_is_compiled_at_the_start_is_all_that_is_needed() -> None:
    sequences.warm_up()
    loops: list[Any] = [sequences.banded, sequences.anywhere, sequences.difference]
    ready = [len(each.signatures) for each in loops]
    kept = melody(1, n_moments=30)
    kept.flags.writeable = False
    for part in (False, True):
        chroma_distance(kept, melody(2, n_moments=40)[::-1], transpose=True, part=part)
        timbre_distance(moments(1)[:, :32], moments(2)[:, :32], part=part)
    assert [len(each.signatures) for each in loops] == ready
