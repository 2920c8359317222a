"""The model that recommends: how it came about, and having another trained."""

from aiohttp import web

from fpserver import errors
from fpserver.recommend.models import Failure, Standing
from fpserver.web.answers import answer
from fpserver.web.contract import Reply, speaks
from fpserver.web.convert import moment
from fpserver.web.door import DOOR, REQUEST_ID
from fpserver.web.reading import no_query
from fpserver.web.recommend_schemas import ModelAnswer, ModelFigures, TrainingFailure


@speaks(
    replies={200: Reply(text="the model in force, and what is on the way", schema=ModelAnswer)},
    errors=(errors.InvalidRequest, errors.StoreUnavailable),
)
async def read(request: web.Request) -> web.StreamResponse:
    """Tell of the model that recommends: when it was trained, on what, and whether another is on the way.

    Processes take up a new model within `recommend.follow_s` and what it takes to read it.
    """
    no_query(request)
    return answer(request, await _standing(request))


@speaks(
    replies={202: Reply(text="asked for; the same answer as to a GET", schema=ModelAnswer)},
    errors=(errors.InvalidRequest, errors.StoreUnavailable),
)
async def ask(request: web.Request) -> web.StreamResponse:
    """Ask for a training; the next worker that looks does it, and the model before answers until then.

    Asking again before it has begun changes nothing. Workers train by themselves every `recommend.train_every_s`
    when there is new feedback.
    """
    no_query(request)
    await request.app[DOOR].services.models.want()
    return answer(request, await _standing(request), status=202)


async def _standing(request: web.Request) -> ModelAnswer:
    standing = await request.app[DOOR].services.models.standing()
    return ModelAnswer(
        request_id=request[REQUEST_ID],
        model=_figures(standing),
        wanted=standing.is_wanted,
        training=standing.is_training,
        failure=None if standing.failure is None else _failure(standing.failure),
    )


def _figures(standing: Standing) -> ModelFigures | None:
    figures = standing.figures
    if standing.version is None or figures is None:
        return None
    return ModelFigures(
        version=standing.version,
        n_bytes=standing.n_bytes,
        trained_at=moment(figures.trained_at),
        reading_s=figures.reading_s,
        training_s=figures.training_s,
        training_cpu_s=figures.training_cpu_s,
        n_users=figures.n_users,
        n_tracks=figures.n_tracks,
        n_events=figures.n_events,
        peak_memory_bytes=figures.peak_memory_bytes,
    )


def _failure(failure: Failure) -> TrainingFailure:
    return TrainingFailure(at=moment(failure.at), code=failure.code, message=failure.message)
