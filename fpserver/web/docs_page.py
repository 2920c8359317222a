"""The page at /docs, written from the OpenAPI document: one file, no scripts, nothing from another host."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --strong: #0a6b5d }
@media (prefers-color-scheme: dark) { :root { --strong: #5fd3bf } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1.5rem }
code, pre { font: 0.875em/1.45 ui-monospace, monospace }
code { background: var(--soft); padding: 0.1em 0.3em; border-radius: 4px }
pre { background: var(--soft); padding: 0.8em 1em; border-radius: 8px; overflow-x: auto }
pre code { background: none; padding: 0 }
nav { columns: 2 20rem; padding: 0; margin: 1.5rem 0 } nav a { display: block }
a { color: var(--strong); text-decoration: none } a:hover { text-decoration: underline }
article { border-top: 1px solid var(--line); padding: 0.5rem 0 1.5rem }
h2 { margin-top: 3rem } h3 { margin-bottom: 0.2rem } h3 code { font-size: 1.05rem }
.method { color: var(--strong); font-weight: 700 }
table { border-collapse: collapse; width: 100%; margin: 0.5rem 0 1rem } td, th { text-align: left; vertical-align: top;
padding: 0.3rem 0.8rem 0.3rem 0; border-bottom: 1px solid var(--line) } th { font-weight: 600 }
"""
STYLE_HASH = f"sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}"
EXAMPLES = {
    "identify_identify": "curl --data-binary @clip.webm http://127.0.0.1:8710/v1/identify",
    "additions_add": (
        'curl -F \'metadata={"title": "Song", "artist": "Band"};type=application/json\' -F audio=@song.flac \\\n'
        "     'http://127.0.0.1:8710/v1/tracks?wait=1'"
    ),
    "tracks_page": "curl 'http://127.0.0.1:8710/v1/tracks?q=moon&status=indexed&limit=20'",
    "tracks_edit": (
        "curl -X PATCH -H 'Content-Type: application/json' -d '{\"genre\": \"jazz\"}' "
        "http://127.0.0.1:8710/v1/tracks/17"
    ),
    "ingest_take": "curl -F file=@one.mp3 -F file=@two.flac http://127.0.0.1:8710/v1/ingest",
    "batches_events": "curl -N http://127.0.0.1:8710/v1/ingest/BATCH_ID/events",
    "feedback_take": (
        'curl -H \'Content-Type: application/json\' -d \'{"user": "ann", "track_id": 17, "kind": "like"}\' \\\n'
        "     http://127.0.0.1:8710/v1/feedback"
    ),
    "recommendations_of_user": "curl 'http://127.0.0.1:8710/v1/users/ann/recommendations?k=5'",
    "recommendations_of_tracks": (
        "curl -H 'Content-Type: application/json' -d '{\"track_ids\": [17, 31], \"k\": 20}' \\\n"
        "     http://127.0.0.1:8710/v1/recommendations"
    ),
    "maps_draw": (
        'curl -H \'Content-Type: application/json\' -d \'{"filter": {"genre": "jazz"}, "limit": 500}\' '
        "http://127.0.0.1:8710/v1/map"
    ),
}
METHODS = ("get", "post", "patch", "delete")


def page(document: dict[str, Any]) -> str:
    """The whole page."""
    return "\n".join(_page(document))


