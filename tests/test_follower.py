"""Looking again and again: faults are forgiven, and an end is an end."""

import asyncio

import pytest

from fpserver import follower
from fpserver.errors import StoreUnavailable
from fpserver.follower import Follower


async def test_it_looks_again_after_what_the_look_has_said() -> None:
    looks: list[float] = []

    async def look() -> float:
        looks.append(asyncio.get_running_loop().time())
        return 0.01 if len(looks) < 3 else 3600.0

    async with Follower("test", look):
        await asyncio.sleep(0.1)
    assert len(looks) == 3


@pytest.mark.parametrize("fault", [StoreUnavailable("the store is away"), ValueError("a fault of ours")])
async def test_a_fault_is_forgiven(fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "AFTER_FAULT_S", 0.01)
    seen = asyncio.Event()
    n_looks = 0

    async def look() -> float:
        nonlocal n_looks
        n_looks += 1
        if n_looks < 3:
            raise fault
        seen.set()
        return 3600.0

    async with Follower("test", look), asyncio.timeout(5.0):
        await seen.wait()


async def test_it_ends_also_when_a_look_swallows_the_cancellation() -> None:
    looking, n_looks = asyncio.Event(), 0

    async def look() -> float:
        nonlocal n_looks
        n_looks += 1
        looking.set()
        try:
            await asyncio.sleep(3600.0)
        except asyncio.CancelledError:
            return 0.0
        return 0.0

    async with asyncio.timeout(5.0), Follower("test", look):
        await looking.wait()
    assert n_looks == 1
