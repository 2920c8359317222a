"""A real HAProxy with the settings that compose.yaml uses, in front of servers of this machine."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

CONFIG = Path(__file__).parents[2] / "deploy" / "haproxy.cfg"
UP_LIMIT_S = 30.0


def program() -> str | None:
    """HAProxy, where it is installed."""
    return shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")


def settings(port: int, servers: Sequence[int]) -> str:
    """The settings with addresses of loopback in the place of theirs, and nothing else changed."""
    text = CONFIG.read_text(encoding="utf-8")
    for number, server in enumerate(servers, 1):
        text = text.replace(f"server{number}:8710", f"127.0.0.1:{server}")
    text = text.replace("bind :8080", f"bind 127.0.0.1:{port}")
    if re.search(r"server\d:8710|bind :", text):
        raise ValueError(f"{CONFIG} names other addresses than these are put in the place of")
    return text


@contextmanager
def balancing(folder: Path, *, port: int, servers: Sequence[int]) -> Iterator[str]:
    """Its address, from when it answers."""
    haproxy = program()
    if haproxy is None:
        raise RuntimeError("there is no haproxy here; on Debian: apt install haproxy")
    config = folder / "haproxy.cfg"
    config.write_text(settings(port, servers), encoding="utf-8")
    with (folder / "haproxy.log").open("a") as log:
        process = subprocess.Popen([haproxy, "-db", "-f", config], stdout=log, stderr=log)
    try:
        _wait(f"http://127.0.0.1:{port}/readyz", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    give_up = time.monotonic() + UP_LIMIT_S
    while True:
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError) as error:
            if time.monotonic() > give_up or process.poll() is not None:
                raise RuntimeError(f"haproxy does not answer: {error}; see its haproxy.log") from error
            time.sleep(0.1)
