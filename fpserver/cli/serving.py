"""`serve` and `work`: processes that run until they are told to stop."""

import argparse
import asyncio

from fpserver import metrics
from fpserver.child import run_worker
from fpserver.cli.arguments import settings
from fpserver.config import Config
from fpserver.errors import ConfigInvalid
from fpserver.notify import tell


def serve(arguments: argparse.Namespace, config: Config) -> int:
    """Web processes, a worker and the store, until SIGTERM."""
    from fpserver.supervisor import serve as supervise  # noqa: PLC0415 – `work` needs no web client

    def with_workers(config: Config) -> Config:
        return config.with_values(worker={"processes": arguments.workers}) if arguments.workers else config

    return asyncio.run(
        supervise(
            with_workers(config),
            with_worker=arguments.workers != 0,
            read_again=lambda: with_workers(settings(arguments)),
        )
    )


def work(arguments: argparse.Namespace, config: Config) -> int:
    """One worker, until SIGTERM; its figures are its own to tell.

    Raises:
        ConfigInvalid: the address for them is taken, or not ours.
    """
    host, port = config.worker.metrics_host, config.worker.metrics_port
    if port:
        try:
            metrics.serve(host, port)
        except OSError as error:
            raise ConfigInvalid(
                f"worker.metrics_port is {port}: cannot listen at {host}: {error.strerror or error}"
            ) from error
    asyncio.run(run_worker(config, ready=lambda: tell("READY=1")))
    return 0
