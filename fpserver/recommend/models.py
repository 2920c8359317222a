"""The store of trained models: one is in force, and another takes its place in one step.

A model is kept in pieces, which a Cluster spreads over its nodes. The record that names the version in force is
written when all its pieces are there; pieces of the one before stay for KEPT_S, for those who have begun to read them.
Whoever reads a model checks its digest: half a model, or one made of two, is never read.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from fpserver.errors import StoreUnavailable
from fpserver.recommend import model_keys as keys
from fpserver.store.nodes import Call, Client, Nodes
from fpserver.store.turns import turn

PIECE_BYTES = 4 * 2**20
AT_ONCE = 4  # pieces per round trip
KEPT_S = 3600  # pieces of a model that is no longer in force
TURN_S = 30.0  # nobody else trains for so long after a trainer has died
VERSION_CHARS = 16
ATTEMPTS = 3  # at reading a model while others take its place

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How a model came about."""

    trained_at: float  # seconds since 1970; feedback and tracks are those of this moment
    reading_s: float
    training_s: float
    training_cpu_s: float
    n_users: int
    n_tracks: int
    n_events: int
    n_changes: int  # ever made to the feedback, before it was read
    peak_memory_bytes: int  # of the process that trained
    settings: str = ""  # those that training depends on, and the version of what it writes


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How a training ended that gave no model."""

    at: float
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The model in force, and what is on the way."""

    version: str | None  # None: there is no model
    n_bytes: int
    figures: Figures | None  # None: no model, or one that another version of this program has put there
    n_wanted: int  # how often training was ever asked for
    n_served: int  # what that was when the training that ended last began
    is_training: bool
    failure: Failure | None  # of the training that ended last

    @property
    def is_wanted(self) -> bool:
        """Whether somebody has asked for training since the last one began."""
        return self.n_wanted > self.n_served


