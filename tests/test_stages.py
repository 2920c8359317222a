"""What is measured while somebody collects is told to him, and to nobody else."""

import asyncio

import pytest

from fpserver import metrics, stages


def observed(journey: str, stage: str) -> float:
    for line in metrics.exposition().decode().splitlines():
        if line.startswith(f'fpserver_stage_seconds_count{{journey="{journey}",stage="{stage}"}}'):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


def test_what_is_noted_adds_up_by_stage_and_outside_it_is_told_to_nobody() -> None:
    stages.note("index", 5.0)
    with stages.collected() as spent:
        stages.note("index", 0.5)
        stages.note("index", 0.25)
    stages.note("index", 7.0)
    assert spent == {"index": 0.75}


async def test_tasks_begun_inside_tell_the_same_collector_and_others_do_not() -> None:
    async def answer(stage: str) -> dict[str, float]:
        with stages.collected() as spent:
            await asyncio.gather(*(work(f"{stage}{i}") for i in range(2)))
        return spent

    async def work(stage: str) -> None:
        with stages.noted(stage):
            await asyncio.sleep(0.001)

    a, b = await asyncio.gather(answer("a"), answer("b"))
    assert (set(a), set(b)) == ({"a0", "a1"}, {"b0", "b1"})
    assert min(*a.values(), *b.values()) >= 0.001


def test_a_stage_that_fails_is_told_to_the_request_and_is_no_measurement() -> None:
    before = observed("train", "read")
    with stages.collected() as spent, pytest.raises(OSError), stages.measured("train", "read"):
        raise OSError
    assert "read" in spent and observed("train", "read") == before
    with stages.measured("train", "read"):
        pass
    assert observed("train", "read") == before + 1
