"""A process that trains and never ends: `python -m tests.recommend.training_process URL DATA_DIR`."""

import asyncio
import sys

from fpserver.config import Config
from fpserver.services import open_services
from fpserver.worker.trainer import Trainer
from tests.recommend import jobs


async def _run(url: str, data_dir: str) -> None:
    config = Config().with_values(redis={"url": url, "data_dir": data_dir})
    async with open_services(config, pool_processes=0) as services:
        await Trainer(services, job=jobs.never).run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(_run(*sys.argv[1:]))
