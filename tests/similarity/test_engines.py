"""One contract, held against every engine, beside a plain model of what it must answer."""

from collections.abc import AsyncIterator, Mapping, Sequence

import numpy as np
import pytest

from fpserver.errors import InvalidRequest
from fpserver.similarity.engines.embedded import Embedded
from fpserver.similarity.engines.engine import MIXED, Engine, Entry, Found
from fpserver.terms import SEGMENTS, Metadata, Sieve, Vectors
from tests.similarity.conftest import Opening
from tests.similarity.model import Model

SIZES = {"timbre": 12, "rhythm": 5, MIXED: 17, SEGMENTS: 8}
GENRES = ("Jazz", "jazz", "Straße & Söhne", 'He said "no" \\ {it}', None)
TAGS = ("calm", "Calm, rainy day", "not calm,|,50%", None)
KEYS = ("A minor", "C major", None)
N_TRACKS = 300


def entry(rng: np.random.Generator, track_id: int, **changes: Metadata) -> Entry:
    """A made-up track near one of a few centres; some lack a fact, a text or a kind of vector."""
    centre = np.random.default_rng(track_id % 7).standard_normal(17)
    mixed = (centre + 0.4 * rng.standard_normal(17)).astype(np.float32)[None]
    moments = rng.standard_normal((int(rng.integers(1, 6)), SIZES[SEGMENTS])).astype(np.float32)
    vectors: dict[str, Vectors] = {"timbre": mixed[:, :12], MIXED: mixed, SEGMENTS: moments}
    if track_id % 5:
        vectors["rhythm"] = mixed[:, 12:]
    metadata = Metadata(
        title=f"Piece {track_id}",
        artist=f"Artist {track_id % 20}",
        album="Fête" if track_id % 2 else None,
        genre=GENRES[track_id % 5],
        external_id=f"id-{track_id:04}",
        tags=TAGS[track_id % 4],
    )
    facts = {"tempo_bpm": 60.0 + track_id % 100, "loudness_db": -30.0 + (track_id % 64) / 4}
    if not track_id % 3:
        del facts["tempo_bpm"]
    return Entry(
        track_id=track_id,
        metadata=changes.get("metadata", metadata),
        facts=facts,
        key=KEYS[track_id % 3],
        vectors=vectors,
    )


def entries(rng: np.random.Generator, track_ids: Sequence[int]) -> list[Entry]:
    return [entry(rng, track_id) for track_id in track_ids]


@pytest.fixture
async def engine(opening: Opening) -> AsyncIterator[Engine]:
    async with opening() as engine:
        await engine.begin(SIZES)
        yield engine


@pytest.fixture
async def stocked(engine: Engine, rng: np.random.Generator) -> tuple[Engine, Model]:
    """An engine with tracks, some of which were replaced and some removed; and the model of it."""
    model = Model()
    for track_ids in (range(1, N_TRACKS), range(40, 60), range(N_TRACKS, N_TRACKS + 10)):
        some = entries(rng, track_ids)
        await engine.put(some)
        model.put(some)
    gone = [3, 50, 7, 999_999]
    await engine.remove(gone)
    model.remove(gone)
    if isinstance(engine, Embedded):
        await engine.settled()
    return engine, model


async def asked(
    engine: Engine, model: Model, space: str, queries: Vectors, *, exact: bool = True, **how: object
) -> list[Found]:
    """The engine's answers, each of which is the model's."""
    found = await engine.nearest(space, queries, exact=exact, **how)  # type: ignore[arg-type]
    assert len(found) == len(queries)
    for query, answer in zip(queries, found, strict=True):
        expected = model.nearest(space, query, **how)  # type: ignore[arg-type]
        assert same(answer, expected), (list(rows(answer))[:5], expected[:5])
    return found


def same(answer: Found, expected: list[tuple[float, int, int]]) -> bool:
    """The same distances in order, and the same vectors where no others are as far."""
    told = rows(answer)
    close = len(told) == len(expected) and np.allclose(
        [row[0] for row in told], [row[0] for row in expected], rtol=1e-3, atol=2e-3
    )
    return bool(close) and {row[1:] for row in told} == {row[1:] for row in expected}


def rows(answer: Found) -> list[tuple[float, int, int]]:
    columns = (answer.distance.tolist(), answer.track_id.tolist(), answer.row.tolist())
    return list(zip(*columns, strict=True))


