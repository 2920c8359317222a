"""Keys in Redis: made, listed, rotated, revoked; and asked, with every request, whether they may.

The answer to a request is one round trip and one step in the store (functions.lua), so a key that is revoked is
refused from then on, and processes count one key's requests together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fpserver.access import keys, tokens
from fpserver.access.tokens import Token
from fpserver.config import AccessConfig
from fpserver.errors import (
    InvalidRequest,
    KeyNotFound,
    QuotaExceeded,
    RateLimited,
    ScopeMissing,
    Unauthenticated,
)
from fpserver.store.nodes import Call, Client, Nodes
from fpserver.terms import Scope

FUNCTIONS = Path(__file__).with_name("functions.lua").read_text(encoding="utf-8")
MAX_NAME_CHARS = 100
MAX_RATE_PER_S = 1e6
MAX_COUNT = 10**12
FIELDS = (
    "name",
    "scopes",
    "rate_per_s",
    "burst",
    "per_day",
    "created_at",
    "used_at",
    "revoked_at",
    "old_until",
)  # of a record, that may be shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a key may ask; None: as the settings say for all keys."""

    rate_per_s: float | None = None
    burst: int | None = None  # requests at once
    per_day: int | None = None  # requests from midnight to midnight, UTC; 0: any number


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What is known of a key; the secret is not."""

    key_id: str
    name: str
    scopes: frozenset[Scope]
    limits: Limits
    created_at: datetime
    used_at: datetime | None  # within a minute
    revoked_at: datetime | None
    old_until: datetime | None  # until when the secret before the last rotation still does


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """A limit of a key, and what is left of it."""

    limit: int
    window_s: float  # in which that many pass
    left: int
    full_in_s: float  # until all of it is there again


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """A request that may come in."""

    key_id: str
    rate: Allowance
    day: Allowance | None  # None: no quota


class Keys:
    """The keys of a store."""

    def __init__(self, client: Client, config: AccessConfig, *, timeout_s: float) -> None:
        self._nodes = Nodes(client, functions=FUNCTIONS)
        self._config = config
        self._timeout_s = timeout_s

    async def take(self, shown: str, wanted: Sequence[Scope]) -> Pass:
        """Let a request in and count it, or say why not.

        Args:
            shown: the key as it came.
            wanted: one of these scopes must be the key's.

        Raises:
            Unauthenticated: there is no such key, or it is revoked.
            ScopeMissing: it has none of the scopes.
            RateLimited, QuotaExceeded: it has asked too much; these requests are not counted.
            StoreUnavailable: the store did not answer.
        """
        token = tokens.read(shown)
        if token is None:
            raise Unauthenticated("the key that came is no key of fpserver: those begin with fps_")
        usual = self._config
        reply = await self._call(
            *("take", token.key_id, token.digest, ",".join(wanted)),
            *(_written(usual.rate_per_s), usual.burst, usual.per_day),
        )
        verdict = reply[0].decode()
        if verdict == "unknown":
            raise Unauthenticated(
                f"key {token.key_id} is unknown, revoked or rotated, or its secret is another"
            )
        name, scopes = reply[1].decode(), reply[2].decode()
        if verdict == "scope":
            raise ScopeMissing(
                f"key {token.key_id} ({name}) has scope {scopes.replace(',', ', ')}; "
                f"this needs {' or '.join(wanted)}"
            )
        rate_per_s, burst, left, wait_ms = float(reply[3]), int(reply[4]), int(reply[5]), int(reply[6])
        per_day, left_today, until_next_ms = map(int, reply[7:])
        if verdict == "rate":
            raise RateLimited(
                f"key {token.key_id} ({name}) asks more than {rate_per_s:g} a second "
                f"with bursts of {burst}; try again in {wait_ms / 1000:.3g} s",
                wait_ms / 1000,
            )
        if verdict == "quota":
            raise QuotaExceeded(
                f"key {token.key_id} ({name}) has asked its {per_day} of today; the next day begins at midnight UTC",
                until_next_ms / 1000,
            )
        return Pass(
            key_id=token.key_id,
            rate=Allowance(limit=burst, window_s=burst / rate_per_s, left=left, full_in_s=wait_ms / 1000),
            day=Allowance(limit=per_day, window_s=86400, left=left_today, full_in_s=until_next_ms / 1000)
            if per_day
            else None,
        )

    async def make(self, name: str, scopes: Sequence[Scope], limits: Limits) -> Token:
        """A new key; its secret is in the answer and nowhere else.

        Raises:
            InvalidRequest: the name, the scopes or a limit break a rule.
            StoreUnavailable: the store did not answer; there may be a key that nobody has the secret of.
        """
        _check(name, scopes, limits)
        token = tokens.new_token(tokens.new_id())
        own = {"rate_per_s": limits.rate_per_s, "burst": limits.burst, "per_day": limits.per_day}
        fields: list[str | bytes] = ["name", name, "scopes", ",".join(sorted(set(scopes)))]
        fields += ["digest", token.digest]
        fields += [word for key, value in own.items() if value is not None for word in (key, _written(value))]
        await self._call("make", token.key_id, *fields)
        return token

    async def all(self) -> list[Key]:
        """All keys, by when they were made; revoked ones too.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        (ids,) = await self._demand([Call(key=keys.KEYS, command=("ZRANGE", keys.KEYS, 0, -1))])
        key_ids = [key_id.decode() for key_id in ids]
        records = await self._demand(
            [Call(key=keys.record(each), command=("HMGET", keys.record(each), *FIELDS)) for each in key_ids]
        )
        return [_key(key_id, values) for key_id, values in zip(key_ids, records, strict=True)]

    async def any_in_force(self) -> bool:
        """Whether anybody has a key.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        return any(key.revoked_at is None for key in await self.all())

    async def rotate(self, key_id: str, *, grace_s: float) -> Token:
        """A new secret for a key; the one before still does for `grace_s`.

        Raises:
            KeyNotFound: there is no such key, or it is revoked.
            StoreUnavailable: the store did not answer; rotate it again.
        """
        token = tokens.new_token(key_id)
        if not await self._call("rotate", key_id, token.digest, round(1000 * grace_s)):
            raise KeyNotFound(f"no key {key_id!r} is in force; `fpserver keys list` shows those that are")
        return token

    async def revoke(self, key_id: str) -> None:
        """Let a key do nothing from now on; to revoke it again changes nothing.

        Raises:
            KeyNotFound: there is no such key.
            StoreUnavailable: the store did not answer; revoke it again.
        """
        if not await self._call("revoke", key_id):
            raise KeyNotFound(f"no key {key_id!r}; `fpserver keys list` shows those there are")

    async def _call(self, function: str, *args: str | bytes | int) -> Any:
        words = [arg.encode() if isinstance(arg, str) else arg for arg in args]
        return (await self._demand([Call.function(f"access_{function}", [keys.ROOT], *words)]))[0]

    async def _demand(self, calls: Sequence[Call]) -> Any:
        return await self._nodes.demand(calls, timeout_s=self._timeout_s) if calls else []


def _check(name: str, scopes: Sequence[Scope], limits: Limits) -> None:
    if not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable():
        raise InvalidRequest(f"name of a key is {name!r}: must be 1 to {MAX_NAME_CHARS} printable characters")
    if not scopes:
        raise InvalidRequest(f"a key without scopes is of no use: name one or more of {', '.join(Scope)}")
    for what, value, least, most in (
        ("rate_per_s", limits.rate_per_s, 0.001, MAX_RATE_PER_S),
        ("burst", limits.burst, 1, MAX_COUNT),
        ("per_day", limits.per_day, 0, MAX_COUNT),
    ):
        if value is not None and not least <= value <= most:
            raise InvalidRequest(f"{what} of a key is {value}: must be {least:g} to {most:g}")


def _written(value: float) -> str:
    return repr(value)


def _key(key_id: str, values: Sequence[bytes | None]) -> Key:
    """A record as the store answers it: the values of FIELDS."""
    told = {name: value.decode() for name, value in zip(FIELDS, values, strict=True) if value is not None}

    def moment(name: str) -> datetime | None:
        return datetime.fromtimestamp(int(told[name]) / 1000, UTC) if name in told else None

    return Key(
        key_id=key_id,
        name=told["name"],
        scopes=frozenset(map(Scope, told["scopes"].split(","))),
        limits=Limits(
            rate_per_s=float(told["rate_per_s"]) if "rate_per_s" in told else None,
            burst=int(told["burst"]) if "burst" in told else None,
            per_day=int(told["per_day"]) if "per_day" in told else None,
        ),
        created_at=datetime.fromtimestamp(int(told["created_at"]) / 1000, UTC),
        used_at=moment("used_at"),
        revoked_at=moment("revoked_at"),
        old_until=moment("old_until"),
    )
