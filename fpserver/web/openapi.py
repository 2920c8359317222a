"""The OpenAPI 3.1 document, made from the routes and from what each handler says of itself."""

import inspect
import re
from collections import defaultdict
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from fpserver import errors
from fpserver.apart import MAX_DTW_MATRIX
from fpserver.config import Config
from fpserver.errors import FpserverError
from fpserver.terms import MAX_USER_CHARS
from fpserver.web.access import keys_needed
from fpserver.web.contract import Body, Reply, Wire, wire_of
from fpserver.web.errors import RETRY_AFTER_S, status_of
from fpserver.web.feedback_schemas import USER
from fpserver.web.handlers.maps import WAYS
from fpserver.web.media import FORM, JSON, MSGPACK, NDJSON
from fpserver.web.routes import ROUTES, Route
from fpserver.web.schemas import ErrorAnswer, MetadataIn

KEY = "key"
KEY_TEXT = (
    "An API key with one of the scopes that an operation names, or `admin`. "
    "Needed beyond loopback, and on loopback where `access.required` is set."
)
REF = "#/components/schemas/{name}"
PATH_PARAMETERS = {
    "track_id": {"type": "integer", "minimum": 1},
    "a": {"type": "integer", "minimum": 1},
    "b": {"type": "integer", "minimum": 1},
    "user": {"type": "string", "minLength": 1, "maxLength": MAX_USER_CHARS, **USER},
    "batch_id": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
}
OF_HTTP = {  # of any request, before anybody knows what it asks for
    "400": "`bad_request`: The request is not well-formed HTTP",
    "408": "`request_timeout`: The head of the request does not come in time",
    "414": "`url_too_long`: The first line of the request is too long",
    "431": "`head_too_large`: The head of the request, or a field of it, is too long",
}
TEXT = """Identify a few noisy seconds of sound against a catalogue of recordings.

Answers are JSON; with `Accept: application/msgpack` they are the same document as msgpack, errors too. Every answer
carries `X-Request-Id`: the caller's own, if it sent one, else a new one. Every refusal has the one error body.
Times are seconds, ids whole numbers, moments ISO 8601 in UTC."""


BEYOND_TYPES: dict[str, dict[str, Any]] = {  # what no type of one field can state
    "FeedbackBatch": {
        "properties": {
            "events": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "anyOf": [{"$ref": REF.format(name="FeedbackIn")}, {"description": "refused alone"}]
                },
            }
        }
    },
    "FeedbackIn": {
        "anyOf": [
            {"properties": {"kind": {"enum": ["play", "skip"]}, "rating": {"type": "null"}}},
            {
                "properties": {
                    "kind": {"enum": ["like", "dislike"]},
                    "fraction": {"type": "null"},
                    "rating": {"type": "null"},
                }
            },
            {
                "properties": {
                    "kind": {"const": "rating"},
                    "fraction": {"type": "null"},
                    "rating": {"type": "number"},
                },
                "required": ["rating"],
            },
        ]
    },
    "MapRequest": {
        "anyOf": [{"properties": {name: {"type": "null"} for name in WAYS if name != way}} for way in WAYS]
    },
    "MatrixRequest": {
        "if": {"properties": {"metric": {"const": "dtw"}}, "required": ["metric"]},
        "then": {"properties": {"track_ids": {"maxItems": MAX_DTW_MATRIX}}},
    },
}


def document(config: Config | None = None) -> dict[str, Any]:
    """The whole document; limits that are settings, and whether keys are asked for, are those of `config`."""
    config = config or Config()
    without_key: list[dict[str, list[str]]] = [] if keys_needed(config) else [{}]
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for route in ROUTES:
        paths[route.path][route.method.lower()] = operation = _operation(route)
        if route.scopes:
            operation["security"] = [{KEY: [*route.scopes]}, *without_key]
    whole = {
        "openapi": "3.1.0",
        "info": {"title": "fpserver", "version": version("fpserver"), "description": TEXT},
        "tags": [{"name": name} for name in dict.fromkeys(route.section for route in ROUTES)],
        "paths": dict(paths),
        "components": {
            "schemas": _components(),
            "securitySchemes": {KEY: {"type": "http", "scheme": "bearer", "description": KEY_TEXT}},
        },
    }
    _settle(whole, config)
    return whole


