"""A Cluster on free ports of loopback, whose nodes can be paused, killed and started again, and whose slots move."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

from fpserver.store.cluster import HOST, LocalCluster, Node

POLL_S = 0.02


class Cluster(LocalCluster):
    """Three masters, a third of the slots each, and replicas of them."""

    def __init__(self, folder: Path, *, n_replicas: int = 0, server: Path | None = None) -> None:
        ports = free_ports(2 * (3 + n_replicas))
        super().__init__(folder, list(zip(ports[::2], ports[1::2], strict=True)), server=server)

    async def whole(self) -> None:
        """Wait until every node finds it whole."""
        async with asyncio.timeout(20):
            while not self.is_whole():  # noqa: ASYNC110 - the event is in another process
                await asyncio.sleep(POLL_S)

    def begin_move(self, slot: int, source: Node, target: Node) -> None:
        """From now on the slot's keys may be on either node."""
        target.redis.cluster("SETSLOT", slot, "IMPORTING", source.redis.cluster("MYID").decode())
        source.redis.cluster("SETSLOT", slot, "MIGRATING", target.redis.cluster("MYID").decode())

    def carry(
        self, slot: int, source: Node, target: Node, *, n_keys: int = 1000, beginning: str = ""
    ) -> list[bytes]:
        """Move some of the slot's keys, if there are any: of the first `n_keys` those that begin like this."""
        in_slot = source.redis.execute_command("CLUSTER", "GETKEYSINSLOT", slot, n_keys)  # type: ignore[no-untyped-call]
        names = [name for name in in_slot if name.startswith(beginning.encode())]
        if names:
            source.redis.migrate(HOST, target.port, names, 0, 5000)
        return names

    def end_move(self, slot: int, source: Node, target: Node) -> None:
        """Move the other keys, and the slot."""
        while source.redis.cluster("COUNTKEYSINSLOT", slot):
            self.carry(slot, source, target)
        for node in (target, source):
            node.redis.cluster("SETSLOT", slot, "NODE", target.redis.cluster("MYID").decode())


@asynccontextmanager
async def joined(folder: Path, *, n_replicas: int = 0, server: Path | None = None) -> AsyncIterator[Cluster]:
    """A whole Cluster, of this program where one is named; its nodes end with it."""
    async with running(Cluster(folder, n_replicas=n_replicas, server=server)) as cluster:
        yield cluster


@asynccontextmanager
async def running(cluster: Cluster) -> AsyncIterator[Cluster]:
    """A Cluster launched and joined; its nodes end with it."""
    try:
        cluster.launch()
        await asyncio.to_thread(cluster.join)
        yield cluster
    finally:
        for node in cluster.nodes:
            go_on(node)
        cluster.end()


def pause(node: Node) -> None:
    """It says nothing until it goes on."""
    assert node.process
    node.process.send_signal(signal.SIGSTOP)


def go_on(node: Node) -> None:
    """After a pause."""
    with suppress(ProcessLookupError):
        if node.process:
            node.process.send_signal(signal.SIGCONT)


def kill(node: Node) -> None:
    """It ends at once."""
    assert node.process
    node.process.kill()
    node.process.wait()


def free_ports(n_ports: int) -> list[int]:
    """Ports of loopback that nobody listens on, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n_ports)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]
