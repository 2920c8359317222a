"""Become the server, and die with the parent: run as a script between fork and exec, never imported.

    python launch.py PARENT_PID SERVER CONF

PR_SET_PDEATHSIG survives exec: when the process that started it is gone, kill -9 included, the server gets
SIGTERM and ends in good order. It is asked for here, in a process of its own, because Python code between
fork and exec (`preexec_fn`) is unsafe in a parent with threads. Linux only; elsewhere an orphaned server
lives on until the next process on its folder adopts it.

The signal is sent when the *thread* that forked ends: start servers from the main thread.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for the signal, check that the parent did not die before that, become the server."""
    parent, server, conf = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit(0)
    os.execv(server, [server, conf])


if __name__ == "__main__":
    main()
