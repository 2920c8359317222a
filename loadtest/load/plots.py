"""The pictures: how long requests took, by kind, and what was sampled over time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from loadtest.load.histogram import EDGES_S, Histogram

COLUMNS = 3
LEAST_DRAWN = 5  # requests of a kind


def _pyplot() -> Any:
    import matplotlib  # noqa: PLC0415 – the rest of the report is written without it

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    return plt


def histograms(path: Path, phases: Mapping[str, Mapping[str, Histogram]]) -> None:
    """A picture per kind, a line per phase: which share took longer."""
    plt = _pyplot()
    names = [
        name
        for name in next(iter(phases.values()))
        if any(each[name].n >= LEAST_DRAWN for each in phases.values())
    ]
    rows = -(-len(names) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(5 * COLUMNS, 3 * rows), squeeze=False)
    for axis, name in zip(axes.flat, names, strict=False):
        for phase, found in phases.items():
            counts = found[name].counts
            if found[name].n:
                longer = 1 - np.cumsum(counts)[:-1] / found[name].n
                seen = (longer > 0) & (longer < 1)
                axis.step(
                    1e3 * EDGES_S[seen], longer[seen], where="post", label=f"{phase}, n {found[name].n}"
                )
        axis.set(title=name, xscale="log", yscale="log", xlabel="ms", ylabel="share that took longer")
        ends = np.array(
            [found[name].quantile(q) for found in phases.values() if found[name].n for q in (0, 1)]
        )
        axis.set_xlim(
            *10 ** np.array([np.floor(np.log10(1e3 * ends.min())), np.ceil(np.log10(1e3 * ends.max()))])
        )
        axis.axhline(0.01, color="grey", lw=0.5)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=6)
    for axis in list(axes.flat)[len(names) :]:
        axis.set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    plt.close(figure)


def over_time(
    path: Path,
    panels: Mapping[str, Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]]],
    *,
    marks: Sequence[float] = (),
    log: Sequence[str] = (),
) -> None:
    """A panel for each name, a line for each of its series; marks are vertical lines."""
    plt = _pyplot()
    figure, axes = plt.subplots(len(panels), 1, figsize=(11, 2.4 * len(panels)), sharex=True, squeeze=False)
    for axis, (name, lines) in zip(axes[:, 0], panels.items(), strict=True):
        colours = plt.get_cmap("tab20" if len(lines) > 10 else "tab10")
        for i, (label, (times, values)) in enumerate(lines.items()):
            axis.plot(times, values, lw=0.9, label=label, color=colours(i))
        for mark in marks:
            axis.axvline(mark, color="grey", lw=0.6, ls=":")
        axis.set(ylabel=name, yscale="log" if name in log else "linear")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=6, ncol=4)
    axes[-1, 0].set(xlabel="s")
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)
