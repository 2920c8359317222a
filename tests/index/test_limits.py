"""What one call may cost, whatever is asked and whatever is held."""

import asyncio
import time

import numpy as np

from fpserver.store.connect import Client
from tests.index.conftest import new_index
from tests.index.making import Model, fingerprint, hits, one_hash


async def test_lists_longer_than_the_limit_are_left_out_and_counted(client: Client) -> None:
    index = await new_index(client, max_postings_per_hash=500)
    for track_id, (hash_, n) in enumerate([(7, 500), (8, 501), (9, 3)], start=1):
        await index.add(track_id, one_hash(hash_, list(range(n))))
    found = await index.lookup(np.array([7, 8, 9, 10], np.uint32))
    assert found.n_stopped == 1
    assert np.bincount(found.hash_index, minlength=4).tolist() == [500, 0, 3, 0]
    assert found.n_indexed == 1004


async def test_postings_of_one_lookup_are_bounded(client: Client) -> None:
    index = await new_index(client, n_shards=2, max_postings_per_lookup=1000)
    for hash_ in range(100):
        await index.add(1 + hash_, one_hash(hash_, list(range(40))))
    found = await index.lookup(np.arange(100, dtype=np.uint32))
    assert 0 < len(found) <= 1000
    assert len(found) == 40 * (100 - found.n_stopped)


async def test_many_hashes_are_asked_in_several_questions(client: Client, rng: np.random.Generator) -> None:
    index, model = await new_index(client, n_shards=1), Model()
    given = fingerprint(rng, n_landmarks=20_000, spread=30_000)
    await index.add(1, given)
    model.add(1, given.landmarks)
    asked = np.arange(50_000, dtype=np.uint32)
    found = await index.lookup(asked)
    assert hits(found, asked) == model.lookup(asked)
    assert found.n_indexed == 20_000


async def test_a_long_track_is_added_and_removed_in_short_steps(
    client: Client, rng: np.random.Generator
) -> None:
    index = await new_index(client, n_shards=1)
    given = fingerprint(rng, n_landmarks=100_000, spread=200_000)  # an hour and more
    await client.config_resetstat()
    await index.add(1, given)
    assert await index.remove(1, given.landmarks) == 100_000
    calls = (await client.info("commandstats"))["cmdstat_fcall"]
    assert calls["calls"] > 100
    assert calls["usec"] / calls["calls"] < 50_000


async def test_the_event_loop_goes_on_while_a_long_track_is_added(
    client: Client, rng: np.random.Generator
) -> None:
    index = await new_index(client)
    adding = asyncio.create_task(index.add(1, fingerprint(rng, n_landmarks=100_000)))
    longest_s, last = 0.0, time.perf_counter()
    while not adding.done():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest_s, last = max(longest_s, now - last), now
    await adding
    assert longest_s < 0.2
