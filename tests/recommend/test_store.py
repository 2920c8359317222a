"""What every store of feedback does, whatever its number of shards and nodes, told against a dict."""

import asyncio
from itertools import pairwise

import numpy as np
import pytest
from redis.asyncio import RedisCluster

from fpserver.errors import StoreUnavailable
from fpserver.recommend import keys, store
from fpserver.recommend.store import Feedback
from fpserver.store.connect import Client, is_cluster, load_functions
from fpserver.terms import History
from loadtest.cluster import Cluster
from tests.recommend.conftest import MAX_USER_EVENTS, new_feedback
from tests.recommend.making import Model, event, events, row, rows


async def all_pages(feedback: Feedback, **limits: int) -> list[History]:
    return [page async for page in feedback.pages(**limits)]


def by_user(pages: list[History]) -> list[list[tuple[float, int, int, float]]]:
    """Rows of each user, by its number."""
    user = np.concatenate([page.user for page in pages]) if pages else np.zeros(0, np.int32)
    flat = [each for page in pages for each in rows(page)]
    assert np.all(np.diff(user) >= 0), "numbers ascend"
    bounds = np.searchsorted(user, np.arange(user.max(initial=-1) + 2)).tolist()
    return [flat[first:last] for first, last in pairwise(bounds)]


class TestFeedback:
    async def test_keeps_what_a_dict_keeps(
        self, feedback: Feedback, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store, "MAX_PUT", 40)
        monkeypatch.setattr(store, "MAX_INLINE_BYTES", 30 * 17)
        model, n_new = Model(), 0
        given = events(rng, 900, n_users=20)
        for first, last in ((0, 1), (1, 30), (30, 500), (400, 900), (0, 900)):
            new = await feedback.put(given[first:last])
            assert new == model.put(given[first:last])
            n_new += sum(new)
        assert await feedback.n_changes() == n_new
        for user in (*model.kept, "nobody"):
            assert await feedback.events(user) == model.events(user)
            assert rows(await feedback.history(user)) == model.rows(user)

    async def test_the_same_event_again_changes_nothing(self, feedback: Feedback) -> None:
        assert await feedback.put([event("ann", "1", at=5.0), event("ann", "1", at=6.0)]) == [True, False]
        assert await feedback.put([event("ann", "1", at=7.0), event("bob", "1", at=7.0)]) == [False, True]
        assert [each.at for each in await feedback.events("ann")] == [5.0]
        assert await feedback.n_changes() == 2

    async def test_nothing_is_nothing(self, feedback: Feedback) -> None:
        assert await feedback.put([]) == []
        assert await feedback.n_changes() == 0
        assert await all_pages(feedback) == []
        assert await feedback.events("ann") == []
        empty = await feedback.history("ann")
        columns = (empty.user, empty.track_id, empty.kind, empty.value, empty.at)
        assert [str(column.dtype) for column in columns] == ["int32", "int64", "uint8", "float32", "float64"]
        assert {len(column) for column in columns} == {0}

    async def test_who_is_forgotten_leaves_nothing_behind_and_is_a_change(self, feedback: Feedback) -> None:
        await feedback.put([event("ann", "1"), event("ann", "2"), event("bob", "1")])
        assert await feedback.forget("ann") == 2
        assert await feedback.forget("ann") == 0
        assert await feedback.events("ann") == []
        assert await feedback.n_changes() == 5
        assert [len(page) for page in await all_pages(feedback)] == [1]
        assert await feedback.put([event("ann", "1")]) == [True]

    async def test_pages_hold_every_user_once_and_whole(
        self, feedback: Feedback, rng: np.random.Generator
    ) -> None:
        model = Model()
        given = events(rng, 600, n_users=50)
        model.put(given)
        await feedback.put(given)
        for limits in ({}, {"max_users": 3}, {"max_events": 1}):
            pages = await all_pages(feedback, **limits)
            assert sorted(by_user(pages)) == sorted(model.rows(user) for user in model.kept)
            assert all(len(set(page.user.tolist())) <= limits.get("max_users", 50) for page in pages)
        assert len(pages) == len(model.kept), "with one event, a page is full"

    async def test_a_user_who_does_something_while_pages_are_read_comes_once(
        self, feedback: Feedback
    ) -> None:
        users = [f"u{i}" for i in range(30)]
        await feedback.put([event(user, "1") for user in users])
        n_users = 0
        async for page in feedback.pages(max_users=2):
            n_users += len(set(page.user.tolist()))
            await feedback.put([event(users[i], f"on page {n_users}") for i in (0, 15, 29)])
        assert n_users == 30

    async def test_a_user_with_too_many_events_loses_the_oldest(self, feedback: Feedback) -> None:
        n_events = MAX_USER_EVENTS + MAX_USER_EVENTS // 10
        moments = [float((37 * i) % n_events) for i in range(n_events)]
        given = [event("ann", f"e{i}", at=moment) for i, moment in enumerate(moments)]
        await feedback.put(given)
        assert len(await feedback.events("ann")) == n_events, "a tenth more is let be"
        await feedback.put([event("ann", "one more", at=1e6)])
        kept = await feedback.events("ann")
        assert len(kept) == MAX_USER_EVENTS
        assert sorted(each.at for each in kept) == [*map(float, range(11, n_events)), 1e6]

    async def test_who_puts_at_the_same_time_puts_each_event_once(self, feedback: Feedback) -> None:
        given = [event(f"u{i % 7}", f"e{i}") for i in range(90)]
        news = await asyncio.gather(*(feedback.put(given) for _ in range(5)))
        assert np.sum(news, axis=0).tolist() == [1] * 90

    async def test_functions_that_are_lost_are_loaded_again(
        self, feedback: Feedback, shape: tuple[Client, int]
    ) -> None:
        client, _ = shape
        everywhere = {"target_nodes": RedisCluster.PRIMARIES} if is_cluster(client) else {}
        await client.execute_command("FUNCTION FLUSH", **everywhere)
        assert await feedback.put([event()]) == [True]


