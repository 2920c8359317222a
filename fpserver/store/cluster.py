"""A Cluster of one's own on loopback: masters and their replicas, to try fpserver on and to test it with.

Each node is a server on a folder and a port of its own. What it knows, of keys and of the other nodes, lies in its
folder: a Cluster that is started again is the one that it was.
"""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from fpserver.errors import Conflict, StoreUnavailable
from fpserver.store.binary import find_server
from fpserver.store.embedded import KEEPING, ended, launch, quoted

HOST = "127.0.0.1"
N_SLOTS = 16384
BUS_PORT = 10_000  # added to a node's port: where the nodes talk to each other
JOIN_LIMIT_S = 30.0
ANSWER_LIMIT_S = 5.0
POLL_S = 0.02

CONF = (
    """\
bind {host}
port {port}
cluster-enabled yes
cluster-port {bus_port}
cluster-node-timeout 1000
cluster-require-full-coverage no
dir {folder}
logfile {log}
"""
    + KEEPING
)


class Node:
    """One server of the Cluster."""

    def __init__(
        self, folder: Path, *, port: int, bus_port: int, slots: range, server: Path | None = None
    ) -> None:
        self.folder, self.port, self.bus_port = folder.resolve(), port, bus_port
        self.server = server  # its program; None: the one that is found
        self.slots = slots  # given to it when the Cluster first meets; none to a replica
        self.redis = Redis(host=HOST, port=port, socket_timeout=ANSWER_LIMIT_S)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, on what its folder holds.

        Raises:
            EmbeddedStoreMissing: there is no server program.
            StoreUnavailable: the folder cannot be used.
        """
        conf = self.folder / "node.conf"
        folder, log = quoted(self.folder), quoted(self.folder / "log")
        text = CONF.format(host=HOST, port=self.port, bus_port=self.bus_port, folder=folder, log=log)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            conf.write_bytes(os.fsencode(text))
        except OSError as error:
            raise StoreUnavailable(f"the folder {self.folder} cannot be used: {error.strerror}") from error
        self.process = launch(self.server or find_server(), conf)

    def answers(self) -> bool:
        """It has started.

        Raises:
            StoreUnavailable: it has ended instead.
        """
        if self.process and self.process.poll() is not None:
            raise StoreUnavailable(f"the node at port {self.port} has ended; {self.folder / 'log'} says why")
        return self._says(lambda: bool(self.redis.ping()))

    def knows(self, n_nodes: int) -> bool:
        """It finds so many nodes, and all slots served."""
        info = self._cluster_info()
        whole = info.get("cluster_state") == "ok" and info.get("cluster_slots_ok") == str(N_SLOTS)
        return whole and info.get("cluster_known_nodes") == str(n_nodes)

    def is_alone(self) -> bool:
        """It was never joined to others."""
        return self._cluster_info().get("cluster_known_nodes") == "1"

    def is_up_to_date(self) -> bool:
        """A replica that follows its master."""
        return self._says(lambda: self.redis.info("replication").get("master_link_status") == "up")

    def end(self) -> None:
        """Stop the server: it writes out what it knows."""
        self.redis.close()
        if self.process:
            self.process.terminate()
            ended(self.process)

    def _cluster_info(self) -> dict[str, str]:
        try:
            return dict(self.redis.cluster("INFO"))
        except (RedisError, OSError):
            return {}

    def _says(self, asked: Callable[[], bool]) -> bool:
        try:
            return asked()
        except (RedisError, OSError):
            return False


class LocalCluster:
    """Masters, which share the slots evenly, and replicas, one of each master in turn."""

    def __init__(
        self,
        folder: Path,
        ports: Sequence[tuple[int, int]],
        *,
        n_masters: int = 3,
        server: Path | None = None,
    ) -> None:
        bounds = [N_SLOTS * i // n_masters for i in range(n_masters + 1)]
        slots = [*map(range, bounds, bounds[1:]), *(range(0) for _ in ports[n_masters:])]
        self.nodes = [
            Node(folder / str(port), port=port, bus_port=bus_port, slots=some, server=server)
            for (port, bus_port), some in zip(ports, slots, strict=True)
        ]
        self.masters, self.replicas = self.nodes[:n_masters], self.nodes[n_masters:]

    @property
    def url(self) -> str:
        """For `redis.url` of the settings."""
        return f"redis+cluster://{HOST}:{self.nodes[0].port}"

    def launch(self) -> None:
        """Start all nodes; from the main thread, with whose end they end.

        Raises:
            Conflict: a port is taken.
            EmbeddedStoreMissing, StoreUnavailable: as `Node.start`.
        """
        for node in self.nodes:
            for port in (node.port, node.bus_port):
                if _is_taken(port):
                    raise Conflict(f"port {port} of {HOST} is taken: name another")
        for node in self.nodes:
            node.start()

    def join(self) -> None:
        """Wait until the nodes are one Cluster, which they become when they first meet.

        Raises:
            StoreUnavailable: they do not in time.
        """
        _until(lambda: all(node.answers() for node in self.nodes), "the nodes do not answer")
        if self.nodes[0].is_alone():
            self._meet()
        _until(self.is_whole, "the nodes do not find each other")
        _until(self._is_replicated, "the replicas do not follow their masters")

    def is_whole(self) -> bool:
        """Every node finds all others, and all slots served."""
        return all(node.knows(len(self.nodes)) for node in self.nodes)

    def end(self) -> None:
        """Stop all nodes."""
        for node in self.nodes:
            node.end()

    def _meet(self) -> None:
        for epoch, node in enumerate(self.masters, 1):
            node.redis.cluster("ADDSLOTSRANGE", node.slots.start, node.slots.stop - 1)
            node.redis.cluster("SET-CONFIG-EPOCH", epoch)
        for node in self.nodes[1:]:
            node.redis.cluster("MEET", HOST, self.nodes[0].port, self.nodes[0].bus_port)
        _until(self.is_whole, "the nodes do not find each other")
        for i, node in enumerate(self.replicas):
            master = self.masters[i % len(self.masters)]
            node.redis.cluster("REPLICATE", master.redis.cluster("MYID").decode())

    def _is_replicated(self) -> bool:
        """As many nodes follow a master as there are replicas, whichever they are by now."""
        return sum(node.is_up_to_date() for node in self.nodes) == len(self.replicas)


def _until(holds: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + JOIN_LIMIT_S
    while not holds():
        if time.monotonic() > deadline:
            raise StoreUnavailable(f"Cluster on {HOST}: {otherwise} within {JOIN_LIMIT_S:.0f} s")
        time.sleep(POLL_S)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False
