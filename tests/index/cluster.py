"""A Cluster of three masters on loopback, whose nodes can be paused, killed and started again."""

import asyncio
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from redis import Redis
from redis.exceptions import ConnectionError as NoConnection

from fpserver.store.binary import find_server

N_SLOTS = 16384


class Node:
    """One master: a process on a folder and a port of its own."""

    def __init__(self, folder: Path, slots: range, *, port: int, bus_port: int) -> None:
        self.folder, self.slots, self.port, self.bus_port = folder, slots, port, bus_port
        self.redis = Redis(port=port)
        self.start()

    def start(self) -> None:
        settings: dict[str, str | int] = {
            "bind": "127.0.0.1",
            "port": self.port,
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes",
            "cluster-enabled": "yes",
            "cluster-port": self.bus_port,
            "cluster-node-timeout": 1000,
            "cluster-require-full-coverage": "no",
            "hash-max-listpack-value": 8192,
        }
        words = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
        self.process = subprocess.Popen([str(find_server()), *words], stdout=subprocess.DEVNULL)

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        self.redis.close()
        self.go_on()
        self.process.terminate()
        self.process.wait()

    def answers(self) -> bool:
        """It has started."""
        try:
            return bool(self.redis.ping())
        except (NoConnection, OSError):
            return False

    def sees_all(self) -> bool:
        """This node finds the Cluster whole."""
        try:
            info = self.redis.cluster("INFO")
        except (NoConnection, OSError):
            return False
        return bool(info["cluster_state"] == "ok" and info["cluster_slots_ok"] == str(N_SLOTS))


class Cluster:
    """Three masters, a third of the slots each."""

    def __init__(self, folder: Path) -> None:
        ports = iter(free_ports(6))
        self.nodes = []
        for i in range(3):
            (folder / str(i)).mkdir()
            slots = range(N_SLOTS * i // 3, N_SLOTS * (i + 1) // 3)
            self.nodes.append(Node(folder / str(i), slots, port=next(ports), bus_port=next(ports)))

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port}"

    async def join(self) -> None:
        for i, node in enumerate(self.nodes):
            await until(node.answers)
            node.redis.cluster("ADDSLOTSRANGE", node.slots.start, node.slots.stop - 1)
            node.redis.cluster("SET-CONFIG-EPOCH", i + 1)
        first = self.nodes[0]
        for node in self.nodes[1:]:
            node.redis.cluster("MEET", "127.0.0.1", first.port, first.bus_port)
        await self.whole()

    async def whole(self) -> None:
        """Wait until every node finds it whole."""
        await until(lambda: all(node.sees_all() for node in self.nodes))

    def begin_move(self, slot: int, source: Node, target: Node) -> None:
        """From now on the slot's keys may be on either node."""
        target.redis.cluster("SETSLOT", slot, "IMPORTING", source.redis.cluster("MYID").decode())
        source.redis.cluster("SETSLOT", slot, "MIGRATING", target.redis.cluster("MYID").decode())

    def carry(self, slot: int, source: Node, target: Node, *, n_keys: int) -> None:
        """Move some of the slot's keys, if there are any."""
        if names := source.redis.cluster("GETKEYSINSLOT", slot, n_keys):
            source.redis.migrate("127.0.0.1", target.port, names, 0, 5000)

    def end_move(self, slot: int, source: Node, target: Node) -> None:
        """Move the other keys, and the slot."""
        while source.redis.cluster("COUNTKEYSINSLOT", slot):
            self.carry(slot, source, target, n_keys=1000)
        for node in (target, source):
            node.redis.cluster("SETSLOT", slot, "NODE", target.redis.cluster("MYID").decode())

    def end(self) -> None:
        for node in self.nodes:
            node.end()


async def until(holds: Callable[[], bool], *, limit_s: float = 20) -> None:
    async with asyncio.timeout(limit_s):
        while not holds():  # noqa: ASYNC110 - the event is in another process
            await asyncio.sleep(0.02)


def free_ports(n_ports: int) -> list[int]:
    """Ports of loopback that nobody listens on, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n_ports)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