def _settle(node: Any, config: Config) -> None:
    """Put a setting's value where its name stands for a limit, as `recommend.max_recommendations`."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in children:
        if key in ("maximum", "maxItems") and isinstance(value, str):
            table, _, name = value.partition(".")
            node[key] = getattr(getattr(config, table), name)
        else:
            _settle(value, config)


def _operation(route: Route) -> dict[str, Any]:
    wire = wire_of(route.handler)
    operation: dict[str, Any] = {
        "operationId": f"{route.handler.__module__.rpartition('.')[2]}_{route.handler.__name__}",
        "tags": [route.section],
        "summary": route.summary,
        "description": inspect.getdoc(route.handler) or "",
        "parameters": [*_path_parameters(route.path), *_query_parameters(wire)],
        "responses": {
            **{str(status): _reply(reply) for status, reply in wire.replies.items()},
            **_refusals((*wire.errors, *_access_errors(route))),
        },
    }
    if wire.bodies:
        content = {body.media_type: _body(body) for body in wire.bodies}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _access_errors(route: Route) -> tuple[type[FpserverError], ...]:
    if not route.scopes:
        return (errors.OriginRefused,)
    return (
        errors.Unauthenticated,
        errors.ScopeMissing,
        errors.OriginRefused,
        errors.RateLimited,
        errors.QuotaExceeded,
        errors.StoreUnavailable,
    )


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": PATH_PARAMETERS[name]}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _query_parameters(wire: Wire) -> list[dict[str, Any]]:
    if wire.query is None:
        return []
    _, components = msgspec.json.schema_components([wire.query], ref_template=REF)
    parameters = []
    whole = components[wire.query.__name__]
    for name, schema in whole["properties"].items():
        plain = _without_null(schema)
        required = name in whole.get("required", ())
        parameter = {"name": name, "in": "query", "required": required, "schema": plain}
        if text := plain.pop("description", None):
            parameter["description"] = text
        parameters.append(parameter)
    return parameters


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query parameter is there or not; it is never null."""
    schema = dict(schema)
    kinds = [kind for kind in schema.pop("anyOf", []) if kind != {"type": "null"}]
    if kinds:
        schema = {**kinds[0], **schema}
    if schema.get("default", 0) is None:
        del schema["default"]
    return schema


def _body(body: Body) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": body.text}
    if body.schema is not None and body.instead is not None:
        kinds = (body.schema, body.instead)
        schema |= {"anyOf": [{"$ref": REF.format(name=kind.__name__)} for kind in kinds]}
    elif body.schema is not None:
        schema |= {"$ref": REF.format(name=body.schema.__name__)}
        if body.media_type == NDJSON:
            schema |= {"description": f"{body.text}; the schema is one line's"}
    elif body.media_type == FORM:
        schema |= {
            "type": "object",
            "properties": {name: _part(name, text) for name, text in body.parts.items()},
            "required": [name for name in body.parts if name != "metadata"],
            "additionalProperties": body.other_parts,
        }
    else:
        schema |= {"type": "string", "contentMediaType": body.media_type, "minLength": 1}
    if body.media_type == FORM:
        return {"schema": schema, "encoding": {name: {"contentType": _kind(name)} for name in body.parts}}
    return {"schema": schema}


def _kind(part: str) -> str:
    return JSON if part == "metadata" else "application/octet-stream"


def _part(name: str, text: str) -> dict[str, Any]:
    if name == "metadata":
        return {"description": text, "$ref": REF.format(name=MetadataIn.__name__)}
    return {
        "type": "string",
        "contentMediaType": _kind(name),
        "minLength": 1,
        "description": text,
    }


def _reply(reply: Reply) -> dict[str, Any]:
    if reply.schema is not None:
        schema = {"$ref": REF.format(name=reply.schema.__name__)}
        return {"description": reply.text, "content": {kind: {"schema": schema} for kind in (JSON, MSGPACK)}}
    if reply.media_type is not None:
        return {"description": reply.text, "content": {reply.media_type: {}}}
    return {"description": reply.text}


def _refusals(kinds: Sequence[type[FpserverError]]) -> dict[str, Any]:
    """Errors by status: which codes it may carry, and whether it says when to try again."""
    by_status: dict[int, list[type[FpserverError]]] = defaultdict(list)
    for kind in dict.fromkeys((*kinds, FpserverError)):
        by_status[status_of(kind)].append(kind)
    content = {kind: {"schema": {"$ref": REF.format(name=ErrorAnswer.__name__)}} for kind in (JSON, MSGPACK)}
    refusals: dict[str, Any] = {
        status: {"description": text, "content": content} for status, text in OF_HTTP.items()
    }
    for status, group in sorted(by_status.items()):
        lines = [f"`{kind.code}`: {(inspect.getdoc(kind) or '').rstrip('.')}" for kind in group]
        if status == status_of(FpserverError):
            lines = ["`internal`: Something nobody foresaw; the log has it under the request id"]
        if str(status) in OF_HTTP:
            lines.insert(0, OF_HTTP[str(status)])
        refusals[str(status)] = {"description": "; ".join(lines), "content": content}
        if any(issubclass(kind, (*RETRY_AFTER_S, errors.RateLimited)) for kind in group):
            text = "seconds after which to try again"
            refusals[str(status)]["headers"] = {
                "Retry-After": {"schema": {"type": "integer"}, "description": text}
            }
    return refusals


def _components() -> dict[str, Any]:
    spoken = {ErrorAnswer, MetadataIn}
    for route in ROUTES:
        wire = wire_of(route.handler)
        spoken |= {body.schema for body in wire.bodies if body.schema is not None}
        spoken |= {body.instead for body in wire.bodies if body.instead is not None}
        spoken |= {reply.schema for reply in wire.replies.values() if reply.schema is not None}
    _, components = msgspec.json.schema_components(
        sorted(spoken, key=lambda kind: kind.__name__), ref_template=REF
    )
    return {name: {**schema, **BEYOND_TYPES.get(name, {})} for name, schema in components.items()}
