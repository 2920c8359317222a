"""The store of feedback: what each user did with tracks, the newest of it, listed, erased, and read by who trains.

An event is stored once, whatever becomes of the answer to who put it: the same user with the same id is the same event,
and the first one stays.
"""

from collections.abc import AsyncIterator, Sequence
from importlib.resources import files
from itertools import pairwise
from typing import Any

import numpy as np

from fpserver.recommend import codec, keys
from fpserver.store.nodes import Call, Client, Nodes
from fpserver.terms import FeedbackEvent, History
from fpserver.thinking import think

FUNCTIONS = files(__package__).joinpath("functions.lua").read_text(encoding="utf-8")
MAX_PUT = 1000  # events per function call: about a millisecond of the server's time
MAX_INLINE = 50  # events that are packed on the event loop
MAX_INLINE_BYTES = 2**16  # of a history that is read on the event loop: 3,800 events, half a millisecond
MAX_PAGE_USERS = 2000  # per function call
MAX_PAGE_EVENTS = 20_000  # the same


class Feedback:
    """Feedback in Redis."""

    def __init__(self, client: Client, *, n_shards: int, max_user_events: int, timeout_s: float) -> None:
        self._nodes = Nodes(client, functions=FUNCTIONS)
        self._n_shards = n_shards
        self._max_user_events = max_user_events
        self._timeout_s = timeout_s

    async def put(self, events: Sequence[FeedbackEvent]) -> list[bool]:
        """Keep events; one round trip per node. True where one is new, False where it was there.

        Of a user with more than `recommend.max_user_events` the oldest are erased (once they are 10 % more).

        Raises:
            StoreUnavailable: a shard did not answer; repeat it: what is there is not put twice.
        """
        few = len(events) <= MAX_INLINE
        calls, places = self._packed(events) if few else await think(self._packed, events)
        replies = await self._demand(calls)
        new = np.zeros(len(events), np.bool_)
        for reply, at in zip(replies, places, strict=True):
            new[at] = np.frombuffer(reply, np.uint8) != 0
        found: list[bool] = new.tolist()
        return found

    async def history(self, user: str) -> History:
        """What a user did, oldest first; nothing of one who is not known.

        Raises:
            StoreUnavailable: the shard did not answer.
        """
        (packed,) = await self._demand([self._call("history", user)])
        few = len(packed) <= MAX_INLINE_BYTES
        return codec.history([packed]) if few else await think(codec.history, [packed])

    async def events(self, user: str) -> list[FeedbackEvent]:
        """The same as events, newest first; those of one moment by their ids.

        Raises:
            StoreUnavailable: the shard did not answer.
        """
        (packed,) = await self._demand([self._call("events", user)])
        return await think(codec.newest_first, user, packed)

    async def forget(self, user: str) -> int:
        """Erase all that is known of a user; how many events that were.

        Raises:
            StoreUnavailable: the shard did not answer; repeat it.
        """
        (n_erased,) = await self._demand([self._call("forget", user)])
        return int(n_erased)

    async def n_changes(self) -> int:
        """Events ever put and erased: as long as it stays, so does everything that `pages` gives.

        Raises:
            StoreUnavailable: a shard did not answer.
        """
        names = [keys.n_changes(shard) for shard in range(self._n_shards)]
        counts = await self._demand([Call(key=name, command=("GET", name)) for name in names])
        return sum(int(count or 0) for count in counts)

    async def pages(
        self, *, max_users: int = MAX_PAGE_USERS, max_events: int = MAX_PAGE_EVENTS
    ) -> AsyncIterator[History]:
        """What all users did, some users at a time, each once and whole; users are numbered as they come.

        Who is new meanwhile may be left out. A page has at most `max_users`; it ends with the user with whom it has
        `max_events`. No more than a page and the names of one shard's users are in memory.

        Raises:
            StoreUnavailable: a shard did not answer.
        """
        n_users = 0
        for shard in range(self._n_shards):
            seen: set[bytes] = set()  # who does something meanwhile comes again, further on
            after = 0
            while rows := await self._page(shard, after, max_users, max_events):
                after = int(rows[-2])
                packed = [
                    found
                    for user, found in zip(rows[::3], rows[2::3], strict=True)
                    if found and user not in seen
                ]
                seen.update(rows[::3])
                if packed:
                    yield await think(codec.history, packed, first_user=n_users)
                n_users += len(packed)

    async def _page(self, shard: int, after: int, max_users: int, max_events: int) -> list[bytes]:
        function = "fpserver_feedback_page"
        call = Call.function(function, keys.of_shard(shard), after, max_users, max_events)
        (rows,) = await self._demand([call])
        found: list[bytes] = rows
        return found

    def _packed(self, events: Sequence[FeedbackEvent]) -> tuple[list[Call], list[np.ndarray[Any, Any]]]:
        """A call per shard and MAX_PUT events, and of each, where its events are in `events`, in its order."""
        users = [event.user.encode() for event in events]
        shards = np.array([keys.shard_of(user, n_shards=self._n_shards) for user in users], np.int64)
        order = np.argsort(shards, kind="stable")
        bounds = np.searchsorted(shards[order], np.arange(self._n_shards + 1))
        calls, places = [], []
        for shard, (first, last) in enumerate(pairwise(bounds.tolist())):
            for at in range(first, last, MAX_PUT):
                chosen = order[at : min(at + MAX_PUT, last)]
                packed, within = codec.by_user((users[i], events[i]) for i in chosen.tolist())
                function = "fpserver_feedback_put"
                calls.append(Call.function(function, keys.of_shard(shard), self._max_user_events, packed))
                places.append(chosen[within])
        return calls, places

    def _call(self, name: str, user: str) -> Call:
        named = user.encode()
        shard = keys.shard_of(named, n_shards=self._n_shards)
        return Call.function(f"fpserver_feedback_{name}", keys.of_shard(shard), named)

    async def _demand(self, calls: Sequence[Call]) -> list[Any]:
        return await self._nodes.demand(calls, timeout_s=self._timeout_s)
