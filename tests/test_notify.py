"""systemd is told how it goes where it listens, and nobody is where it does not."""

import socket
from pathlib import Path

import pytest

from fpserver.notify import SOCKET_VARIABLE, tell


@pytest.mark.parametrize("abstract", [False, True])
def test_a_state_is_told(abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"@fpserver-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + address[1:] if abstract else address)
        monkeypatch.setenv(SOCKET_VARIABLE, address)
        tell("READY=1")
        tell("RELOADING=1")
        assert listener.recv(100) == b"READY=1"
        assert listener.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")


def test_nobody_is_told_where_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SOCKET_VARIABLE, raising=False)
    tell("READY=1")
    monkeypatch.setenv(SOCKET_VARIABLE, str(tmp_path / "nobody"))
    tell("READY=1")
