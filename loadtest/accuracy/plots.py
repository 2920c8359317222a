"""The three pictures: right over noise, missed over falsely accepted, right over bytes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Points = Sequence[tuple[float, float]]


def snr_curves(path: Path, panels: Mapping[str, Mapping[str, Points]]) -> None:
    """A panel a family and length: share right over signal-to-noise ratio, a line a system."""
    plt = _pyplot()
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(5 * columns, 3.5 * rows), squeeze=False, sharey=True)
    for axis, (title, lines) in zip(axes.flat, panels.items(), strict=False):
        for i, (name, points) in enumerate(lines.items()):
            axis.plot(*zip(*sorted(points), strict=True), marker=".", lw=2 if i == 0 else 1, label=name)
        axis.set(title=title, xlabel="signal-to-noise ratio, dB (130-5000 Hz)", ylim=(-0.02, 1.02))
        axis.axhline(0.5, color="grey", lw=0.5)
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("share of clips right")
    axes[0, 0].legend(fontsize=7)
    _save(figure, path)


def det_curves(path: Path, systems: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> None:
    """Missed over falsely accepted, both as shares: (scores of right first guesses, of unknown clips) a system.

    A clip whose first guess is wrong has −inf among the first: it is missed at every threshold.
    """
    plt = _pyplot()
    figure, axis = plt.subplots(figsize=(7, 5))
    for name, (known, unknown) in systems.items():
        thresholds = np.unique(np.concatenate([unknown, known]))
        thresholds = thresholds[np.isfinite(thresholds)]
        accepted = [float(np.mean(np.asarray(unknown) >= level)) for level in thresholds]
        missed = [float(np.mean(np.asarray(known) < level)) for level in thresholds]
        axis.plot(np.maximum(accepted, 0.3 / len(unknown)), missed, label=name)
    axis.set(
        xscale="log",
        title="all known clips but those of another speed, tempo or pitch",
        xlabel="unknown music clips accepted (left edge: none)",
        ylabel="known clips missed or wrong",
        ylim=(0, 1),
    )
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize=7)
    _save(figure, path)


def byte_curves(path: Path, panels: Mapping[str, Mapping[str, Points]]) -> None:
    """A panel a cell: share right over megabytes per hour, a line a family of systems."""
    plt = _pyplot()
    figure, axes = plt.subplots(1, len(panels), figsize=(4.5 * len(panels), 4), squeeze=False, sharey=True)
    for axis, (title, lines) in zip(axes.flat, panels.items(), strict=True):
        for name, points in lines.items():
            axis.plot(*zip(*sorted(points), strict=True), marker="o", label=name)
        axis.set(title=title, xlabel="index, MB per hour of audio", ylim=(-0.02, 1.02), xscale="log")
        axis.grid(alpha=0.3, which="both")
    axes[0, 0].set_ylabel("share of clips right")
    axes[0, 0].legend(fontsize=7)
    _save(figure, path)


def _pyplot() -> Any:
    import matplotlib  # noqa: PLC0415 – the rest of the report is written without it

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    return plt


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    _pyplot().close(figure)
