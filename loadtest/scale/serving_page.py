"""What `loadtest.scale.serving` measured, for people."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fpserver.web.media import FINGERPRINT

Sizes = Mapping[str, Mapping[str, Any]]
TARGET_MS = {"p50": 15, "p99": 60}  # of a fingerprint body of clean sound among 100,000 tracks
MOST_GROWTH = 2.5  # times the time among 10,000 tracks
TIMES = "ms: 50 % | 95 % | 99 % | most | processor time, ms: web | decoding | store"
TARGETS_PER_CORE = {"fingerprint": 60, "WAV": 15}  # a second


def page(whole: Mapping[str, Any]) -> str:
    """Everything as Markdown."""
    sizes: Sizes = whole["sizes"]
    lines = [
        "# A server with very many tracks",
        "",
        whole["setting"],
        "Times are those of the one who asks, over HTTP on the same machine; he takes his share of its cores.",
        "",
        *_store(sizes),
        *_alone(sizes),
        *_costly(sizes),
        *_arriving(sizes, whole["cores"]),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _store(sizes: Sizes) -> Iterator[str]:
    yield "## Store"
    yield ""
    yield "Written at once, past the functions that add tracks (loadtest/bulk_index.py): how fast those are, is told by"
    yield "bulk_load.md and bulk_stream.md."
    yield ""
    yield "| tracks | hours | postings | MB | MB per hour | bytes a posting, with peaks | loaded in, s |"
    yield "|---" * 7 + "|"
    for found in sizes.values():
        of = found["held"]
        yield (
            f"| {of['tracks']:,} | {of['hours']:,} | {of['postings']:,} | {of['bytes'] / 1e6:,.0f} | "
            f"{of['bytes_per_hour'] / 1e6:.3f} | {of['bytes'] / of['postings']:.1f} | {of['load_s']} |"
        )
    yield ""


def _alone(sizes: Sizes) -> Iterator[str]:
    yield "## One clip at a time"
    yield ""
    yield "Clips of 10 s. Promised of fingerprint bodies of clean sound among 100,000 tracks: half within"
    yield f"{TARGET_MS['p50']} ms, 99 % within {TARGET_MS['p99']} ms. Processor time is that of the server, a clip."
    yield ""
    yield f"| tracks | clips | sent as | right | {TIMES} |"
    yield "|---" * 11 + "|"
    for found in sizes.values():
        for name, row in found["alone"].items():
            cell, kind = name.split(" ", 1)
            yield (
                f"| {found['held']['tracks']:,} | {cell} | {_form(kind)} | {row['right']} of {row['clips']} | "
                f"{_times(row)} | {_cpu(row)} |"
            )
    yield ""
    yield f"Time among so many tracks over that among 10,000 ({MOST_GROWTH} at most is promised), fingerprint bodies:"
    yield ""
    yield "| tracks | clips | 50 % | 99 % |"
    yield "|---|---|---|---|"
    before = sizes.get("10000")
    for found in sizes.values() if before else ():
        for name, row in found["alone"].items():
            if name.endswith(FINGERPRINT):
                then = before["alone"][name]["ms"] if before else row["ms"]
                growth = " | ".join(f"{row['ms'][share] / then[share]:.2f}" for share in ("p50", "p99"))
                yield f"| {found['held']['tracks']:,} | {name.split(' ', 1)[0]} | {growth} |"
    yield ""


def _costly(sizes: Sizes) -> Iterator[str]:
    yield "## Sounds made to cost much"
    yield ""
    yield "A minute of each, sent as WAV file; memory is the most that one process has had so far."
    yield ""
    yield (f"| tracks | sound | answered | {TIMES} | MB: web | decoding |")
    yield "|---" * 12 + "|"
    for found in sizes.values():
        for name, row in found["costly"].items():
            memory = row["peak_mb"]
            yield (
                f"| {found['held']['tracks']:,} | {name} | {row['clips'] - row['refused'] - row['failed']} of "
                f"{row['clips']} | {_times(row)} | {_cpu(row)} | {memory['web']} | {memory['decoding']} |"
            )
    yield ""


def _arriving(sizes: Sizes, cores: int) -> Iterator[str]:
    yield "## Clips that arrive at random"
    yield ""
    promised = ", ".join(f"{rate * cores} as {form}" for form, rate in TARGETS_PER_CORE.items())
    yield f"Clean clips of 10 s, a second: at least {promised} are promised of {cores} cores, 99 % within 500 ms. The"
    yield "last rows of each kind: three times the best rate, and half of it right after."
    yield ""
    yield (
        "| tracks | sent as | arrive a second | answered a second | right | refused (503, Retry-After) | failed "
        f"| {TIMES} |"
    )
    yield "|---" * 14 + "|"
    for found in sizes.values():
        for kind, of in found["arriving"].items():
            for row in (*of["steady"], of["over"], of["after"]):
                yield (
                    f"| {found['held']['tracks']:,} | {_form(kind)} | {row['rate']:g} | {row['served_per_s']} | "
                    f"{row['right']} of {row['clips']} | {row['refused']} | {row['failed']} | "
                    f"{_times(row)} | {_cpu(row)} |"
                )
    yield ""


def plot(path: Path, sizes: Sizes) -> None:
    """Times of fingerprint bodies over the size of the catalogue, by cell."""
    import matplotlib  # noqa: PLC0415 – the rest of the report is written without it

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    tracks = [found["held"]["tracks"] for found in sizes.values()]
    names = [name for name in next(iter(sizes.values()))["alone"] if name.endswith(FINGERPRINT)]
    for axis, share, title in zip(axes, ("p50", "p99"), ("half within", "99 % within"), strict=True):
        for name in names:
            times = [found["alone"][name]["ms"][share] for found in sizes.values()]
            axis.plot(tracks, times, marker="o", label=name.split(" ", 1)[0])
        axis.set(title=f"{title}, ms", xlabel="tracks in the catalogue", xscale="log", yscale="log")
        axis.grid(alpha=0.3, which="both")
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _form(kind: str) -> str:
    return "fingerprint" if kind == FINGERPRINT else "WAV"


def _times(row: Mapping[str, Any]) -> str:
    return " | ".join(f"{row['ms'][name]:g}" for name in ("p50", "p95", "p99", "most"))


def _cpu(row: Mapping[str, Any]) -> str:
    return " | ".join(f"{row['cpu_ms'][part]:.1f}" for part in ("web", "decoding", "store"))
