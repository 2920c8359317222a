"""The pictures: how often right, the curve of new users, and right over coverage."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadtest.recommend.splits import N_GIVEN

Found = Mapping[str, Any]


def draw(found: Found, out: Path) -> None:
    """recommend.png: a row a data set."""
    import matplotlib  # noqa: PLC0415 – the rest of the report is written without it

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    sets = found["sets"]
    figure, axes = plt.subplots(len(sets), 3, figsize=(16, 4.5 * len(sets)), squeeze=False)
    for row, each in zip(axes, sets, strict=True):
        _bars(row[0], each)
        _curves(row[1], each)
        _coverage(row[2], each)
    figure.tight_layout()
    figure.savefig(out / "recommend.png", dpi=100)
    plt.close(figure)


def _bars(axis: Any, found: Found) -> None:
    names = list(found["recommenders"])[::-1]
    cells = [found["recommenders"][name]["ndcg"] for name in names]
    values = [each["value"] for each in cells]
    reach = [
        [each["value"] - each["low"] for each in cells],
        [each["high"] - each["value"] for each in cells],
    ]
    axis.barh(names, values, xerr=reach, color="tab:blue", ecolor="black", alpha=0.8)
    axis.set(title=found["name"], xlabel="nDCG@10, 95 % interval")
    axis.grid(axis="x", alpha=0.3)


def _curves(axis: Any, found: Found) -> None:
    for name, each in found["recommenders"].items():
        if f"given {N_GIVEN[0]}" in each:
            axis.plot(N_GIVEN, [each[f"given {n}"]["value"] for n in N_GIVEN], marker="o", label=name)
    axis.set(title="new users", xlabel="events given", ylabel="nDCG@10", xticks=N_GIVEN)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)


def _coverage(axis: Any, found: Found) -> None:
    for name, each in found["recommenders"].items():
        axis.plot(each["coverage"], each["ndcg"]["value"], marker="o", ls="", label=name)
        axis.annotate(name, (each["coverage"], each["ndcg"]["value"]), fontsize=7)
    axis.set(title="right over coverage", xlabel="share of tracks in anybody's first ten", ylabel="nDCG@10")
    axis.grid(alpha=0.3)
