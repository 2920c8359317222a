"""What goes over the wire: the shapes and limits of requests and answers, and how terms become answers.

Requests refuse unknown fields. There are `<fact>_min` and `<fact>_max` for every fact of `descriptors.FACTS`; a test
holds them to it. Answers may gain fields, never lose them. Times are seconds, moments ISO 8601 UTC.
"""

from math import isfinite
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from fpserver.descriptors import FACTS
from fpserver.errors import InvalidRequest
from fpserver.terms import (
    MAX_METADATA_CHARS,
    METADATA_FIELDS,
    DescriptionStatus,
    Metadata,
    TrackStatus,
)

MAX_MATCHES = 100
MAX_PAGE = 200
MAX_KNOWN = 10_000
MAX_FILTER_CHARS = 1000
CURSOR = {"format": "cursor"}  # what only a page before it can have given

Text = Annotated[str, Meta(max_length=MAX_METADATA_CHARS)]
Filter = Annotated[str, Meta(min_length=1, max_length=MAX_FILTER_CHARS)]
Bound = float | None
BatchId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", description="of a file's bytes, lower-case hex")]


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something asked."""


class Answer(Struct, frozen=True, kw_only=True):
    """Something answered."""


# ---------------------------------------------------------------- identify


class IdentifyQuery(Request, frozen=True, kw_only=True):
    """How a clip is to be identified."""

    limit: Annotated[int, Meta(ge=1, le=MAX_MATCHES, description="most matches in the answer")] = 5
    max_false_accept_rate: (
        Annotated[
            float,
            Meta(
                gt=0,
                lt=1,
                description="accepted wrong answers per clip; default: matching.max_false_accept_rate",
            ),
        ]
        | None
    ) = None
    speed: Annotated[
        Literal["auto", "off"],
        Meta(
            description="auto: while nothing is accepted, other speeds, tempos and pitches are tried; off: never"
        ),
    ] = "auto"
    explain: Annotated[
        bool, Meta(description="1: say what was weighed, step by step, under `explanation`")
    ] = False


class Clip(Answer, frozen=True, kw_only=True):
    """What was heard of the clip."""

    duration_s: float
    n_landmarks: int
    truncated: bool = False
    n_hashes: int = 0
    n_postings: int = 0


class MatchAnswer(Answer, frozen=True, kw_only=True):
    """A track, and where the clip lies in it."""

    track_id: int
    external_id: str | None
    title: str | None
    artist: str | None
    album: str | None
    isrc: str | None
    genre: str | None
    tags: str | None
    track_offset_s: Annotated[float, Meta(description="where in the track the clip's first sample lies")]
    clip_start_s: Annotated[float, Meta(description="the part of the clip that agrees: from here")]
    clip_end_s: Annotated[float, Meta(description="… to here")]
    speed: Annotated[float, Meta(description="how many times as fast as the track the clip runs")]
    pitch: Annotated[float, Meta(description="how many times as high as the track the clip is")]
    score: Annotated[float, Meta(description="evidence of the track's peaks in the clip, and of its hashes")]
    confidence: Annotated[
        float, Meta(description="probability of being right where every second clip is of the catalogue")
    ]
    false_accept_rate: Annotated[
        float, Meta(description="expected wrong answers per clip, in this catalogue")
    ]


class IdentifyAnswer(Answer, frozen=True, kw_only=True):
    """What the clip is. No match is an empty list."""

    request_id: str
    clip: Clip
    matches: list[MatchAnswer]
    degraded: Annotated[bool, Meta(description="a shard did not answer: there may be more")]
    timings_ms: dict[str, float]
    explanation: dict[str, Any] | UnsetType = UNSET


# ---------------------------------------------------------------- catalogue


class MetadataIn(Request, frozen=True, kw_only=True):
    """What people call a track."""

    external_id: Text | None = None
    title: Text | None = None
    artist: Text | None = None
    album: Text | None = None
    isrc: Text | None = None
    genre: Text | None = None
    tags: Annotated[Text | None, Meta(description="with commas between")] = None

    def as_term(self, *, otherwise: Metadata | None = None) -> Metadata:
        """The same as a term; what is not given is taken from `otherwise`."""
        fallback = otherwise or Metadata()
        return Metadata(**{name: getattr(self, name) or getattr(fallback, name) for name in METADATA_FIELDS})


class MetadataChanges(Request, frozen=True, kw_only=True):
    """Fields to change: a value to set, null to clear; what is left out stays."""

    external_id: Text | UnsetType | None = UNSET
    title: Text | UnsetType | None = UNSET
    artist: Text | UnsetType | None = UNSET
    album: Text | UnsetType | None = UNSET
    isrc: Text | UnsetType | None = UNSET
    genre: Text | UnsetType | None = UNSET
    tags: Text | UnsetType | None = UNSET

    def given(self) -> dict[str, str | None]:
        """The fields that were named."""
        values = {name: getattr(self, name) for name in METADATA_FIELDS}
        return {name: value for name, value in values.items() if value is not UNSET}


class AddQuery(Request, frozen=True, kw_only=True):
    """How a file is to be added."""

    wait: Annotated[
        bool, Meta(description="1: answer when the track is indexed, or with what is wrong with it")
    ] = False


class Added(Answer, frozen=True, kw_only=True):
    """The track that holds the recording."""

    track_id: int
    status: TrackStatus
    duplicate: Annotated[
        bool, Meta(description="the catalogue had this recording: `track_id` is the existing one")
    ]


class FactRanges(Request, frozen=True, kw_only=True):
    """Bounds of what tracks were found to sound like; a track of which a fact is not known is outside of any."""

    loudness_db_min: Bound = None
    loudness_db_max: Bound = None
    rms_db_min: Bound = None
    rms_db_max: Bound = None
    zero_crossing_rate_min: Bound = None
    zero_crossing_rate_max: Bound = None
    onset_rate_hz_min: Bound = None
    onset_rate_hz_max: Bound = None
    centroid_hz_min: Bound = None
    centroid_hz_max: Bound = None
    bandwidth_hz_min: Bound = None
    bandwidth_hz_max: Bound = None
    rolloff_hz_min: Bound = None
    rolloff_hz_max: Bound = None
    contrast_db_min: Bound = None
    contrast_db_max: Bound = None
    flatness_min: Bound = None
    flatness_max: Bound = None
    tempo_bpm_min: Bound = None
    tempo_bpm_max: Bound = None
    beat_strength_min: Bound = None
    beat_strength_max: Bound = None
    key_strength_min: Bound = None
    key_strength_max: Bound = None

    def ranges(self) -> dict[str, tuple[float | None, float | None]]:
        """(least, most) of each fact that is bounded.

        Raises:
            InvalidRequest: a bound is no number, or a least is above its most.
        """
        bounds = {name: (getattr(self, f"{name}_min"), getattr(self, f"{name}_max")) for name in FACTS}
        for name, (least, most) in bounds.items():
            for end, bound in (("min", least), ("max", most)):
                if bound is not None and not isfinite(bound):
                    raise InvalidRequest(f"{name}_{end} is {bound}, must be a number")
            if least is not None and most is not None and least > most:
                raise InvalidRequest(
                    f"{name}_min is {least:g}, must be at most {name}_max, which is {most:g}"
                )
        return {name: bound for name, bound in bounds.items() if bound != (None, None)}


class Filters(FactRanges, frozen=True, kw_only=True):
    """Which tracks: those that agree with everything given. Letter case makes no difference."""

    q: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=MAX_FILTER_CHARS,
                description="part of title, artist, album, external_id or isrc",
            ),
        ]
        | None
    ) = None
    genre: Filter | None = None
    tag: Annotated[Filter | None, Meta(description="one of its tags")] = None
    artist: Filter | None = None
    external_id: Filter | None = None
    isrc: Filter | None = None


class TracksQuery(Filters, frozen=True, kw_only=True):
    """Which tracks to list."""

    cursor: (
        Annotated[str, Meta(description="`next_cursor` of the page before", extra_json_schema=CURSOR)] | None
    ) = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE, description="most tracks in the answer")] = 50
    status: TrackStatus | None = None
    batch_id: BatchId | None = None


class TrackError(Answer, frozen=True, kw_only=True):
    """Why a track failed."""

    code: str
    message: str


class DescriptionAnswer(Answer, frozen=True, kw_only=True):
    """How far the description of an indexed track has come."""

    status: DescriptionStatus
    parts: Annotated[list[str], Meta(description="groups of descriptors that are stored, and `segments`")]
    error: TrackError | None


class TrackAnswer(Answer, frozen=True, kw_only=True):
    """A recording in the catalogue, and how far it has come."""

    track_id: int
    status: TrackStatus
    external_id: str | None
    title: str | None
    artist: str | None
    album: str | None
    isrc: str | None
    genre: str | None
    tags: Annotated[str | None, Meta(description="with commas between")]
    duration_s: float | None
    n_landmarks: int | None
    duplicate_of: int | None
    error: TrackError | None
    batch_id: str | None
    described: Annotated[bool, Meta(description="likeness can be asked about: see `description`")]
    description: DescriptionAnswer | None
    features: Annotated[
        dict[str, float], Meta(description="what it was found to sound like, by the names of the filters")
    ]
    key: Annotated[str | None, Meta(description="estimated, as `A minor`")]
    created_at: str
    updated_at: str


class TrackPage(Answer, frozen=True, kw_only=True):
    """Some tracks, by id."""

    tracks: list[TrackAnswer]
    next_cursor: str | None


class KnownRequest(Request, frozen=True, kw_only=True):
    """Contents to look up."""

    sha256: Annotated[list[Sha256], Meta(max_length=MAX_KNOWN)]


class KnownAnswer(Answer, frozen=True, kw_only=True):
    """Those of them that the catalogue holds, with their tracks."""

    known: dict[str, int]


# ---------------------------------------------------------------- ingest


class IngestQuery(Request, frozen=True, kw_only=True):
    """Where a bulk of files belongs."""

    batch_id: Annotated[BatchId, Meta(description="add to this batch; left out: begin a new one")] | None = (
        None
    )


class ManifestLine(MetadataIn, frozen=True, kw_only=True):
    """A line of an NDJSON manifest: a file below a manifest root, and what it is called."""

    path: Annotated[str, Meta(min_length=1, max_length=4096)]


class ItemError(Answer, frozen=True, kw_only=True):
    """What was wrong with one item of a batch."""

    item: str
    code: str
    message: str
    track_id: int | None


class BatchAnswer(Answer, frozen=True, kw_only=True):
    """How far a batch has come."""

    batch_id: str
    n_items: int
    counts: dict[str, int]
    n_pending: int
    done: bool
    cancelled: bool
    audio_s: float
    rate_x_realtime: Annotated[float | None, Meta(description="seconds of audio indexed per second")]
    time_left_s: float | None
    n_errors: int
    errors: list[ItemError]
    created_at: str
    updated_at: str


# ---------------------------------------------------------------- operations


class Health(Answer, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Readiness(Answer, frozen=True, kw_only=True):
    """The store answers, and its index is of these settings."""

    status: Literal["ready"] = "ready"
    n_shards: int
    n_postings: int


class ErrorBody(Answer, frozen=True, kw_only=True):
    """What is wrong: a name for programs, a sentence for people."""

    code: str
    message: str
    request_id: str


class ErrorAnswer(Answer, frozen=True, kw_only=True):
    """The one error body."""

    error: ErrorBody
