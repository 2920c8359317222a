"""Settings of the baselines, chosen on the earlier fold by nDCG@10.

Every setting of a small grid is tried; the best one is reported with. Grids are wide enough that, where a best setting
lies at an end, going further was tried by hand and gave nothing.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

from loadtest.recommend.baselines import (
    Counted,
    ImplicitFactors,
    ImplicitItems,
    ItemCosine,
    Popularity,
    Random,
    Recommender,
)
from loadtest.recommend.judge import judge
from loadtest.recommend.tasks import Task

Made = Callable[..., Recommender]

GRIDS: tuple[tuple[Made, dict[str, tuple[Any, ...]]], ...] = (
    (Random, {}),
    (Popularity, {}),
    (Popularity, {"name": ("popularity, recent",), "days": (7, 14, 30, 60, 120)}),
    (ItemCosine, {"counted": tuple(Counted), "shrink": (0.0, 10.0, 30.0, 100.0)}),
    (
        ImplicitItems,
        {"kind": ("bm25", "tfidf", "cosine"), "counted": tuple(Counted), "n_neighbors": (20, 100, 500)},
    ),
    (
        ImplicitFactors,
        {
            "counted": tuple(Counted),
            "n_factors": (8, 16, 32, 64),
            "alpha": (1.0, 5.0, 20.0),
            "regularization": (0.1, 3.0, 30.0),
        },
    ),
)


def chosen(task: Task) -> Iterator[tuple[Made, dict[str, Any]]]:
    """What makes each baseline, and its best settings."""
    for made, grid in GRIDS:
        settings = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
        best = max(settings, key=lambda each: _ndcg(task, made(**each))) if len(settings) > 1 else settings[0]
        yield made, best


def _ndcg(task: Task, recommender: Recommender) -> float:
    judged = judge(task.dataset, task.earlier, recommender, cold=False, curve=False)
    return float(judged.figures["ndcg"].value.mean())