def queries_like(rng: np.random.Generator, model: Model, space: str, n_queries: int = 4) -> Vectors:
    held = [entry.vectors[space] for entry in model.entries.values() if space in entry.vectors]
    vectors = np.concatenate(held)
    some = vectors[rng.choice(len(vectors), n_queries)]
    noise = 0.1 * rng.standard_normal(some.shape)
    return (some + noise).astype(np.float32)


class TestEngine:
    """Held to by every engine."""

    @pytest.mark.parametrize("space", SIZES)
    @pytest.mark.parametrize("metric", ["euclidean", "cosine"])
    async def test_the_nearest_are_found_in_every_space_by_both_measures(
        self, stocked: tuple[Engine, Model], rng: np.random.Generator, space: str, metric: str
    ) -> None:
        engine, model = stocked
        await asked(engine, model, space, queries_like(rng, model, space), k=10, metric=metric)

    async def test_without_exact_nearly_all_of_the_nearest_are_found(
        self, stocked: tuple[Engine, Model], rng: np.random.Generator
    ) -> None:
        engine, model = stocked
        for space in SIZES:
            queries = queries_like(rng, model, space, 20)
            found = await engine.nearest(space, queries, k=10)
            expected = [model.nearest(space, query, k=10) for query in queries]
            hits = [
                len({row[1:] for row in rows(a)} & {row[1:] for row in b})
                for a, b in zip(found, expected, strict=True)
            ]
            assert np.mean(hits) >= 9.5

    @pytest.mark.parametrize("metric", ["euclidean", "cosine"])
    async def test_weights_multiply_squared_differences_and_products(
        self, stocked: tuple[Engine, Model], rng: np.random.Generator, metric: str
    ) -> None:
        engine, model = stocked
        queries = queries_like(rng, model, MIXED)
        of_one_group = np.repeat([0.0, 2.0], [12, 5]).astype(np.float32)
        of_all = rng.uniform(0.1, 3.0, 17).astype(np.float32)
        for weights in (of_one_group, of_all):
            await asked(engine, model, MIXED, queries, k=10, metric=metric, weights=weights)

    @pytest.mark.parametrize(
        "sieve",
        [
            Sieve(equal={"genre": "JAZZ"}),
            Sieve(equal={"genre": "strasse & söhne"}),
            Sieve(equal={"genre": 'he said "no" \\ {it}'}),
            Sieve(equal={"key": "a Minor"}),
            Sieve(equal={"genre": "jazz", "key": "C major"}),
            Sieve(equal={"genre": "polka"}),
            Sieve(equal={"isrc": ""}),
            Sieve(equal={"tag": "CALM"}),
            Sieve(equal={"tag": "rainy day", "genre": "jazz"}),
            Sieve(equal={"tag": "rainy"}),
            Sieve(equal={"tag": "calm, rainy day"}),
            Sieve(equal={"tag": "|"}),
            Sieve(equal={"tag": "50%"}),
            Sieve(equal={"tag": ""}),
            Sieve(ranges={"tempo_bpm": (100.0, 110.0)}),
            Sieve(ranges={"tempo_bpm": (None, 61.0)}),
            Sieve(ranges={"loudness_db": (-18.0, None), "tempo_bpm": (60.0, 90.0)}),
            Sieve(ranges={"loudness_db": (-29.75, -29.75)}),
            Sieve(ranges={"rms_db": (None, None)}),
            Sieve(q="PIECE 12"),
            Sieve(q="artist 7"),
            Sieve(q="id-0021"),
            Sieve(q='"no'),
            Sieve(q="FÊTE", equal={"genre": "jazz"}, ranges={"tempo_bpm": (70.0, None)}),
            Sieve(without=frozenset(range(1, 200, 2))),
            Sieve(without=frozenset({12, 999_999}), q="piece", equal={"artist": "ARTIST 3"}),
        ],
    )
    async def test_only_what_passes_the_sieve_is_found(
        self, stocked: tuple[Engine, Model], rng: np.random.Generator, sieve: Sieve
    ) -> None:
        engine, model = stocked
        for space in (MIXED, SEGMENTS):
            queries = queries_like(rng, model, space, 2)
            for exact in (True, False):
                found = await engine.nearest(space, queries, k=7, sieve=sieve, exact=exact)
                expected = [model.nearest(space, query, k=7, sieve=sieve) for query in queries]
                assert [len(answer.track_id) for answer in found] == [len(each) for each in expected]
                passing = {row[1:] for row in model.nearest(space, queries[0], k=10_000, sieve=sieve)}
                assert all({row[1:] for row in rows(answer)} <= passing for answer in found)
                if exact:
                    assert all(same(answer, each) for answer, each in zip(found, expected, strict=True))

    async def test_equal_distances_are_in_the_order_of_tracks_then_rows(self, engine: Engine) -> None:
        def twin(track_id: int) -> Entry:
            vectors = {SEGMENTS: np.ones((3, 8), np.float32), MIXED: np.ones((1, 17), np.float32)}
            return Entry(track_id=track_id, metadata=Metadata(), facts={}, key=None, vectors=vectors)

        await engine.put([twin(track_id) for track_id in (9, 4, 70, 8)])
        query = np.full((1, 8), 2.0, np.float32)
        (found,) = await engine.nearest(SEGMENTS, query, k=12, exact=True)
        in_order = [(track_id, row) for track_id in (4, 8, 9, 70) for row in range(3)]
        assert [row[1:] for row in rows(found)] == in_order
        (fewer,) = await engine.nearest(SEGMENTS, query, k=5, exact=True)
        assert [row[1:] for row in rows(fewer)] == in_order[:5]

    async def test_fewer_are_found_where_there_are_no_more(
        self, engine: Engine, rng: np.random.Generator
    ) -> None:
        query = np.zeros((2, 17), np.float32)
        assert [len(found.track_id) for found in await engine.nearest(MIXED, query, k=5)] == [0, 0]
        await engine.put(entries(rng, [1, 2]))
        for exact in (True, False):
            found = await engine.nearest(MIXED, query, k=5, exact=exact)
            assert [sorted(each.track_id.tolist()) for each in found] == [[1, 2], [1, 2]]

    async def test_what_was_replaced_or_removed_is_never_found(
        self, engine: Engine, rng: np.random.Generator
    ) -> None:
        before, after = entry(rng, 5), entry(rng, 5, metadata=Metadata(genre="Polka"))
        await engine.put([before, entry(rng, 6)])
        await engine.put([entry(rng, 7), after])
        sieve = Sieve(equal={"genre": "polka"})
        (found,) = await engine.nearest(SEGMENTS, before.vectors[SEGMENTS][:1], k=100, exact=True)
        moments = after.vectors[SEGMENTS]
        of_track = {row[2]: row[0] for row in rows(found) if row[1] == 5}
        told = np.linalg.norm(moments - before.vectors[SEGMENTS][:1], axis=1)
        assert len(of_track) == len(moments)
        assert np.allclose([of_track[row] for row in range(len(moments))], told, atol=2e-3)
        (found,) = await engine.nearest(MIXED, before.vectors[MIXED], k=3, sieve=sieve)
        assert found.track_id.tolist() == [5]
        await engine.remove([5])
        for exact in (True, False):
            (found,) = await engine.nearest(SEGMENTS, before.vectors[SEGMENTS][:1], k=100, exact=exact)
            assert 5 not in found.track_id
        assert await engine.vectors(SEGMENTS, [5]) == {}
        assert (await engine.stats()).n_tracks == 2

    async def test_of_a_track_put_twice_at_once_the_last_counts(
        self, engine: Engine, rng: np.random.Generator
    ) -> None:
        first, last = entry(rng, 5), entry(rng, 5)
        await engine.put([first, last])
        assert np.allclose((await engine.vectors(MIXED, [5]))[5], last.vectors[MIXED], atol=1e-4)
        (found,) = await engine.nearest(MIXED, last.vectors[MIXED], k=9, exact=True)
        assert found.track_id.tolist() == [5]

    async def test_vectors_are_given_back(self, stocked: tuple[Engine, Model]) -> None:
        engine, model = stocked
        wanted = [1, 5, 3, 45, 301, 12_345]
        for space in SIZES:
            told, expected = await engine.vectors(space, wanted), model.vectors(space, wanted)
            assert told.keys() == expected.keys()
            assert all(np.allclose(told[i], expected[i], rtol=1e-5, atol=1e-5) for i in told)
        assert await engine.vectors(MIXED, []) == {}

    async def test_it_says_how_much_it_holds(self, stocked: tuple[Engine, Model]) -> None:
        engine, model = stocked
        stats = await engine.stats()
        assert stats.n_tracks == len(model.entries)
        n_vectors = {
            space: sum(len(each.vectors.get(space, ())) for each in model.entries.values()) for space in SIZES
        }
        assert stats.n_vectors == n_vectors
        assert stats.memory_bytes > 4 * sum(SIZES[space] * n for space, n in n_vectors.items())

    async def test_a_question_that_breaks_a_rule_is_refused(self, stocked: tuple[Engine, Model]) -> None:
        engine, _ = stocked
        query = np.zeros((1, 17), np.float32)
        wrong: list[tuple[str, Vectors, Mapping[str, object], str]] = [
            ("tonal", query, {}, '"tonal"'),
            (MIXED, query[:, :16], {}, "16"),
            (MIXED, query[0], {}, "17"),
            (MIXED, query * np.nan, {}, "finite"),
            (MIXED, query, {"k": 0}, "at least 1"),
            (MIXED, query, {"metric": "manhattan"}, "manhattan"),
            (MIXED, query, {"weights": np.ones(3, np.float32)}, "17"),
            (MIXED, query, {"weights": -np.ones(17, np.float32)}, "below 0"),
            (MIXED, query, {"sieve": Sieve(equal={"colour": "red"})}, "colour"),
        ]
        for space, queries, how, said in wrong:
            with pytest.raises(InvalidRequest, match=said):
                await engine.nearest(space, queries, **{"k": 3, **how})  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="tonal"):
            await engine.vectors("tonal", [1])

    async def test_of_entries_that_break_a_rule_none_is_held(
        self, engine: Engine, rng: np.random.Generator
    ) -> None:
        good = entry(rng, 1)
        for space, vectors in {
            "tonal": good.vectors[MIXED],
            "timbre": good.vectors[MIXED],
            MIXED: good.vectors[MIXED] * np.inf,
        }.items():
            bad = Entry(track_id=2, metadata=Metadata(), facts={}, key=None, vectors={space: vectors})
            with pytest.raises(InvalidRequest, match=f"{space}"):
                await engine.put([good, bad])
        assert (await engine.stats()).n_tracks == 0

    async def test_beginning_forgets_everything(self, stocked: tuple[Engine, Model]) -> None:
        engine, _ = stocked
        await engine.advance("17")
        await engine.begin({"timbre": 3})
        assert await engine.position() is None
        stats = await engine.stats()
        assert (stats.n_tracks, stats.n_vectors) == (0, {"timbre": 0})
        with pytest.raises(InvalidRequest):
            await engine.nearest(MIXED, np.zeros((1, 17), np.float32), k=1)
        (found,) = await engine.nearest("timbre", np.zeros((1, 3), np.float32), k=1)
        assert len(found.track_id) == 0

    async def test_it_remembers_how_far_it_has_come(self, opening: Opening, rng: np.random.Generator) -> None:
        async with opening() as engine:
            assert await engine.position() is None
            await engine.begin(SIZES)
            assert await engine.position() is None
            await engine.put(entries(rng, range(1, 200)))
            await engine.advance("1700000000-5")
            await engine.advance("1700000000-6")
            assert await engine.position() == "1700000000-6"

    async def test_a_restart_keeps_what_was_advanced_or_says_that_it_is_lost(
        self, opening: Opening, rng: np.random.Generator
    ) -> None:
        model = Model()
        async with opening() as engine:
            await engine.begin(SIZES)
            for track_ids in (range(1, 200), range(20, 40)):
                some = entries(rng, track_ids)
                await engine.put(some)
                model.put(some)
            await engine.remove([30])
            model.remove([30])
            await engine.advance("7")
            before = await engine.stats()
        async with opening() as engine:
            assert await engine.position() == "7"
            assert (await engine.stats()).n_vectors == before.n_vectors
            for space in SIZES:
                await asked(engine, model, space, queries_like(rng, model, space), k=10)
            sieve = Sieve(equal={"genre": "jazz"}, q="piece", ranges={"tempo_bpm": (70.0, 120.0)})
            await asked(engine, model, MIXED, queries_like(rng, model, MIXED), k=10, sieve=sieve)
            more = entries(rng, range(190, 220))
            await engine.put(more)
            model.put(more)
            await asked(engine, model, SEGMENTS, queries_like(rng, model, SEGMENTS), k=10)
            assert (await engine.stats()).n_tracks == len(model.entries)
