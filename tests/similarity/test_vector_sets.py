"""What only the engine of vector sets has: a server that may be another, or come back empty."""

import string
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpserver.config import RedisConfig, SimilarityConfig
from fpserver.errors import ConfigInvalid, StoreUnavailable
from fpserver.similarity.engines import vector_search
from fpserver.similarity.engines.engine import MIXED, Entry
from fpserver.similarity.engines.lifted import (
    least_distance,
    lift,
    lowered,
    parts_of,
    question,
    radius_of,
    weights_of_parts,
)
from fpserver.similarity.engines.vector_filters import _number, _written
from fpserver.similarity.engines.vector_keys import Keys
from fpserver.similarity.engines.vector_sets import VectorSets, open_engine
from fpserver.store.connect import Client, open_store, shared_url
from fpserver.terms import SEGMENTS, Metadata, Sieve, Vectors, fold
from loadtest.redis8 import redis8

KEYS = Keys("near")


def entries(n_tracks: int) -> list[Entry]:
    rng = np.random.default_rng(1)
    return [
        Entry(
            track_id=track_id,
            metadata=Metadata(),
            facts={},
            key=None,
            vectors={"timbre": rng.standard_normal((3, 4)).astype(np.float32)},
        )
        for track_id in range(1, n_tracks + 1)
    ]


@asynccontextmanager
async def begun(url: str, sizes: dict[str, int], *, n_sets: int) -> AsyncIterator[tuple[VectorSets, Client]]:
    """An engine that holds nothing yet, and a client of its server."""
    similarity = SimilarityConfig(engine="vector_sets", url=url, n_sets=n_sets)
    async with (
        open_engine(similarity, RedisConfig()) as engine,
        open_store(RedisConfig(url=url)) as client,
    ):
        await client.flushall()
        await engine.begin(sizes)
        yield engine, client


async def test_a_server_without_vector_sets_is_refused_in_a_sentence(
    client: Client, store_config: RedisConfig
) -> None:
    named = SimilarityConfig(engine="vector_sets", url=shared_url(store_config)), RedisConfig()
    the_store = SimilarityConfig(engine="vector_sets"), store_config
    for similarity, redis in (named, the_store):
        with pytest.raises(ConfigInvalid, match=r"similarity.engine .* Redis 8 or newer"):
            async with open_engine(similarity, redis):
                pass


async def test_a_server_that_does_not_answer_is_said_to(tmp_path: Path) -> None:
    similarity = SimilarityConfig(engine="vector_sets", url=f"unix://{tmp_path}/none")
    with pytest.raises(StoreUnavailable):
        async with open_engine(similarity, RedisConfig(timeout_s=0.2)):
            pass


async def test_when_one_set_is_lost_all_is(redis8_url: str) -> None:
    async with begun(redis8_url, {"timbre": 4}, n_sets=3) as (engine, client):
        await engine.put(entries(9))
        await engine.advance("a")
        assert await engine.position() == "a"
        for key in KEYS.all_of(1, ["timbre"]):
            await client.delete(key)
        assert await engine.position() is None


async def test_the_set_that_is_furthest_behind_says_how_far_all_are(redis8_url: str) -> None:
    async with begun(redis8_url, {"timbre": 4}, n_sets=3) as (engine, client):
        await engine.advance("9")
        await engine.advance("10")
        await client.hset(KEYS.state(2), mapping={"step": "1", "position": "9"})
        assert await engine.position() == "9"
        await engine.advance("11")
        assert await engine.position() == "11"


async def test_another_number_of_sets_begins_anew_and_leaves_nothing_behind(redis8_url: str) -> None:
    many, few = (SimilarityConfig(engine="vector_sets", url=redis8_url, n_sets=n) for n in (5, 2))
    async with open_store(RedisConfig(url=redis8_url)) as client:
        await client.flushall()
        async with open_engine(many, RedisConfig()) as engine:
            await engine.begin({"timbre": 4})
            await engine.put(entries(9))
            await engine.advance("9")
        async with open_engine(few, RedisConfig()) as engine:
            assert await engine.position() is None
            await engine.begin({"timbre": 4})
            assert [key async for key in client.scan_iter()] == [KEYS.state(0).encode()]


