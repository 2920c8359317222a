"""Measures: how far apart tracks are, by any mix of groups."""

import numpy as np
import pytest

from fpserver.errors import InvalidRequest, NotDescribed
from fpserver.similarity.measures import Mix, compare, distances, matrix, transpositions
from fpserver.similarity.mix import usual
from fpserver.similarity.scales import Scales
from fpserver.similarity.transforms import turn
from fpserver.terms import Group, Vector, Vectors
from tests.similarity.making import ALL, description, learned

N = 30
MIXES = [
    Mix(weights=ALL),
    Mix(weights={Group.TONAL: 2, Group.RHYTHM: 1}),
    Mix(weights=ALL, transpose=True),
    Mix(weights=ALL, metric="cosine"),
    Mix(weights={Group.TONAL: 1, Group.TIMBRE: 0.5}, metric="cosine", transpose=True),
]


@pytest.fixture(scope="module")
def scales() -> Scales:
    return learned(N)


@pytest.fixture(scope="module")
def rows(scales: Scales) -> Vectors:
    return np.stack([scales.mixed(scales.embed(description(i))) for i in range(N)])


def plain_distance(a: Vector, b: Vector, mix: Mix, scales: Scales) -> float:
    """One pair, number by number; transposed by turning the first vector twelve times."""
    best = np.inf
    for semitones in range(12) if mix.transpose else [0]:
        turned = a.astype(np.float64).copy()
        place = scales.slices[Group.TONAL]
        turned[place] = turn(turned[place], semitones)
        total = sum(mix.weights.values())
        squared = product = ours = theirs = 0.0
        for group, weight in mix.weights.items():
            for x, y in zip(turned[scales.slices[group]], b[scales.slices[group]], strict=True):
                squared += weight / total * (x - float(y)) ** 2
                product += weight * x * y
                ours += weight * x * x
                theirs += weight * y * y
        distance = np.sqrt(squared) if mix.metric == "euclidean" else 1 - product / np.sqrt(ours * theirs)
        best = min(best, distance)
    return float(best)


@pytest.mark.parametrize("mix", MIXES)
def test_distances_are_those_of_a_plain_loop(mix: Mix, scales: Scales, rows: Vectors) -> None:
    found = distances(rows[3], rows[:12], mix=mix, scales=scales)
    assert found.dtype == np.float32
    assert found == pytest.approx([plain_distance(rows[3], row, mix, scales) for row in rows[:12]], abs=1e-5)


@pytest.mark.parametrize("mix", MIXES)
def test_a_matrix_is_symmetric_and_0_on_its_diagonal(mix: Mix, scales: Scales, rows: Vectors) -> None:
    many = np.concatenate([rows + np.float32(0.001 * i) for i in range(11)])  # more than one block
    blocks = list(matrix(many, mix=mix, scales=scales))
    assert len(blocks) == 2
    whole = np.concatenate(blocks)
    assert np.array_equal(whole, whole.T)
    assert (np.diag(whole) == 0).all()
    assert (whole >= 0).all()
    assert whole[3, :12] == pytest.approx(distances(many[3], many[:12], mix=mix, scales=scales), abs=1e-6)


@pytest.mark.parametrize("mix", MIXES)
def test_a_track_is_0_from_itself_and_entirely_like_itself(mix: Mix, scales: Scales) -> None:
    vectors = scales.embed(description(5))
    found = compare(vectors, vectors, mix=mix, scales=scales)
    assert (found.whole.distance, found.whole.similarity) == (0, 1)
    assert all((each.distance, each.similarity) == (0, 1) for each in found.groups.values())
    assert found.semitones == (0 if mix.transpose else None)


def test_a_comparison_by_group_adds_up(scales: Scales) -> None:
    a, b = (scales.embed(description(i)) for i in (1, 2))
    mix = Mix(weights={Group.TONAL: 3, Group.TIMBRE: 1})
    found = compare(a, b, mix=mix, scales=scales)
    assert set(found.groups) == {Group.TONAL, Group.TIMBRE}
    tonal, timbre = (found.groups[group].distance ** 2 for group in (Group.TONAL, Group.TIMBRE))
    assert found.whole.distance**2 == pytest.approx(0.75 * tonal + 0.25 * timbre, rel=1e-5)
    assert 0 < found.whole.similarity < 1


