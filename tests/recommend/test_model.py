"""A model as it is kept: the same again after packing, and nothing else is taken for one."""

from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from fpserver.errors import InvalidRequest
from fpserver.recommend.blend import STRATEGIES, Signal, Weight, Weights
from fpserver.recommend.expected import Expectations
from fpserver.recommend.model import VERSION, Model, unpack


def model(seed: int, n_tracks: int = 5, n_factors: int = 3, n_dimensions: int = 2) -> Model:
    """Numbers at random, in a model's shapes."""
    rng = np.random.default_rng(seed)

    def numbers(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    def near() -> sparse.csr_array:
        dense = rng.random((n_tracks, n_tracks)) * (rng.random((n_tracks, n_tracks)) < 0.4)
        return sparse.csr_array(dense.astype(np.float16).astype(np.float32))

    n_targets = n_factors + 1
    return Model(
        track_id=np.sort(rng.choice(2**28, n_tracks, replace=False)),
        n_people=n_tracks + 7,
        factors=numbers(n_tracks, n_factors),
        near=near(),
        met_near=near(),
        n_users=numbers(n_tracks) ** 2,
        n_lately=numbers(n_tracks) ** 2,
        expectations=Expectations(
            base=numbers(n_targets),
            audio=numbers(n_dimensions, n_targets),
            artist=numbers(3, n_targets),
            genre=numbers(1, n_targets),
            tag=numbers(2, n_targets),
            artists=("", "bin day", "ünter ☂"),
            genres=("",),
            tag_names=("", "calm"),
            scales="9f2c",
        ),
        weights=Weights(
            by_strategy={
                name: {each: Weight(always=rng.normal(), new=rng.normal()) for each in STRATEGIES[name]}
                for name in STRATEGIES
            },
            spreads={each: rng.uniform(0, 2) for each in Signal},
        ),
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(1, 9), st.integers(0, 4))
def test_what_is_packed_comes_back_the_same(
    seed: int, n_tracks: int, n_factors: int, n_dimensions: int
) -> None:
    before = model(seed, n_tracks, n_factors, n_dimensions)
    packed = before.pack()
    after = unpack(packed)
    assert after.pack() == packed
    for name in ("track_id", "factors", "n_users", "n_lately"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    for name in ("near", "met_near"):
        np.testing.assert_array_equal(getattr(after, name).toarray(), getattr(before, name).toarray())
    for name in ("base", "audio", "artist", "genre", "tag"):
        np.testing.assert_array_equal(getattr(after.expectations, name), getattr(before.expectations, name))
    for name in ("artists", "genres", "tag_names"):
        assert tuple(getattr(after.expectations, name)) == getattr(before.expectations, name)
    assert after.expectations.scales == "9f2c"
    assert after.weights.by_strategy == before.weights.by_strategy
    assert after.weights.spreads == before.weights.spreads
    assert after.n_people == before.n_people


def test_the_layout_is_the_one_that_is_drawn() -> None:
    document = msgpack.unpackb(model(1, n_tracks=2).pack())
    assert set(document) == {
        "version",
        "arrays",
        "texts",
        "scales",
        "n_people",
        "weights",
        "spreads",
    }
    assert document["version"] == VERSION == 2
    dtype, shape, kept = document["arrays"]["track_id"]
    assert (dtype, shape) == ("<i8", [2])
    assert int.from_bytes(kept[:8], "little") == model(1, n_tracks=2).track_id[0]
    assert document["texts"]["artists"] == ["", "bin day", "ünter ☂"]
    assert document["n_people"] == 9
    assert set(document["weights"]) == set(STRATEGIES)
    of_sound = model(1, n_tracks=2).weights.by_strategy["content"][Signal.SOUND]
    assert document["weights"]["content"]["sound"] == [of_sound.always, of_sound.new]
    assert set(document["spreads"]) == {each.value for each in Signal}


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"no model",
        b"\xc1",
        msgpack.packb([1, 2]),
        msgpack.packb({}),
        msgpack.packb({"version": VERSION}),
        msgpack.packb({"version": VERSION, "arrays": {}, "texts": {}, "weights": {}}),
        msgpack.packb({"version": VERSION, "arrays": {"track_id": ["<q9", [1], b"x"]}}),
        model(1).pack() + b"x",
    ],
)
def test_foreign_bytes_are_refused_in_one_sentence(foreign: bytes) -> None:
    with pytest.raises(InvalidRequest, match="model cannot be read"):
        unpack(foreign)


def test_a_model_of_another_version_says_so() -> None:
    document: dict[str, Any] = msgpack.unpackb(model(1).pack())
    with pytest.raises(InvalidRequest, match=r"model is of version 99, needs \d+: train it anew"):
        unpack(msgpack.packb(document | {"version": 99}))


@pytest.mark.parametrize("lost", ["arrays", "texts", "scales", "n_people", "weights", "spreads"])
def test_a_model_that_lacks_a_part_is_refused(lost: str) -> None:
    document: dict[str, Any] = msgpack.unpackb(model(1).pack())
    inside: list[dict[str, Any]] = [{name: part for name, part in document.items() if name != lost}]
    if isinstance(document[lost], dict):
        for name in document[lost]:
            rest = {each: part for each, part in document[lost].items() if each != name}
            inside.append(document | {lost: rest})
    for each in inside:
        with pytest.raises(InvalidRequest):
            unpack(msgpack.packb(each))
    with pytest.raises(InvalidRequest):
        unpack(msgpack.packb(document | {"weights": {"hybrid": {"of_tomorrow": [1.0, 0.0]}}}))


PACKED = model(3).pack()


@given(st.integers(0, len(PACKED) - 1))
def test_half_a_model_is_refused(n_bytes: int) -> None:
    with pytest.raises(InvalidRequest):
        unpack(PACKED[:n_bytes])


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(foreign: bytes) -> None:
    with pytest.raises(InvalidRequest):
        unpack(foreign)