async def test_a_filter_that_few_pass_is_asked_again(
    redis8_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_search, "FIRST_LOOK", 1)
    monkeypatch.setattr(vector_search, "EFFORT", 5)
    async with begun(redis8_url, {"timbre": 4}, n_sets=2) as (engine, _client):
        tracks = entries(300)
        await engine.put(tracks)
        rare = Sieve(without=frozenset(range(1, 300)) - {7, 120, 211})
        (found,) = await engine.nearest("timbre", tracks[0].vectors["timbre"][:1], k=9, sieve=rare)
        assert set(found.track_id.tolist()) <= {7, 120, 211, 300}
        assert len(found.track_id) == 9


async def test_vectors_that_lie_otherwise_are_begun_anew(redis8_url: str) -> None:
    async with begun(redis8_url, {"timbre": 4}, n_sets=2) as (engine, client):
        await engine.advance("9")
        assert await engine.position() == "9"
        await client.hset(KEYS.state(0), "layout", "1")
        assert await engine.position() is None
        await engine.begin({"timbre": 4})
        await engine.advance("10")
        assert await engine.position() == "10"


async def test_functions_that_a_server_has_lost_are_loaded_again(redis8_url: str) -> None:
    async with begun(redis8_url, {"timbre": 4}, n_sets=2) as (engine, client):
        tracks = entries(3)
        await engine.put(tracks)
        await client.execute_command("FUNCTION FLUSH")
        (found,) = await engine.nearest("timbre", tracks[1].vectors["timbre"][:1], k=1)
        assert found.track_id.tolist() == [2]
        await client.execute_command("FUNCTION FLUSH")
        assert set(await engine.vectors("timbre", [1, 3, 4])) == {1, 3}


async def test_weights_of_groups_rank_as_distance_does_and_others_are_measured(
    redis8_url: str, rng: np.random.Generator
) -> None:
    similarity = SimilarityConfig(engine="vector_sets", url=redis8_url, n_sets=2)
    vectors = rng.standard_normal((3000, 10)).astype(np.float32)
    tracks = [
        Entry(track_id=i, metadata=Metadata(), facts={}, key=None, vectors={MIXED: vector[None]})
        for i, vector in enumerate(vectors)
    ]
    async with (
        open_engine(similarity, RedisConfig()) as engine,
        open_store(RedisConfig(url=redis8_url)) as client,
    ):
        await client.flushall()
        await engine.begin({"rhythm": 4, "timbre": 6, MIXED: 10})
        await engine.put(tracks)
        of_one = np.repeat([0.0, 1.0], [4, 6]).astype(np.float32)
        of_both = np.repeat([0.2, 3.0], [4, 6]).astype(np.float32)
        for weights in (
            of_one,
            of_both,
            rng.uniform(0.3, 3, 10).astype(np.float32),
            np.zeros(10, np.float32),
        ):
            hits = []
            for query in rng.standard_normal((10, 10)).astype(np.float32):
                told = np.sum(weights * (vectors - query) ** 2, axis=1)
                nearest = set(np.lexsort((np.arange(3000), told))[:10].tolist())
                found = [
                    (await engine.nearest(MIXED, query[None], k=10, weights=weights, exact=exact))[0]
                    for exact in (False, True)
                ]
                assert set(found[1].track_id.tolist()) == nearest
                hits.append(len(set(found[0].track_id.tolist()) & nearest) if weights.any() else 10)
            assert np.mean(hits) >= 9.5


async def test_a_broken_off_replacement_leaves_no_vector_that_cannot_be_removed(redis8_url: str) -> None:
    async with begun(redis8_url, {"timbre": 4}, n_sets=1) as (engine, client):
        (entry,) = entries(1)
        await engine.put([entry])
        key, (vector,) = KEYS.vectors(0, "timbre"), entry.vectors["timbre"][:1]
        added = engine._recording({1: {"timbre": 5}})  # as a process does before it adds, and then is killed
        await engine._write(added)
        await client.execute_command("VADD", key, "FP32", lift(vector, 1.0, (4,)), "1:4", "NOQUANT", "M", 16)
        await engine.remove([1])
        assert (await engine.stats()).n_vectors == {"timbre": 0}
        assert await engine.vectors("timbre", [1]) == {}


async def test_a_server_that_came_back_empty_is_begun_anew(redis8_program: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="fp8") as folder:
        similarity = SimilarityConfig(engine="vector_sets", url=f"unix://{folder}/s")
        async with redis8(Path(folder), redis8_program), open_engine(similarity, RedisConfig()) as engine:
            await engine.begin({"timbre": 4})
            await engine.advance("5")
        async with redis8(Path(folder), redis8_program), open_engine(similarity, RedisConfig()) as engine:
            assert await engine.position() is None


