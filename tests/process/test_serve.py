"""`fpserver serve` as an operator meets it: processes on one port, stopped in order, restarted when they die."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from fpserver.audio.encode import encode
from tests.opened import song_file
from tests.process.running import SETTINGS, serving, wait_until
from tests.synth import RATE_HZ, song

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def clip() -> bytes:
    return encode(song(1, 6.0), RATE_HZ, container="mp3", bitrate=64_000)


def identify(address: str, clip: bytes) -> int:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    try:
        connection.request("POST", "/v1/identify", clip)
        return connection.getresponse().status
    finally:
        connection.close()


def figures(address: str) -> str:
    with urlopen(f"{address}/metrics", timeout=10) as response:
        text: str = response.read().decode()
    return text


def identifications(address: str) -> int:
    found = re.findall(r"^fpserver_identifications_total\{.*\} (\S+)$", figures(address), flags=re.MULTILINE)
    return round(sum(map(float, found)))


def test_processes_on_one_port_add_up_their_metrics_and_a_dead_one_is_replaced(
    tmp_path: Path, clip: bytes
) -> None:
    with serving(tmp_path / "data", "--processes", "2", "--workers", "0") as server:
        assert wait_until(lambda: len(server.children("web")) == 2, within_s=10)
        assert [identify(server.address, clip) for _ in range(6)] == [200] * 6
        assert identifications(server.address) == 6
        killed = server.child("web")
        os.kill(killed, signal.SIGKILL)
        assert wait_until(
            lambda: killed not in server.children("web") and len(server.children("web")) == 2, within_s=10
        )
        assert identify(server.address, clip) == 200
        assert identifications(server.address) == 7, "what a dead process has counted stays counted"
        two = 'fpserver_processes{kind="web"} 2.0'
        assert wait_until(lambda: two in figures(server.address), within_s=10), "who lives is counted alone"
        assert server.stop() == 0


def test_a_request_that_is_under_way_is_answered_before_the_server_stops(tmp_path: Path, clip: bytes) -> None:
    with serving(tmp_path / "data", "--workers", "0") as server:
        connection = http.client.HTTPConnection(urlsplit(server.address).netloc, timeout=30)
        connection.putrequest("POST", "/v1/identify")
        connection.putheader("Content-Length", str(len(clip)))
        connection.endheaders(clip[: len(clip) // 2])
        time.sleep(0.3)
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.7)
        connection.send(clip[len(clip) // 2 :])
        assert connection.getresponse().status == 200
        connection.close()
        assert server.process.wait(20) == 0


def test_a_worker_of_its_own_indexes_what_a_server_without_workers_takes(tmp_path: Path) -> None:
    data_dir, music = tmp_path / "data", tmp_path / "music"
    music.mkdir()
    song_file(music, 3)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with serving(data_dir, "--workers", "0") as server:
        assert server.children("worker") == []
        worker = subprocess.Popen(
            [sys.executable, "-m", "fpserver", "work", "--data", str(data_dir)],
            env=os.environ | SETTINGS | {"FPSERVER_WORKER__METRICS_PORT": str(port)},
            stderr=subprocess.DEVNULL,
        )
        try:
            ingest = [sys.executable, "-m", "fpserver", "ingest", str(music), "--server", server.address]
            assert subprocess.run(ingest, stdout=subprocess.DEVNULL, timeout=60, check=False).returncode == 0
            assert 'fpserver_ingested_total{code="",status="indexed"} 1.0' in figures(
                f"http://127.0.0.1:{port}"
            )
            assert re.search(r'^fpserver_workers\{place=".*"\} 1.0$', figures(server.address), re.MULTILINE)
        finally:
            worker.terminate()
            status = worker.wait(30)
        assert status == 0


def test_a_server_whose_settings_are_not_the_indexs_says_which_and_does_not_start(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--workers", "0") as server:
        server.stop()
    refused = subprocess.run(
        [sys.executable, "-m", "fpserver", "serve", "--data", str(tmp_path / "data"), "--port", "0"],
        env=os.environ | {"FPSERVER_INDEX__N_SHARDS": "4"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 2
    assert "n_shards" in refused.stderr
    assert refused.stdout == ""
