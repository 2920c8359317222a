"""From a track's record in Redis to a `Track`, and back.

A record is a hash of short texts: the fields of `Track` by their names (metadata beside the rest; what is
None is absent), and
    audio_sha256  SHA-256 of what was heard, once it was
    ticket        its entry in the backlog, while it is queued or indexing
    deaths        how often a worker that held it died
    search        its metadata, folded, in the order of METADATA_FIELDS, with \\x1f between; tags with a comma before,
                  between and behind them (records of earlier versions lack that last piece)
    described     the parts of its description that are stored, with commas between
    fact:<name>   a number of its description
    describe_attempts  how often a worker has begun to describe it

Text is UTF-8; names of files that are not survive by `surrogateescape`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgpack

from fpserver.terms import (
    METADATA_FIELDS,
    Batch,
    DescriptionStatus,
    Metadata,
    Submission,
    Track,
    TrackStatus,
    fold,
    tags_of,
)

SEPARATOR = "\x1f"
FACT = "fact:"  # a field's name begins so


def pack(value: Any) -> bytes:
    """For Lua's cmsgpack, which knows no separate type for bytes."""
    packed: bytes = msgpack.packb(value, use_bin_type=False, unicode_errors="surrogateescape")
    return packed


def piece(text: str | None) -> str:
    """A piece of `search`: text as it is compared, without the sign that parts pieces."""
    return fold(text).replace(SEPARATOR, " ")


def piece_of(name: str, value: str | None) -> str:
    """The piece of a field of the metadata."""
    if name != "tags":
        return piece(value)
    tags = ",".join(tags_of(value)).replace(SEPARATOR, " ")
    return f",{tags}," if tags else ""


def record(submission: Submission) -> dict[str, str]:
    """The first fields of a submission's record."""
    metadata = {name: value for name, value in submission.metadata.items() if value}
    return {
        **metadata,
        "source": submission.source,
        "place": submission.place,
        "content_sha256": submission.content_sha256,
        "search": SEPARATOR.join(piece_of(name, value) for name, value in submission.metadata.items()),
    }


def track(track_id: int, flat: Sequence[bytes]) -> Track:
    """A record as HGETALL gives it: name, value, name, value …"""
    fields = _texts(flat)
    duration_s, n_landmarks, of = (fields.get(n) for n in ("duration_s", "n_landmarks", "duplicate_of"))
    return Track(
        track_id=track_id,
        status=TrackStatus(fields["status"]),
        metadata=Metadata(**{name: fields.get(name) for name in METADATA_FIELDS}),
        source=fields["source"],
        place=fields["place"],
        content_sha256=fields["content_sha256"],
        created_at=float(fields["created_at"]),
        updated_at=float(fields["updated_at"]),
        attempts=int(fields["attempts"]),
        duration_s=None if duration_s is None else float(duration_s),
        n_landmarks=None if n_landmarks is None else int(n_landmarks),
        duplicate_of=None if of is None else int(of),
        error_code=fields.get("error_code"),
        error_message=fields.get("error_message"),
        batch_id=fields.get("batch_id"),
        description=DescriptionStatus(fields["description"]) if "description" in fields else None,
        described=frozenset(filter(None, fields.get("described", "").split(","))),
        description_version=int(fields["description_version"]) if "description_version" in fields else None,
        facts={name[len(FACT) :]: float(text) for name, text in fields.items() if name.startswith(FACT)},
        key=fields.get("key"),
        description_code=fields.get("description_code"),
        description_message=fields.get("description_message"),
    )


def description(
    parts: Iterable[str], facts: Mapping[str, float], key: str | None, *, version: int
) -> dict[str, str]:
    """The fields of a record that say what a track was found to sound like."""
    fields = {"described": ",".join(sorted(parts)), "description_version": str(version)}
    fields |= {f"{FACT}{name}": f"{value:.6g}" for name, value in facts.items()}
    return fields if key is None else {**fields, "key": key}


def tracks(rows: Iterable[Sequence[Any]]) -> list[Track]:
    """Rows of (id, record)."""
    return [track(int(track_id), flat) for track_id, flat in rows]


def batch(batch_id: str, flat: Sequence[bytes], errors: Sequence[bytes]) -> Batch:
    """A batch's hash as HGETALL gives it, and its list of errors."""
    fields = _texts(flat)
    counts = {status: int(fields.get(f"n:{status.value}", 0)) for status in TrackStatus}
    return Batch(
        batch_id=batch_id,
        created_at=float(fields["created_at"]),
        updated_at=float(fields["updated_at"]),
        n_items=int(fields.get("n_items", 0)),
        counts={status: n for status, n in counts.items() if n},
        audio_s=float(fields.get("audio_s", 0)),
        errors=[_fault(packed) for packed in errors],
        cancelled=fields.get("cancelled") == "1",
    )


def counts(flat: Sequence[Any]) -> dict[str, int]:
    """(name, count, name, count …)."""
    return {_text(name): int(n) for name, n in zip(flat[::2], flat[1::2], strict=True)}


def _fault(packed: bytes) -> dict[str, Any]:
    fault = msgpack.unpackb(packed, unicode_errors="replace")
    return {name: fault.get(name) for name in ("item", "code", "message", "track_id")}


def _texts(flat: Sequence[bytes]) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
