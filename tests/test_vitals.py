"""What a process tells of itself is what the machine says of it."""

import os
import time

import pytest

from fpserver import metrics, vitals
from loadtest.processes import age_s, resident_bytes


def told(name: str, kind: str) -> float:
    for line in metrics.exposition().decode().splitlines():
        if line.startswith(f'{name}{{kind="{kind}"}}'):
            return float(line.rsplit(" ", 1)[1])
    raise AssertionError(f"no {name} of {kind}")


def test_memory_descriptors_and_age_are_those_of_this_process() -> None:
    vitals.tell("web")
    assert told("fpserver_processes", "web") == 1
    assert told("fpserver_process_resident_memory_bytes", "web") == pytest.approx(
        resident_bytes(os.getpid()), rel=0.05
    )
    n_before = told("fpserver_process_open_fds", "web")
    assert 3 <= n_before < told("fpserver_process_max_fds", "web")
    with open(os.devnull):  # noqa: PTH123 – one more descriptor
        vitals.tell("web")
        assert told("fpserver_process_open_fds", "web") == n_before + 1
    age = time.time() - told("fpserver_process_start_time_seconds", "web")
    assert 0 <= age <= age_s(os.getpid()) + 1


def test_what_happens_seldom_is_there_before_it_happens() -> None:
    told = metrics.exposition().decode()
    assert 'fpserver_trained_total{status="failed"}' in told
    assert 'fpserver_identifications_total{degraded="true",outcome="match"}' in told


def test_the_version_is_told() -> None:
    vitals.tell("web")
    assert f'fpserver_build_info{{version="{vitals.VERSION}"}} 1.0' in metrics.exposition().decode()
