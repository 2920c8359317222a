"""A model's way from what people did to what answers: feedback and catalogue read, trained apart, put in force.

    Feedback.pages      what all users did, page by page into files; whoever reads it holds a page in memory
    shelving            the catalogue, in columns
    training_job        in a child process that gives way to all others, within limits of time and memory
    Models.put          the model takes the place of the one before, in one step

One process trains at a time, whoever asks. A training that fails leaves the model before in force, and says why.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import structlog

from fpserver import metrics
from fpserver.config import Config, RecommendConfig
from fpserver.dsp_child import Purpose
from fpserver.dsp_pool import DspPool
from fpserver.errors import Overloaded, StoreUnavailable, TrainingFailed
from fpserver.recommend import histories
from fpserver.recommend.model import VERSION
from fpserver.recommend.models import Failure, Figures, Standing
from fpserver.recommend.shelf import Shelf
from fpserver.services import Services
from fpserver.shelving import whole_shelf
from fpserver.training_job import Learned, train_model

log = structlog.get_logger()

Job: TypeAlias = Callable[[Path, Shelf, RecommendConfig], Learned]

TRAINING = Purpose(name="training", crash=TrainingFailed, late=TrainingFailed)
LOWEST_PRIORITY = 19
GROWN = 2.0  # changes, against those that the model has seen
SOONER = 12.0  # by so much is a model trained anew when feedback has grown like that
PREFIX = "training-"
STALE_S = 86400.0  # a folder that is this much older than the longest training has lost its process


def settings_of(config: Config) -> str:
    """What a model depends on besides feedback and catalogue: where it differs, another must be trained."""
    recommend = config.recommend
    return f"version {VERSION}, {recommend.n_factors} factors, {recommend.n_neighbors} neighbours"


def is_due(
    standing: Standing, *, n_changes: int, is_whole: bool, settings: str, every_s: float, now: float
) -> bool:
    """Whether it is time to train.

    It is when somebody asks for it; and by the schedule, when feedback has changed since the model in force was
    trained. Feedback that has doubled, or other settings, make the wait a twelfth; a lost model is trained at once.
    """
    if standing.is_wanted:
        return True
    if not every_s or (standing.failure is not None and now < standing.failure.at + every_s):
        return False
    figures = standing.figures
    if figures is None or not is_whole:
        return n_changes > 0
    is_other = figures.settings != settings
    if n_changes == figures.n_changes and not is_other:
        return False
    sooner = SOONER if is_other or n_changes >= GROWN * figures.n_changes else 1.0
    return now >= figures.trained_at + every_s / sooner


async def train_if_due(
    services: Services, *, clock: Callable[[], float] = time.time, job: Job = train_model
) -> Figures | None:
    """Train when it is time to, and nobody else does; figures of the new model, None when nothing was done.

    Raises:
        TrainingFailed: there is no new model; the one before is in force.
        StoreUnavailable: repeat it later.
    """
    if not await _is_due(services, now=clock()):
        return None
    async with services.models.turn() as mine:
        if not mine or not await _is_due(services, now=clock()):  # somebody has just done it
            return None
        return await _train(services, clock=clock, job=job)


async def _is_due(services: Services, *, now: float) -> bool:
    config = services.config
    return is_due(
        await services.models.standing(),
        n_changes=await services.feedback.n_changes(),
        is_whole=await services.models.is_whole(),
        settings=settings_of(config),
        every_s=config.recommend.train_every_s,
        now=now,
    )


async def _train(services: Services, *, clock: Callable[[], float], job: Job) -> Figures:
    """Train and put in force; how it ended is noted, unless the store is away or this process ends."""
    n_wanted = (await services.models.standing()).n_wanted
    try:
        figures = await _trained(services, now=clock(), job=job)
    except (StoreUnavailable, Overloaded):
        raise  # nobody's fault: it is done again
    except Exception as error:
        failed = error if isinstance(error, TrainingFailed) else _fault(error)
        metrics.TRAINED.labels("failed").inc()
        failure = Failure(at=clock(), code=failed.code, message=failed.message)
        await services.models.served(n_wanted, failure=failure)
        raise failed from error
    metrics.TRAINED.labels("done").inc()
    await services.models.served(n_wanted)
    return figures


def _fault(error: Exception) -> TrainingFailed:
    """What nobody foresaw, in training or around it, as one sentence; the log has the rest."""
    log.error("training.fault", exc_info=error)
    return TrainingFailed(f"training: {type(error).__name__}: {error}")


async def _trained(services: Services, *, now: float, job: Job) -> Figures:
    config, start = services.config, time.perf_counter()
    n_changes = await services.feedback.n_changes()
    folder = await asyncio.to_thread(_new_folder, config)
    try:
        n_events, n_users = await _written(services, folder)
        shelf = await whole_shelf(services)
        read = time.perf_counter()
        what = f"training on {n_events} events of {n_users} users and {len(shelf)} tracks"
        log.info("training.began", n_events=n_events, n_users=n_users, n_tracks=len(shelf))
        learned = await _in_child(config, job, folder, shelf, what=what)
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))
    trained = time.perf_counter()
    figures = Figures(
        trained_at=now,
        reading_s=read - start,
        training_s=trained - read,
        n_users=n_users,
        n_tracks=len(shelf),
        n_events=n_events,
        n_changes=n_changes,
        training_cpu_s=learned.cpu_s,
        peak_memory_bytes=learned.peak_memory_bytes,
        settings=settings_of(config),
    )
    version = await services.models.put(learned.packed, figures=figures)
    metrics.STAGE_SECONDS.labels("train", "read").observe(figures.reading_s)
    metrics.STAGE_SECONDS.labels("train", "recommend").observe(figures.training_s)
    log.info(
        "training.trained", version=version, n_bytes=len(learned.packed), seconds=round(trained - start, 1)
    )
    return figures


async def _written(services: Services, folder: Path) -> tuple[int, int]:
    """All feedback into files; (events, users)."""
    with histories.writing(folder) as files:
        async for page in services.feedback.pages():
            await asyncio.to_thread(files.append, page)
        return files.n_events, files.n_users


async def _in_child(config: Config, job: Job, folder: Path, shelf: Shelf, *, what: str) -> Learned:
    """The job's answer, from a process that is there for it alone: its memory goes back with it."""
    pool = DspPool(
        processes=1,
        memory_limit_bytes=config.recommend.train_memory_bytes,
        niceness=LOWEST_PRIORITY,
        lazy=True,
        purpose=TRAINING,
    )
    async with pool:
        try:
            return await pool.run(
                job, folder, shelf, config.recommend, timeout_s=config.recommend.train_timeout_s
            )
        except TrainingFailed as error:
            raise TrainingFailed(f"{what}: {error.message}") from error


def _new_folder(config: Config) -> Path:
    """An empty folder; those of processes that died while they trained are removed."""
    data_dir = Path(config.redis.data_dir).resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    stale = time.time() - config.recommend.train_timeout_s - STALE_S
    for folder in data_dir.glob(f"{PREFIX}*"):
        if folder.stat().st_mtime < stale:
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=PREFIX, dir=data_dir))
