"""Places for questions: who gets one, who waits, who is refused at once."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from fpserver.errors import Overloaded
from fpserver.web.places import PATIENCE_S, REMEMBERED_S, Places, all_taken


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def places(clock: Clock) -> Places:
    return Places(n_at_once=2, max_wait_s=0.16, clock=clock)  # three wait while places are held for 0.1 s


@asynccontextmanager
async def holding(places: Places, n: int) -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        for _ in range(n):
            await stack.enter_async_context(places.taken())
        yield stack


async def entered(places: Places) -> AsyncExitStack:
    """A place, to be left by closing what this gives."""
    stack = AsyncExitStack()
    await stack.enter_async_context(places.taken())
    return stack


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_comes_first_gets_the_next_place(places: Places) -> None:
    order: list[int] = []

    async def ask(number: int) -> None:
        async with places.taken():
            order.append(number)
            await asyncio.sleep(0)

    async with holding(places, 2):
        asking = [asyncio.create_task(ask(number)) for number in range(3)]
        await settled()
        assert places.n_inside == 5 and order == []
    await asyncio.gather(*asking)
    assert order == [0, 1, 2] and places.n_inside == 0


async def test_when_all_places_to_wait_in_are_taken_the_rest_is_refused_at_once(places: Places) -> None:
    async with holding(places, 2):
        waiting = [asyncio.create_task(entered(places)) for _ in range(3)]
        await settled()
        with pytest.raises(Overloaded, match=r"all 2 places .* 3 wait"):
            places.check()
        with pytest.raises(Overloaded):
            await entered(places)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert places.n_inside == 0


async def test_who_gives_up_waiting_leaves_no_gap(places: Places) -> None:
    async with holding(places, 2):
        gone, stays = (asyncio.create_task(entered(places)) for _ in range(2))
        await settled()
        gone.cancel()
        await settled()
        assert places.n_inside == 3
    async with await stays:
        assert places.n_inside == 1


async def test_who_gives_up_in_the_moment_of_getting_a_place_hands_it_on(places: Places) -> None:
    async with holding(places, 2) as stack:
        first, second = (asyncio.create_task(entered(places)) for _ in range(2))
        await settled()
        await stack.aclose()  # hands both places over; nobody has run since
        first.cancel()
        async with await second:
            assert first.cancelled() and places.n_inside == 1


async def test_where_somebody_waits_all_the_time_nobody_else_does(clock: Clock) -> None:
    places = Places(n_at_once=2, max_wait_s=1000, clock=clock)
    async with holding(places, 2):
        waiting = asyncio.create_task(entered(places))
        await settled()
        clock.now_s += PATIENCE_S + 0.1
        with pytest.raises(Overloaded, match="1 wait"):
            places.check()
    async with await waiting:
        places.check()  # a free place is taken at any time


async def test_when_places_are_free_again_people_wait_again(clock: Clock) -> None:
    places = Places(n_at_once=2, max_wait_s=1000, clock=clock)
    async with holding(places, 2):
        waiting = asyncio.create_task(entered(places))
        await settled()
        clock.now_s += 2 * PATIENCE_S
    async with await waiting, holding(places, 1):
        with pytest.raises(Overloaded, match="0 wait"):
            places.check()
    clock.now_s += 2.5 * REMEMBERED_S
    async with holding(places, 2):
        places.check()


async def test_many_short_waits_are_no_crowd(clock: Clock) -> None:
    places = Places(n_at_once=2, max_wait_s=1000, clock=clock)
    for _ in range(20):
        async with holding(places, 2):
            waiting = asyncio.create_task(entered(places))
            await settled()
            clock.now_s += PATIENCE_S / 2
        async with await waiting:
            pass
        places.check()


@pytest.mark.parametrize(("load", "crowded"), [(0.5, False), (0.7, False), (2.0, True), (3.0, True)])
async def test_load_that_can_be_answered_waits_and_load_that_cannot_is_refused(
    load: float, crowded: bool
) -> None:
    """Questions at random times (M/M/4), one simulated minute: refusals are rare below 1, and without waiting above."""
    clock, chance = Clock(), random.Random(7)
    places = Places(n_at_once=4, max_wait_s=0.6, clock=clock)
    n_refused, n_asked, waited = 0, 0, []
    inside: list[tuple[float, AsyncExitStack]] = []
    waiting: list[tuple[float, asyncio.Task[AsyncExitStack]]] = []

    next_s, service_s = 0.0, 0.1
    while clock.now_s < 60:
        ends_s = min((end for end, _ in inside), default=float("inf"))
        clock.now_s = min(next_s, ends_s)
        if ends_s <= next_s:
            _, stack = inside.pop(min(range(len(inside)), key=lambda i: inside[i][0]))
            await stack.aclose()
        else:
            n_asked += 1
            next_s += chance.expovariate(load * 4 / service_s)
            try:
                places.check()
            except Overloaded:
                n_refused += 1
                continue
            waiting.append((clock.now_s, asyncio.create_task(entered(places))))
        await settled()
        for came_s, task in [each for each in waiting if each[1].done()]:
            waiting.remove((came_s, task))
            waited.append(clock.now_s - came_s)
            inside.append((clock.now_s + chance.expovariate(1 / service_s), task.result()))
    for _, task in waiting:
        task.cancel()
    await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)
    late = sum(each > 0 for each in waited[len(waited) // 4 :]) / len(waited)
    if crowded:
        assert abs(n_refused / n_asked - (1 - 1 / load)) < 0.15
        assert late < 0.02
    else:
        assert n_refused / n_asked < 0.002


async def test_how_many_wait_depends_on_how_long_places_are_held(places: Places, clock: Clock) -> None:
    for _ in range(50):
        async with places.taken():
            clock.now_s += 0.02
    async with holding(places, 2):
        waiting = [asyncio.create_task(entered(places)) for _ in range(10)]
        await settled()
        places.check()
        assert places.n_inside == 12
    for task in waiting:
        await (await task).aclose()
    for _ in range(50):
        async with places.taken():
            clock.now_s += 1.0
    async with holding(places, 2):
        with pytest.raises(Overloaded):
            places.check()


async def test_who_gives_up_while_somebody_leaves_is_passed_over(places: Places) -> None:
    async with holding(places, 2) as stack:
        gone, stays = (asyncio.create_task(entered(places)) for _ in range(2))
        await settled()
        gone.cancel()
        await stack.aclose()
        await asyncio.gather(gone, return_exceptions=True)
        async with await stays:
            assert places.n_inside == 1


async def test_who_needs_long_moves_to_a_place_among_the_like(places: Places, clock: Clock) -> None:
    long_places = Places(n_at_once=1, max_wait_s=0.16, clock=clock)
    async with places.taken() as place:
        await place.move_to(long_places)
        assert (places.n_inside, long_places.n_inside) == (0, 1)
        async with places.taken() as other:
            waiting = asyncio.create_task(other.move_to(long_places))
            await settled()
            assert (places.n_inside, long_places.n_inside) == (0, 2)
            place.give_up()
            await waiting
            assert long_places.n_inside == 1
    assert (places.n_inside, long_places.n_inside) == (0, 0)


async def test_who_finds_no_place_there_has_none_at_all(places: Places, clock: Clock) -> None:
    nowhere = Places(n_at_once=1, max_wait_s=0, clock=clock)
    async with nowhere.taken(), places.taken() as place:
        with pytest.raises(Overloaded):
            await place.move_to(nowhere)
        assert (places.n_inside, nowhere.n_inside) == (0, 1)
    assert (places.n_inside, nowhere.n_inside) == (0, 0)


def test_all_places_are_taken_as_often_as_erlang_says() -> None:
    assert all_taken(1, load=1.0) == pytest.approx(1 / 2)
    assert all_taken(2, load=2 / 3) == pytest.approx(2 / 17)
    assert all_taken(10, load=5.0) == pytest.approx(0.018385, abs=1e-6)  # from a table of Erlang's formula
