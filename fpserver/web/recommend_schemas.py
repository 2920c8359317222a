"""What goes over the wire about recommendations."""

from typing import Annotated

from msgspec import Meta

from fpserver.web.schemas import Answer


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
