"""From feedback and catalogue to a model in force, by a process apart; and every way in which that ends badly."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpserver import metrics, training
from fpserver.config import RedisConfig
from fpserver.errors import TrainingFailed
from fpserver.recommend import histories
from fpserver.recommend.models import Failure, Standing
from fpserver.services import Services
from fpserver.shelving import whole_shelf
from fpserver.similarity.scales import unpack
from fpserver.store.connect import Client
from fpserver.terms import Description, Group, History
from fpserver.trained import Trained
from fpserver.training import is_due, train_if_due
from tests.described import add_described
from tests.opened import opened
from tests.recommend import jobs
from tests.recommend.people import add_indexed, events
from tests.recommend.putting import FIGURES
from tests.synth import song

HOUR = 3600.0
STANDING = Standing(
    version="v",
    n_bytes=1,
    figures=replace(FIGURES, trained_at=1000.0, n_changes=100, settings="s"),
    n_wanted=0,
    n_served=0,
    is_training=False,
    failure=None,
)
NOTHING = replace(STANDING, version=None, n_bytes=0, figures=None)
FAILED = Failure(at=1000.0, code="training_failed", message="…")


@pytest.fixture
async def services(client: Client, store_config: RedisConfig) -> AsyncIterator[Services]:
    async with opened(store_config, pool_processes=0) as services:
        yield services


def with_settings(services: Services, **settings: Any) -> Services:
    return replace(services, config=services.config.with_values(recommend=settings))


def folders(services: Services) -> list[Path]:
    return list(Path(services.config.redis.data_dir).glob("training-*"))


@pytest.mark.parametrize(
    ("standing", "n_changes", "now", "due"),
    [
        (STANDING, 100, 1e9, False),  # nothing new
        (STANDING, 101, 1000 + HOUR - 1, False),  # new, but not yet
        (STANDING, 101, 1000 + HOUR, True),
        (STANDING, 200, 1000 + HOUR / 12 - 1, False),  # twice as much
        (STANDING, 200, 1000 + HOUR / 12, True),
        (NOTHING, 0, 1e9, False),
        (NOTHING, 1, 0, True),
        (replace(NOTHING, failure=FAILED), 1, 1000 + HOUR - 1, False),  # not again and again
        (replace(NOTHING, failure=FAILED), 1, 1000 + HOUR, True),
        (replace(STANDING, failure=FAILED), 200, 1000 + HOUR / 2, False),
        (replace(NOTHING, n_wanted=1), 0, 0, True),  # whatever there is
        (replace(STANDING, n_wanted=3, n_served=2, failure=FAILED), 100, 0, True),
        (replace(STANDING, n_wanted=3, n_served=3), 100, 1e9, False),
    ],
)
def test_it_is_time_when_somebody_asks_or_when_feedback_has_changed_long_enough_ago(
    standing: Standing, n_changes: int, now: float, due: bool
) -> None:
    asked: dict[str, Any] = {"n_changes": n_changes, "is_whole": True, "settings": "s", "now": now}
    assert is_due(standing, every_s=HOUR, **asked) is due
    assert is_due(standing, every_s=0, **asked) is standing.is_wanted  # only on demand


def test_a_model_that_is_lost_or_made_by_other_settings_is_trained_anew() -> None:
    asked: dict[str, Any] = {"n_changes": 100, "every_s": HOUR}
    assert is_due(STANDING, is_whole=False, settings="s", now=1000, **asked)
    assert not is_due(STANDING, is_whole=True, settings="other", now=1000, **asked)
    assert is_due(STANDING, is_whole=True, settings="other", now=1000 + HOUR / 12, **asked)


async def test_the_child_gets_all_events_and_all_indexed_tracks(
    services: Services, rng: np.random.Generator
) -> None:
    sounds = {f"song {seed}": song(seed, 5.0, 22050) for seed in range(3)}
    described = await add_described(services, sounds, genre="jazz")
    plain = await add_indexed(services, 4)
    done = events([*described.values(), *plain], n_users=40, n_each=9, rng=rng)
    await services.feedback.put(done)
    figures = await train_if_due(services, clock=lambda: 77.0, job=jobs.told)
    assert figures is not None
    found = await services.models.get()
    assert found is not None
    told = jobs.what_was_told(found[1])
    assert (figures.n_events, figures.n_users, figures.trained_at) == (360, 40, 77.0)
    assert figures.n_tracks == len(told["track_id"])
    assert figures.n_changes == await services.feedback.n_changes() == 360
    assert figures.peak_memory_bytes > 20e6
    history = History(**told["history"])
    assert sorted(zip(history.track_id.tolist(), history.at.tolist(), strict=True)) == sorted(
        (event.track_id, event.at) for event in done
    )
    assert np.all(np.diff(history.user) >= 0)
    assert history.user[-1] == 39
    scales_kept = await services.descriptions.scales()
    assert scales_kept is not None
    scales = unpack(scales_kept)
    assert told["scales"] == scales.version
    for track_id in described.values():
        slot = int(np.flatnonzero(told["track_id"] == track_id)[0])
        vectors = (await services.descriptions.vectors([track_id], list(Group)))[track_id]
        assert told["has_audio"][slot]
        np.testing.assert_allclose(
            told["audio"][slot], scales.searched(scales.embed(vectors)), rtol=1e-4, atol=1e-5
        )
    assert told["niceness"] == 19
    assert told["threads"] == "1"
    assert told["settings"] == services.config.recommend
    assert folders(services) == []
    assert not _alive(told["pid"])  # its memory went back with it


async def test_a_real_model_is_trained_and_taken_up(services: Services, rng: np.random.Generator) -> None:
    await services.feedback.put(events(await add_indexed(services, 30), n_users=40, n_each=9, rng=rng))
    figures = await train_if_due(services)
    assert figures is not None and figures.n_events == 360
    trained = Trained(services)
    await trained.catch_up()
    assert figures.n_tracks == 30
    assert trained.model is not None and 0 < len(trained.model.track_id) <= 30
    first = await services.models.get()
    await services.models.want()
    await train_if_due(services)
    assert await services.models.get() == first  # the same feedback gives the same bytes


async def test_the_same_catalogue_gives_the_same_shelf_and_damaged_vectors_are_left_out(
    services: Services, client: Client
) -> None:
    ids = await add_described(services, {f"song {seed}": song(seed, 5.0, 22050) for seed in range(3)})
    first = await whole_shelf(services)
    assert first.track_id.tolist() == sorted(ids.values())
    assert first.has_audio.all() and np.isfinite(first.audio).all()
    track_id = ids["song 1"]
    vectors = (await services.descriptions.vectors([track_id], list(Group)))[track_id]
    await services.descriptions.put(
        track_id, Description(vectors={Group.TIMBRE: np.full_like(vectors[Group.TIMBRE], np.nan)}, facts={})
    )
    second = await whole_shelf(services)
    assert second.has_audio.tolist() == [track != track_id for track in second.track_id.tolist()]
    np.testing.assert_allclose(second.audio[second.has_audio], first.audio[second.has_audio], rtol=1e-5)


async def test_without_feedback_nothing_is_trained_unless_somebody_asks(services: Services) -> None:
    assert await train_if_due(services, job=jobs.told) is None
    await services.models.want()
    figures = await train_if_due(services, job=jobs.told)
    assert figures is not None and figures.n_events == 0
    assert await train_if_due(services, job=jobs.told) is None


async def test_where_nobody_likes_anything_there_is_a_model_of_nothing(
    services: Services, rng: np.random.Generator
) -> None:
    await services.feedback.put(events(await add_indexed(services, 3), n_users=1, n_each=1, rng=rng))
    assert await train_if_due(services, job=jobs.nothing) is not None
    assert await services.models.get() == ("e3b0c44298fc1c14", b"")
    assert await train_if_due(services, job=jobs.nothing) is None  # not again and again


@pytest.mark.parametrize(
    ("job", "settings", "reason"),
    [
        (jobs.die, {}, "training ended its process: killed by SIGKILL"),
        (jobs.never, {"train_timeout_s": 0.3}, r"training took longer than 0\.3 s, the limit"),
        (jobs.eat, {"train_memory_bytes": 2 * 2**30}, "training needed more than 2 GiB of memory, the limit"),
        (jobs.stumble, {}, "ZeroDivisionError: a fault of ours"),
    ],
)
async def test_a_training_that_ends_badly_is_one_clear_error_and_the_model_before_stays(
    services: Services, rng: np.random.Generator, job: training.Job, settings: dict[str, Any], reason: str
) -> None:
    await services.feedback.put(events(await add_indexed(services, 5), n_users=3, n_each=2, rng=rng))
    assert await train_if_due(services, job=jobs.told) is not None
    before = await services.models.get()
    n_failed = metrics.TRAINED.labels("failed")._value.get()
    await services.models.want()
    with pytest.raises(TrainingFailed, match=reason) as raised:
        await train_if_due(with_settings(services, **settings), job=job, clock=lambda: 5.0)
    assert await services.models.get() == before
    standing = await services.models.standing()
    assert standing.failure == Failure(at=5.0, code="training_failed", message=raised.value.message)
    assert not standing.is_wanted and not standing.is_training
    assert metrics.TRAINED.labels("failed")._value.get() == n_failed + 1
    assert folders(services) == []
    await services.models.want()
    assert await train_if_due(services, job=jobs.told) is not None
    assert (await services.models.standing()).failure is None


async def test_the_sentence_says_what_was_trained_on(services: Services, rng: np.random.Generator) -> None:
    await services.feedback.put(events(await add_indexed(services, 5), n_users=3, n_each=2, rng=rng))
    with pytest.raises(
        TrainingFailed, match=r"^training on 6 events of 3 users and 5 tracks: training ended its process"
    ):
        await train_if_due(services, job=jobs.die)


async def test_of_several_one_trains(services: Services, rng: np.random.Generator) -> None:
    await services.feedback.put(events(await add_indexed(services, 5), n_users=3, n_each=2, rng=rng))
    done = await asyncio.gather(*(train_if_due(services, job=jobs.slowly) for _ in range(4)))
    assert len([each for each in done if each is not None]) == 1


async def test_who_asks_while_it_trains_gets_another(services: Services, rng: np.random.Generator) -> None:
    ids = await add_indexed(services, 5)
    await services.feedback.put(events(ids, n_users=3, n_each=2, rng=rng))
    begun = jobs.begun_in(Path(services.config.redis.data_dir))
    task = asyncio.create_task(train_if_due(services, job=jobs.slowly))
    await begun
    await services.feedback.put(events(ids, n_users=1, n_each=2, rng=rng, name="late"))
    await services.models.want()
    first = await task
    assert first is not None and first.n_events == 6
    second = await train_if_due(services, job=jobs.told)
    assert second is not None and second.n_events == 8
    assert await train_if_due(services, job=jobs.told) is None


async def test_what_is_erased_is_in_no_model_afterwards(services: Services, rng: np.random.Generator) -> None:
    ids = await add_indexed(services, 5)
    await services.feedback.put(events(ids, n_users=3, n_each=2, rng=rng))
    now = 1e9
    await train_if_due(services, job=jobs.told, clock=lambda: now)
    await services.feedback.forget("user-1")
    figures = await train_if_due(services, job=jobs.told, clock=lambda: now + HOUR)
    assert figures is not None and (figures.n_users, figures.n_events) == (2, 4)


async def test_folders_of_trainings_that_lost_their_process_are_removed(
    services: Services, rng: np.random.Generator
) -> None:
    data_dir = Path(services.config.redis.data_dir)
    old, new = data_dir / "training-old", data_dir / "training-new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "user").write_bytes(b"1234")
    os.utime(old, (0, 0))
    await services.models.want()
    await train_if_due(services, job=jobs.told)
    assert folders(services) == [new]
    (new / "user").unlink()
    new.rmdir()


def test_a_history_comes_back_from_its_files(tmp_path: Path, rng: np.random.Generator) -> None:
    def page(first_user: int, n: int) -> History:
        return History(
            user=np.sort(rng.integers(first_user, first_user + 3, n)).astype(np.int32),
            track_id=rng.integers(1, 2**28, n),
            kind=rng.integers(0, 5, n).astype(np.uint8),
            value=rng.random(n).astype(np.float32),
            at=rng.random(n) * 1e9,
        )

    parts = [page(0, 10), page(3, 0), page(3, 500)]
    with histories.writing(tmp_path) as files:
        for part in parts:
            files.append(part)
        assert (files.n_events, files.n_users) == (510, int(parts[2].user[-1]) + 1)
    found = histories.read(tmp_path)
    for name, kind in histories.COLUMNS.items():
        column = getattr(found, name)
        assert column.dtype == kind
        np.testing.assert_array_equal(column, np.concatenate([getattr(part, name) for part in parts]))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
