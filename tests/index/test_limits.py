"""What one call may cost, whatever is asked and whatever is held."""

import asyncio
import time

import numpy as np

from fpserver.index import keys
from fpserver.store.connect import Client
from fpserver.terms import Fingerprint, Landmarks
from tests.index.conftest import new_index
from tests.index.making import Model, fingerprint, hits, one_hash, track_peaks


async def test_lists_longer_than_the_limit_are_left_out_and_counted(client: Client) -> None:
    index = await new_index(client, max_postings_per_hash=500)
    for track_id, (hash_, n) in enumerate([(7, 500), (8, 501), (9, 3)], start=1):
        await index.add(track_id, one_hash(hash_, list(range(n))))
    found = await index.lookup(np.array([7, 8, 9, 10], np.uint32))
    assert (found.left_out.tolist(), found.n_stopped) == ([0, 501, 0, 0], 1)
    assert np.bincount(found.hash_index, minlength=4).tolist() == [500, 0, 3, 0]
    assert found.n_indexed == 1004


async def test_postings_of_one_lookup_are_bounded(client: Client) -> None:
    index = await new_index(client, n_shards=2, max_postings_per_lookup=1000)
    for hash_ in range(1000):
        await index.add(1 + hash_, one_hash(hash_, list(range(4))))
    for most, given in [(1000, None), (1000, 5000), (500, 500), (0, 0)]:
        found = await index.lookup(np.arange(1000, dtype=np.uint32), max_postings=given)
        assert most - 8 <= len(found) <= most
        assert len(found) == 4 * (1000 - found.n_stopped)


async def test_over_its_part_a_shard_reads_its_shortest_lists(
    client: Client, rng: np.random.Generator
) -> None:
    """Among them some longer than a head, and stop hashes, which count for nothing."""
    index = await new_index(client, n_shards=2, max_postings_per_hash=600)
    lengths = rng.choice([0, 1, 2, 30, 41, 42, 43, 500, 601], 300)
    postings = Landmarks(
        hash=np.repeat(np.arange(300, dtype=np.uint32), lengths),
        offset=np.arange(lengths.sum(), dtype=np.int32),
    )
    await index.add(1, Fingerprint(landmarks=postings, peaks=track_peaks(rng, n_peaks=3)))
    asked = rng.permutation(np.arange(300, dtype=np.uint32))
    shards = keys.shards_of(asked, n_shards=2)
    for max_postings in (0, 100, 1000, 10_000, 100_000):
        found = await index.lookup(asked, max_postings=max_postings)
        n_read = np.bincount(found.hash_index, minlength=300)
        n_expected = np.zeros(300, np.int64)
        for shard in (0, 1):
            here = np.flatnonzero(shards == shard)
            shortest = here[np.argsort(lengths[asked[here]] * 1000 + asked[here], kind="stable")]
            shortest = shortest[lengths[asked[shortest]] <= 600]
            fit = np.cumsum(lengths[asked[shortest]]) <= max_postings * len(here) // 300
            n_expected[shortest[fit]] = lengths[asked[shortest[fit]]]
        np.testing.assert_array_equal(n_read, n_expected)
        np.testing.assert_array_equal(found.left_out, lengths[asked] - n_expected)


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
