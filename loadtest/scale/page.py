"""The report for people, and its plot."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fpserver.search import STEPS


def page(whole: Mapping[str, Any]) -> str:
    """Everything as Markdown."""
    sizes: Mapping[str, Any] = whole["sizes"]
    lines = [
        "# Real tracks among synthetic ones",
        "",
        *(f"{line}\n" for line in whole["setting"]),
        *_promises(whole["promises"]),
        *_cells(sizes),
        *_wrong(sizes),
        *_chance(sizes),
        *_cost(sizes),
        *_store(whole["held"]),
        *_fit(whole["fit"]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _promises(promises: list[dict[str, Any]]) -> Iterator[str]:
    n_kept = sum(each["kept"] for each in promises)
    yield f"## Promises: {n_kept} kept, {len(promises) - n_kept} broken"
    yield ""
    yield "A loss is judged by its estimate; brackets hold its 95 % interval, points, against the same clips with no"
    yield "synthetic track (whole tracks resampled)."
    yield ""
    yield "| synthetic tracks | promise | measured | |"
    yield "|---|---|---|---|"
    for each in promises:
        verdict = "kept" if each["kept"] else "**broken**"
        yield f"| {each['synthetic']:,} | {each['promise']} | {each['said']} | {verdict} |"
    yield ""


def _cells(sizes: Mapping[str, Any]) -> Iterator[str]:
    first = next(iter(sizes.values()))
    yield "## Right and accepted, %"
    yield ""
    yield "Brackets: 95 % interval of the share; after the stroke: right as first guess, accepted or not."
    yield ""
    yield f"| cell | clips | target | {' | '.join(f'{int(size):,} synthetic' for size in sizes)} |"
    yield "|---|---|---|" + "---|" * len(sizes)
    for name, cell in first["cells"].items():
        if "right" not in cell:
            continue
        target = f"{100 * cell['target']:g}" if cell["target"] else ""
        shares = []
        for found in sizes.values():
            right, top = found["cells"][name]["right"], found["cells"][name]["first_right"]
            low, high = 100 * right["low"], 100 * right["high"]
            shares.append(f"{100 * right['value']:.0f} [{low:.0f}, {high:.0f}] / {100 * top:.0f}")
        yield f"| {name} | {cell['clips']} | {target} | {' | '.join(shares)} |"
    yield ""
    yield f"Clips that ended in the {' / '.join(STEPS)} step, and milliseconds of search a clip, median / 99 %:"
    yield ""
    yield f"| cell | {' | '.join(f'{int(size):,} synthetic' for size in sizes)} |"
    yield "|---|" + "---|" * len(sizes)
    for name in first["cells"]:
        told = []
        for found in sizes.values():
            cell = found["cells"][name]
            ended = " / ".join(str(cell["ended_in"][step]) for step in STEPS)
            told.append(f"{ended}; {_ms(cell['seconds'])}")
        yield f"| {name} | {' | '.join(told)} |"
    yield ""


def _wrong(sizes: Mapping[str, Any]) -> Iterator[str]:
    yield "## Accepted and wrong"
    yield ""
    yield "Tracks that are neither the clip's nor share material with it, by the corpus; synthetic ones included."
    yield ""
    for size, found in sizes.items():
        wrong = found["false_accepts"]
        rate = wrong["unknown_accepted"]
        yield (
            f"- {int(size):,} synthetic: {wrong['accepted_wrong']} of {wrong['clips']} clips; of "
            f"{wrong['unknown_clips']} unknown ones {100 * rate['value']:.2f} % "
            f"[{100 * rate['low']:.2f}, {100 * rate['high']:.2f}]."
            if wrong["unknown_clips"]
            else f"- {int(size):,} synthetic: {wrong['accepted_wrong']} of {wrong['clips']} clips."
        )
        for each in wrong["which"]:
            truth = each["truth"] or "unknown"
            yield f"    - {each['cell']} {each['number']}, {truth}: {', '.join(each['wrong'])}"
    yield ""


def _chance(sizes: Mapping[str, Any]) -> Iterator[str]:
    yield "## The best wrong candidate"
    yield ""
    yield "Of every clip that took a step: 50 / 90 / 99 % quantile and highest of its lead; clips with one at or below"
    yield "an expected rate of false accepts, measured (promised). Later steps are taken by unsure clips."
    yield ""
    rates = list(next(iter(sizes.values()))["steps"][STEPS[0]]["wrong"]["below"])
    yield f"| synthetic tracks | step | lead | {' | '.join(f'rate {rate}' for rate in rates)} |"
    yield "|---|---|---|" + "---|" * len(rates)
    for size, found in sizes.items():
        for step in STEPS:
            wrong = found["steps"][step]["wrong"]
            lead = " / ".join(f"{each:.2f}" for each in wrong["lead"])
            counts = (f"{each['measured']} ({each['promised']:g})" for each in wrong["below"].values())
            yield f"| {int(size):,} | {step} | {lead} | {' | '.join(counts)} |"
    yield ""


def _cost(sizes: Mapping[str, Any]) -> Iterator[str]:
    yield "## Cost of a clip"
    yield ""
    yield "Median / 99 % / most over the clips that took the step."
    yield ""
    yield "| synthetic tracks | step | clips | ended here | look-ups | postings read | lists left out | candidates |"
    yield "|---|---|---|---|---|---|---|---|"
    for size, found in sizes.items():
        for step in STEPS:
            of = found["steps"][step]
            yield (
                f"| {int(size):,} | {step} | {of['clips']} | {of['ended']} | {_counts(of['lookups'])} | "
                f"{_counts(of['postings'])} | {_counts(of['stopped'])} | {_counts(of['candidates'])} |"
            )
        both = found["all_steps"]
        n_clips = found["false_accepts"]["clips"]
        yield (
            f"| {int(size):,} | all | {n_clips} | | {_counts(both['lookups'])} | {_counts(both['postings'])} | | |"
        )
    yield ""
    stages = list(dict.fromkeys(stage for found in sizes.values() for stage in found["seconds"]))
    yield "Milliseconds of search a clip, as many at a time as said above, median / 99 % / most:"
    yield ""
    yield f"| synthetic tracks | {' | '.join(stages)} | answers incomplete |"
    yield "|---|" + "---|" * (len(stages) + 1)
    for size, found in sizes.items():
        times = " | ".join(
            f"{_ms(found['seconds'][stage])} / {1e3 * found['seconds'][stage]['max']:.0f}" for stage in stages
        )
        yield f"| {int(size):,} | {times} | {found['degraded']} |"
    yield ""


def _store(held: Mapping[str, Any]) -> Iterator[str]:
    yield "## Store"
    yield ""
    yield "| synthetic tracks | tracks | hours | postings | MB | MB per hour | loaded in, s |"
    yield "|---|---|---|---|---|---|---|"
    for size, of in held.items():
        yield (
            f"| {int(size):,} | {of['tracks']:,} | {of['hours']:,.1f} | {of['postings']:,} | {of['bytes'] / 1e6:,.1f} "
            f"| {of['bytes_per_hour'] / 1e6:.3f} | {of['load_s']:.0f} |"
        )
    yield ""


def _fit(fit: Mapping[str, Any]) -> Iterator[str]:
    yield "## How like real tracks the synthetic ones are"
    yield ""
    yield (
        "| | tracks | hours | peaks/s | landmarks/s | length, s: 10 / 25 / 50 / 75 / 90 % | postings under the most "
        "frequent 0.1 / 1 / 10 % of hashes |"
    )
    yield "|---|---|---|---|---|---|---|"
    for kind, of in fit["shape"].items():
        lengths = " / ".join(f"{each:.0f}" for each in of["length_s"])
        shares = " / ".join(f"{100 * each:.1f} %" for each in of["top_shares"])
        yield (
            f"| {kind} | {of['tracks']} | {of['hours']} | {of['peaks_per_s']} | {of['landmarks_per_s']} | "
            f"{lengths} | {shares} |"
        )
    yield ""
    yield "Expected length of the list that a posting meets among a million postings of other tracks:"
    yield ""
    yield from (f"- {name}: {value:.2f}" for name, value in fit["met"].items())
    yield ""
    n_clips, n_tracks = fit["clips"], fit["tracks"]
    yield f"What {n_clips} clips of the cells above find among {n_tracks} tracks each that they are not of, all steps"
    yield "taken; 50 / 90 / 99 % quantiles over clips:"
    yield ""
    kinds = list(next(iter(fit["by_chance"].values())))
    yield f"| step | | {' | '.join(kinds)} |"
    yield "|---|---|" + "---|" * len(kinds)
    for step, by_kind in fit["by_chance"].items():
        for name, said, digits in (
            ("hits_per_lookup", "wrong hits a look-up", 3),
            ("score", "best wrong score", 2),
        ):
            told = (" / ".join(f"{each:.{digits}f}" for each in by_kind[kind][name]) for kind in kinds)
            yield f"| {step} | {said} | {' | '.join(told)} |"
    yield ""


def plot(path: Path, sizes: Mapping[str, Any], n_real: int) -> None:
    """Right and accepted over the size of the catalogue, a panel a family of cells.

    Raises:
        ImportError: there is no matplotlib.
    """
    import matplotlib  # noqa: PLC0415 – the rest of the report is written without it

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    names = [name for name, cell in next(iter(sizes.values()))["cells"].items() if "right" in cell]
    families = list(dict.fromkeys(name.split("_")[0] for name in names))
    figure, axes = plt.subplots(
        1, max(1, len(families)), figsize=(3.5 * max(1, len(families)), 4), squeeze=False, sharey=True
    )
    tracks = [n_real + int(size) for size in sizes]
    for axis, family in zip(axes.flat, families, strict=False):
        for name in (each for each in names if each.split("_")[0] == family):
            shares = [100 * found["cells"][name]["right"]["value"] for found in sizes.values()]
            axis.plot(tracks, shares, marker="o", label=name)
        axis.set(title=family, xlabel="tracks in the catalogue", xscale="log", ylim=(0, 101))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    axes[0, 0].set_ylabel("right and accepted, %")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _counts(spread: Mapping[str, float]) -> str:
    return " / ".join(f"{spread[name]:,.0f}" for name in ("median", "p99", "max"))


def _ms(spread: Mapping[str, float]) -> str:
    return f"{1e3 * spread['median']:.0f} / {1e3 * spread['p99']:.0f}"
