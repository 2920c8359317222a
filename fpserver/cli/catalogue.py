"""`tracks`, `remove`, `export`, `import`: look at the catalogue, take tracks out of it, carry it elsewhere."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fpserver import exchange
from fpserver.cli.remote import client_of
from fpserver.config import Config
from fpserver.errors import InvalidRequest, TrackNotFound
from fpserver.exchange import Counts
from fpserver.ingest import delete_track
from fpserver.services import Services, open_services
from fpserver.terms import TrackStatus
from fpserver.tracks.catalogue import TrackFilter
from fpserver.web import convert
from fpserver.web.client import Client, RemoteError
from fpserver.words import clock

FILTERS = ("q", "status", "artist", "genre", "tag", "batch_id", "external_id", "isrc")
PAGE = 200


class Catalogue(Protocol):
    """A catalogue as the HTTP API shows it."""

    async def page(self, filters: dict[str, str], cursor: str | None, limit: int) -> dict[str, Any]:
        """Some tracks, and `next_cursor`."""

    async def delete(self, track_id: int) -> bool:
        """Take a track out; False when there is none of this id."""


class Remote:
    """A running server's."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def page(self, filters: dict[str, str], cursor: str | None, limit: int) -> dict[str, Any]:
        """Some tracks, and `next_cursor`."""
        return await self._client.tracks(**filters, cursor=cursor, limit=limit)

    async def delete(self, track_id: int) -> bool:
        """Take a track out; False when there is none of this id."""
        try:
            await self._client.delete(track_id)
        except RemoteError as error:
            if error.code == TrackNotFound.code:
                return False
            raise
        return True


class Own:
    """The configured store's."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def page(self, filters: dict[str, str], cursor: str | None, limit: int) -> dict[str, Any]:
        """Some tracks, and `next_cursor`."""
        wanted: dict[str, Any] = dict(filters)
        if "status" in wanted:
            wanted["status"] = TrackStatus(wanted["status"])
        tracks, after = await self._services.tracks.page(
            after=int(cursor or 0), limit=limit, filters=TrackFilter(**wanted)
        )
        rows = [msgspec.to_builtins(convert.track(track)) for track in tracks]
        return {"tracks": rows, "next_cursor": None if after is None else str(after)}

    async def delete(self, track_id: int) -> bool:
        """Take a track out; False when there is none of this id."""
        try:
            await delete_track(self._services, track_id)
        except TrackNotFound:
            return False
        return True


def tracks(arguments: argparse.Namespace, config: Config) -> int:
    """List tracks."""
    filters = _filters(arguments)
    if "status" in filters and filters["status"] not in set(TrackStatus):
        raise InvalidRequest(f"--status is {filters['status']!r}, must be one of {', '.join(TrackStatus)}")
    return asyncio.run(_tracks(arguments, config, filters))


def _filters(arguments: argparse.Namespace) -> dict[str, str]:
    named = {name: getattr(arguments, name, None) for name in FILTERS}
    return {name: value for name, value in named.items() if value is not None}


async def _tracks(arguments: argparse.Namespace, config: Config, filters: dict[str, str]) -> int:
    limit = arguments.limit or sys.maxsize
    rows: list[dict[str, Any]] = []
    cursor: str | None = None
    async with _open(arguments, config) as catalogue:
        while len(rows) < limit:
            page = await catalogue.page(filters, cursor, min(PAGE, limit - len(rows)))
            rows += page["tracks"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
    if arguments.json:
        for row in rows:
            print(msgspec.json.encode(row).decode())
        return 0
    Console().print(_table(rows))
    if cursor is not None:
        print(f"the first {len(rows)}; there are more (--limit 0 lists all)")
    return 0


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("id", justify="right")
    table.add_column("length", justify="right")
    for column in ("status", "title", "artist", "album"):
        table.add_column(column, overflow="fold")
    for row in rows:
        status = row["status"]
        if row["duplicate_of"]:
            status += f" of {row['duplicate_of']}"
        if row["error"]:
            status += f": {row['error']['message']}"
        length = "" if row["duration_s"] is None else clock(row["duration_s"])
        words = (status, row["title"] or "", row["artist"] or "", row["album"] or "")
        table.add_row(
            str(row["track_id"]), length, *(Text(word) for word in words)
        )  # Text: no markup in titles
    return table


def remove(arguments: argparse.Namespace, config: Config) -> int:
    """Take tracks out; 1 when one of them was not there."""
    return asyncio.run(_remove(arguments, config))


async def _remove(arguments: argparse.Namespace, config: Config) -> int:
    status = 0
    async with _open(arguments, config) as catalogue:
        for track_id in arguments.track_ids:
            if await catalogue.delete(track_id):
                print(f"removed track {track_id}")
            else:
                print(f"fpserver: there is no track {track_id}", file=sys.stderr)
                status = 1
    return status


def export(arguments: argparse.Namespace, config: Config) -> int:
    """Write tracks to a file."""

    wanted: dict[str, Any] = dict(_filters(arguments))

    async def write() -> Counts:
        async with open_services(config, pool_processes=0) as services:
            return await exchange.export(services, arguments.file, TrackFilter(**wanted))

    counts = asyncio.run(write())
    print(f"tracks: {counts.written}, {clock(counts.audio_s)}, written to {arguments.file}")
    return 0


def import_(arguments: argparse.Namespace, config: Config) -> int:
    """Take in the tracks of a file; 1 when the index could not hold some."""

    async def read() -> Counts:
        async with open_services(config, pool_processes=0) as services:
            return await exchange.read_in(services, arguments.file)

    counts = asyncio.run(read())
    for failure in counts.failures:
        print(f"fpserver: {failure}", file=sys.stderr)
    print(
        f"tracks: {counts.indexed} indexed, {clock(counts.audio_s)}; "
        f"{counts.known} there already, {len(counts.failures)} failed"
    )
    return 1 if counts.failures else 0


@asynccontextmanager
async def _open(arguments: argparse.Namespace, config: Config) -> AsyncIterator[Catalogue]:
    if arguments.server:
        async with client_of(arguments) as client:
            yield Remote(client)
    else:
        async with open_services(config, pool_processes=0) as services:
            yield Own(services)
