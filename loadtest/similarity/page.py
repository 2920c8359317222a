"""The page of what was found."""

from collections.abc import Mapping
from typing import Any

from loadtest.similarity import segments
from loadtest.similarity.distances import N_RERANKED, RIGHT, TRANSPOSED

TARGET_COPIES, TARGET_SEGMENTS = 0.95, 0.9
INTRODUCTION = """# What sounds alike, on real music

{n_tracks} tracks ({hours:.1f} h) of the corpus, all of them candidates. Scales and axes are learned from all of them,
without labels.
Recipes (which descriptors, how many axes, weights of the default mix) were chosen on all clusters but the largest;
figures are of the {n_reported} tracks of the largest unless a table says "tuned on". Brackets hold 95 % intervals.

It is game music: synthesisers, loops, orchestral mock-ups, little classical music, few voices, no commercial pop.
Sound is mixed to one channel before anything is done to it, so loudness is that of the mixture.

{machine}.
"""
COPIES = """
## Changed copies find their original

Share of copies whose original is nearest of all tracks (rank 1); tracks that share material with it are no candidates.
The shortest tracks as wholes, changed by resampling and FFmpeg's atempo; excerpts are 20 s from anywhere at most 25 dB
below the track's level. MP3 at 32 kbit/s cuts off the highs, which spectral, timbre and plain MFCC means hear, and with
them the default mix. Warping compares the nearest {n} by "{first}" anew, an excerpt as a part.
**Bold**: at least {target:.0%}.

"""
SEGMENTS = """
## Moments of degraded clips

{n} clips of {seconds:g} s a row, cut anywhere within 6 dB of the track's level; recorded noise of six kinds
at {snr:g} dB; MP3 at 32 kbit/s. Exact search among {n_moments:,} moments. The clip is heard at four shifts of 0.125 s.
Strict: the right track, at most {tolerance:g} s off. Sounds the same: or a place whose waveform correlates with the
clean clip by {same:g} or more: this music loops. Track: anywhere in the right track.

"""


def page(found: Mapping[str, Any]) -> str:
    """As Markdown."""
    parts = [INTRODUCTION.format(**found)]
    parts += [_labels(name, each) for name, each in found["labels"].items()]
    parts += [_copies(found["copies"]), _segments(found["segments"])]
    return "".join(parts)


def _labels(name: str, found: Mapping[str, Any]) -> str:
    chance = found["chance"]
    lines = [
        f"\n## The five nearest: same {name}\n",
        f"{found['n']} tracks that have another one of their label; tracks that share material are no candidates.\n",
        "| measure | of the five | at least one |",
        "|---|---|---|",
        f"| chance | {chance['share']:.1%} | {chance['any']:.1%} |",
    ]
    lines += [
        f"| {measure} | {_interval(each['share'])} | {_interval(each['any'])} |"
        for measure, each in found["measures"].items()
    ]
    return "\n".join(lines) + "\n"


def _copies(found: Mapping[str, Any]) -> str:
    names = list(found)
    heads = [f"{name} (n = {found[name]['n']})" for name in names]
    lines = [f"| measure | {' | '.join(heads)} |", f"|---|{'---|' * len(names)}"]
    for measure in found[names[0]]["measures"]:
        cells = [_share(found[name]["measures"][measure], TARGET_COPIES) for name in names]
        lines.append(f"| {measure} | {' | '.join(cells)} |")
    among = " | ".join(f"{found[name]['among_reranked']:.1%}" for name in names)
    lines.append(f"| *among those that are compared by warping* | {among} |")
    right = [f"- {name}: {RIGHT[name]}, {_interval(found[name]['measures'][RIGHT[name]])}" for name in names]
    text = COPIES.format(n=N_RERANKED, first=TRANSPOSED, target=TARGET_COPIES)
    return (
        text
        + "\n".join(lines)
        + "\n\nThe measure that is meant for each change (others do as well, as the table shows):\n\n"
        + "\n".join(right)
        + "\n"
    )


def _segments(found: Mapping[str, Any]) -> str:
    rows = found["clips"]
    text = SEGMENTS.format(
        n=next(iter(rows.values()))["n"],
        seconds=segments.CLIP_S,
        snr=segments.SNR_DB,
        tolerance=segments.TOLERANCE_S,
        same=segments.SAME,
        n_moments=found["n_moments"],
    )
    lines = [
        "| clips | first: strict | sounds the same | first five: strict | sounds the same | track |",
        "|---|---|---|---|---|---|",
    ]
    columns = (("strict", 1), ("same", 1), ("strict", 5), ("same", 5), ("track", 5))
    for name, each in rows.items():
        cells = [_share(each[f"{truth}_{k}"], TARGET_SEGMENTS if k == 5 else 2.0) for truth, k in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return text + "\n".join(lines) + f"\n\n**Bold**: at least {TARGET_SEGMENTS:.0%} among the first five.\n"


def _share(each: Mapping[str, float], target: float) -> str:
    text = _interval(each)
    return f"**{text}**" if each["value"] >= target else text


def _interval(each: Mapping[str, float]) -> str:
    return f"{each['value']:.1%} [{each['low']:.1%}, {each['high']:.1%}]"
