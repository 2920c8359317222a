"""`train`: have the model trained that recommends."""

import argparse
import asyncio

from rich.console import Console

from fpserver.config import Config
from fpserver.errors import TrainingFailed
from fpserver.recommend.models import Standing
from fpserver.services import Services, open_services
from fpserver.training import train_if_due

LOOK_S = 0.5


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Train and say what came of it, or leave it to a worker."""
    return asyncio.run(_run(config, leave=arguments.leave))


async def _run(config: Config, *, leave: bool) -> int:
    async with open_services(config, pool_processes=0) as services:
        n_wanted = await services.models.want()
        if leave:
            print("asked for: the next worker that looks trains")
            return 0
        with Console(stderr=True).status("training"):
            standing = await _trained(services, n_wanted)
    print(_sentence(standing))
    return 0


async def _trained(services: Services, n_wanted: int) -> Standing:
    """Train, or wait for somebody who does already.

    Raises:
        TrainingFailed: there is no new model.
    """
    while (standing := await services.models.standing()).n_served < n_wanted:
        if await train_if_due(services) is None:
            await asyncio.sleep(LOOK_S)
    if standing.failure is not None:
        raise TrainingFailed(standing.failure.message)
    return standing


def _sentence(standing: Standing) -> str:
    figures = standing.figures
    if figures is None:
        return f"model {standing.version}, trained by another version of fpserver"
    if not standing.n_bytes:
        return f"nobody likes anything yet: {figures.n_events} events of {figures.n_users} users"
    return (
        f"model {standing.version}, {standing.n_bytes / 1e6:.1f} MB: trained on {figures.n_events} events of "
        f"{figures.n_users} users and {figures.n_tracks} tracks in {figures.training_s:.1f} s"
    )
