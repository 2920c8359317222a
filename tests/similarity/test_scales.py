"""Scales: what near and far mean is learned from a catalogue, from one track on."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpserver.descriptors import LAYOUT
from fpserver.errors import InvalidRequest, NotDescribed
from fpserver.similarity import scales, transforms
from fpserver.similarity.chances import share_farther
from fpserver.similarity.mix import Mix
from fpserver.similarity.scales import Scales
from fpserver.similarity.transforms import LOGARITHMIC, turn
from fpserver.terms import Group, Vector
from tests.similarity.making import ALL, SIZES, description, gaussian, learned, moments

EVEN = Mix(weights=ALL)


@pytest.fixture(scope="module")
def many() -> Scales:
    return learned(120)


@pytest.mark.parametrize("n_tracks", [1, 2, 3, 7])
def test_a_tiny_catalogue_has_scales_of_the_usual_sizes(n_tracks: int, many: Scales) -> None:
    found = learned(n_tracks)
    assert found.n_tracks == n_tracks
    assert found.sizes() == many.sizes()
    embedded = found.embed(description(999))
    assert all(np.isfinite(vector).all() for vector in embedded.values())
    assert np.isfinite(found.embed_moments(moments(999))).all()


def test_the_mixed_vector_is_small_and_holds_every_group_where_it_is_said_to_be(many: Scales) -> None:
    embedded = many.embed(description(7))
    mixed = many.mixed(embedded)
    assert mixed.dtype == np.float32
    assert len(mixed) == many.sizes()["mixed"] <= 160
    for group, place in many.slices.items():
        assert np.array_equal(mixed[place], embedded[group])


def test_random_tracks_are_as_far_apart_in_each_group(many: Scales) -> None:
    rows = np.stack([many.mixed(many.embed(description(i))) for i in range(120)])
    pairs = np.random.default_rng(5).integers(120, size=(2000, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    for group, place in many.slices.items():
        squared = np.sum((rows[pairs[:, 0], place] - rows[pairs[:, 1], place]) ** 2, axis=1)
        assert np.median(squared) == pytest.approx(1, rel=0.15), group


def test_units_do_not_matter_much_once_there_are_tracks() -> None:
    tracks = [{Group.TEMPORAL: description(i)[Group.TEMPORAL]} for i in range(600)]
    units = np.where([each.unit in LOGARITHMIC for each in LAYOUT[Group.TEMPORAL]], 1, 100).astype(np.float32)
    louder = [track | {Group.TEMPORAL: track[Group.TEMPORAL] * units} for track in tracks]
    plain, scaled = (scales.learn(each, [], seed=1) for each in (tracks, louder))
    apart = [
        np.linalg.norm(found.embed(a)[Group.TEMPORAL] - found.embed(b)[Group.TEMPORAL])
        for found, (a, b) in ((plain, tracks[:2]), (scaled, louder[:2]))
    ]
    assert apart[0] == pytest.approx(apart[1], rel=0.1)


@pytest.mark.parametrize("semitones", [1, 5, 11])
def test_transposing_a_track_turns_its_tonal_vector(many: Scales, semitones: int) -> None:
    tonal = description(3)[Group.TONAL]
    turned = many.embed({Group.TONAL: turn(tonal, semitones)})[Group.TONAL]
    assert np.allclose(turned, turn(many.embed({Group.TONAL: tonal})[Group.TONAL], semitones), atol=1e-5)


def test_kept_scales_are_the_same_scales(many: Scales) -> None:
    again = scales.unpack(many.pack())
    assert again.pack() == many.pack()
    assert again.version == many.version == hashlib.sha256(many.pack()).hexdigest()[:16]
    ours, theirs = (found.mixed(found.embed(description(50))) for found in (many, again))
    assert np.array_equal(ours, theirs)
    assert again.similarity_of(0.7, EVEN) == many.similarity_of(0.7, EVEN)
    assert np.array_equal(again.embed_moments(moments(4)), many.embed_moments(moments(4)))


def test_the_same_catalogue_and_seed_give_the_same_bytes_and_another_seed_others() -> None:
    assert learned(60).pack() == learned(60).pack()
    assert learned(60, seed=2).version != learned(60).version


@pytest.mark.parametrize("kept", [b"", b"\xc1", b"\x93\x01\x02\x03", b"\x81\xa7version\x63"])
def test_what_are_no_scales_is_refused(kept: bytes) -> None:
    with pytest.raises(InvalidRequest):
        scales.unpack(kept)


def test_a_group_that_no_track_has_has_no_scale() -> None:
    tracks = [
        {group: vector for group, vector in description(i).items() if group != "rhythm"} for i in range(9)
    ]
    found = scales.learn(tracks, [], seed=1)
    assert set(found.sizes()) == {"temporal", "spectral", "tonal", "timbre", "mixed"}
    assert set(found.embed(description(1))) == set(Group) - {Group.RHYTHM}
    for ask in (
        lambda: found.weights(EVEN),
        lambda: found.similarity_of(1.0, EVEN),
        lambda: found.embed_moments(moments(1)),
    ):
        with pytest.raises(NotDescribed, match=r"no track of the catalogue is described by (rhythm|moments)"):
            ask()


def test_groups_that_only_some_tracks_have_are_learned_from_those() -> None:
    tracks = [description(i) for i in range(30)]
    some = [track if i % 3 else {Group.TONAL: track[Group.TONAL]} for i, track in enumerate(tracks)]
    found = scales.learn(some, [], seed=1)
    assert found.sizes()["mixed"] == learned(30).sizes()["mixed"]
    assert 0 < found.similarity_of(1.0, EVEN) < 1
    with pytest.raises(NotDescribed, match="not described by temporal, spectral, rhythm, timbre"):
        found.mixed(found.embed(some[0]))


def test_nothing_to_learn_from_is_an_error() -> None:
    nothing: list[list[dict[Group, Vector]]] = [[], [{}]]
    for descriptions in nothing:
        with pytest.raises(NotDescribed):
            scales.learn(descriptions, [], seed=1)


@pytest.mark.parametrize(
    "vector", [np.zeros(5, np.float32), np.full(6, np.nan, np.float32), np.full(6, np.inf, np.float32)]
)
def test_vectors_that_are_none_are_refused(many: Scales, vector: Vector) -> None:
    with pytest.raises(InvalidRequest, match="temporal"):
        many.embed({Group.TEMPORAL: vector})


def test_silence_has_a_finite_place(many: Scales) -> None:
    silent = {group: np.zeros(size, np.float32) for group, size in SIZES.items()}
    silent[Group.TIMBRE] = np.zeros_like(gaussian(1))
    embedded = many.embed(silent)
    assert np.isfinite(many.mixed(embedded)).all()


def test_likeness_is_1_for_the_same_and_falls_with_distance(many: Scales) -> None:
    for found in (many, learned(1), learned(2)):
        for mix in (EVEN, Mix(weights={Group.TONAL: 1}, transpose=True), Mix(weights=ALL, metric="cosine")):
            likeness = found.similarities_of(np.linspace(0, 30, 200), mix)
            assert likeness[0] == 1
            assert (likeness > 0).all()
            assert (np.diff(likeness) < 0).mean() > 0.9
            assert (np.diff(likeness) <= 0).all()


@pytest.mark.parametrize("mix", [EVEN, Mix(weights={Group.TIMBRE: 1.0, Group.TONAL: 3.0})])
def test_likeness_is_the_share_of_random_pairs_that_are_farther_apart(many: Scales, mix: Mix) -> None:
    rows = np.stack([many.mixed(many.embed(description(i))) for i in range(120)])
    weights = many.weights(mix)
    apart = np.sqrt(np.sum(weights * (rows[:, None] - rows) ** 2, axis=2))[np.triu_indices(120, 1)]
    for share in (0.1, 0.5, 0.9):
        assert many.similarity_of(float(np.quantile(apart, 1 - share)), mix) == pytest.approx(share, abs=0.06)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=40), st.floats(0, 30), st.floats(0, 30))
def test_a_share_is_monotone_whatever_the_sample(random: list[float], a: float, b: float) -> None:
    near, far = share_farther(np.array(sorted((a, b))), random=np.sort(np.array(random)))
    assert 0 < far <= near <= 1


def test_logarithms_of_gaussians_are_those_of_their_matrices() -> None:
    from scipy.linalg import logm  # noqa: PLC0415 - slow to import, and only here

    vector, n = gaussian(3, n=4).astype(np.float64), 4
    mean, covariance = vector[:n], np.zeros((n, n))
    covariance[np.triu_indices(n)] = vector[n:]
    covariance = covariance + np.triu(covariance, 1).T
    top = covariance + np.outer(mean, mean) + transforms.RIDGE * np.eye(n)
    matrix = np.block([[top, mean[:, None]], [mean[None], np.ones((1, 1))]])
    plain = logm(matrix)
    found = transforms.log_gaussians(vector[None], centre=np.zeros(n), spread=np.ones(n))[0]
    assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(plain), rel=1e-6)
    assert found[0] == pytest.approx(plain[0, 0], rel=1e-6)
    assert found[1] == pytest.approx(plain[0, 1] * np.sqrt(2), rel=1e-6)


def test_a_covariance_that_is_none_stays_finite() -> None:
    vector = np.full(20 + 210, -5.0)
    found = transforms.log_gaussians(vector[None], centre=np.zeros(20), spread=np.ones(20))
    assert np.isfinite(found).all()


@settings(max_examples=20)
@given(st.integers(1, 60))
def test_a_gaussian_says_how_many_dimensions_it_has(n: int) -> None:
    assert transforms.n_means(n + n * (n + 1) // 2) == n
