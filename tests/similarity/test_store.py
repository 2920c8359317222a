import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fpserver.descriptors import VERSION
from fpserver.similarity import codec, keys
from fpserver.similarity.store import Descriptions
from fpserver.store.connect import Client
from fpserver.terms import Description, Group, Moments

NUMBERS = st.floats(-1e6, 1e6, width=32)


def moments(rng: np.random.Generator, n: int = 7) -> Moments:
    return Moments(
        timbre=rng.normal(size=(n, 40)).astype(np.float32),
        chroma=rng.uniform(size=(n, 12)).astype(np.float32),
    )


@pytest.fixture
def descriptions(client: Client) -> Descriptions:
    return Descriptions(client, n_shards=4, timeout_s=5.0)


@given(npst.arrays(np.float32, st.integers(0, 50), elements=NUMBERS))
def test_a_vector_comes_back_as_it_was(vector: np.ndarray) -> None:
    found = codec.unpack_vector(codec.pack_vector(vector))
    assert found is not None
    np.testing.assert_array_equal(found, vector)


@settings(deadline=None)
@given(
    npst.arrays(np.float32, st.tuples(st.integers(0, 9), st.just(40)), elements=NUMBERS),
    st.integers(0, 255),
)
def test_moments_come_back_but_for_a_255th_of_what_their_column_spans(timbre: np.ndarray, seed: int) -> None:
    chroma = np.random.default_rng(seed).uniform(size=(len(timbre), 12)).astype(np.float32)
    found = codec.unpack_moments(codec.pack_moments(Moments(timbre=timbre, chroma=chroma)))
    assert found is not None
    for there, was in ((found.timbre, timbre), (found.chroma, chroma)):
        assert there.shape == was.shape
        if len(was):
            span = was.max(axis=0) - was.min(axis=0)
            assert np.all(np.abs(there - was) <= span / 500 + np.abs(was) * 1e-6 + 1e-37)


def test_the_layout_is_the_one_that_is_drawn() -> None:
    assert codec.pack_vector(np.array([1.0, -2.0], np.float32)) == bytes([VERSION]) + (
        b"\x00\x00\x80\x3f\x00\x00\x00\xc0"
    )
    one = Moments(timbre=np.array([[0.0], [255.0]], np.float32), chroma=np.array([[5.0], [5.0]], np.float32))
    shape, zero, unit = b"\x02\0\0\0\x01\0\0\0", b"\0\0\0\0", b"\0\0\x80\x3f"
    assert codec.pack_moments(one) == bytes([VERSION]) + (
        shape + zero + unit + b"\x00\xff" + shape + b"\0\0\xa0\x40" + unit + b"\0\0"
    )


def test_what_another_version_wrote_is_missing() -> None:
    packed = bytes([VERSION + 1]) + codec.pack_vector(np.ones(3, np.float32))[1:]
    assert codec.unpack_vector(packed) is None
    assert codec.unpack_moments(packed) is None


async def test_each_part_is_fetched_alone_and_what_is_missing_is_left_out(
    descriptions: Descriptions, rng: np.random.Generator
) -> None:
    vectors = {Group.TONAL: np.arange(3, dtype=np.float32), Group.TIMBRE: np.ones(5, np.float32)}
    sounds = moments(rng)
    await descriptions.put(9, Description(vectors=vectors, facts={}, moments=sounds))
    await descriptions.put(10, Description(vectors={Group.TONAL: np.zeros(3, np.float32)}, facts={}))
    found = await descriptions.vectors([9, 10, 11], [Group.TIMBRE, Group.RHYTHM])
    assert {track_id: set(groups) for track_id, groups in found.items()} == {
        9: {Group.TIMBRE},
        10: set(),
        11: set(),
    }
    np.testing.assert_array_equal(found[9][Group.TIMBRE], np.ones(5))
    there = await descriptions.moments([9, 10, 11])
    assert set(there) == {9}
    np.testing.assert_allclose(there[9].timbre, sounds.timbre, atol=0.02)
    assert await descriptions.vectors([9], []) == {9: {}}


async def test_a_part_described_again_takes_the_place_of_what_there_was(descriptions: Descriptions) -> None:
    for value in (1.0, 2.0):
        vectors = {Group.TONAL: np.full(3, value, np.float32)}
        await descriptions.put(9, Description(vectors=vectors, facts={}))
    found = await descriptions.vectors([9], [Group.TONAL])
    np.testing.assert_array_equal(found[9][Group.TONAL], np.full(3, 2.0))


async def test_a_description_that_is_removed_is_gone(client: Client, descriptions: Descriptions) -> None:
    await descriptions.put(9, Description(vectors={Group.TONAL: np.zeros(3, np.float32)}, facts={}))
    assert await client.exists(keys.description(9, n_shards=4)) == 1
    await descriptions.remove(9)
    assert await client.exists(keys.description(9, n_shards=4)) == 0


async def test_one_of_many_has_the_turn_until_it_ends(descriptions: Descriptions) -> None:
    async with descriptions.turn(keys.LEARNING, for_s=5.0) as first:
        async with descriptions.turn(keys.LEARNING, for_s=5.0) as second:
            assert (first, second) == (True, False)
        async with descriptions.turn(keys.LEARNING, for_s=5.0) as third:
            assert not third
    async with descriptions.turn(keys.LEARNING, for_s=5.0) as after:
        assert after


async def test_what_was_learned_is_kept_as_it_was(descriptions: Descriptions) -> None:
    assert (await descriptions.scales(), await descriptions.scales_version()) == (None, None)
    await descriptions.put_scales(b"\x00learned", version="7", n_tracks=12)
    assert (await descriptions.scales(), await descriptions.scales_version()) == (b"\x00learned", "7")
    assert await descriptions.n_learned() == 12