@pytest.mark.parametrize("semitones", [-5, -1, 0, 2, 6])
def test_a_transposed_track_is_found_at_its_transposition(scales: Scales, semitones: int) -> None:
    a = description(8)
    higher = scales.embed(a | {Group.TONAL: turn(a[Group.TONAL], semitones)})
    mix = Mix(weights={Group.TONAL: 1}, transpose=True)
    found = compare(scales.embed(a), higher, mix=mix, scales=scales)
    assert found.semitones == semitones
    assert found.whole.distance == pytest.approx(0, abs=1e-4)
    least, which = transpositions(scales.embed(a)[Group.TONAL], higher[Group.TONAL][None])
    assert (least[0], which[0]) == (pytest.approx(0, abs=1e-4), semitones)


def test_transposing_never_makes_two_tracks_farther_apart(scales: Scales, rows: Vectors) -> None:
    as_they_are, turned = (
        distances(rows[0], rows, mix=Mix(weights=ALL, transpose=each), scales=scales)
        for each in (False, True)
    )
    assert (turned <= as_they_are + 1e-6).all()


def test_weights_of_an_engine_give_the_same_distance(scales: Scales, rows: Vectors) -> None:
    mix = MIXES[1]
    by_weights = np.sqrt(np.sum(scales.weights(mix) * (rows - rows[0]) ** 2, axis=1))
    assert distances(rows[0], rows, mix=mix, scales=scales) == pytest.approx(by_weights, abs=1e-5)


def test_a_track_that_lacks_a_group_is_named(scales: Scales) -> None:
    whole = scales.embed(description(1))
    lacking: dict[Group, Vector] = {group: vector for group, vector in whole.items() if group != Group.TONAL}
    mix = Mix(weights=ALL)
    with pytest.raises(NotDescribed, match="the second track is not described by tonal"):
        compare(whole, lacking, mix=mix, scales=scales)
    with pytest.raises(NotDescribed, match="the first track is not described by tonal"):
        compare(lacking, whole, mix=mix, scales=scales)
    found = compare(whole, lacking, mix=Mix(weights={Group.TIMBRE: 1}), scales=scales)
    assert found.whole.distance == 0


def test_the_only_track_of_a_catalogue_has_a_cosine() -> None:
    alone = learned(1)
    here, other = (alone.mixed(alone.embed(description(i))) for i in (0, 1))
    mix = Mix(weights={Group.TIMBRE: 1}, metric="cosine")
    found = distances(here, np.stack([here, other]), mix=mix, scales=alone)
    assert found[0] == 0
    assert 0 < found[1] <= 2  # the one in the middle of all that is known has hardly a direction


@pytest.mark.parametrize(
    ("weights", "metric", "message"),
    [
        ({}, "euclidean", "no group has a weight above 0"),
        ({Group.TONAL: 0.0}, "euclidean", "no group has a weight above 0"),
        ({Group.TONAL: -1.0}, "euclidean", "weight of tonal is -1.0"),
        ({Group.TONAL: float("nan")}, "euclidean", "weight of tonal is nan"),
        ({Group.TONAL: 1.0}, "manhattan", "metric is 'manhattan', needs one of euclidean, cosine"),
    ],
)
def test_a_mix_that_breaks_a_rule_is_refused(weights: dict[Group, float], metric: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        Mix(weights=weights, metric=metric)  # type: ignore[arg-type]


def test_vectors_of_other_scales_are_refused(scales: Scales, rows: Vectors) -> None:
    with pytest.raises(InvalidRequest, match="these scales make"):
        distances(rows[0, :50], rows[:, :50], mix=MIXES[0], scales=scales)


@pytest.mark.parametrize(
    "mix",
    [
        Mix(weights=usual(list(Group))),
        Mix(weights={Group.TIMBRE: 3.0, Group.RHYTHM: 1.0}),
        Mix(weights=dict.fromkeys(Group, 1.0)),
    ],
)
def test_distances_of_vectors_as_engines_hold_them_are_those_of_the_mix(
    scales: Scales, rows: Vectors, mix: Mix
) -> None:
    embedded = [scales.embed(description(i)) for i in range(N)]
    held = np.stack([scales.searched(each) for each in embedded])
    weights = scales.search_weights(mix)
    squared = (held - held[3]) ** 2 * (np.ones(held.shape[1]) if weights is None else weights)
    np.testing.assert_allclose(
        np.sqrt(squared.sum(axis=1)), distances(rows[3], rows, mix=mix, scales=scales), atol=1e-5
    )
    assert (weights is None) == (mix.weights == usual(list(Group)))