@given(st.text(max_size=20), st.text(max_size=4))
def test_a_part_of_a_text_is_a_part_of_it_as_it_is_written(text: str, part: str) -> None:
    assert (_written(part) in _written(text)) == (
        fold(part).encode("utf-8", "surrogatepass") in fold(text).encode("utf-8", "surrogatepass")
    )


@given(st.text())
def test_what_is_written_needs_no_escaping(text: str) -> None:
    assert set(_written(text)) <= set(
        string.ascii_lowercase + string.digits + string.ascii_uppercase[:16] + " %"
    )


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_numbers_in_filters_have_no_sign_behind_the_first_place(value: float) -> None:
    told = _number(value)
    assert not {"+", "-"} & set(told[1:])
    assert float(told) == pytest.approx(value, rel=1e-5, abs=1e-14)


def test_what_is_lifted_is_near_by_angle_as_it_is_by_distance(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((200, 30)).astype(np.float32)
    radius = radius_of(vectors)
    held = lifted(vectors, radius, (30,))
    held /= np.linalg.norm(held, axis=1)[:, None]
    by_angle = np.argsort(-held @ held[0])[:20]
    by_distance = np.argsort(np.linalg.norm(vectors - vectors[0], axis=1))[:20]
    assert len(set(by_angle) & set(by_distance)) >= 17


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (0.3, 2.0, 1e-3), (0.0, 1.0, 0.0), (0.0, 40.0, 7.0)])
def test_a_question_ranks_lifted_vectors_by_their_weighted_distance(
    weights: tuple[float, ...], rng: np.random.Generator
) -> None:
    parts, query = (3, 10, 17), rng.standard_normal(30).astype(np.float32)
    vectors = rng.standard_normal((500, 30)).astype(np.float32)
    vectors[:50] = query + 0.3 * rng.standard_normal((50, 30))
    radius = radius_of(vectors)
    held = lifted(vectors, radius, parts)
    raw, length = question(query, np.array(weights, np.float32), radius, parts)
    told = np.sum(np.repeat(weights, parts) * (vectors - query) ** 2, axis=1)
    asked = np.frombuffer(raw, "<f4").astype(np.float64)
    assert np.allclose(held @ asked * length, -told / 2, rtol=1e-4, atol=1e-4)
    cosine = held @ asked / np.linalg.norm(held, axis=1)
    assert len(set(np.argsort(-cosine)[:12]) & set(np.argsort(told)[:10])) >= 9
    for i in (0, 100):
        assert least_distance((1 + cosine[i]) / 2, length, radius) <= told[i] * (1 + 1e-4) + 1e-4


def test_what_is_held_is_lowered_to_what_it_was(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((5, 7)).astype(np.float32)
    held = lifted(vectors, 9.0, (3, 4))
    lengths = np.linalg.norm(held, axis=1)
    raw = (held / lengths[:, None]).astype("<f4").tobytes()
    assert np.allclose(lowered(raw, lengths, 7), vectors, atol=1e-5)


def test_weights_are_of_parts_only_where_all_of_a_part_counts_alike() -> None:
    told = weights_of_parts(np.array([2, 2, 0, 0, 0], np.float32), (2, 3))
    assert told is not None
    assert told.tolist() == [2, 0]
    assert weights_of_parts(np.array([2, 1, 0, 0, 0], np.float32), (2, 3)) is None
    assert weights_of_parts(np.zeros(5, np.float32), (2, 3)) is None


def test_parts_of_mixed_vectors_are_the_groups_where_they_fill_them() -> None:
    sizes = {"timbre": 12, "rhythm": 5, MIXED: 17, SEGMENTS: 8}
    assert parts_of(MIXED, sizes) == (12, 5)
    assert parts_of(SEGMENTS, sizes) == (8,)
    assert parts_of("rhythm", sizes) == (5,)
    assert parts_of(MIXED, {MIXED: 17}) == (17,)


def lifted(vectors: Vectors, radius: float, parts: tuple[int, ...]) -> npt.NDArray[np.float64]:
    return np.array([np.frombuffer(lift(vector, radius, parts), "<f4") for vector in vectors], np.float64)
