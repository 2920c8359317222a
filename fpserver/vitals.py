"""What a process is doing to its machine, as it tells itself: memory, descriptors, age.

With `PROMETHEUS_MULTIPROC_DIR` set, Prometheus' own figures of a process are not there: each process tells its own
under its kind ("web", "worker"), for as long as it lives.
"""

import os
import resource
import time
from importlib.metadata import version
from pathlib import Path

from fpserver import metrics

VERSION = version("fpserver")
_STARTED_AT = time.time()
_OWN = Path("/proc/self")


def tell(kind: str) -> None:
    """Tell now; where there is no /proc, of its age alone."""
    metrics.BUILD.labels(VERSION).set(1)
    metrics.PROCESSES.labels(kind).set(1)
    metrics.PROCESS_STARTED.labels(kind).set(_STARTED_AT)
    if _OWN.is_dir():
        pages = int((_OWN / "statm").read_text().split()[1])
        metrics.PROCESS_RESIDENT_BYTES.labels(kind).set(pages * os.sysconf("SC_PAGE_SIZE"))
        metrics.PROCESS_OPEN_FDS.labels(kind).set(sum(1 for _ in (_OWN / "fd").iterdir()))
        metrics.PROCESS_MAX_FDS.labels(kind).set(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def tell_pool(kind: str, *, n_processes: int, n_running: int, n_waiting: int) -> None:
    """Tell of this process's decoding processes."""
    metrics.POOL_PROCESSES.labels(kind).set(n_processes)
    metrics.POOL_RUNNING.labels(kind).set(n_running)
    metrics.POOL_WAITING.labels(kind).set(n_waiting)