class Models:
    """Trained models in Redis."""

    def __init__(self, client: Client, *, timeout_s: float) -> None:
        self._nodes = Nodes(client, functions="")
        self._timeout_s = timeout_s

    async def put(self, packed: bytes, *, figures: Figures) -> str:
        """Keep a model and put it in force; says its version. Can be repeated, also by several at once.

        Raises:
            StoreUnavailable: the store did not answer; the model before is in force, or this one. Repeat it.
        """
        version = await asyncio.to_thread(_version_of, packed)
        n_pieces = -(-len(packed) // PIECE_BYTES)
        await self._ask("SADD", keys.MODELS, _name(version, n_pieces))
        for first in range(0, n_pieces, AT_ONCE):
            await self._demand(
                [
                    _call("SET", keys.piece(version, i), packed[i * PIECE_BYTES : (i + 1) * PIECE_BYTES])
                    for i in range(first, min(first + AT_ONCE, n_pieces))
                ]
            )
        told = msgspec.json.encode(figures)
        sizes = ("n_pieces", n_pieces, "n_bytes", len(packed))
        await self._ask("HSET", keys.MODEL, "version", version, *sizes, "figures", told)
        await self._keep(version, n_pieces)
        await self._let_go()
        return version

    async def version(self) -> str | None:
        """The version in force; None: no model yet.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        version = await self._ask("HGET", keys.MODEL, "version")
        return None if version is None else bytes(version).decode()

    async def get(self) -> tuple[str, bytes] | None:
        """The model in force with its version, as it was put; None: no model yet.

        Raises:
            StoreUnavailable: the store did not answer, or has lost a part of the model.
        """
        for _ in range(ATTEMPTS):
            version, n_pieces = await self._in_force()
            if version is None:
                return None
            packed = await self._whole(version, n_pieces)
            if packed is not None:
                return version, packed
            if await self.version() == version:
                raise StoreUnavailable(
                    f"model {version}: the store has lost some of its {n_pieces} pieces; another must be trained"
                )
        raise StoreUnavailable(f"other models took the place of {version} while it was read; try again")

    async def is_whole(self) -> bool:
        """Whether all pieces of the model in force are there; True also when there is none.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        version, n_pieces, n_bytes = await self._ask("HMGET", keys.MODEL, "version", "n_pieces", "n_bytes")
        if version is None:
            return True
        pieces = [keys.piece(bytes(version).decode(), i) for i in range(int(n_pieces))]
        lengths: list[int] = await self._demand([_call("STRLEN", piece) for piece in pieces])
        return sum(lengths) == int(n_bytes)

    async def standing(self) -> Standing:
        """The model in force, and what is on the way; one round trip.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        replies = await self._demand(
            [
                _call("HMGET", keys.MODEL, "version", "n_bytes", "figures"),
                _call("HMGET", keys.DEMAND, "wanted", "served", "failed"),
                _call("EXISTS", keys.TRAINING),
            ]
        )
        (version, n_bytes, figures), (wanted, served, failed), training = replies
        return Standing(
            version=None if version is None else bytes(version).decode(),
            n_bytes=int(n_bytes or 0),
            figures=_decoded(figures, Figures),
            n_wanted=int(wanted or 0),
            n_served=int(served or 0),
            is_training=bool(training),
            failure=_decoded(failed, Failure),
        )

    async def want(self) -> int:
        """Ask for training: whoever trains does it as soon as it can, also when nothing is new.

        It is done when `n_served` is what this returns, or more.

        Raises:
            StoreUnavailable: the store did not answer; repeat it.
        """
        return int(await self._ask("HINCRBY", keys.DEMAND, "wanted", 1))

    async def served(self, n_wanted: int, *, failure: Failure | None = None) -> None:
        """Note that a training has ended, and how; what was asked for when it began is done.

        Raises:
            StoreUnavailable: the store did not answer; repeat it.
        """
        told = b"" if failure is None else msgspec.json.encode(failure)
        await self._ask("HSET", keys.DEMAND, "served", n_wanted, "failed", told)

    def turn(self) -> AbstractAsyncContextManager[bool]:
        """Whether one is the one who trains, while the context lasts.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        return turn(self._nodes, keys.TRAINING, for_s=TURN_S, timeout_s=self._timeout_s, renewed=True)

    async def _in_force(self) -> tuple[str | None, int]:
        version, n_pieces = await self._ask("HMGET", keys.MODEL, "version", "n_pieces")
        return (None, 0) if version is None else (bytes(version).decode(), int(n_pieces))

    async def _whole(self, version: str, n_pieces: int) -> bytes | None:
        pieces: list[bytes | None] = []
        for first in range(0, n_pieces, AT_ONCE):
            some = range(first, min(first + AT_ONCE, n_pieces))
            pieces += await self._demand([_call("GET", keys.piece(version, i)) for i in some])
        return await asyncio.to_thread(_joined, pieces, version)

    async def _keep(self, version: str, n_pieces: int) -> None:
        """Let nothing of a model expire; another who put one at the same time may have meant it to."""
        await self._ask("SADD", keys.MODELS, _name(version, n_pieces))
        await self._demand([_call("PERSIST", keys.piece(version, i)) for i in range(n_pieces)])

    async def _let_go(self) -> None:
        """Let the pieces expire of all models that are not in force, also of those nobody has put to the end."""
        in_force = await self._in_force()
        for name in await self._ask("SMEMBERS", keys.MODELS):
            version, n_pieces = _parts(name)
            if version != in_force[0]:
                pieces = [keys.piece(version, i) for i in range(n_pieces)]
                await self._demand([_call("EXPIRE", piece, KEPT_S) for piece in pieces])
                await self._ask("SREM", keys.MODELS, name)
        new, n_new = await self._in_force()
        if new is not None and new != in_force[0]:  # meanwhile: it may be one of those
            await self._keep(new, n_new)

    async def _ask(self, command: str, key: str, *words: str | bytes | int) -> Any:
        return (await self._demand([_call(command, key, *words)]))[0]

    async def _demand(self, calls: Sequence[Call]) -> list[Any]:
        return await self._nodes.demand(calls, timeout_s=self._timeout_s) if calls else []


def _name(version: str, n_pieces: int) -> str:
    return f"{version}:{n_pieces}"


def _parts(name: bytes) -> tuple[str, int]:
    version, _, n_pieces = name.decode().partition(":")
    return version, int(n_pieces)


def _call(command: str, key: str, *words: str | bytes | int) -> Call:
    return Call(key=key, command=(command, key, *words))


def _version_of(packed: bytes) -> str:
    return hashlib.sha256(packed).hexdigest()[:VERSION_CHARS]


def _joined(pieces: Sequence[bytes | None], version: str) -> bytes | None:
    """The whole; None when a piece is missing or not what it was."""
    there = [piece for piece in pieces if piece is not None]
    if len(there) < len(pieces):
        return None
    packed = b"".join(there)
    return packed if _version_of(packed) == version else None


def _decoded(kept: bytes | None, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(kept, type=kind) if kept else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
