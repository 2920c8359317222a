"""Taking turns: of several who want to do the same thing at the same time, one does it."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fpserver.errors import StoreUnavailable
from fpserver.store.nodes import Call, Nodes

RENEWED_PER_TURN = 3  # so that two may fail before it expires


@asynccontextmanager
async def turn(
    nodes: Nodes, key: str, *, for_s: float, timeout_s: float, renewed: bool = False
) -> AsyncIterator[bool]:
    """Whether one is the one who does what `key` stands for.

    It is one's own while the context lasts, and at most `for_s`; with `renewed`, for as long as it takes, and `for_s`
    is how long nobody else does it after a process has died.

    Raises:
        StoreUnavailable: the store did not answer.
    """
    token, milliseconds = secrets.token_hex(8).encode(), round(1000 * for_s)

    async def ask(command: str, *words: str | bytes | int) -> Any:
        (reply,) = await nodes.demand([Call(key=key, command=(command, key, *words))], timeout_s=timeout_s)
        return reply

    async def renew() -> None:
        while not ended.is_set():
            with suppress(StoreUnavailable):  # it may be back in time
                if await ask("GET") == token:
                    await ask("PEXPIRE", milliseconds)
            with suppress(TimeoutError):
                async with asyncio.timeout(for_s / RENEWED_PER_TURN):
                    await ended.wait()

    mine = await ask("SET", token, "NX", "PX", milliseconds) is not None
    ended = asyncio.Event()
    renewing = asyncio.create_task(renew()) if mine and renewed else None
    try:
        yield mine
    finally:
        ended.set()
        if renewing is not None:
            await renewing
        if mine:
            with suppress(StoreUnavailable):  # it expires
                if await ask("GET") == token:
                    await ask("DEL")
