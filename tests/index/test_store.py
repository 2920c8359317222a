"""What every index does, whatever its number of shards and nodes, told against a dict."""

import asyncio

import numpy as np
import pytest
from redis.asyncio import RedisCluster

from fpserver.errors import AudioTooLong, Conflict, ForeignIndex, InvalidRequest
from fpserver.index import keys, rewriting, store
from fpserver.index.store import Index
from fpserver.store.connect import Client
from fpserver.terms import Fingerprint, Landmarks, Window
from tests.index.conftest import STAMP, new_index
from tests.index.making import Model, fingerprint, hits, one_hash, track_peaks

HEAD = 42  # postings of a list's head


class TestIndex:
    async def test_finds_what_a_dict_finds(self, index: Index, rng: np.random.Generator) -> None:
        model = Model()
        for track_id in [1, 2, 15, 16, 17, 4096, 2**20]:
            given = fingerprint(rng)
            await index.add(track_id, given)
            model.add(track_id, given.landmarks)
        asked = rng.permutation(np.arange(6000, dtype=np.uint32))
        found = await index.lookup(asked)
        assert hits(found, asked) == model.lookup(asked)
        assert (found.n_stopped, found.degraded, found.n_indexed) == (0, False, model.n_postings)
        assert (await index.stats()).n_postings == model.n_postings

    async def test_removed_tracks_are_gone_and_the_others_untouched(
        self, index: Index, rng: np.random.Generator
    ) -> None:
        model = Model()
        given = {track_id: fingerprint(rng, spread=50) for track_id in range(1, 9)}
        for track_id, each in given.items():
            await index.add(track_id, each)
            model.add(track_id, each.landmarks)
        asked = np.arange(1000, dtype=np.uint32)
        for track_id in (3, 8, 1):
            n_before = model.n_postings
            model.remove(track_id)
            assert await index.remove(track_id, given[track_id].landmarks) == n_before - model.n_postings
            assert await index.remove(track_id, given[track_id].landmarks) == 0
            found = await index.lookup(asked)
            assert hits(found, asked) == model.lookup(asked)
            assert found.n_indexed == model.n_postings
        assert sorted(await index.peaks(list(given))) == [2, 4, 5, 6, 7]

    async def test_an_empty_index_finds_nothing(self, index: Index) -> None:
        for asked in (np.zeros(0, np.uint32), np.arange(100, dtype=np.uint32)):
            found = await index.lookup(asked)
            assert (len(found), found.n_indexed, found.n_stopped, found.degraded) == (0, 0, 0, False)
            dtypes = [str(column.dtype) for column in (found.hash_index, found.track_id, found.offset)]
            assert dtypes == ["int64", "int64", "int32"]

    async def test_adding_again_changes_nothing(self, index: Index, rng: np.random.Generator) -> None:
        given = fingerprint(rng)
        for _ in range(3):
            await index.add(5, given)
        asked = np.unique(given.landmarks.hash)
        assert len(await index.lookup(asked)) == len(given.landmarks)
        assert (await index.stats()).n_postings == len(given.landmarks)

    async def test_adding_twice_at_the_same_time_adds_once(
        self, index: Index, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store, "MAX_POSTINGS_PER_ADDITION", 8)
        given = fingerprint(rng)
        await asyncio.gather(*(index.add(5, given) for _ in range(3)))
        assert len(await index.lookup(np.unique(given.landmarks.hash))) == len(given.landmarks)

    @pytest.mark.parametrize("max_items", [10**6, 40, 7])
    async def test_an_addition_that_broke_off_anywhere_is_completed_by_repeating_it(
        self, index: Index, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, max_items: int
    ) -> None:
        monkeypatch.setattr(store, "MAX_POSTINGS_PER_ADDITION", max_items)
        model = Model()
        for track_id in range(1, 6):
            given = fingerprint(rng, n_landmarks=150, spread=100)
            _, shards = index._pack_addition({track_id: given})
            for calls in shards:  # as far as a crash may have come, in each shard
                for call in calls[: rng.integers(0, len(calls) + 1)]:
                    await index._write([call])
            await index.add(track_id, given)
            model.add(track_id, given.landmarks)
            asked = np.unique(given.landmarks.hash)
            assert hits(await index.lookup(asked), asked) == model.lookup(asked)
        assert (await index.stats()).n_postings == model.n_postings

    @pytest.mark.parametrize("max_items", [10**6, 40])
    async def test_tracks_added_together_that_broke_off_anywhere_are_completed_by_repeating_it(
        self, index: Index, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, max_items: int
    ) -> None:
        monkeypatch.setattr(store, "MAX_POSTINGS_PER_ADDITION", max_items)
        model = Model()
        for first in (1, 11, 21):
            given = {first + i: fingerprint(rng, n_landmarks=150, spread=100) for i in range(3)}
            peaks, shards = index._pack_addition(given)
            await index._keep_peaks(peaks)
            for calls in shards:
                for call in calls[: rng.integers(0, len(calls) + 1)]:
                    await index._write([call])
            await index.add_together(given)
            await index.add_together(given)
            for track_id, each in given.items():
                await index.add(track_id, each)  # is there
                model.add(track_id, each.landmarks)
        asked = np.arange(500, dtype=np.uint32)
        assert hits(await index.lookup(asked), asked) == model.lookup(asked)
        assert (await index.stats()).n_postings == model.n_postings

    async def test_what_was_begun_together_is_not_added_in_other_company_before_it_is_removed(
        self, index: Index, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store, "MAX_POSTINGS_PER_ADDITION", 20)
        given = {track_id: fingerprint(rng, n_landmarks=150, spread=100) for track_id in (1, 2, 3)}
        peaks, shards = index._pack_addition({track_id: given[track_id] for track_id in (1, 2)})
        await index._keep_peaks(peaks)
        await index._write([calls[0] for calls in shards if calls])
        await index.add(3, given[3])
        for others in ({1}, {1, 3}, {1, 2, 3}):
            with pytest.raises(Conflict, match="begun together with others"):
                await index.add_together({track_id: given[track_id] for track_id in others})
        model = Model()
        for track_id in (1, 2):
            await index.remove(track_id, given[track_id].landmarks)
            await index.add(track_id, given[track_id])
        for track_id, each in given.items():
            model.add(track_id, each.landmarks)
        asked = np.arange(500, dtype=np.uint32)
        assert hits(await index.lookup(asked), asked) == model.lookup(asked)
        assert (await index.stats()).n_postings == model.n_postings

    async def test_a_removal_that_broke_off_anywhere_is_completed_by_repeating_it(
        self, index: Index, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rewriting, "MAX_LISTS", 7)
        model = Model()
        for track_id in range(1, 6):
            given, kept = (fingerprint(rng, n_landmarks=150, spread=100) for _ in range(2))
            await index.add(track_id, given)
            await index.add(100 + track_id, kept)
            model.add(100 + track_id, kept.landmarks)
            for shard, hashes in index._by_shard(np.unique(given.landmarks.hash)).items():
                await index._write([index._pack_removal(track_id, shard, is_done=False)])
                await index._rewrite(shard, hashes[: rng.integers(0, len(hashes) + 1)], without=track_id)
            await index.remove(track_id, given.landmarks)
            asked = np.arange(500, dtype=np.uint32)
            assert hits(await index.lookup(asked), asked) == model.lookup(asked)
            assert (await index.stats()).n_postings == model.n_postings
            await index.add(track_id, given)  # nothing stands in the way of another try
            await index.remove(track_id, given.landmarks)

    async def test_a_track_half_removed_cannot_be_added(self, index: Index, rng: np.random.Generator) -> None:
        given = fingerprint(rng)
        await index.add(5, given)
        shard = next(iter(index._by_shard(given.landmarks.hash)))
        await index._write([index._pack_removal(5, shard, is_done=False)])
        with pytest.raises(Conflict, match="track 5 is being removed"):
            await index.add(5, given)
        await index.remove(5, given.landmarks)
        await index.add(5, given)
        assert (await index.stats()).n_postings == len(given.landmarks)

    async def test_another_fingerprint_under_the_same_id_is_refused(
        self, index: Index, rng: np.random.Generator
    ) -> None:
        await index.add(5, fingerprint(rng))
        with pytest.raises(Conflict, match="the index holds another fingerprint of track 5"):
            await index.add(5, fingerprint(rng))

    async def test_long_lists_grow_and_shrink_over_their_heads(self, index: Index) -> None:
        model, asked = Model(), np.array([77, 78], np.uint32)
        lengths = [HEAD - 1, 1, 1, HEAD, 1000, 3]
        for track_id, n in enumerate(lengths, start=1):
            given = one_hash(77, list(range(n)))
            await index.add(track_id, given)
            model.add(track_id, given.landmarks)
            assert hits(await index.lookup(asked), asked) == model.lookup(asked)
        for track_id in (5, 1, 6, 4, 3, 2):
            assert await index.remove(track_id, one_hash(77, [0]).landmarks) == lengths[track_id - 1]
            model.remove(track_id)
            found = await index.lookup(asked)
            assert hits(found, asked) == model.lookup(asked)
            assert found.n_indexed == model.n_postings

    async def test_sealed_lists_hold_what_they_held_take_half_and_grow_and_shrink_as_others(
        self, index: Index, rng: np.random.Generator
    ) -> None:
        model, asked = Model(), np.arange(64, dtype=np.uint32) * 64
        given = {}
        for track_id in rng.permutation(np.arange(1, 120)).tolist():
            hashes = np.sort(asked[np.minimum(rng.exponential(12, 100), 63).astype(np.int64)])
            offset = rng.integers(0, 5000, 100).astype(np.int32)
            given[track_id] = Fingerprint(
                landmarks=Landmarks(hash=hashes, offset=offset), peaks=track_peaks(rng, n_peaks=3)
            )
        for n, (track_id, each) in enumerate(given.items()):
            await index.add(track_id, each)
            model.add(track_id, each.landmarks)
            if n in (30, 60, 118):
                before = await tail_bytes(index)
                n_sealed = await index.seal()
                assert n_sealed > 0
                assert await tail_bytes(index) < (0.65 * before if n == 30 else before)
                assert await index.seal() == 0  # what is sealed is not sealed again
                assert hits(await index.lookup(asked), asked) == model.lookup(asked)
        for track_id in list(given)[::-1]:
            n_before = model.n_postings
            model.remove(track_id)
            assert await index.remove(track_id, given[track_id].landmarks) == n_before - model.n_postings
            if track_id % 10 == 0:
                found = await index.lookup(asked)
                assert hits(found, asked) == model.lookup(asked)
                assert found.n_indexed == model.n_postings
        assert await tail_bytes(index) == 0

    async def test_sealing_waits_until_the_index_has_grown_and_for_nobody_else(
        self, index: Index, rng: np.random.Generator
    ) -> None:
        assert await index.seal_if_grown() == 0
        for track_id in range(1, 30):
            await index.add(track_id, fingerprint(rng, spread=20))
        one, other = await asyncio.gather(index.seal_if_grown(), index.seal_if_grown())
        assert (one == 0) != (other == 0)
        await index.add(30, one_hash(5000, list(range(500))))  # a twentieth
        assert await index.seal_if_grown() == 0
        await index.add(31, one_hash(5001, list(range(500))))
        assert await index.seal_if_grown() == 2
        for track_id in (30, 31):
            await index.remove(track_id, one_hash(5000 + track_id - 30, [0]).landmarks)
        assert await index.seal_if_grown() == 0  # fewer than before: growth counts from here
        await index.add(32, one_hash(5000, list(range(900))))
        assert await index.seal_if_grown() == 1

    async def test_sealing_while_others_add_remove_seal_and_read_loses_and_doubles_nothing(
        self, index: Index, rng: np.random.Generator
    ) -> None:
        model, asked = Model(), np.arange(400, dtype=np.uint32)
        given = {track_id: fingerprint(rng, n_landmarks=400, spread=30) for track_id in range(1, 60)}
        for track_id in range(1, 40):
            await index.add(track_id, given[track_id])
        lasting = Model()
        for track_id in range(20, 40):
            lasting.add(track_id, given[track_id].landmarks)

        async def add() -> None:
            for track_id in range(40, 60):
                await index.add(track_id, given[track_id])

        async def remove(track_ids: range) -> None:
            for track_id in track_ids:
                assert await index.remove(track_id, given[track_id].landmarks) == 400

        async def seal() -> None:
            for _ in range(5):
                await index.seal()

        async def read() -> None:
            for _ in range(20):
                found = hits(await index.lookup(asked), asked)
                assert [hit for hit in found if 20 <= hit[1] < 40] == lasting.lookup(asked)

        await asyncio.gather(add(), remove(range(1, 10)), remove(range(10, 20)), seal(), seal(), read())
        for track_id in range(20, 60):
            model.add(track_id, given[track_id].landmarks)
        found = await index.lookup(asked)
        assert hits(found, asked) == model.lookup(asked)
        assert found.n_indexed == model.n_postings

    async def test_peaks_come_back(self, index: Index, rng: np.random.Generator) -> None:
        given = {track_id: fingerprint(rng, n_peaks=50) for track_id in (1, 2, 17, 300)}
        for track_id, each in given.items():
            await index.add(track_id, each)
        found = await index.peaks([300, 1, 1, 2, 17, 999])
        assert sorted(found) == sorted(given)
        for track_id, each in given.items():
            for column in ("frame", "bin", "strong"):
                expected = getattr(each.peaks, column)
                np.testing.assert_array_equal(getattr(found[track_id], column), expected)
        assert await index.peaks([]) == {}

    async def test_windows_are_cut_from_whole_peaks(self, index: Index, rng: np.random.Generator) -> None:
        given = {
            track_id: fingerprint(rng, n_landmarks=5, n_peaks=int(rng.integers(0, 3000)))
            for track_id in (1, 2, 17, 300)
        }
        for track_id, each in given.items():
            await index.add(track_id, each)
        asked = [
            Window(track_id=int(track_id), first_frame=int(first), last_frame=int(first + length))
            for track_id, first, length in zip(
                rng.choice([1, 2, 17, 300, 999], 200),
                rng.integers(-300, 11_000, 200),
                rng.choice([-5, 0, 1, 128, 215, 20_000], 200),
                strict=True,
            )
        ]
        for window, found in zip(asked, await index.windows(asked), strict=True):
            if window.track_id == 999:
                assert found is None
                continue
            assert found is not None
            whole = given[window.track_id].peaks
            assert found.n_frames == whole.n_frames
            wanted = (whole.frame >= window.first_frame) & (whole.frame < window.last_frame)
            got = (found.frame >= window.first_frame) & (found.frame < window.last_frame)
            np.testing.assert_array_equal(found.frame[got], whole.frame[wanted])
            np.testing.assert_array_equal(found.bin[got], whole.bin[wanted])
            assert set(zip(found.frame.tolist(), found.bin.tolist(), strict=True)) <= set(
                zip(whole.frame.tolist(), whole.bin.tolist(), strict=True)
            )
            if len(found):  # not much more than was asked
                assert window.first_frame - 128 < found.frame[0]
                assert found.frame[-1] < window.last_frame + 127
        assert await index.windows([]) == []

    async def test_a_track_without_landmarks_is_kept(self, index: Index, rng: np.random.Generator) -> None:
        empty = Landmarks(hash=np.zeros(0, np.uint32), offset=np.zeros(0, np.int32))
        given = Fingerprint(landmarks=empty, peaks=track_peaks(rng, n_peaks=0))
        await index.add(5, given)
        assert len((await index.peaks([5]))[5]) == 0
        assert await index.remove(5, empty) == 0
        assert await index.peaks([5]) == {}

    async def test_nothing_is_left_of_removed_tracks(self, index: Index, rng: np.random.Generator) -> None:
        given = {track_id: fingerprint(rng, spread=20) for track_id in range(1, 4)}
        for track_id, each in given.items():
            await index.add(track_id, each)
        for track_id, each in given.items():
            await index.remove(track_id, each.landmarks)
        names = [key async for key in client_of(index).scan_iter()]
        assert {name.split(b":")[-1] for name in names} <= {b"stamp", b"tracks", b"n_postings"}
        assert (await index.stats()).n_postings == 0

    async def test_what_does_not_fit_is_refused_before_anything_is_written(self, index: Index) -> None:
        with pytest.raises(InvalidRequest):
            await index.add(2**28, one_hash(1, [1]))
        with pytest.raises(AudioTooLong):
            await index.add(1, one_hash(1, [2**20]))
        assert await index.peaks([1]) == {}

    async def test_memory_and_its_limit_are_told(self, index: Index, shape: tuple[Client, int]) -> None:
        stats = await index.stats()
        assert stats.used_memory_bytes > 100_000 and stats.max_memory_bytes == 0, "no limit is set"
        client = shape[0]
        everywhere = {"target_nodes": RedisCluster.PRIMARIES} if isinstance(client, RedisCluster) else {}
        n_masters = len(client.get_primaries()) if isinstance(client, RedisCluster) else 1
        try:
            await client.execute_command("CONFIG SET", "maxmemory", 2**32, **everywhere)
            assert (await index.stats()).max_memory_bytes == n_masters * 2**32
        finally:
            await client.execute_command("CONFIG SET", "maxmemory", 0, **everywhere)


