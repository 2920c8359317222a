"""From an answer's Struct to bytes: JSON, or the same document as msgpack when that is what is asked for."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from aiohttp import web
from msgspec import Struct

from fpserver.web.media import JSON, MSGPACK


def answer(
    request: web.BaseRequest, document: Struct, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """The document in the form that `Accept` prefers."""
    kind = preferred(request.headers.get("Accept", ""))
    return web.Response(
        body=to_msgpack(document) if kind == MSGPACK else to_json(document),
        status=status,
        content_type=kind,
        headers={"Vary": "Accept", **(headers or {})},
    )


def preferred(accept: str) -> str:
    """msgpack when `Accept` names it with at least the weight it gives JSON, else JSON."""
    weights: dict[str, float] = {}
    for item in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in item.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        weights[kind] = weight
    json = weights.get(JSON, weights.get("application/*", weights.get("*/*", 0.0)))
    return MSGPACK if weights.get(MSGPACK, 0.0) > 0 and weights[MSGPACK] >= json else JSON


def to_json(document: Struct) -> bytes:
    """JSON; what is not a number becomes null."""
    return msgspec.json.encode(document, enc_hook=_plain)


def to_msgpack(document: Struct) -> bytes:
    """The same as msgpack."""
    return msgspec.msgpack.encode(document, enc_hook=_plain)


def _plain(value: Any) -> Any:
    """What numpy left in an explanation, as plain values."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no place in an answer")
