"""Who may come in: keys and their scopes, limits, origins; and that no secret comes out."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from aiohttp import web as aiohttp_web
from aiohttp.test_utils import TestClient, TestServer

from fpserver.access.store import Limits
from fpserver.access.tokens import Token
from fpserver.config import Config
from fpserver.errors import ConfigInvalid
from fpserver.terms import Scope
from fpserver.web.access import check_keys, is_loopback
from fpserver.web.app import create_app
from fpserver.web.door import DOOR
from fpserver.web.routes import ROUTES, Route
from tests.web.conftest import Web
from tests.web.helpers import refused

PAGE = "https://music.example"


@pytest.fixture(scope="module")
async def guarded(config: Config, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Web]:
    """A client of an app that asks for keys, on a store that has some."""
    data_dir = str(tmp_path_factory.mktemp("guarded"))
    config = config.with_values(redis={"data_dir": data_dir}, web={"origins": [PAGE]})
    async with TestClient(TestServer(create_app(config))) as client:
        door = client.app[DOOR]
        door.config = config.with_values(access={"required": True})
        yield client


async def key(web: Web, *scopes: Scope, limits: Limits | None = None) -> Token:
    return await web.app[DOOR].services.keys.make("test", scopes, limits or Limits())


def shown(token: Token | str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def filled(path: str) -> str:
    return re.sub(r"{user}", "ann", re.sub(r"{(track_id|a|b|batch_id)}", "1", path))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_every_route_asks_for_one_of_its_scopes(guarded: Web, route: Route) -> None:
    async def status(headers: dict[str, str]) -> int:
        url = filled(route.path)
        async with guarded.request(route.method, url, headers=headers, allow_redirects=False) as response:
            return response.status

    if not route.scopes:
        assert await status({}) < 400
        return
    assert await status({}) == 401
    for scope in Scope:
        allowed = scope in route.scopes or scope is Scope.ADMIN
        assert (await status(shown(await key(guarded, scope))) == 403) is not allowed, scope


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "fps_a_b",
        "Bearer fps_a_b",
        "Bearer \xff",
        "Bearer " + "x" * 5000,
    ],
)
async def test_what_is_no_key_is_401_and_says_how_to_show_one(guarded: Web, header: str) -> None:
    response = await guarded.get("/v1/tracks", headers={"Authorization": header})
    await refused(response, 401, "unauthenticated")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_key_that_is_revoked_is_refused_with_the_next_request(guarded: Web) -> None:
    token = await key(guarded, Scope.IDENTIFY)
    assert (await guarded.get("/v1/tracks", headers=shown(token))).status == 200
    await guarded.app[DOOR].services.keys.revoke(token.key_id)
    await refused(await guarded.get("/v1/tracks", headers=shown(token)), 401, "unauthenticated")


async def test_the_log_names_a_key_that_did_not_do(guarded: Web) -> None:
    token = await key(guarded, Scope.IDENTIFY)
    await guarded.app[DOOR].services.keys.revoke(token.key_id)
    with structlog.testing.capture_logs() as logs:
        await guarded.get("/v1/tracks", headers=shown(token))
    (line,) = (line for line in logs if line["event"] == "web.request")
    assert line["key_refused"] == token.key_id and "key" not in line


async def test_a_missing_scope_is_named(guarded: Web) -> None:
    token = await key(guarded, Scope.IDENTIFY)
    message = await refused(await guarded.delete("/v1/tracks/1", headers=shown(token)), 403, "scope_missing")
    assert token.key_id in message and "needs ingest" in message


async def test_limits_are_told_with_every_answer_and_kept(guarded: Web) -> None:
    token = await key(guarded, Scope.IDENTIFY, limits=Limits(rate_per_s=0.5, burst=2, per_day=5))
    first = await guarded.get("/v1/tracks", headers=shown(token))
    assert first.headers["RateLimit-Policy"] == '"rate";q=2;w=4, "day";q=5;w=86400'
    assert re.fullmatch(r'"rate";r=1;t=2, "day";r=4;t=\d+', first.headers["RateLimit"])
    missing = await guarded.get("/v1/tracks/77", headers=shown(token))
    assert missing.status == 404 and missing.headers["RateLimit"].startswith('"rate";r=0')
    third = await guarded.get("/v1/tracks", headers=shown(token))
    await refused(third, 429, "rate_limited")
    assert 1 <= int(third.headers["Retry-After"]) <= 2


async def test_a_quota_that_is_used_up_says_until_when(guarded: Web) -> None:
    token = await key(guarded, Scope.IDENTIFY, limits=Limits(per_day=1))
    await guarded.get("/v1/tracks", headers=shown(token))
    response = await guarded.get("/v1/tracks", headers=shown(token))
    message = await refused(response, 429, "quota_exceeded")
    assert "midnight UTC" in message and 0 < int(response.headers["Retry-After"]) <= 86400


async def test_no_secret_is_in_logs_metrics_or_errors(
    guarded: Web, capsys: pytest.CaptureFixture[str]
) -> None:
    token, admin = await key(guarded, Scope.IDENTIFY), await key(guarded, Scope.ADMIN)
    told = []
    with structlog.testing.capture_logs() as logs:
        for headers in (
            shown(token),
            shown(f"{token}x"),
            shown(str(token)[:-1]),
            {"Authorization": str(token)},
        ):
            for method, path in (("GET", "/v1/tracks"), ("DELETE", "/v1/tracks/1"), ("GET", "/nowhere")):
                async with guarded.request(method, path, headers=headers) as response:
                    told += [await response.text(), str(response.headers)]
    told += [await (await guarded.get("/metrics", headers=shown(admin))).text(), repr(logs)]
    told += list(capsys.readouterr())
    assert any(line.get("key") == token.key_id for line in logs)  # who asked is told
    assert token.secret[:20] not in "".join(told)


async def test_the_log_of_a_request_without_a_key_names_no_key_of_an_earlier_one(guarded: Web) -> None:
    token = await key(guarded, Scope.IDENTIFY)
    with structlog.testing.capture_logs() as logs:
        await guarded.get("/v1/tracks", headers=shown(token))
        await guarded.get("/docs")
    by_path = {line["path"]: line for line in logs if line["event"] == "web.request"}
    assert by_path["/v1/tracks"]["key"] == token.key_id and "key" not in by_path["/docs"]


async def test_a_page_of_an_origin_that_is_named_may_ask_and_read(guarded: Web) -> None:
    token = await key(guarded, Scope.IDENTIFY)
    before = await guarded.options(
        "/v1/identify", headers={"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    )
    assert before.status == 204 and "Authorization" in before.headers["Access-Control-Allow-Headers"]
    response = await guarded.get("/v1/tracks", headers={"Origin": PAGE} | shown(token))
    assert response.status == 200
    for each in (before, response):
        assert each.headers["Access-Control-Allow-Origin"] == PAGE
        assert "Origin" in ", ".join(each.headers.getall("Vary"))
    assert "RateLimit" in response.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://[", "https://music.example.evil"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_a_page_of_another_origin_may_not(web: Web, guarded: Web, origin: str, method: str) -> None:
    for client in (web, guarded):
        response = await client.request(method, "/v1/tracks", headers={"Origin": origin})
        await refused(response, 403, "origin_refused")
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_page_of_the_server_itself_may_ask(web: Web) -> None:
    own = str(web.make_url("/")).rstrip("/")
    assert (await web.get("/v1/tracks", headers={"Origin": own})).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8710", "10.0.0.1", "", "127.0.0.1.evil.example", "["]
)
async def test_without_keys_no_other_name_is_answered_to(web: Web, host: str) -> None:
    await refused(await web.get("/v1/tracks", headers={"Host": host}), 403, "origin_refused")


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1", "127.0.0.9:80", "[::1]:8710"])
async def test_this_machines_names_are_answered_to(web: Web, host: str) -> None:
    assert (await web.get("/v1/tracks", headers={"Host": host})).status == 200


async def test_with_keys_any_name_is(guarded: Web) -> None:
    token = await key(guarded, Scope.IDENTIFY)
    headers = {"Host": "fp.example"} | shown(token)
    assert (await guarded.get("/v1/tracks", headers=headers)).status == 200


@pytest.mark.parametrize("path", ["/docs", "/healthz", "/v1/tracks", "/nowhere", "/metrics"])
async def test_nothing_in_an_answer_is_run_framed_guessed_at_or_kept(web: Web, path: str) -> None:
    headers = (await web.get(path)).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "*" not in policy and "http" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Server"] == "fpserver"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("fp.example", False),
    ],
)
def test_loopback_is_what_this_machine_alone_can_reach(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


async def test_a_server_without_keys_does_not_listen_where_strangers_are(
    config: Config, tmp_path: Path
) -> None:
    config = config.with_values(redis={"data_dir": str(tmp_path)}, web={"host": "0.0.0.0"})
    runner = aiohttp_web.AppRunner(create_app(config))
    with pytest.raises(ConfigInvalid, match=r"web.host is 0.0.0.0.*fpserver keys create"):
        await runner.setup()
    await runner.cleanup()


async def test_with_a_key_it_does(guarded: Web) -> None:
    await key(guarded, Scope.METRICS)
    keys, config = guarded.app[DOOR].services.keys, guarded.app[DOOR].config
    await check_keys(config.with_values(web={"host": "0.0.0.0"}), keys)


async def test_any_origin_and_no_keys_is_refused(guarded: Web, config: Config) -> None:
    keys = guarded.app[DOOR].services.keys
    with pytest.raises(ConfigInvalid, match=r"access.required"):
        await check_keys(config.with_values(web={"origins": ["*"]}), keys)


async def test_the_document_tells_scopes_and_refusals(web: Web) -> None:
    document = json.loads(await (await web.get("/v1/openapi.json")).read())
    for route in ROUTES:
        operation = document["paths"][route.path][route.method.lower()]
        without: list[dict[str, list[str]]] = [{}] if route.scopes else []  # on loopback a request needs none
        told = [scope for each in operation.get("security", []) for scope in each.get("key", [])]
        assert told == list(route.scopes)
        assert [each for each in operation.get("security", []) if not each] == without
        assert {"401", "403", "429"} <= set(operation["responses"]) or not route.scopes


async def test_who_people_are_is_not_in_the_log(web: Web) -> None:
    with structlog.testing.capture_logs() as logs:
        await web.get("/v1/users/a-name-nobody-has")
    (line,) = (line for line in logs if line["event"] == "web.request")
    assert line["path"] == "/v1/users/{user}" or "a-name" not in repr(line)
