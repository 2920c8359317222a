"""What goes over the wire about likeness: filters, neighbours, pairs, matrices, segments, maps."""

from collections.abc import Iterable
from typing import Annotated, Literal

from msgspec import Meta

from fpserver.terms import MAX_TRACK_ID, Group, Sieve
from fpserver.web.likeness import MAX_WEIGHT
from fpserver.web.schemas import Answer, Filter, Filters, Request

MAX_FEATURES_CHARS = 200
MAX_SEGMENT_HITS = 50
EQUAL = ("genre", "tag", "artist", "album", "external_id", "isrc", "key")

TrackId = Annotated[int, Meta(ge=1, le=MAX_TRACK_ID)]
Weight = Annotated[float, Meta(ge=0, le=MAX_WEIGHT)]
GROUPS_THAT_COUNT = {
    "propertyNames": {"enum": [group.value for group in Group]},
    "not": {"additionalProperties": {"const": 0}},
}
GroupWeights = Annotated[
    Annotated[dict[Group, Weight], Meta(extra_json_schema=GROUPS_THAT_COUNT)]
    | Annotated[list[Group], Meta(extra_json_schema={"minItems": 1})],
    Meta(
        description="groups of descriptors that count, or the weight of each; left out: temporal 1, spectral 2, "
        "rhythm ½, tonal ½, timbre 2"
    ),
]
Key = Annotated[
    str, Meta(pattern=r"^[A-Ga-g]#? ([Mm]ajor|[Mm]inor)$", description="estimated key, as `A minor`")
]
Features = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_FEATURES_CHARS,
        description="groups of descriptors, with weights if they differ: `timbre,rhythm` or `timbre:2,rhythm:0.5`; of "
        "temporal, spectral, rhythm, tonal, timbre. Default: temporal 1, spectral 2, rhythm ½, tonal ½, timbre 2",
        extra_json_schema={"format": "feature-weights"},
    ),
]
Metric = Annotated[
    Literal["euclidean", "cosine", "dtw"],
    Meta(
        description="how vectors differ; `dtw`: sequences of moments are laid on each other (chroma if tonal is the "
        "weightiest of `features`, else timbre), so that the same melody at another tempo is near"
    ),
]
Transpose = Annotated[
    bool, Meta(description="1: tonal likeness at the best of twelve transpositions; 0: as it sounds")
]
Exact = Annotated[
    bool, Meta(description="1: compare with every track, not only with those that an index holds likely")
]


class SieveIn(Filters, frozen=True, kw_only=True):
    """Which tracks may be found."""

    album: Filter | None = None
    key: Key | None = None

    def sieve(self, *, without: Iterable[int] = ()) -> Sieve:
        """The same as a term, which these tracks do not pass either."""
        equal = {name: getattr(self, name) for name in EQUAL}
        return Sieve(
            equal={name: value for name, value in equal.items() if value is not None},
            ranges=self.ranges(),
            q=self.q,
            without=frozenset(without),
        )


class SimilarQuery(SieveIn, frozen=True, kw_only=True):
    """What is meant by near, and which tracks may be it."""

    k: Annotated[
        int,
        Meta(
            ge=1,
            description="most neighbours; at most similarity.max_neighbours",
            extra_json_schema={"maximum": "similarity.max_neighbours"},
        ),
    ] = 10
    features: Features | None = None
    metric: Metric = "euclidean"
    transpose: Transpose = False
    exact: Exact = False


class SegmentsQuery(SieveIn, frozen=True, kw_only=True):
    """Which tracks may have moments like the clip."""

    limit: Annotated[int, Meta(ge=1, le=MAX_SEGMENT_HITS, description="most moments in the answer")] = 50


class TrackSegmentsQuery(SegmentsQuery, frozen=True, kw_only=True):
    """The moment of a track that others are to be like."""

    start_s: Annotated[float, Meta(ge=0, description="where it begins")]
    end_s: Annotated[
        float | None,
        Meta(description="where it ends, at most a minute later; default: a second after it begins"),
    ] = None


class MatrixRequest(Request, frozen=True, kw_only=True):
    """Tracks that are to be compared, each with each."""

    track_ids: Annotated[
        list[TrackId],
        Meta(
            min_length=1,
            extra_json_schema={"maxItems": "similarity.max_matrix_tracks", "uniqueItems": True},
        ),
    ]
    features: GroupWeights | None = None
    metric: Metric = "euclidean"
    transpose: Transpose = False
    values: Annotated[
        Literal["distance", "similarity"],
        Meta(description="distance, or the share of random pairs of the catalogue that are farther apart"),
    ] = "distance"


