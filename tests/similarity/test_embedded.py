"""What only the embedded engine has: a file, and lists that are sorted while it is asked."""

import asyncio
import fcntl
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpserver.config import RedisConfig, SimilarityConfig
from fpserver.similarity.engines.embedded import Embedded, open_engine
from fpserver.similarity.engines.engine import Entry
from fpserver.similarity.engines.scan import distances, scan, scan_likely
from fpserver.terms import SEGMENTS, Metadata, Sieve, Vectors

SIZE = 16
N_TRACKS = 200
PER_TRACK = 100


def track(rng: np.random.Generator, track_id: int, *, n_rows: int = PER_TRACK) -> Entry:
    centre = rng.standard_normal(SIZE)
    vectors: Vectors = (centre + 0.3 * rng.standard_normal((n_rows, SIZE))).astype(np.float32)
    return Entry(
        track_id=track_id,
        metadata=Metadata(title=f"{track_id}"),
        facts={},
        key=None,
        vectors={SEGMENTS: vectors},
    )


async def filled(engine: Embedded, rng: np.random.Generator) -> Vectors:
    """Some vectors of an engine's tracks."""
    await engine.begin({SEGMENTS: SIZE})
    tracks = [track(rng, track_id) for track_id in range(1, N_TRACKS + 1)]
    await engine.put(tracks)
    return np.concatenate([each.vectors[SEGMENTS][:1] for each in tracks])


@pytest.fixture
def redis(tmp_path: Path) -> RedisConfig:
    return RedisConfig(data_dir=str(tmp_path))


SORTED = SimilarityConfig(exact_below=1000)


async def test_questions_are_answered_rightly_while_vectors_are_sorted(
    redis: RedisConfig, rng: np.random.Generator
) -> None:
    async with open_engine(SORTED, redis) as engine:
        queries = await filled(engine, rng)
        n_asked = 100
        for i in range(n_asked):
            found, put = await asyncio.gather(
                engine.nearest(SEGMENTS, queries[[i]], k=3),
                engine.put([track(rng, 1000 + i)]),
            )
            assert (found[0].track_id[0], found[0].row[0], found[0].distance[0]) == (i + 1, 0, 0)
            assert put is None
        await engine.settled()
        stats = await engine.stats()
        assert stats.n_vectors[SEGMENTS] == PER_TRACK * (N_TRACKS + n_asked)
        exact, likely = [
            await engine.nearest(SEGMENTS, queries, k=10, exact=exact) for exact in (True, False)
        ]
        assert all(a.distance[0] == 0 for a in likely)
        pairs = [[set(zip(a.track_id, a.row, strict=True)) for a in each] for each in (exact, likely)]
        shared = [len(a & b) for a, b in zip(*pairs, strict=True)]
        assert np.mean(shared) >= 9.7


def versions() -> list[int]:
    """For how many kinds of arguments each loop was compiled."""
    loops: list[Any] = [distances, scan, scan_likely]
    return [len(loop.signatures) for loop in loops]


async def test_no_question_waits_for_a_compiler(redis: RedisConfig, rng: np.random.Generator) -> None:
    async with open_engine(SORTED, redis) as engine:
        compiled = versions()
        queries = await filled(engine, rng)
        await engine.settled()
        await engine.put([track(rng, 5)])
        await engine.nearest(SEGMENTS, queries, k=5, sieve=Sieve(q="1"))
        await engine.advance("1")
    async with open_engine(SORTED, redis) as engine:
        await engine.nearest(SEGMENTS, queries, k=5)
        await engine.nearest(SEGMENTS, queries, k=5, metric="cosine", exact=True)
    assert versions() == compiled


async def test_removed_vectors_leave_their_room_when_there_are_many(
    redis: RedisConfig, rng: np.random.Generator
) -> None:
    async with open_engine(SORTED, redis) as engine:
        queries = await filled(engine, rng)
        await engine.settled()
        before = (await engine.stats()).memory_bytes
        gone = range(1, 150)
        await engine.remove(gone)
        found = await engine.nearest(SEGMENTS, queries, k=5)
        await engine.settled()
        found += await engine.nearest(SEGMENTS, queries, k=5)
        assert not any(set(each.track_id.tolist()) & set(gone) for each in found)
        assert all(len(each.track_id) == 5 for each in found)
        assert (await engine.stats()).memory_bytes < before / 2


