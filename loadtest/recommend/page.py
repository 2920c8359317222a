"""The page of what was found."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loadtest.recommend.splits import N_GIVEN

INTRODUCTION = """# What next: recommendation on held-out time

Everybody is asked once a fold what he will like next, at a moment after T; what he did up to then is given, everything
else from after T is hidden. Right are tracks he had not met before and then liked: heard at least half of, liked, or
rated 4 or 5. What he met and what was not released is left out of every list. Figures are means over users (of whom
several folds are averaged), brackets hold 95 % intervals by resampling users 2,000 times. Settings of the baselines
were chosen by nDCG@10 on an earlier fold, which ends before the first reported T; the second simulated population was
used for nothing but this page.

![how often right, new users, coverage](recommend.png)

{machine}.
"""
SIMULATED = """
**Simulated.** Tracks are points, listeners are one to three points, in a space that was made up; see
[simulated.py](../recommend/simulated.py), [world.py](../recommend/world.py) and
[listening.py](../recommend/listening.py) for every number and its reason.
Whoever models listeners as points is favoured by it. What came out: {shares}.
"""
REAL = """
Real ratings of films, which stand for tracks; directors for artists; tags are genres, decades and what a knowledge
graph (of a later day, without awards) says. There is no sound. Five folds, since most people rated in one sitting. No
package was found that carries real plays of music with times.
"""
RIGHT = (
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
COLD_SHARE, COVERAGE_TIMES = 0.5, 2.0  # what is aimed for
POPULARITY = "popularity"

Found = Mapping[str, Any]


def page(found: Found) -> str:
    """As Markdown."""
    return INTRODUCTION.format(**found) + "".join(_set(each) for each in found["sets"])


def _set(found: Found) -> str:
    parts = [f"\n## {found['name']}\n", _about(found), _sizes(found["n"]["folds"])]
    if found["n_ours"]:
        parts.append(_aims(found))
    parts.append(_table("How often right", found, RIGHT))
    if found["n_ours"]:
        parts.append(_differences(found))
    parts += [_beyond(found), _cold(found), _curve(found), _settings(found)]
    return "".join(parts)


def _about(found: Found) -> str:
    text = REAL
    if found["simulated"]:
        text = SIMULATED.format(shares=", ".join(_share(*each) for each in found["shares"].items()))
    n = found["n"]
    return f"{text}\n{n['users']:,} users, {n['tracks']:,} tracks, {n['events']:,} events.\n"


def _share(name: str, value: float) -> str:
    return f"{name} {value:,.0f}" if value > 1 else f"{name} {value:.1%}"


def _sizes(folds: Sequence[Found]) -> str:
    heads = list(folds[0])
    rows = [[str(i + 1), *(f"{fold[head]:,}" for head in heads)] for i, fold in enumerate(folds)]
    return "\n" + _rows(["fold", *(head.replace("_", " ") for head in heads)], rows)


def _aims(found: Found) -> str:
    """What was aimed for, and whether it is reached."""
    return "\n### What was aimed for\n\n" + "\n".join(f"- {line}" for line in _aimed(found)) + "\n"


def _aimed(found: Found) -> Iterator[str]:
    names = list(found["recommenders"])
    first, beaten = names[0], found["differences"]
    not_beaten = [name for name in names[1:] if beaten[name]["ndcg"]["low"] <= 0]
    said = "reached" if not not_beaten else f"**missed** against {', '.join(not_beaten)}"
    yield f"nDCG@10 of {first} is above that of every other, with the whole interval of the difference: {said}"
    if found["simulated"]:
        for where in ("pool", "all tracks"):
            key = f"cold over warm {'in pool' if where == 'pool' else 'among all'}"
            each = found["recommenders"][first].get(key)
            if each is not None:
                said = "reached" if each["value"] >= COLD_SHARE else "**missed**"
                yield f"cold tracks get at least half the nDCG of warm ones ({where}): {_figure(each)}, {said}"
    covered, popular = (found["recommenders"][name]["coverage"] for name in (first, POPULARITY))
    said = "reached" if covered >= COVERAGE_TIMES * popular else "**missed**"
    yield f"coverage is at least twice that of popularity: {covered:.1%} against {popular:.1%}, {said}"


def _table(title: str, found: Found, measures: Sequence[tuple[str, str]], *, bold: bool = True) -> str:
    """A line a recommender, a column a measure; the best of each column in bold, if more is better there."""
    rows = found["recommenders"]
    measured = [(key, head) for key, head in measures if any(key in each for each in rows.values())]
    best = {
        key: max(each[key]["value"] for each in rows.values() if key in each)
        if bold and " over " not in key  # a ratio is high for whoever is bad at both
        else float("inf")
        for key, _ in measured
    }
    heads = [f"{head} (n = {n})" if (n := _n(rows, key)) else head for key, head in measured]
    lines = [[name, *(_cell(each.get(key), best[key]) for key, _ in measured)] for name, each in rows.items()]
    if found["truth"] and any(key in found["truth"] for key, _ in measured):
        cells = [_cell(found["truth"].get(key), float("inf")) for key, _ in measured]
        lines.append(["*by true liking, which nobody knows*", *cells])
    return f"\n### {title}\n\n" + _rows(["", *heads], lines)


def _differences(found: Found) -> str:
    """Of the first less each other, paired."""
    first = next(iter(found["recommenders"]))
    heads = ["", "nDCG@10", "recall@20", "nDCG@10, new users"]
    rows = [
        [name, *(_signed(each[key]) for key in ("ndcg", "recall", "ndcg new"))]
        for name, each in found["differences"].items()
    ]
    return f"\n### {first} less each of the others, the same users\n\n" + _rows(heads, rows)


def _beyond(found: Found) -> str:
    covered = [[name, f"{each['coverage']:.1%}"] for name, each in found["recommenders"].items()]
    return (
        _table("Beyond being right", found, BEYOND, bold=False)
        + "\nDiversity: 1 less the cosine between two tracks of a list, "
        + ("in the space of tastes" if found["simulated"] else "by genres")
        + ". Novelty: minus log2 of the share of users who had met a track. "
        + ("True liking: probability that the user likes a track of his list. " if found["simulated"] else "")
        + "Coverage: share of all tracks that are in anybody's first ten.\n\n"
        + _rows(["", "coverage"], covered)
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
    def line(name: str) -> str:
        chosen = found["settings"].get(name, {})
        text = ", ".join(f"{key} {value}" for key, value in chosen.items() if key != "name")
        if name.startswith("fpserver"):
            text = "the defaults, which were chosen by hand on the earlier folds of both tasks"
        return f"- {name}: {text or 'nothing to choose'}; {found['cpu_s'][name]:.1f} s of CPU, learning and asking"

    return "\n### Settings\n\n" + "\n".join(map(line, found["recommenders"])) + "\n"


def _n(rows: Mapping[str, Found], key: str) -> int | None:
    return next((each[key].get("n") for each in rows.values() if key in each), None)


def _cell(each: Found | None, best: float) -> str:
    if each is None:
        return ""
    return f"**{_figure(each)}**" if each["value"] == best else _figure(each)


def _figure(each: Found) -> str:
    return f"{each['value']:.3f} [{each['low']:.3f}, {each['high']:.3f}]"


def _signed(each: Found) -> str:
    text = f"{each['value']:+.3f} [{each['low']:+.3f}, {each['high']:+.3f}]"
    return f"{text}, lost" if each["high"] < 0 else text if each["low"] > 0 else f"{text}, open"


def _rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(each)} |" for each in lines) + "\n"
