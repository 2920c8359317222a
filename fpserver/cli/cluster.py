"""`cluster`: a Redis Cluster on this machine, as long as the command runs."""

import argparse
import signal
from types import FrameType

from fpserver.config import Config
from fpserver.store.cluster import BUS_PORT, LocalCluster

N_NODES = 6  # three masters, three replicas


def run(arguments: argparse.Namespace, config: Config) -> int:
    """Start it, say how it is reached, and wait for the end."""
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
