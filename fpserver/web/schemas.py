"""What goes over the wire: the shapes and limits of requests and answers, and how terms become answers.

Requests refuse unknown fields. Answers may gain fields, never lose them. Times are seconds, moments ISO 8601 UTC.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from fpserver.terms import MAX_METADATA_CHARS, METADATA_FIELDS, Group, Metadata, TrackStatus

MAX_MATCHES = 100
MAX_PAGE = 200
MAX_KNOWN = 10_000
MAX_FILTER_CHARS = 1000

Text = Annotated[str, Meta(max_length=MAX_METADATA_CHARS)]
Filter = Annotated[str, Meta(min_length=1, max_length=MAX_FILTER_CHARS)]
BatchId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
TrackId = Annotated[int, Meta(ge=1, le=2**28 - 1)]
Weight = Annotated[float, Meta(ge=0, le=1000)]
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


class TracksQuery(Request, frozen=True, kw_only=True):
    """Which tracks to list."""

    cursor: Annotated[str, Meta(description="`next_cursor` of the page before")] | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE, description="most tracks in the answer")] = 50
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
    status: TrackStatus | None = None
    genre: Filter | None = None
    artist: Filter | None = None
    external_id: Filter | None = None
    isrc: Filter | None = None
    batch_id: BatchId | None = None


class TrackError(Answer, frozen=True, kw_only=True):
    """Why a track failed."""

    code: str
    message: str


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
    duration_s: float | None
    n_landmarks: int | None
    duplicate_of: int | None
    error: TrackError | None
    batch_id: str | None
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


# ---------------------------------------------------------------- maps


class MapRequest(Request, frozen=True, kw_only=True):
    """Which tracks to lay out, and how. At most one of `track_ids`, `like` and `filter`; none of them: all tracks."""

    track_ids: Annotated[list[TrackId], Meta(min_length=1, description="these tracks")] | None = None
    like: Annotated[TrackId, Meta(description="this track and its nearest")] | None = None
    filter: (
        Annotated[
            dict[str, str | float],
            Meta(
                description="tracks equal to these metadata (genre, artist …) or key, that have q in their title, "
                "artist, album, external_id or isrc, and lie in these ranges of facts (tempo_bpm_min, "
                "loudness_db_max …)"
            ),
        ]
        | None
    ) = None
    limit: (
        Annotated[
            int,
            Meta(
                ge=1,
                description="most tracks, where track_ids does not name them; left out: 1000, or "
                "similarity.max_map_tracks if that is less",
            ),
        ]
        | None
    ) = None
    features: (
        Annotated[
            dict[Group, Weight] | list[Group],
            Meta(description="groups of descriptors that count, or the weight of each; left out: all alike"),
        ]
        | None
    ) = None
    n_neighbors: Annotated[
        int, Meta(ge=2, le=200, description="few: detail; many: the whole. Counts the track itself")
    ] = 15
    min_dist: Annotated[float, Meta(ge=0, lt=1, description="how tightly points may lie")] = 0.1
    metric: Literal["euclidean", "cosine"] = "euclidean"
    seed: Annotated[int, Meta(ge=0, lt=2**32, description="another seed gives another picture")] = 0


class MapPoint(Answer, frozen=True, kw_only=True, gc=False):  # none in a cycle: thousands cost no collection
    """A track on a map, with what it may be coloured by."""

    track_id: int
    x: Annotated[float, Meta(description="-1..1")]
    y: Annotated[float, Meta(description="-1..1")]
    title: str | None
    artist: str | None
    album: str | None
    genre: str | None
    key: str | None
    tempo_bpm: float | None
    loudness_db: float | None
    onset_rate_hz: float | None
    centroid_hz: float | None


class MapAnswer(Answer, frozen=True, kw_only=True):
    """A map. No tracks are an empty list of points."""

    request_id: str
    n_tracks: int
    points: list[MapPoint]
    n_neighbors: Annotated[int, Meta(description="that were used: no more than there are tracks")]
    left_out: Annotated[list[int], Meta(description="those of track_ids that are not described")]
    seconds: Annotated[float, Meta(description="that computing took")]


class MapProgress(Answer, frozen=True, kw_only=True):
    """How far a map has come."""

    stage: Literal["starting", "computing"]
    fraction: Annotated[float, Meta(description="of the computing, 0..1")]


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
