"""The attackers do what they say, tell how they were stopped, and a broken rule is not hidden."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict

from loadtest.abuse.__main__ import MAX_KEPT_DESCRIPTORS, MAX_MORE_MB, RULES, Row, _broken
from loadtest.abuse.attack import _all
from loadtest.abuse.honest import Noticed
from loadtest.abuse.kinds import ABUSES, Target
from loadtest.abuse.line import CUT_OFF, STILL_OPEN, Script, act
from loadtest.abuse.page import page
from loadtest.abuse.seen import Peak, State

TARGET = Target(address="http://127.0.0.1:1", batch_id="b", clip=b"clip")
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(serve: Serve) -> AsyncIterator[str]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(5)
    writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    writer.close()


async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(1)
    writer.transport.abort()


async def ends(serve: Serve, script: Script) -> str:
    async with served(serve) as address:
        return await act(address, script, asyncio.get_running_loop().time() + 0.5)


async def test_an_attacker_tells_how_it_was_stopped() -> None:
    dripping = Script(first=b"G", piece=b"x", every_s=0.01)
    assert await ends(refuse, dripping) == "408"
    assert await ends(ignore, dripping) == STILL_OPEN
    assert await ends(ignore, Script(first=b"G", half_closes=True)) == "closed"
    assert await ends(ignore, Script(first=b"G", resets=True)) == "left"
    assert await ends(cut, Script(first=b"GET /", reads=False)) == CUT_OFF


async def test_attackers_come_back_until_it_is_over() -> None:
    async with served(refuse) as address:
        ends = await _all(3, [Script(first=b"GET /", leaves=True)], address, 0.5)
    assert list(ends) == ["408"]
    assert ends["408"][0] > 6


def test_every_abuse_is_named_once_and_says_what_it_sends() -> None:
    assert len({abuse.name for abuse in ABUSES}) == len(ABUSES) > 35
    for abuse in ABUSES:
        if "bomb" not in abuse.name:
            assert all(isinstance(script, Script) for script in abuse.scripts(TARGET)), abuse.name


def state(
    web_mb: float = 100.0, descriptors: int = 20, pids: frozenset[int] = frozenset({1, 2, 3, 4})
) -> State:
    return State(web_mb=web_mb, decoding_mb=0.0, descriptors=descriptors, pids=pids)


def broken(
    *,
    ends: dict[str, tuple[int, float]] | None = None,
    failures: dict[str, int] | None = None,
    peak_mb: float = 100.0,
    after: State | None = None,
) -> list[str]:
    noticed = Noticed(waited_ms=[10.0], failures=Counter(failures or {}))
    return _broken(ends or {"408": (1, 1.0)}, noticed, state(), Peak(web_mb=peak_mb), after or state())


def test_each_rule_can_be_broken() -> None:
    assert broken() == []
    assert broken(ends={"503": (3, 0.1), "408": (1, 1.0)}) == []
    assert [
        *broken(failures={"503": 1}),
        *broken(ends={"500": (1, 0.1)}),
        *broken(after=state(pids=frozenset({1, 2, 3, 5}))),
        *broken(peak_mb=101.0 + MAX_MORE_MB),
        *broken(after=state(descriptors=21 + MAX_KEPT_DESCRIPTORS)),
    ] == list(RULES)


def test_the_page_names_what_was_lost() -> None:
    row = Row(
        abuse="slow head",
        does="drips",
        at_once=3,
        ends={"408": (7, 2.0)},
        failures={"503": 2},
        n_asked=9,
        p50_ms=1.5,
        p99_ms=2.5,
        cpu_share=0.1,
        web_mb=(1, 2, 3),
        decoding_mb=(4, 5, 6),
        descriptors=(7, 8, 9),
        broken=["honest"],
    )
    calm = {"p50_ms": 1.0, "p99_ms": 2.0, "n": 5}
    run = {"processes": 1, "calm": calm, "rows": [asdict(row)]}
    text = page({"setting": "here", "seconds": 8.0, "rules": RULES, "runs": [run]})
    assert "0 of 1 rows hold; lost: slow head." in text
    assert "| 7 408 (2 s) | 2 (503) of 9 | 1.5, 2.5 | 0.1 | 1 → 2 → 3 |" in text
    assert "**broken: honest**" in text
