"""Processes of this machine and their families, from /proc."""

import os
import re
import time
from pathlib import Path


def children_of(pid: int) -> list[int]:
    """Pids of a process's living children, in order."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        fields = _fields(stat)
        if fields and int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return sorted(found)


def descendants_of(pid: int) -> set[int]:
    """Pids of its children, their children, and so on."""
    children = children_of(pid)
    return set(children).union(*(descendants_of(child) for child in children))


def command_line(pid: int) -> str:
    """A process's command, its arguments separated by spaces; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Whether a process runs: one that has ended and waits for its parent does not."""
    fields = _fields(Path(f"/proc/{pid}/stat"))
    return bool(fields) and fields[0] != "Z"


def cpu_s(pid: int) -> float:
    """User and system time of a process and of those children that it has seen end, seconds."""
    fields = _fields(Path(f"/proc/{pid}/stat"))
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had resident; 0 when it is gone."""
    return _memory_bytes(pid, "VmHWM")


def resident_bytes(pid: int) -> int:
    """The memory that a process has resident now; 0 when it is gone."""
    return _memory_bytes(pid, "VmRSS")


def open_files(pid: int) -> int:
    """How many descriptors a process has open; 0 when it is gone."""
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0


def age_s(pid: int) -> float:
    """Seconds since a process was started; 0 when it is gone."""
    fields = _fields(Path(f"/proc/{pid}/stat"))
    now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    return now_s - int(fields[19]) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def _memory_bytes(pid: int, name: str) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
    return 1024 * int(found[1]) if found else 0


def _fields(stat: Path) -> list[str]:
    """State, parent's pid, and what proc(5) lists after them; nothing when the process is gone."""
    try:
        return stat.read_text().rpartition(")")[2].split()
    except OSError:
        return []
