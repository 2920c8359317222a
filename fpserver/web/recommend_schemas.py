"""What goes over the wire about recommendations."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from fpserver.terms import MAX_USER_CHARS
from fpserver.web.feedback_schemas import USER
from fpserver.web.schemas import Answer, Request
from fpserver.web.similar_schemas import SieveIn, TrackId


class ModelFigures(Answer, frozen=True, kw_only=True):
    """The model that recommends, and how it came about."""

    version: str
    n_bytes: Annotated[
        int, Meta(description="0: nobody has liked anything yet, and nothing could be learned")
    ]
    trained_at: Annotated[str, Meta(description="what has happened since is not in it")]
    reading_s: Annotated[float, Meta(description="that reading feedback and catalogue took")]
    training_s: float
    training_cpu_s: Annotated[float, Meta(description="of a core; training gives way to everything else")]
    n_users: int
    n_tracks: int
    n_events: int
    peak_memory_bytes: Annotated[int, Meta(description="of the process that trained")]


class TrainingFailure(Answer, frozen=True, kw_only=True):
    """Why the training that ended last gave no model."""

    at: str
    code: str
    message: str


class ModelAnswer(Answer, frozen=True, kw_only=True):
    """What recommendations are made by, and what is on the way."""

    request_id: str
    model: Annotated[
        ModelFigures | None, Meta(description="null: none was trained yet, or by another version of fpserver")
    ]
    wanted: Annotated[bool, Meta(description="somebody has asked for a training that has not ended")]
    training: Annotated[bool, Meta(description="somebody trains now")]
    failure: TrainingFailure | None


# ---------------------------------------------------------------- recommendations

Count = Annotated[
    int,
    Meta(
        ge=1,
        description="most tracks, up to `recommend.max_recommendations`",
        extra_json_schema={"maximum": "recommend.max_recommendations"},
    ),
]
Strategy = Annotated[
    Literal["hybrid", "content", "collaborative"],
    Meta(
        description="`content`: by what tracks are (sound, artist, genre, tags); `collaborative`: by what people like "
        "together; `hybrid`: by both, as much as is known of each"
    ),
]
Diversity = Annotated[
    float, Meta(ge=0, le=1, description="0: the best, however alike; 1: as unlike each other as there are")
]
PerArtist = Annotated[
    int,
    Meta(
        ge=1,
        le=1000,
        description="most tracks of one artist; left out: `recommend.max_per_artist`, of a start 1, with the filter "
        "`artist` as many as are wanted",
    ),
]
Seed = Annotated[
    int,
    Meta(
        ge=0,
        lt=2**32,
        description="each seed shuffles tracks that are about equally good another way, the same one always the same; "
        "left out: no shuffling",
    ),
]
Again = Annotated[
    bool,
    Meta(
        description="1: tracks that the user has heard may come again, but those of the last twelve hours; 0: never"
    ),
]
MAX_NAMED = 1000


class RecommendQuery(SieveIn, frozen=True, kw_only=True):
    """What is wanted."""

    k: Count = 10
    strategy: Strategy = "hybrid"
    diversity: Diversity = 0.1
    max_per_artist: PerArtist | None = None
    seed: Seed | None = None
    again: Again = False


class RecommendationsRequest(Request, frozen=True, kw_only=True):
    """What is liked, and what is wanted."""

    track_ids: Annotated[
        list[TrackId], Meta(max_length=MAX_NAMED, description="to go on from: a track, a list, a playlist")
    ] = msgspec.field(default_factory=list)
    disliked: Annotated[
        list[TrackId], Meta(max_length=MAX_NAMED, description="not these, nor their like")
    ] = msgspec.field(default_factory=list)
    exclude: Annotated[list[TrackId], Meta(max_length=MAX_NAMED, description="not these")] = msgspec.field(
        default_factory=list
    )
    user: (
        Annotated[
            str,
            Meta(min_length=1, max_length=MAX_USER_CHARS, description="for whom", extra_json_schema=USER),
        ]
        | None
    ) = None
    filter: Annotated[SieveIn, Meta(description="only tracks that pass it")] | None = None
    k: Count = 10
    strategy: Strategy = "hybrid"
    diversity: Diversity = 0.1
    max_per_artist: PerArtist | None = None
    seed: Seed | None = None
    again: Again = False


class ReasonAnswer(Answer, frozen=True, kw_only=True):
    """Why a track is recommended."""

    kind: Literal["like", "people", "taste", "popular", "new", "start"]
    text: Annotated[str, Meta(description="for people, in English")]
    share: Annotated[float, Meta(description="of all that speaks for the track, 0..1")]
    track_id: Annotated[int | None, Meta(description="the liked track that it comes from")]
    same_artist: bool
    same_genre: bool
    tags: Annotated[list[str], Meta(description="that both have")]
    similar: Annotated[
        dict[str, float],
        Meta(
            description="groups of descriptors by which both sound alike: share of random pairs that do so less"
        ),
    ]


class RecommendationAnswer(Answer, frozen=True, kw_only=True):
    """A track that is recommended."""

    track_id: int
    external_id: str | None
    title: str | None
    artist: str | None
    album: str | None
    isrc: str | None
    genre: str | None
    tags: str | None
    score: Annotated[
        float, Meta(description="standard deviations above the mean of all tracks, for this question")
    ]
    reasons: Annotated[list[ReasonAnswer], Meta(description="strongest first")]


class RecommendationsAnswer(Answer, frozen=True, kw_only=True):
    """What next."""

    request_id: str
    user: str | None
    standing: Annotated[
        Literal["unknown", "new", "known"],
        Meta(
            description="`unknown`: nothing that is liked is known, the answer is a varied start; `new`: little is"
        ),
    ]
    n_liked: int
    strategy: str
    model: Annotated[
        str | None, Meta(description="version of the model; null: nothing is learned from people yet")
    ]
    recommendations: list[RecommendationAnswer]
    timings_ms: dict[str, float]
