"""What schemathesis must be told to ask good questions: sound where sound is wanted, and rules between fields.

Loaded by schemathesis itself (`SCHEMATHESIS_HOOKS`), in its own process.
"""

import atexit
import json
import os
import struct
import time
from base64 import urlsafe_b64encode
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgpack
import schemathesis
from hypothesis import strategies as st

MATERIAL = Path(os.environ["FPSERVER_CONTRACT_MATERIAL"])  # what contract.py has written for us
SOUNDS = [path.read_bytes() for path in sorted(MATERIAL.glob("*.mp3"))]
FINGERPRINTS = [path.read_bytes() for path in sorted(MATERIAL.glob("*.fingerprint"))]
GROUPS = ("temporal", "spectral", "rhythm", "tonal", "timbre")
MOMENT_S, LAST_START_S = 2.0, 5.0
SOME_TIME = "2026-01-31T12:00:00Z"
FORMS_OF_ANY_NAME = "/v1/ingest"
MAX_QUERY_CHARS = 6000  # of a request's first line, which may have 8190

schemathesis.openapi.media_type("application/octet-stream", st.sampled_from(SOUNDS))
schemathesis.openapi.media_type("application/vnd.fpserver.fingerprint+msgpack", st.sampled_from(FINGERPRINTS))
schemathesis.openapi.format("cursor", st.sampled_from(["0", "3", "17"]))
schemathesis.openapi.format(
    "event-cursor",
    st.just(urlsafe_b64encode(struct.pack(">d", time.time()) + b"an event").decode().rstrip("=")),
)
schemathesis.openapi.format(
    "feature-weights",
    st.lists(st.sampled_from(GROUPS), min_size=1, unique=True).flatmap(
        lambda groups: st.lists(
            st.sampled_from(["", ":1", ":0.5", ":1000"]), min_size=len(groups), max_size=len(groups)
        ).map(lambda weights: ",".join(map("".join, zip(groups, weights, strict=True))))
    ),
)


@schemathesis.deserializer("application/msgpack")
def from_msgpack(_context: Any, response: Any) -> Any:
    return msgpack.unpackb(response.content)


@schemathesis.hook
def map_query(_context: Any, query: dict[str, Any]) -> dict[str, Any]:
    """Bring bounds into their order, and a moment's end behind its beginning: rules between parameters."""
    query = query or {}
    if len(urlencode(query)) > MAX_QUERY_CHARS:
        query = {name: value[:50] if isinstance(value, str) else value for name, value in query.items()}
    for name, least in query.items():
        most = query.get(f"{name.removesuffix('_min')}_max") if name.endswith("_min") else None
        if _is_number(least) and _is_number(most) and least > most:
            query[name], query[f"{name.removesuffix('_min')}_max"] = most, least
    if _is_number(query.get("start_s")):
        query["start_s"] = min(query["start_s"], LAST_START_S)
        if _is_number(query.get("end_s")):
            query["end_s"] = query["start_s"] + MOMENT_S
    return query


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """The same in a body's filter; and no event that lies ahead: a document does not know what time it is."""
    if isinstance(body, dict):
        if (
            context.operation.path == FORMS_OF_ANY_NAME
        ):  # a part's name stands in a header, which no control fits in
            body = {name: part for name, part in body.items() if name.isprintable()}
        if isinstance(body.get("filter"), dict):
            map_query(None, body["filter"])
        for event in (body, *_events(body)):
            if "at" in event:
                event["at"] = _in_time(event["at"])
    return body


def _events(body: dict[str, Any]) -> list[dict[str, Any]]:
    events = body.get("events")
    return [event for event in events if isinstance(event, dict)] if isinstance(events, list) else []


def _in_time(at: Any) -> Any:
    if _is_number(at):
        return min(at, time.time())
    try:
        moment = datetime.fromisoformat(at)
        return at if moment.tzinfo is None or 0 <= moment.timestamp() <= time.time() else SOME_TIME
    except (TypeError, ValueError):
        return at


ANSWERS: Counter[tuple[str, str, int]] = Counter()


@schemathesis.hook
def after_call(_context: Any, case: Any, response: Any) -> None:
    """Count what was answered."""
    mode = "none" if case.meta is None else case.meta.generation.mode.value
    ANSWERS[case.operation.label, mode, response.status_code] += 1


@atexit.register
def _tell() -> None:
    (MATERIAL / "answers.json").write_text(json.dumps([[*key, n] for key, n in ANSWERS.items()]))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