class TestStamp:
    async def test_the_same_settings_open_the_index_again(self, client: Client) -> None:
        for _ in range(2):
            await new_index(client, n_shards=2)

    async def test_a_setting_that_differs_is_named(self, client: Client) -> None:
        index = await new_index(client, n_shards=2)
        with pytest.raises(ForeignIndex, match=r"fingerprint\.hop = 256, this server has 512"):
            await index.open({"fingerprint.hop": "512"})
        with pytest.raises(ForeignIndex, match=r"fingerprint\.new = nothing, this server has 1"):
            await index.open({**STAMP, "fingerprint.new": "1"})

    async def test_another_number_of_shards_is_refused(self, client: Client) -> None:
        await new_index(client, n_shards=2)
        with pytest.raises(ForeignIndex, match=r"index\.n_shards = 2, this server has 4"):
            await new_index(client, n_shards=4)

    async def test_an_index_of_an_older_layout_is_refused(self, client: Client) -> None:
        index = await new_index(client)
        await client.set(
            keys.STAMP, b'{"fingerprint.hop": "128", "index.layout": "2", "index.n_shards": "16"}'
        )
        with pytest.raises(ForeignIndex, match="has layout 2, this version of fpserver reads layout 4"):
            await index.open(STAMP)

    async def test_two_that_open_a_new_index_at_once_agree(self, client: Client) -> None:
        index = await new_index(client)
        await client.flushall()
        stamps = [{"fingerprint.hop": str(hop)} for hop in (256, 512)]
        opened = await asyncio.gather(*(index.open(stamp) for stamp in stamps), return_exceptions=True)
        assert [type(each) for each in opened].count(ForeignIndex) == 1


async def tail_bytes(index: Index) -> int:
    """Of all posting lists, beyond their heads."""
    client = client_of(index)
    return sum([await client.strlen(name) async for name in client.scan_iter(match=keys.TAILS)])


def client_of(index: Index) -> Client:
    return index._nodes._client