async def test_keys_are_those_that_the_page_tells_of(client: Client) -> None:
    feedback = await new_feedback(client, n_shards=16)
    await feedback.put([event("ann", "1", track_id=513, value=0.5, at=1.0)])
    shard = keys.shard_of(b"ann", n_shards=16)
    assert shard == 3
    assert sorted(await client.keys("*")) == [b"fp:{3}:f:ann", b"fp:{3}:n_feedback", b"fp:{3}:users"]
    assert await client.zrange("fp:{3}:users", 0, -1, withscores=True) == [(b"ann", 1.0)]
    packed = b"\x01\x02\0\0" + b"\x02" + b"\0\0\0\x3f" + b"\0\0\0\0\0\0\xf0\x3f"
    assert await client.hgetall("fp:{3}:f:ann") == {b"1": packed}


async def test_a_name_with_braces_is_a_user_like_others(client: Client, cluster_client: Client) -> None:
    for one in (client, cluster_client):
        feedback = await new_feedback(one, n_shards=16)
        for user in ("{3}", "}{", "a}b", "f:{*}:é\u2028"):
            assert await feedback.put([event(user, "1")]) == [True]
            assert [each.user for each in await feedback.events(user)] == [user]


async def test_events_put_while_their_shard_moves_between_nodes_are_there_once(
    cluster: Cluster, cluster_client: Client
) -> None:
    feedback = await new_feedback(cluster_client, n_shards=1)
    assert isinstance(cluster_client, RedisCluster)
    slot = cluster_client.keyslot(keys.n_changes(0))
    holder = cluster_client.get_node_from_key(keys.n_changes(0))
    home = next(node for node in cluster.nodes if holder and node.port == holder.port)
    other = next(node for node in cluster.nodes if node is not home)
    given = [event(f"u{i}", "1") for i in range(40)]
    assert await feedback.put(given[:20]) == [True] * 20
    cluster.begin_move(slot, home, other)
    cluster.carry(slot, home, other, n_keys=10)
    with pytest.raises(StoreUnavailable):
        await feedback.put(given)
    cluster.end_move(slot, home, other)
    assert await feedback.put(given) == [False] * 20 + [True] * 20
    assert len(by_user(await all_pages(feedback))) == 40
    cluster.begin_move(slot, other, home)
    cluster.end_move(slot, other, home)


async def test_a_store_that_takes_nothing_is_said_to_be_away(client: Client) -> None:
    await load_functions(client, store.FUNCTIONS)
    feedback = Feedback(client, n_shards=2, max_user_events=100, timeout_s=0.1)
    await client.execute_command("CLIENT", "PAUSE", 5000, "WRITE")
    with pytest.raises(StoreUnavailable):
        await feedback.put([event()])
    await client.execute_command("CLIENT", "UNPAUSE")
    await feedback.put([event()])
    assert len(await feedback.events("ann")) == 1


def test_a_row_says_what_an_event_says() -> None:
    assert row(event(track_id=3, value=0.5, at=2.0)) == (2.0, 3, 2, 0.5)