@pytest.mark.parametrize("harm", ["cut off", "a byte turned", "another kind", "empty", "in its header"])
async def test_a_damaged_file_is_lost_and_the_engine_begins_anew(
    redis: RedisConfig, rng: np.random.Generator, harm: str
) -> None:
    async with open_engine(SORTED, redis) as engine:
        await filled(engine, rng)
        await engine.settled()
        await engine.advance("5")
    path = Path(redis.data_dir) / "similarity" / "near" / "vectors"
    whole = bytearray(path.read_bytes())
    if harm == "cut off":
        del whole[len(whole) // 2 :]
    elif harm == "a byte turned":
        whole[len(whole) // 2] ^= 1
    elif harm == "another kind":
        whole[:4] = b"RIFF"
    elif harm == "in its header":
        whole[40] ^= 1
    else:
        whole.clear()
    path.write_bytes(whole)
    async with open_engine(SORTED, redis) as engine:
        assert await engine.position() is None
        await filled(engine, rng)
        await engine.advance("6")
    async with open_engine(SORTED, redis) as engine:
        assert await engine.position() == "6"
        assert (await engine.stats()).n_tracks == N_TRACKS


async def test_of_several_processes_on_a_folder_one_writes_at_a_time(
    redis: RedisConfig, rng: np.random.Generator
) -> None:
    folder = Path(redis.data_dir) / "similarity" / "near"
    async with open_engine(SORTED, redis) as engine:
        await filled(engine, rng)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            await engine.advance("5")
            await engine.saved()
            assert not (folder / "vectors").exists()
    assert (folder / "vectors").exists()


async def test_who_holds_something_older_does_not_write_over_what_was_begun_anew(
    redis: RedisConfig, rng: np.random.Generator
) -> None:
    async with open_engine(SORTED, redis) as old:
        await filled(old, rng)
        async with open_engine(SORTED, redis) as new:
            await filled(new, rng)
            await new.advance("new")
        await old.advance("old")
    async with open_engine(SORTED, redis) as engine:
        assert await engine.position() == "new"


async def test_tracks_that_are_replaced_again_and_again_take_no_more_room(
    redis: RedisConfig, rng: np.random.Generator
) -> None:
    async with open_engine(SORTED, redis) as engine:
        await engine.begin({SEGMENTS: SIZE})
        sizes = []
        for _ in range(200):
            tracks = [track(rng, track_id, n_rows=2) for track_id in range(1, 101)]
            await engine.put(tracks)
            await engine.settled()
            sizes.append((await engine.stats()).memory_bytes)
        assert max(sizes[100:]) <= max(sizes[:100])
        for each in tracks:
            (found,) = await engine.nearest(SEGMENTS, each.vectors[SEGMENTS][1:], k=1)
            assert (found.track_id[0], found.row[0], found.distance[0]) == (each.track_id, 1, 0)


async def test_what_is_forgotten_does_not_come_back_after_a_crash(
    redis: RedisConfig, rng: np.random.Generator
) -> None:
    async with open_engine(SORTED, redis) as engine:
        await filled(engine, rng)
        await engine.advance("5")
    crashing = Embedded(Path(redis.data_dir) / "similarity" / "near", SORTED)
    await crashing.open()
    await crashing.begin({SEGMENTS: SIZE})
    async with open_engine(SORTED, redis) as engine:
        assert await engine.position() is None
    await crashing.close()


async def test_closing_does_not_wait_until_all_is_sorted(
    redis: RedisConfig, rng: np.random.Generator
) -> None:
    async with open_engine(SORTED, redis) as engine:
        await filled(engine, rng)
        await engine.advance("5")
    async with open_engine(SORTED, redis) as engine:
        assert (await engine.stats()).n_vectors == {SEGMENTS: N_TRACKS * PER_TRACK}
        await engine.put([track(rng, 5)])
        await engine.settled()
        assert (await engine.stats()).n_tracks == N_TRACKS
