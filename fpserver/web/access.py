"""Who may come in: pages of other origins as the settings say, and where keys are needed, whoever has one that does.

Keys are needed beyond loopback, and on loopback when `access.required`. Where they are not, whoever reaches the address
may do everything; so that a web page somewhere cannot do it through the browser of who sits at this machine, requests
that name another host, or come from a page of another origin, are refused.
"""

import ipaddress
from urllib.parse import urlsplit

import structlog
from aiohttp import hdrs, web

from fpserver.access import tokens
from fpserver.access.store import Allowance, Keys, Pass
from fpserver.config import Config
from fpserver.errors import ConfigInvalid, OriginRefused, Unauthenticated
from fpserver.web.contract import Handler
from fpserver.web.door import DOOR
from fpserver.web.reading import shown
from fpserver.web.routes import ROUTES

CLAIMED: web.RequestKey[str] = web.RequestKey(
    "claimed", str
)  # id of the key that came, before anybody looked at it
PASS: web.RequestKey[Pass] = web.RequestKey("pass", Pass)
ANY_ORIGIN = "*"
PREFLIGHT_KEPT_S = 600
TOLD = "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy"  # headers that a page may read
_SCOPES = {route.handler: route.scopes for route in ROUTES}


def keys_needed(config: Config) -> bool:
    """Whether only those with a key may ask."""
    return config.access.required or not is_loopback(config.web.host)


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only; of names, `localhost` alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def check_keys(config: Config, keys: Keys) -> None:
    """Refuse to listen where strangers are, as long as nobody has a key.

    Raises:
        ConfigInvalid: there are no keys, or pages of any origin may ask without one.
        StoreUnavailable: the store did not answer.
    """
    if not keys_needed(config):
        if ANY_ORIGIN in config.web.origins:
            raise ConfigInvalid(
                'web.origins is "*", any web page, but keys are not asked for: set access.required = true'
            )
        return
    if not await keys.any_in_force():
        why = (
            "access.required is true"
            if is_loopback(config.web.host)
            else f"web.host is {config.web.host}, which others than this machine can reach"
        )
        raise ConfigInvalid(
            f"{why}, and there are no keys, so nobody could ask: "
            "make one with `fpserver keys create NAME --scope admin`, or listen on 127.0.0.1 without"
        )


@web.middleware
async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let in who may come in, and count it."""
    config = request.app[DOOR].config
    open_to_all = not keys_needed(config)
    if open_to_all:
        _check_host(request, config)
    origin = _checked_origin(request, config)
    if origin is not None and request.method == hdrs.METH_OPTIONS:
        return _preflight()
    scopes = _SCOPES.get(request.match_info.handler, ())
    if open_to_all or not scopes:
        return await handler(request)
    shown_key = _key_of(request)
    if (token := tokens.read(shown_key)) is not None:
        request[CLAIMED] = token.key_id
    request[PASS] = await request.app[DOOR].services.keys.take(shown_key, scopes)
    with structlog.contextvars.bound_contextvars(key=request[PASS].key_id):
        return await handler(request)


def _key_of(request: web.Request) -> str:
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").strip().partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("this needs a key: send it as `Authorization: Bearer fps_…`")
    return token.strip()


def _check_host(request: web.Request, config: Config) -> None:
    """No name but this machine's own: another one may have been pointed here by a stranger (DNS rebinding)."""
    named = _host_of(f"//{request.headers.get(hdrs.HOST, '')}")
    if is_loopback(named) or named in (config.web.host, *map(_host_of, config.web.origins)):
        return
    raise OriginRefused(
        f"host is {shown(named)}: without keys only this machine's own names are answered to; "
        "name it in web.origins, or set access.required"
    )


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _address_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


def _checked_origin(request: web.Request, config: Config) -> str | None:
    """The foreign origin of the page that asks, which may; None: it is our own, or no page."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None or _address_of(origin) == request.headers.get(hdrs.HOST):
        return None
    if origin in config.web.origins or ANY_ORIGIN in config.web.origins:
        return origin
    raise OriginRefused(f"origin is {shown(origin)}: pages of origins that web.origins names may ask")


def _preflight() -> web.Response:
    return web.Response(
        status=204,
        headers={
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST, PATCH, DELETE",
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "Authorization, Content-Type, Accept, X-Request-Id",
            hdrs.ACCESS_CONTROL_MAX_AGE: str(PREFLIGHT_KEPT_S),
        },
    )


def mark(request: web.Request, response: web.StreamResponse) -> None:
    """Let an answer say who may read it, and what is left of the key's limits."""
    headers = response.headers
    origin = request.headers.get(hdrs.ORIGIN)
    allowed = request.app[DOOR].config.web.origins
    if allowed:
        headers.add(hdrs.VARY, hdrs.ORIGIN)
    if origin is not None and (origin in allowed or ANY_ORIGIN in allowed):
        headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = TOLD
        headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    if (passed := request.get(PASS)) is not None:
        limits = {"rate": passed.rate} | ({} if passed.day is None else {"day": passed.day})
        headers["RateLimit-Policy"] = ", ".join(_policy(name, each) for name, each in limits.items())
        headers["RateLimit"] = ", ".join(_left(name, each) for name, each in limits.items())


def _policy(name: str, limit: Allowance) -> str:
    return f'"{name}";q={limit.limit};w={max(1, round(limit.window_s))}'


def _left(name: str, limit: Allowance) -> str:
    return f'"{name}";r={limit.left};t={max(0, round(limit.full_in_s))}'
