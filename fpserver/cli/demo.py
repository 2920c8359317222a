"""`demo`: the whole walk on a small catalogue."""

import argparse
import asyncio

from fpserver.config import Config
from fpserver.demo.walk import stop, walk


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Walk, or stop the server an earlier walk has left running."""
    if arguments.stop:
        return asyncio.run(stop(config))
    return asyncio.run(walk(config, config_file=arguments.config, music=arguments.music))
