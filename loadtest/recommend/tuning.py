"""Settings of the baselines, chosen on the earlier fold by nDCG@10.

Every setting of a small grid is tried; the best one is reported with.
"""

from collections.abc import Callable, Iterator, Mapping
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
        {
            "name": ("implicit: item-item, BM25",),
            "kind": ("bm25",),
            "counted": tuple(Counted),
            "n_neighbors": (100, 500, 2000),
            "k1": (0.1, 0.3, 1.2),
        },
    ),
    (
        ImplicitItems,
        {
            "name": ("implicit: item-item, cosine or TF-IDF",),
            "kind": ("tfidf", "cosine"),
            "counted": tuple(Counted),
            "n_neighbors": (100, 500, 2000),
        },
    ),
    (
        ImplicitFactors,
        {
            "counted": (Counted.POSITIVE, Counted.GRADED),  # any: worst of all at every setting tried by hand
            "n_factors": (16, 64, 128),
            "alpha": (0.1, 0.3, 1.0, 5.0, 20.0),
            "regularization": (3.0, 30.0, 100.0),
        },
    ),
)


def chosen(task: Task) -> Iterator[tuple[Made, dict[str, Any]]]:
    """What makes each baseline, and its best settings."""
    for made, grid in GRIDS:
        settings = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
        best = max(settings, key=lambda each: _ndcg(task, made(**each))) if len(settings) > 1 else settings[0]
        yield made, best


def again(settings: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[Made, dict[str, Any]]]:
    """The same from an earlier report, by the names of the baselines.

    Raises:
        KeyError: a baseline is not in the report.
    """
    for made, grid in GRIDS:
        first = {name: values[0] for name, values in grid.items()}
        found = dict(settings[made(**first).name])
        if "counted" in found:
            found["counted"] = Counted(found["counted"])
        yield made, found


def _ndcg(task: Task, recommender: Recommender) -> float:
    judged = judge(task.dataset, task.earlier, recommender, cold=False, curve=False)
    return float(judged.figures["ndcg"].value.mean())
