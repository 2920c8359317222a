"""The model that a web process answers by: always whole, always the last that could be read."""

import asyncio
import pickle
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fpserver import metrics
from fpserver.config import RedisConfig
from fpserver.errors import InvalidRequest, StoreUnavailable
from fpserver.recommend import model_keys as keys
from fpserver.services import Services
from fpserver.store.connect import Client
from fpserver.trained import Trained
from tests.opened import opened
from tests.recommend.putting import FIGURES

unpacked_on: list[str] = []


def unpack(packed: bytes) -> Any:
    """A stand-in: a model is whatever was pickled."""
    unpacked_on.append(threading.current_thread().name)
    try:
        return pickle.loads(packed)
    except pickle.UnpicklingError as error:
        raise InvalidRequest(f"{len(packed)} bytes are no model") from error


def shown(trained: Trained) -> Any:
    """What answers; here, no model."""
    return trained.model


@pytest.fixture
async def services(client: Client, store_config: RedisConfig) -> AsyncIterator[Services]:
    async with opened(store_config, pool_processes=0) as services:
        yield services


@pytest.fixture
def trained(services: Services) -> Trained:
    return Trained(services, unpack=unpack)


async def put(services: Services, model: object) -> str:
    return await services.models.put(pickle.dumps(model), figures=FIGURES)


async def test_another_model_takes_the_place_of_the_one_that_answers(
    services: Services, trained: Trained
) -> None:
    assert (shown(trained), trained.version) == (None, None)
    await trained.catch_up()
    assert shown(trained) is None
    first = await put(services, "first")
    await trained.catch_up()
    assert (shown(trained), trained.version) == ("first", first)
    before = shown(trained)
    await trained.catch_up()
    assert shown(trained) is before  # not read again
    second = await put(services, "second")
    await trained.catch_up()
    assert (shown(trained), trained.version, before) == ("second", second, "first")
    assert threading.main_thread().name not in unpacked_on
    assert metrics.MODEL_TRACKS._value.get() == FIGURES.n_tracks
    assert metrics.MODEL_TRAINED_TIMESTAMP._value.get() == FIGURES.trained_at


async def test_a_model_of_nothing_is_none(services: Services, trained: Trained) -> None:
    await put(services, "first")
    await trained.catch_up()
    version = await services.models.put(b"", figures=FIGURES)  # everybody was erased
    await trained.catch_up()
    assert (shown(trained), trained.version) == (None, version)


async def test_a_damaged_model_changes_nothing_until_there_is_a_whole_one(
    services: Services, trained: Trained, client: Client
) -> None:
    await put(services, "first")
    await trained.catch_up()
    version = await put(services, "second")
    await client.delete(keys.piece(version, 0))
    with pytest.raises(StoreUnavailable):
        await trained.catch_up()
    assert shown(trained) == "first"
    await put(services, "second")
    await trained.catch_up()
    assert shown(trained) == "second"


async def test_a_model_of_another_version_of_the_program_changes_nothing_and_is_not_read_twice(
    services: Services, trained: Trained
) -> None:
    await put(services, "first")
    await trained.catch_up()
    await services.models.put(b"of another version", figures=FIGURES)
    unpacked_on.clear()
    with pytest.raises(InvalidRequest):
        await trained.catch_up()
    await trained.catch_up()
    assert shown(trained) == "first"
    assert len(unpacked_on) == 1


async def test_what_is_in_force_answers_from_the_beginning(services: Services, client: Client) -> None:
    version = await put(services, "first")
    async with Trained(services, unpack=unpack) as trained:
        assert shown(trained) == "first"
    await client.delete(keys.piece(version, 0))
    async with Trained(services, unpack=unpack) as trained:  # what cannot be read keeps nobody from starting
        assert shown(trained) is None


async def test_it_follows_by_itself(services: Services) -> None:
    async with Trained(services, unpack=unpack) as trained:
        for name in ("first", "second"):
            await put(services, name)
            async with asyncio.timeout(10):
                while shown(trained) != name:  # noqa: ASYNC110 – another task, no event of ours
                    await asyncio.sleep(0.02)
