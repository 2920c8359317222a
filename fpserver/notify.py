"""Tell systemd how it goes, where it has asked (`Type=notify`): READY=1, RELOADING=1, STOPPING=1. See sd_notify(3)."""

import contextlib
import os
import socket
import time

SOCKET_VARIABLE = "NOTIFY_SOCKET"


def tell(state: str) -> None:
    """Say a state; nothing where nobody listens."""
    address = os.environ.get(SOCKET_VARIABLE, "")
    if not address:
        return
    if state == "RELOADING=1":
        state += f"\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
