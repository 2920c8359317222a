"""The pictures: how often right, the curve of new users, and right over coverage."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadtest.recommend.splits import N_GIVEN

Found = Mapping[str, Any]


def draw(found: Found, out: Path) -> None:
    """recommend.png: a row a data set; each recommender has its colour."""
    import matplotlib  # noqa: PLC0415 – the rest of the report is written without it

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    sets = found["sets"]
    figure, axes = plt.subplots(len(sets), 3, figsize=(16, 4.5 * len(sets)), squeeze=False)
    for row, each in zip(axes, sets, strict=True):
        colours = {name: plt.get_cmap("tab20")(i) for i, name in enumerate(each["recommenders"])}
        _bars(row[0], each, colours)
        _curves(row[1], each, colours)
        _coverage(row[2], each, colours)
    figure.tight_layout()
    figure.savefig(out / "recommend.png", dpi=80)
    plt.close(figure)


def _bars(axis: Any, found: Found, colours: Mapping[str, Any]) -> None:
    names = list(found["recommenders"])[::-1]
    cells = [found["recommenders"][name]["ndcg"] for name in names]
    reach = [
        [each["value"] - each["low"] for each in cells],
        [each["high"] - each["value"] for each in cells],
    ]
    values = [each["value"] for each in cells]
    axis.barh(names, values, xerr=reach, color=[colours[name] for name in names], ecolor="black")
    axis.set(title=found["name"], xlabel="nDCG@10, 95 % interval")
    axis.grid(axis="x", alpha=0.3)


def _curves(axis: Any, found: Found, colours: Mapping[str, Any]) -> None:
    for name, each in found["recommenders"].items():
        if f"given {N_GIVEN[0]}" in each:
            values = [each[f"given {n}"]["value"] for n in N_GIVEN]
            axis.plot(N_GIVEN, values, marker="o", color=colours[name])
    axis.set(title="new users", xlabel="events given", ylabel="nDCG@10", xticks=N_GIVEN)
    axis.grid(alpha=0.3)


def _coverage(axis: Any, found: Found, colours: Mapping[str, Any]) -> None:
    for name, each in found["recommenders"].items():
        axis.scatter(each["coverage"], each["ndcg"]["value"], s=60, color=colours[name])
    axis.set(title="right over coverage", xlabel="share of tracks in anybody's first ten", ylabel="nDCG@10")
    axis.grid(alpha=0.3)
