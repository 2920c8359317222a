"""From terms to answers: the one place where catalogue values take their wire shape."""

from datetime import UTC, datetime
from typing import Any

from msgspec import UNSET

from fpserver.identify import Identification, IdentifiedMatch
from fpserver.terms import ENDED, Batch, DescriptionStatus, Track, TrackStatus
from fpserver.web.schemas import (
    BatchAnswer,
    Clip,
    DescriptionAnswer,
    IdentifyAnswer,
    ItemError,
    MatchAnswer,
    TrackAnswer,
    TrackError,
)

SHOWN = tuple(
    status for status in TrackStatus if status is not TrackStatus.DELETING
)  # a batch forgets what is deleted


def identification(found: Identification, *, request_id: str, explain: bool) -> IdentifyAnswer:
    """The answer to a clip."""
    return IdentifyAnswer(
        request_id=request_id,
        clip=Clip(
            duration_s=round(found.duration_s, 3),
            n_landmarks=found.n_landmarks,
            truncated=found.truncated,
            n_hashes=found.n_hashes,
            n_postings=found.n_postings,
        ),
        matches=[_match(match) for match in found.matches],
        degraded=found.degraded,
        timings_ms={stage: round(1000 * seconds, 2) for stage, seconds in found.timings_s.items()},
        explanation=found.explanation or {} if explain else UNSET,
    )


def _match(found: IdentifiedMatch) -> MatchAnswer:
    match = found.match
    return MatchAnswer(
        track_id=found.track.track_id,
        **dict(found.track.metadata.items()),
        track_offset_s=round(found.track_offset_s, 4),
        clip_start_s=round(found.clip_start_s, 3),
        clip_end_s=round(found.clip_end_s, 3),
        speed=round(match.warp.speed, 4),
        pitch=round(match.warp.pitch, 4),
        score=round(match.score, 2),
        confidence=match.confidence,
        false_accept_rate=match.false_accept_rate,
    )


def track(found: Track) -> TrackAnswer:
    """A track as the catalogue tells of it."""
    error = None
    if found.error_code is not None:
        error = TrackError(code=found.error_code, message=found.error_message or "")
    return TrackAnswer(
        track_id=found.track_id,
        status=found.status,
        **dict(found.metadata.items()),
        duration_s=found.duration_s,
        n_landmarks=found.n_landmarks,
        duplicate_of=found.duplicate_of,
        error=error,
        batch_id=found.batch_id,
        described=found.description is DescriptionStatus.DONE,
        description=_description(found),
        features=dict(found.facts),
        key=found.key,
        created_at=moment(found.created_at),
        updated_at=moment(found.updated_at),
    )


def metadata_fields(found: Track) -> dict[str, Any]:
    """The fields by which every answer names a track."""
    return {"track_id": found.track_id, **dict(found.metadata.items())}


def _description(found: Track) -> DescriptionAnswer | None:
    if found.description is None:
        return None
    error = None
    if found.description_code is not None:
        error = TrackError(code=found.description_code, message=found.description_message or "")
    return DescriptionAnswer(status=found.description, parts=sorted(found.described), error=error)


def batch(found: Batch, *, now: float, errors_from: int = 0) -> BatchAnswer:
    """How far a batch has come; `errors_from`: leave out that many errors, told before."""
    done = found.n_pending == 0
    elapsed_s = max((found.updated_at if done else now) - found.created_at, 1e-3)
    n_ended = sum(found.counts.get(status, 0) for status in ENDED)
    left_s = 0.0 if done else elapsed_s * found.n_pending / n_ended if n_ended else None
    return BatchAnswer(
        batch_id=found.batch_id,
        n_items=found.n_items,
        counts={status.value: found.counts.get(status, 0) for status in SHOWN},
        n_pending=found.n_pending,
        done=done,
        cancelled=found.cancelled,
        audio_s=round(found.audio_s, 3),
        rate_x_realtime=round(found.audio_s / elapsed_s, 2) if found.audio_s else None,
        time_left_s=None if left_s is None else round(left_s, 1),
        n_errors=len(found.errors),
        errors=[_item_error(error) for error in found.errors[errors_from:]],
        created_at=moment(found.created_at),
        updated_at=moment(found.updated_at),
    )


def _item_error(error: dict[str, object]) -> ItemError:
    track_id = error.get("track_id")
    return ItemError(
        item=str(error.get("item", "")),
        code=str(error.get("code", "internal")),
        message=str(error.get("message", "")),
        track_id=track_id if isinstance(track_id, int) else None,
    )


def moment(seconds: float) -> str:
    """ISO 8601, UTC, milliseconds: 2026-01-31T12:00:00.000Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
