"""The demo from end to end, as `make demo` runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fpserver.run_folder import running_server

pytestmark = pytest.mark.timeout(120)


def demo(data_dir: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "fpserver", "demo", "--data", str(data_dir), *arguments],
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_demo_recognises_its_clip_leaves_the_server_running_and_can_stop_it(tmp_path: Path) -> None:
    try:
        first = demo(tmp_path, "--port", "0")
        assert first.returncode == 0, first.stdout + first.stderr
        server = running_server(tmp_path)
        assert server is not None
        assert first.stdout.splitlines()[-1] == f"fpserver is running at {server.address}"
        assert "12 files: 12 indexed, 0 there already, 0 duplicates, 0 failed" in first.stdout
        assert ": right" in first.stdout
        again = demo(tmp_path)
        assert again.returncode == 0, again.stdout + again.stderr
        assert "12 of 12 songs were in the catalogue already" in again.stdout
        assert running_server(tmp_path) == server
    finally:
        stopped = demo(tmp_path, "--stop")
    assert stopped.stdout == f"stopped the server that was at {server.address}\n"
    assert running_server(tmp_path) is None
    assert demo(tmp_path, "--stop").stdout == f"no server runs on {tmp_path}\n"
