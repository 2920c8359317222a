"""Keys in a store: who they let in, how much, and what is kept of them."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from fpserver.access.keys import ROOT
from fpserver.access.store import FUNCTIONS, Keys, Limits
from fpserver.access.tokens import Token, new_id, new_token
from fpserver.config import AccessConfig
from fpserver.errors import (
    InvalidRequest,
    KeyNotFound,
    QuotaExceeded,
    RateLimited,
    ScopeMissing,
    Unauthenticated,
)
from fpserver.store.connect import Client, load_functions
from fpserver.terms import Scope

ASK, FILL = [Scope.IDENTIFY], [Scope.INGEST]


@pytest.fixture
async def keys(client: Client) -> Keys:
    await load_functions(client, FUNCTIONS)
    return Keys(client, AccessConfig(rate_per_s=1000, burst=1000), timeout_s=5.0)


async def n_let_in(keys: Keys, token: Token, n: int) -> int:
    """Of n requests at once."""

    async def one() -> bool:
        try:
            await keys.take(str(token), ASK)
        except RateLimited:
            return False
        return True

    return sum(await asyncio.gather(*(one() for _ in range(n))))


async def test_a_key_lets_in_for_its_scopes_alone(keys: Keys) -> None:
    token = await keys.make("app", [Scope.IDENTIFY], Limits())
    assert (await keys.take(str(token), ASK)).key_id == token.key_id
    assert (await keys.take(str(token), [Scope.INGEST, Scope.IDENTIFY])).key_id == token.key_id
    with pytest.raises(ScopeMissing, match=r"app.*has scope identify; this needs ingest"):
        await keys.take(str(token), FILL)


@pytest.mark.parametrize("wanted", list(Scope))
async def test_admin_is_every_scope(keys: Keys, wanted: Scope) -> None:
    token = await keys.make("operator", [Scope.ADMIN], Limits())
    assert (await keys.take(str(token), [wanted])).key_id == token.key_id


async def test_a_key_that_was_never_made_lets_nobody_in(keys: Keys) -> None:
    token = await keys.make("app", [Scope.IDENTIFY], Limits())
    for shown in (str(new_token(new_id())), str(new_token(token.key_id)), "no key", ""):
        with pytest.raises(Unauthenticated) as refused:
            await keys.take(shown, ASK)
        assert shown == "" or shown.rpartition("_")[2] not in str(refused.value).split()


async def test_a_rotated_key_has_a_new_secret_and_the_old_one_for_as_long_as_was_said(keys: Keys) -> None:
    before = await keys.make("app", [Scope.IDENTIFY], Limits())
    after = await keys.rotate(before.key_id, grace_s=0.2)
    assert after.key_id == before.key_id and after.secret != before.secret
    await keys.take(str(after), ASK)
    await keys.take(str(before), ASK)
    await asyncio.sleep(0.25)
    with pytest.raises(Unauthenticated):
        await keys.take(str(before), ASK)
    at_once = await keys.rotate(before.key_id, grace_s=0)
    with pytest.raises(Unauthenticated):
        await keys.take(str(after), ASK)
    await keys.take(str(at_once), ASK)


async def test_a_revoked_key_lets_nobody_in_and_stays_listed(keys: Keys) -> None:
    token = await keys.make("app", [Scope.IDENTIFY], Limits())
    assert await keys.any_in_force()
    old = token
    token = await keys.rotate(token.key_id, grace_s=1000)
    await keys.revoke(token.key_id)
    await keys.revoke(token.key_id)
    for each in (old, token):
        with pytest.raises(Unauthenticated):
            await keys.take(str(each), ASK)
    with pytest.raises(KeyNotFound):
        await keys.rotate(token.key_id, grace_s=0)
    (listed,) = await keys.all()
    assert listed.revoked_at is not None and not await keys.any_in_force()


async def test_a_key_that_is_not_there_cannot_be_revoked(keys: Keys) -> None:
    with pytest.raises(KeyNotFound, match="nobody"):
        await keys.revoke("nobody")


async def test_what_is_listed_is_what_was_made(keys: Keys) -> None:
    limits = Limits(rate_per_s=0.5, burst=3, per_day=100)
    first = await keys.make("the app", [Scope.INGEST, Scope.IDENTIFY], limits)
    second = await keys.make("größer", [Scope.METRICS], Limits())
    await keys.take(str(first), ASK)
    one, other = await keys.all()
    assert (one.key_id, one.name, one.limits) == (first.key_id, "the app", limits)
    assert one.scopes == {Scope.INGEST, Scope.IDENTIFY}
    assert (other.key_id, other.name, other.limits) == (second.key_id, "größer", Limits())
    assert one.used_at is not None and other.used_at is None
    assert abs(datetime.now(UTC) - one.created_at) < timedelta(seconds=10)


async def test_no_secret_is_in_the_store(keys: Keys, client: Client) -> None:
    token = await keys.make("app", [Scope.IDENTIFY], Limits())
    await keys.take(str(token), ASK)
    after = await keys.rotate(token.key_id, grace_s=10)
    names = [name async for name in client.scan_iter(match=f"{ROOT}*")]
    held = b"".join([bytes(await client.execute_command("DUMP", name)) for name in names])
    assert len(names) >= 2
    for secret in (token.secret, after.secret):
        assert secret.encode() not in held
    assert await client.hget(f"{ROOT}:key:{token.key_id}", "digest") == after.digest


async def test_a_burst_passes_and_then_the_rate(keys: Keys) -> None:
    token = await keys.make("app", [Scope.IDENTIFY], Limits(rate_per_s=20, burst=5))
    assert await n_let_in(keys, token, 30) == 5
    with pytest.raises(RateLimited, match=r"more than 20 a second") as limited:
        await keys.take(str(token), ASK)
    assert 0 < limited.value.retry_after_s <= 0.05
    await asyncio.sleep(0.16)  # three of 0.05 s
    assert await n_let_in(keys, token, 30) in (3, 4)


async def test_what_is_left_is_told(keys: Keys) -> None:
    token = await keys.make("app", [Scope.IDENTIFY], Limits(rate_per_s=0.1, burst=4, per_day=3))
    first, second = await keys.take(str(token), ASK), await keys.take(str(token), ASK)
    assert (first.rate.left, second.rate.left, second.rate.limit) == (3, 2, 4)
    assert first.rate.window_s == 40 and 9 < first.rate.full_in_s <= 10
    assert first.day is not None and second.day is not None
    assert (first.day.left, second.day.left, second.day.limit) == (2, 1, 3)
    assert 0 < first.day.full_in_s <= 86400


async def test_a_day_has_an_end(keys: Keys) -> None:
    token = await keys.make("app", [Scope.IDENTIFY], Limits(per_day=3))
    assert await n_let_in(keys, token, 10) == 3
    with pytest.raises(QuotaExceeded, match="its 3 of today") as limited:
        await keys.take(str(token), ASK)
    assert 0 < limited.value.retry_after_s <= 86400


async def test_keys_do_not_take_from_one_another(keys: Keys) -> None:
    one = await keys.make("one", [Scope.IDENTIFY], Limits(rate_per_s=0.1, burst=1))
    other = await keys.make("other", [Scope.IDENTIFY], Limits(rate_per_s=0.1, burst=1))
    assert await n_let_in(keys, one, 5) == 1
    assert await n_let_in(keys, other, 5) == 1


async def test_processes_count_a_keys_requests_together(keys: Keys, client: Client) -> None:
    token = await keys.make("app", [Scope.IDENTIFY], Limits(rate_per_s=0.1, burst=10))
    others = [Keys(client, AccessConfig(), timeout_s=5.0) for _ in range(4)]
    assert sum(await asyncio.gather(*(n_let_in(each, token, 6) for each in others))) == 10


async def test_what_limits_keep_in_the_store_goes_away(keys: Keys, client: Client) -> None:
    token = await keys.make("app", [Scope.IDENTIFY], Limits(rate_per_s=10, burst=5, per_day=7))
    await keys.take(str(token), ASK)
    held = [name async for name in client.scan_iter(match=f"{ROOT}:rate:*")]
    held += [name async for name in client.scan_iter(match=f"{ROOT}:day:*")]
    lifetimes = [await client.pttl(name) for name in held]
    assert len(held) == 2 and all(0 < each <= 86_401_000 for each in lifetimes)


@pytest.mark.parametrize(
    ("name", "scopes", "limits", "said"),
    [
        ("", [Scope.ADMIN], Limits(), "name of a key"),
        ("a\nb", [Scope.ADMIN], Limits(), "printable"),
        ("x" * 101, [Scope.ADMIN], Limits(), "1 to 100"),
        ("app", [], Limits(), "without scopes"),
        ("app", [Scope.ADMIN], Limits(rate_per_s=0), "rate_per_s of a key is 0"),
        ("app", [Scope.ADMIN], Limits(rate_per_s=float("nan")), "rate_per_s"),
        ("app", [Scope.ADMIN], Limits(burst=0), "burst of a key is 0"),
        ("app", [Scope.ADMIN], Limits(per_day=-1), "per_day of a key is -1"),
    ],
)
async def test_a_key_that_breaks_a_rule_is_not_made(
    keys: Keys, name: str, scopes: list[Scope], limits: Limits, said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said):
        await keys.make(name, scopes, limits)
    assert await keys.all() == []


async def test_a_store_that_was_emptied_has_its_functions_again(keys: Keys, client: Client) -> None:
    await client.execute_command("FUNCTION FLUSH")
    token = await keys.make("app", [Scope.IDENTIFY], Limits())
    assert (await keys.take(str(token), ASK)).day is None
