"""`cluster`: a Redis Cluster on this machine, as long as the command runs."""

import argparse
import signal
from types import FrameType

from fpserver.config import Config
from fpserver.errors import InvalidRequest
from fpserver.store.cluster import BUS_PORT, LocalCluster

N_NODES = 6  # three masters, three replicas
MAX_FIRST_PORT = 65_535 - BUS_PORT - (N_NODES - 1)


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Start it, say how it is reached, and wait for the end.

    Raises:
        InvalidRequest: there are no such ports.
    """
    if not 1 <= arguments.first_port <= MAX_FIRST_PORT:
        raise InvalidRequest(f"--port is {arguments.first_port}, must be 1 to {MAX_FIRST_PORT}")
    ports = [(port, port + BUS_PORT) for port in range(arguments.first_port, arguments.first_port + N_NODES)]
    cluster = LocalCluster(arguments.folder, ports)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        cluster.launch()
        cluster.join()
        print(
            f"{len(cluster.masters)} masters and {len(cluster.replicas)} replicas at ports {ports[0][0]} to "
            f'{ports[-1][0]}; Ctrl-C ends them. In the settings: redis.url = "{cluster.url}"',
            flush=True,
        )
        while True:
            signal.pause()
    finally:
        cluster.end()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
