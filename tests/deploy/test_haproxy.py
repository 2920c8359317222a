"""haproxy.cfg is what HAProxy takes, and goes with what servers do when they stop."""

import re
import subprocess
from pathlib import Path

import pytest

from loadtest.rolling.balancer import CONFIG, program, settings

TEXT = CONFIG.read_text(encoding="utf-8")


@pytest.mark.skipif(program() is None, reason="haproxy is not installed")
def test_haproxy_takes_it(tmp_path: Path) -> None:
    haproxy = program()
    assert haproxy is not None
    config = tmp_path / "haproxy.cfg"
    config.write_text(settings(8080, [8711, 8712]), encoding="utf-8")
    told = subprocess.run([haproxy, "-c", "-f", config], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert "[WARNING]" not in told.stderr


def test_it_asks_for_readiness_and_tries_again_only_what_was_not_sent() -> None:
    assert "uri /readyz" in TEXT
    assert re.findall(r"^\s*retry-on (.*?)\s*(?:#|$)", TEXT, re.M) == ["conn-failure"]


def test_metrics_are_not_for_the_street() -> None:
    assert "http-request deny deny_status 404 if { path /metrics }" in TEXT


def test_a_server_leaves_for_longer_than_it_takes_to_notice() -> None:
    checks = re.search(r"inter (\d+)s fall (\d+)", TEXT)
    purge = re.search(r"pool-purge-delay (\d+)s", TEXT)
    leave = re.search(r'LEAVE_S: "(\d+)"', (CONFIG.parent / "compose.yaml").read_text())
    assert checks and purge and leave
    assert int(leave[1]) >= 2 * max(int(checks[1]) * int(checks[2]), int(purge[1]))
