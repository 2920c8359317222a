"""Six real nodes with the settings of compose.yaml, joined by its script: fpserver finds them well."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fpserver.store.binary import find_server
from loadtest.cluster import free_ports

DEPLOY = Path(__file__).parents[2] / "deploy"
CLI = shutil.which("valkey-cli") or shutil.which("redis-cli")

pytestmark = [
    pytest.mark.timeout(90),
    pytest.mark.skipif(CLI is None, reason="neither valkey-cli nor redis-cli is installed"),
]


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[list[int]]:
    """Of six nodes that were never joined."""
    free = free_ports(12)
    with ExitStack() as nodes:
        for port, bus_port in zip(free[::2], free[1::2], strict=True):
            folder = tmp_path / str(port)
            folder.mkdir()
            here = [
                "--port",
                str(port),
                "--cluster-port",
                str(bus_port),
                "--bind",
                "127.0.0.1",
                "--dir",
                str(folder),
            ]
            process = subprocess.Popen(
                [find_server(), DEPLOY / "valkey.conf", *here],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            nodes.callback(process.wait)
            nodes.callback(process.terminate)
        yield free[::2]


def joined(ports: list[int]) -> str:
    done = subprocess.run(
        [DEPLOY / "compose" / "join.sh", "0", *(f"127.0.0.1:{port}" for port in ports)],
        env=os.environ | {"CLI": str(CLI)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_nodes_become_a_cluster_once_and_are_what_fpserver_needs(ports: list[int], tmp_path: Path) -> None:
    assert "the Cluster of 6 nodes is whole" in joined(ports)
    assert "the Cluster of 6 nodes is whole" in joined(ports), "again, as at every start"
    told = subprocess.run(
        [sys.executable, "-m", "fpserver", "doctor", "--data", str(tmp_path / "data")],
        env=os.environ | {"FPSERVER_REDIS__URL": f"redis+cluster://127.0.0.1:{ports[0]}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout
