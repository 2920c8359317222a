"""The store's password stands in no log, no error, no answer and no command line."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from fpserver.store.binary import find_server
from loadtest.cluster import free_ports
from loadtest.processes import command_line, descendants_of
from tests.process.running import serving, wait_until

PASSWORD = "n0t-f0r-y0u"
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """A store that asks for a password, and its port."""
    (port,) = free_ports(1)
    settings = ["--port", str(port), "--bind", "127.0.0.1", "--requirepass", PASSWORD, "--dir", str(tmp_path)]
    process = subprocess.Popen([find_server(), *settings], stdout=subprocess.DEVNULL)
    yield process, port
    process.kill()
    process.wait()


def doctor(url: str, data_dir: Path) -> str:
    told = subprocess.run(
        [sys.executable, "-m", "fpserver", "doctor", "--data", str(data_dir)],
        env=os.environ | {"FPSERVER_REDIS__URL": url, "FPSERVER_REDIS__TIMEOUT_S": "0.5"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return told.stdout


def test_the_password_is_never_told(tmp_path: Path, store: tuple["subprocess.Popen[bytes]", int]) -> None:
    process, port = store
    url, wrong = (f"redis://:{password}@127.0.0.1:{port}" for password in (PASSWORD, PASSWORD + "-else"))
    settings = {
        "FPSERVER_REDIS__URL": url,
        "FPSERVER_REDIS__TIMEOUT_S": "0.5",
        "FPSERVER_LOG__LEVEL": "debug",
    }
    said = []
    with serving(tmp_path / "data", settings=settings) as server:
        said += [command_line(pid) for pid in descendants_of(server.pid) | {server.pid}]
        said.append(doctor(wrong, tmp_path / "data"))
        assert f"store redis://***@127.0.0.1:{port}" in said[-1]
        assert "password" in said[-1], "it is refused"
        process.kill()

        def answer() -> str:
            try:
                with urlopen(f"{server.address}/readyz", timeout=20) as response:
                    return str(response.read().decode())
            except HTTPError as error:
                with error:
                    return error.read().decode()

        assert wait_until(lambda: "store_unavailable" in answer(), within_s=20)
        said.append(answer())
        server.stop()
    said.append((tmp_path / "data.log").read_text())
    assert [text for text in said if PASSWORD in text] == []


def test_an_unforeseen_error_does_not_log_what_variables_hold() -> None:
    code = f"""
import structlog
from fpserver import log
from fpserver.config import LogConfig
log.configure(LogConfig())
def fail(secret):
    raise RuntimeError("it failed")
try:
    fail({PASSWORD!r}[::1])
except RuntimeError:
    structlog.get_logger().exception("web.unexpected")
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert "it failed" in told and PASSWORD not in told
