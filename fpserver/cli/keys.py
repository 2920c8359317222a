"""`keys`: who may ask. Made, listed, rotated and revoked in the store itself, running servers see it at once.

A secret goes to standard output, alone on its line and only once; all words about it go to standard error.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fpserver.access.store import FUNCTIONS, Key, Keys, Limits
from fpserver.access.tokens import ID_CHARS, Token
from fpserver.config import AccessConfig, Config
from fpserver.store.connect import load_functions, open_store
from fpserver.terms import Scope


def create(arguments: argparse.Namespace, config: Config) -> int:
    """Make a key and show it."""
    limits = Limits(rate_per_s=arguments.rate, burst=arguments.burst, per_day=arguments.per_day)

    async def make() -> Token:
        async with opened(config) as keys:
            return await keys.make(arguments.name, [Scope(scope) for scope in arguments.scope], limits)

    _show(asyncio.run(make()), "made")
    return 0


def list_(arguments: argparse.Namespace, config: Config) -> int:
    """List all keys, revoked ones too."""

    async def read() -> list[Key]:
        async with opened(config) as keys:
            return await keys.all()

    found = asyncio.run(read())
    if arguments.json:
        for key in found:
            print(msgspec.json.encode(_document(key)).decode())
    else:
        Console().print(_table(found, config.access))
    return 0


def rotate(arguments: argparse.Namespace, config: Config) -> int:
    """Give a key another secret and show it."""

    async def turn() -> Token:
        async with opened(config) as keys:
            return await keys.rotate(arguments.key_id, grace_s=arguments.grace)

    _show(asyncio.run(turn()), f"rotated; the secret before does for {arguments.grace:g} s more")
    return 0


def revoke(arguments: argparse.Namespace, config: Config) -> int:
    """Let keys do nothing from now on."""

    async def end() -> None:
        async with opened(config) as keys:
            for key_id in arguments.key_ids:
                await keys.revoke(key_id)
                print(f"key {key_id}: revoked")

    asyncio.run(end())
    return 0


@asynccontextmanager
async def opened(config: Config) -> AsyncIterator[Keys]:
    """The keys alone: an index is neither needed nor made."""
    async with open_store(config.redis) as client:
        await load_functions(client, FUNCTIONS)
        yield Keys(client, config.access, timeout_s=config.redis.timeout_s)


def _show(token: Token, what: str) -> None:
    print(f"key {token.key_id} is {what}. This is shown once, keep it well:", file=sys.stderr)
    print(token)


def _document(key: Key) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(key)
    return document | {"scopes": sorted(key.scopes)}


def _table(found: list[Key], usual: AccessConfig) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("id", min_width=ID_CHARS, no_wrap=True)  # it is what one rotates and revokes by
    table.add_column("name", overflow="fold")
    table.add_column("scopes")
    for head in ("a second", "at once", "a day"):
        table.add_column(head, justify="right")
    for head in ("made", "used", ""):
        table.add_column(head)
    for key in found:
        own = key.limits
        per_day = usual.per_day if own.per_day is None else own.per_day
        table.add_row(
            Text(key.key_id),
            Text(key.name),
            ", ".join(sorted(key.scopes)),
            f"{usual.rate_per_s if own.rate_per_s is None else own.rate_per_s:g}",
            str(usual.burst if own.burst is None else own.burst),
            str(per_day or "any"),
            f"{key.created_at:%Y-%m-%d}",
            f"{key.used_at:%Y-%m-%d %H:%M}" if key.used_at else "never",
            f"revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else "",
        )
    return table
