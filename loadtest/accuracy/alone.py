"""How long a clip takes when nobody else asks."""

from typing import Any

import numpy as np

from loadtest.accuracy.cells import ALONE
from loadtest.accuracy.clips import Studio, render
from loadtest.accuracy.peer_fpserver import FpserverPeer


def times_alone(studio: Studio, peer: FpserverPeer, n_clips: int) -> dict[str, Any]:
    """By cell: milliseconds of `n_clips` requests, one after the other, by stage and as the client saw them."""
    told: dict[str, Any] = {}
    for cell in ALONE:
        answers = []
        for number in range(n_clips + 1):
            clip, pcm = render(studio, cell, 10_000 + number)
            answers += peer.ask(clip, pcm)
        timed = [answer for answer in answers[1:] if "timings_ms" in answer.detail]  # the first one warms up
        if not timed:
            continue
        rows = [answer.detail["timings_ms"] for answer in timed]
        stages = sorted({stage for row in rows for stage in row})
        told[cell.name] = {
            "clips": len(timed),
            "client_ms": _spread([1e3 * answer.seconds for answer in timed if answer.seconds is not None]),
            "total_ms": _spread([sum(row.values()) for row in rows]),
            "stages_ms": {stage: _spread([row.get(stage, 0.0) for row in rows]) for stage in stages},
        }
    return told


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(float(np.median(values)), 2),
        "p99": round(float(np.quantile(values, 0.99)), 2),
        "max": round(max(values), 2),
    }
