"""An index written at once behaves as one that tracks were added to."""

from itertools import pairwise

import numpy as np
import pytest

from fpserver.config import IndexConfig
from fpserver.index import lists, peaks
from fpserver.index.store import FUNCTIONS, Index
from fpserver.store.connect import Client, load_functions
from fpserver.terms import Fingerprint, Window
from loadtest.bulk_index import Postings, load
from tests.index.making import Model, fingerprint, hits

CONFIG = IndexConfig(n_shards=4)


def pieces(given: dict[int, Fingerprint]) -> list[Postings]:
    """All postings in order, in three pieces."""
    track_id = np.concatenate([np.full(len(each.landmarks), i, np.int64) for i, each in given.items()])
    hashes = np.concatenate([each.landmarks.hash for each in given.values()])
    offset = np.concatenate([each.landmarks.offset for each in given.values()])
    order = np.lexsort((offset, track_id, hashes))
    hashes, track_id, offset = hashes[order], track_id[order], offset[order]
    bounds = np.searchsorted(hashes, [0, 1, 130, 2**32])
    return [
        Postings(hash=hashes[a:b], track_id=track_id[a:b], offset=offset[a:b]) for a, b in pairwise(bounds)
    ]


async def contents(client: Client) -> dict[bytes, object]:
    """Everything in the store, by key."""
    found: dict[bytes, object] = {}
    async for key in client.scan_iter():
        is_hash = await client.type(key) == b"hash"
        found[key] = await (client.hgetall(key) if is_hash else client.get(key))
    return found


async def test_what_is_loaded_is_what_adding_and_sealing_leave_behind(
    client: Client, rng: np.random.Generator
) -> None:
    given = {track_id: fingerprint(rng, n_landmarks=400, spread=60) for track_id in range(1, 30)}
    await load_functions(client, FUNCTIONS)
    index = Index(client, CONFIG)
    for track_id, each in given.items():
        await index.add(track_id, each)
    assert await index.seal_if_grown() > 0
    added = await contents(client)
    assert any(b":t:" in key for key in added)  # some lists have outgrown their heads

    await client.flushall()
    packed = [(track_id, peaks.pack(each.peaks)) for track_id, each in given.items()]
    assert await load(client, CONFIG, pieces(given), peaks=packed) == 29 * 400
    assert await contents(client) == added


async def test_tracks_that_were_loaded_are_found_and_removed(
    client: Client, rng: np.random.Generator
) -> None:
    given = {track_id: fingerprint(rng, n_landmarks=200, spread=300) for track_id in range(1, 20)}
    await load_functions(client, FUNCTIONS)
    packed = [(track_id, peaks.pack(each.peaks)) for track_id, each in given.items()]
    await load(client, CONFIG, pieces(given), peaks=packed)
    index, model = Index(client, CONFIG), Model()
    for track_id, each in given.items():
        model.add(track_id, each.landmarks)
    asked = np.arange(1000, dtype=np.uint32)
    found = await index.lookup(asked, max_postings=100_000)
    assert hits(found, asked) == model.lookup(asked)
    assert found.n_indexed == model.n_postings
    (window,) = await index.windows([Window(track_id=7, first_frame=0, last_frame=10_000)])
    assert window is not None
    np.testing.assert_array_equal(window.frame, given[7].peaks.frame)
    await index.add(7, given[7])  # is there already
    assert await index.remove(7, given[7].landmarks) == 200
    await index.add(30, given[7])
    model.remove(7)
    model.add(30, given[7].landmarks)
    assert hits(await index.lookup(asked), asked) == model.lookup(asked)
    assert (await index.stats()).n_postings == model.n_postings


async def test_only_an_empty_store_is_filled(client: Client, rng: np.random.Generator) -> None:
    await load_functions(client, FUNCTIONS)
    await Index(client, CONFIG).add(1, fingerprint(rng))
    with pytest.raises(ValueError, match="only written into an empty store"):
        await load(client, CONFIG, [])


def test_a_head_is_as_long_for_both() -> None:
    assert f"local HEAD_BYTES = {lists.HEAD_BYTES} " in FUNCTIONS
    assert f"local MARKER_BYTES = {lists.MARKER_BYTES}\n" in FUNCTIONS
    assert f"local BLOCK_FRAMES = {peaks.BLOCK_FRAMES} " in FUNCTIONS