def _page(document: dict[str, Any]) -> Iterator[str]:
    info = document["info"]
    operations = [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(info['title'])}: the HTTP API</title><style>{STYLE}</style></head><body>"
    yield f"<header><h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>"
    yield _prose(info["description"])
    yield '<p>The same for programs: <a href="/v1/openapi.json">/v1/openapi.json</a>.</p></header><main>'
    yield "<nav>"
    for method, path, operation in operations:
        link = f'<a href="#{operation["operationId"]}">'
        yield f"{link}<code>{method.upper()} {escape(path)}</code> {escape(operation['summary'])}</a>"
    yield "</nav>"
    for tag in document["tags"]:
        yield f"<section><h2>{escape(tag['name'])}</h2>"
        for method, path, operation in operations:
            if tag["name"] in operation["tags"]:
                yield from _operation(method, path, operation)
        yield "</section>"
    yield "<section><h2>Shapes</h2>"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield from _shape(name, schema)
    yield "</section></main></body></html>"


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f'<article id="{operation["operationId"]}">'
    yield f'<h3><span class="method">{method.upper()}</span> <code>{escape(path)}</code></h3>'
    yield f"<p><strong>{escape(operation['summary'])}</strong></p>"
    yield _prose(operation["description"])
    if example := EXAMPLES.get(operation["operationId"]):
        yield f"<pre><code>{escape(example)}</code></pre>"
    if operation["parameters"]:
        rows = (
            (
                f"<code>{escape(each['name'])}</code>",
                escape(_kind(each["schema"])),
                _inline(each.get("description", "")),
            )
            for each in operation["parameters"]
        )
        yield from _table(("parameter", "is", ""), rows)
    if "requestBody" in operation:
        bodies = (
            (f"<code>{escape(kind)}</code>", _body(body["schema"]))
            for kind, body in operation["requestBody"]["content"].items()
        )
        yield from _table(("body", ""), bodies)
    replies = (
        (f"<code>{status}</code>", _inline(reply["description"]), _shapes(reply))
        for status, reply in operation["responses"].items()
    )
    yield from _table(("answer", "", ""), replies)
    yield "</article>"


def _body(schema: dict[str, Any]) -> str:
    text = _inline(schema.get("description", ""))
    links = [_link(kind) for kind in schema.get("anyOf", [schema]) if "$ref" in kind]
    if links:
        text += f": {' or '.join(links)}"
    for name, part in schema.get("properties", {}).items():
        text += f"<br><code>{escape(name)}</code>: {_inline(part['description'])}"
    return text


def _shape(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f'<article id="shape-{name}"><h3><code>{name}</code></h3>'
    yield _prose(schema.get("description", ""))
    rows = (
        (f"<code>{escape(field)}</code>", _kind_html(facts), _inline(facts.get("description", "")))
        for field, facts in schema.get("properties", {}).items()
    )
    if schema.get("properties"):
        yield from _table(("field", "is", ""), rows)
    else:
        yield f"<p>{escape(_kind(schema))}</p>"
    yield "</article>"


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield "<table><tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
    yield "</table>"


def _kind(schema: dict[str, Any]) -> str:
    """A schema in a few words: "integer, 1 to 100, default 5"."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        words = " or ".join(_kind(kind) for kind in schema["anyOf"])
    elif "enum" in schema:
        words = " | ".join(str(value) for value in schema["enum"])
    elif schema.get("type") == "array":
        words = f"list of {_kind(schema['items'])}"
    elif isinstance(schema.get("additionalProperties"), dict):
        words = f"map to {_kind(schema['additionalProperties'])}"
    else:
        words = str(schema.get("type", "anything"))
    for key, text in (
        ("minimum", "at least {}"),
        ("exclusiveMinimum", "above {}"),
        ("maximum", "at most {}"),
        ("exclusiveMaximum", "below {}"),
        ("minLength", "at least {} characters"),
        ("maxLength", "at most {} characters"),
        ("maxItems", "at most {} of them"),
        ("pattern", "matching {}"),
    ):
        if key in schema:
            words += ", " + text.format(schema[key])
    if schema.get("default") is not None:
        words += f", default {json.dumps(schema['default'])}"
    return words


def _kind_html(schema: dict[str, Any]) -> str:
    words = escape(_kind(schema))
    for name in set(re.findall(r"#/components/schemas/(\w+)", json.dumps(schema))):
        words = re.sub(rf"\b{name}\b", f'<a href="#shape-{name}">{name}</a>', words)
    return words


def _shapes(reply: dict[str, Any]) -> str:
    content = reply.get("content", {})
    linked = {_link(body["schema"]) for body in content.values() if "schema" in body}
    return ", ".join(sorted(linked)) or ", ".join(f"<code>{escape(kind)}</code>" for kind in content)


def _link(schema: dict[str, Any]) -> str:
    name = schema["$ref"].rpartition("/")[2]
    return f'<a href="#shape-{name}">{name}</a>'


def _prose(text: str) -> str:
    return "".join(f"<p>{_inline(paragraph)}</p>" for paragraph in text.split("\n\n") if paragraph)


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
