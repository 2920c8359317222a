"""The page of what was found."""

from collections.abc import Mapping, Sequence
from typing import Any

from loadtest.recommend.splits import N_GIVEN

INTRODUCTION = """# What next: recommendation on held-out time

Everybody is asked once a fold what he will like next, at a moment after T; what he did up to then is given, everything
else from after T is hidden. Right are tracks he had not met before and then liked: heard at least half of, liked, or
rated 4 or 5. What he met and what was not released is left out of every list. Figures are means over users (of whom
several folds are averaged), brackets hold 95 % intervals by resampling users 2,000 times. Settings of the baselines
were chosen by nDCG@10 on an earlier fold, which ends before the first reported T.

{machine}.
"""
SIMULATED = """
**Simulated.** Tracks are points, listeners are one to three points, in a space that was made up; see
[simulated.py](../recommend/simulated.py) and [listening.py](../recommend/listening.py) for every number and its reason.
Whoever models listeners as points is favoured by it. What came out: {shares}.
"""
REAL = """
Real ratings of films, which stand for tracks; directors for artists; tags are genres, decades and what a knowledge
graph says. There is no sound. Five folds, since most people rated in one sitting. No package was found that carries
real plays of music with times.
"""
MEASURES = (
    ("ndcg", "nDCG@10"),
    ("recall", "recall@20"),
    ("ndcg known", "nDCG@10, known users"),
    ("ndcg new", "nDCG@10, new users"),
)
BEYOND = (("diversity", "diversity"), ("novelty", "novelty, bits"), ("liking", "true liking"))
COLD = (
    ("cold in pool", "cold, pool"),
    ("warm in pool", "warm, pool"),
    ("cold over warm in pool", "cold / warm, pool"),
    ("cold among all", "cold, all tracks"),
    ("warm among all", "warm, all tracks"),
    ("cold over warm among all", "cold / warm, all tracks"),
)

Found = Mapping[str, Any]


def page(found: Found) -> str:
    """As Markdown."""
    return INTRODUCTION.format(**found) + "".join(_set(each) for each in found["sets"])


def _set(found: Found) -> str:
    parts = [f"\n## {found['name']}\n", _about(found), _sizes(found["n"]["folds"])]
    parts += [_table("How often right", found, MEASURES), _differences(found)]
    parts += [_beyond(found), _cold(found), _curve(found), _settings(found)]
    return "".join(parts)


def _about(found: Found) -> str:
    text = REAL
    if found["simulated"]:
        shares = found["shares"]
        text = SIMULATED.format(
            shares=", ".join(
                f"{name} {value:,.0f}" if value > 1 else f"{name} {value:.1%}"
                for name, value in shares.items()
            )
        )
    n = found["n"]
    return f"{text}\n{n['users']:,} users, {n['tracks']:,} tracks, {n['events']:,} events.\n"


def _sizes(folds: Sequence[Found]) -> str:
    heads = list(folds[0])
    lines = [_row(["fold", *(head.replace("_", " ") for head in heads)]), _row(["---"] * (len(heads) + 1))]
    lines += [_row([str(i + 1), *(f"{fold[head]:,}" for head in heads)]) for i, fold in enumerate(folds)]
    return "\n" + "\n".join(lines) + "\n"


def _table(title: str, found: Found, measures: Sequence[tuple[str, str]]) -> str:
    """A line a recommender, a column a measure; the best of each column in bold."""
    rows = found["recommenders"]
    known = [(key, head) for key, head in measures if any(key in each for each in rows.values())]
    best = {key: max(each[key]["value"] for each in rows.values() if key in each) for key, _ in known}
    heads = [f"{head} (n = {n})" if (n := _n(rows, key)) else head for key, head in known]
    lines = [_row(["", *heads]), _row(["---"] * (len(known) + 1))]
    for name, each in rows.items():
        cells = [_cell(each.get(key), best[key]) for key, _ in known]
        lines.append(_row([name, *cells]))
    return f"\n### {title}\n\n" + "\n".join(lines) + "\n"


def _differences(found: Found) -> str:
    """Of the first less each other, paired."""
    first = next(iter(found["recommenders"]))
    lines = [_row(["", "nDCG@10", "recall@20"]), _row(["---"] * 3)]
    lines += [
        _row([name, _signed(each["ndcg"]), _signed(each["recall"])])
        for name, each in found["differences"].items()
    ]
    return f"\n### {first} less the others, the same users\n\n" + "\n".join(lines) + "\n"


def _beyond(found: Found) -> str:
    text = _table("Beyond being right", found, BEYOND)
    covered = ", ".join(f"{name} {each['coverage']:.1%}" for name, each in found["recommenders"].items())
    return (
        text
        + "\nDiversity: 1 less the cosine between two tracks of a list, "
        + ("in the space of tastes" if found["simulated"] else "by genres")
        + ". Novelty: minus log2 of the share of users who had met a track. "
        + ("True liking: probability that the user likes a track of his list. " if found["simulated"] else "")
        + f"\n\nCoverage, share of all tracks that are in anybody's first ten: {covered}.\n"
    )


def _cold(found: Found) -> str:
    return (
        _table("Tracks that nobody had met", found, COLD)
        + "\nnDCG@10 with only cold (nobody met them before T), only warm tracks being right, of users who have both."
        + " Pool: among all cold tracks, among as many random warm ones. All tracks: right ones of the other kind are"
        + " taken out.\n"
    )


def _curve(found: Found) -> str:
    measures = [(f"given {n}", f"{n} events") for n in N_GIVEN]
    return _table("New users, by how much is given of them (nDCG@10)", found, measures)


def _settings(found: Found) -> str:
    chosen = [
        f"- {name}: {', '.join(f'{key} {value}' for key, value in each.items() if key != 'name') or 'none'};"
        f" {found['cpu_s'][name]:.1f} s of CPU for all folds"
        for name, each in found["settings"].items()
    ]
    return "\n### Settings\n\n" + "\n".join(chosen) + "\n"


def _n(rows: Mapping[str, Found], key: str) -> int | None:
    return next((each[key].get("n") for each in rows.values() if key in each), None)


def _cell(each: Found | None, best: float) -> str:
    if each is None:
        return ""
    text = f"{each['value']:.3f} [{each['low']:.3f}, {each['high']:.3f}]"
    return f"**{text}**" if each["value"] == best else text


def _signed(each: Found) -> str:
    text = f"{each['value']:+.3f} [{each['low']:+.3f}, {each['high']:+.3f}]"
    return f"{text}, lost" if each["high"] < 0 else text if each["low"] > 0 else f"{text}, open"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