# ---------------------------------------------------------------- answers


class ApartAnswer(Answer, frozen=True, kw_only=True):
    """How far two tracks are apart."""

    distance: Annotated[
        float, Meta(description="in units of what random pairs of this catalogue are apart in the middle")
    ]
    similarity: Annotated[
        float,
        Meta(
            description="share of random pairs of this catalogue that are farther apart; dtw: 1 less the mean "
            "difference along the path"
        ),
    ]


class TrackApart(ApartAnswer, frozen=True, kw_only=True):
    """How far a track is from what was asked about."""

    track_id: int
    external_id: str | None
    title: str | None
    artist: str | None
    album: str | None
    isrc: str | None
    genre: str | None
    tags: str | None


class NeighbourAnswer(TrackApart, frozen=True, kw_only=True):
    """A track that is near."""

    groups: Annotated[dict[str, ApartAnswer], Meta(description="the same by each group alone")]
    semitones: Annotated[
        int | None, Meta(description="with transpose=1: how much higher the track sounds, -5 to 6")
    ]
    start_s: Annotated[
        float | None, Meta(description="dtw: where in the longer of the two the other lies, from here")
    ]
    end_s: Annotated[float | None, Meta(description="… to here")]


class NeighboursAnswer(Answer, frozen=True, kw_only=True):
    """The nearest tracks, nearest first."""

    request_id: str
    features: Annotated[dict[str, float], Meta(description="groups that counted, and their shares")]
    metric: str
    neighbours: list[NeighbourAnswer]
    timings_ms: dict[str, float]


class WarpedAnswer(ApartAnswer, frozen=True, kw_only=True):
    """Two sequences, laid on each other."""

    semitones: int | None


class PairAnswer(Answer, frozen=True, kw_only=True):
    """Two tracks beside each other."""

    request_id: str
    a: int
    b: int
    euclidean: ApartAnswer
    cosine: ApartAnswer
    groups: Annotated[
        dict[str, dict[str, ApartAnswer]], Meta(description="group → measure → how far, by that group alone")
    ]
    semitones: Annotated[
        int | None, Meta(description="how much higher the second sounds, -5 to 6; null: no tonal descriptors")
    ]
    dtw: Annotated[dict[str, WarpedAnswer], Meta(description="of `chroma` and of `timbre`")]
    dtw_error: Annotated[str | None, Meta(description="why there is no dtw")]


class MatrixAnswer(Answer, frozen=True, kw_only=True):
    """Row i, column j: how far track i is from track j."""

    request_id: str
    values: str
    track_ids: list[int]
    matrix: list[list[float]]


class SegmentAnswer(TrackApart, frozen=True, kw_only=True):
    """A moment of a track."""

    start_s: Annotated[float, Meta(description="where the clip would begin in the track")]
    end_s: Annotated[float, Meta(description="where it would end")]


class SegmentsAnswer(Answer, frozen=True, kw_only=True):
    """Moments that sound most like the clip, best first."""

    request_id: str
    segments: list[SegmentAnswer]
    timings_ms: dict[str, float]


# ---------------------------------------------------------------- maps


class MapRequest(Request, frozen=True, kw_only=True):
    """Which tracks to lay out, and how. At most one of `track_ids`, `like` and `filter`; none of them: all tracks."""

    track_ids: (
        Annotated[
            list[TrackId],
            Meta(
                min_length=1,
                description="these tracks",
                extra_json_schema={"maxItems": "similarity.max_map_tracks"},
            ),
        ]
        | None
    ) = None
    like: Annotated[TrackId, Meta(description="this track and its nearest")] | None = None
    filter: Annotated[SieveIn, Meta(description="tracks that pass it")] | None = None
    limit: (
        Annotated[
            int,
            Meta(
                ge=1,
                description="most tracks, where track_ids does not name them; left out: 1000, or "
                "similarity.max_map_tracks if that is less",
                extra_json_schema={"maximum": "similarity.max_map_tracks"},
            ),
        ]
        | None
    ) = None
    features: GroupWeights | None = None
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
