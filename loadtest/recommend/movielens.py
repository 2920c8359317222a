"""Real people: MovieLens 100K, as the wheel of RecBole brings it along.

943 people rated 1,682 films from September 1997 to April 1998; films stand for tracks, directors for artists. Most
people rated in one sitting. There is no sound. What is known of the films comes from their genres and from a knowledge
graph (Freebase) that the wheel holds beside the ratings. Awards are left out of the tags: many were given after the
ratings.

Harper and Konstan, "The MovieLens datasets", TiiS 2015; Zhao et al., "RecBole", CIKM 2021.
"""

import csv
import io
import subprocess
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from fpserver.terms import MAX_METADATA_CHARS, FeedbackKind, Vectors
from loadtest.recommend.data import Dataset, Hidden, history_of, number, rows_of_length_one

WHEEL = "recbole==1.2.1"
INSIDE = "recbole/dataset_example/ml-100k/ml-100k."
DIRECTOR = "film.film.directed_by"
TAGGED = {  # relation → how its tag begins; in the order in which they are kept where there is no room for all
    "film.film.genre": "kind",
    "film.film.subjects": "subject",
    "film.film.sequel": "series",
    "film.film.prequel": "series",
    "film.film.written_by": "writer",
    "film.film.country": "country",
    "film.film.language": "language",
    "film.film.rating": "certificate",
    "film.film.cinematography": "camera",
    "film.film.production_companies": "company",
    "film.film.produced_by": "producer",
    "film.film.actor": "actor",
}
ALWAYS = 0.0  # released before anything was rated

Rows = Sequence[Mapping[str, str]]


def fetch(cache: Path) -> Path:
    """The wheel, from the package index unless it is in the cache already."""
    name = WHEEL.replace("==", "-")
    cache.mkdir(parents=True, exist_ok=True)
    found = sorted(cache.glob(f"{name}-*.whl"))
    if not found:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(cache), WHEEL]
        subprocess.run(command, check=True)
        found = sorted(cache.glob(f"{name}-*.whl"))
    return found[0]


def load(cache: Path) -> Dataset:
    """Read all of it."""
    with zipfile.ZipFile(fetch(cache)) as wheel:
        ratings, films = _table(wheel, "inter"), _table(wheel, "item")
        facts = _facts(
            _table(wheel, "kg"), {row["entity_id"]: row["item_id"] for row in _table(wheel, "link")}
        )
    place = {row["item_id"]: index for index, row in enumerate(films)}
    users = {name: index for index, name in enumerate(sorted({row["user_id"] for row in ratings}, key=int))}
    tags = _tags(films, facts)
    return Dataset(
        name="MovieLens 100K",
        simulated=False,
        history=history_of(
            user=[users[row["user_id"]] for row in ratings],
            track_id=[place[row["item_id"]] + 1 for row in ratings],
            kind=[number(FeedbackKind.RATING)] * len(ratings),
            value=[float(row["rating"]) for row in ratings],
            at=[float(row["timestamp"]) for row in ratings],
        ),
        artist=_directors(films, facts),
        genre=tuple(_genres(row)[0] if _genres(row) else None for row in films),
        tags=tuple(",".join(each) or None for each in tags),
        audio=None,
        released_at=_released(films, ratings, place),
        hidden=Hidden(space=_space([_genres(row) for row in films])),
    )


def _table(wheel: zipfile.ZipFile, ending: str) -> list[dict[str, str]]:
    """A file of tab-separated columns, whose heads are `name:type`."""
    with wheel.open(INSIDE + ending) as file:
        rows = csv.reader(io.TextIOWrapper(file, "utf-8"), delimiter="\t", quoting=csv.QUOTE_NONE)
        names = [head.split(":")[0] for head in next(rows)]
        return [dict(zip(names, row, strict=True)) for row in rows]


def _facts(graph: Rows, films: Mapping[str, str]) -> dict[str, dict[str, list[str]]]:
    """relation → film → the other ends, in the order of the file."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in graph:
        film = films.get(row["head_id"])
        if film is not None:
            found[row["relation_id"]][film].append(row["tail_id"])
    return found


def _directors(films: Rows, facts: Mapping[str, Mapping[str, Sequence[str]]]) -> tuple[str | None, ...]:
    """Of several directors of a film the one with most films here."""
    directed = facts[DIRECTOR]
    n_films = Counter(name for names in directed.values() for name in set(names))
    return tuple(
        min(directed.get(row["item_id"], ()), key=lambda name: (-n_films[name], name), default=None)
        for row in films
    )


def _genres(film: Mapping[str, str]) -> list[str]:
    return [each for each in film["class"].split() if each != "unknown"]


def _year(film: Mapping[str, str]) -> int | None:
    return int(film["release_year"]) if film["release_year"].isdigit() else None


def _tags(films: Rows, facts: Mapping[str, Mapping[str, Sequence[str]]]) -> list[list[str]]:
    """Of each film its genres, its decade, and what it shares with at least one other film."""
    counts = {
        relation: Counter(end for ends in facts[relation].values() for end in set(ends))
        for relation in TAGGED
    }

    def tags_of(film: Mapping[str, str]) -> Iterator[str]:
        yield from _genres(film)
        year = _year(film)
        if year is not None:
            yield f"{year // 10 * 10}s"
        for relation, prefix in TAGGED.items():
            for end in dict.fromkeys(facts[relation].get(film["item_id"], ())):
                if counts[relation][end] > 1:
                    yield f"{prefix} {end}"

    return [_that_fit(dict.fromkeys(tags_of(film))) for film in films]


def _that_fit(tags: Mapping[str, None]) -> list[str]:
    """The first ones, as many as a metadata field holds."""
    lengths = np.cumsum([len(tag) + 1 for tag in tags])
    return list(tags)[: int(np.searchsorted(lengths, MAX_METADATA_CHARS, side="right"))]


def _released(films: Rows, ratings: Rows, place: Mapping[str, int]) -> np.ndarray:
    """The first of January of a film's year, or its first rating where that is earlier.

    A film's day is not known. Its first rating alone would say too much: who rates it first could never be right.
    """
    at = np.array(
        [
            ALWAYS if (year := _year(film)) is None else datetime(year, 1, 1, tzinfo=UTC).timestamp()
            for film in films
        ]
    )
    for row in ratings:
        track = place[row["item_id"]]
        at[track] = min(at[track], float(row["timestamp"]))
    return at


def _space(genres: Sequence[Sequence[str]]) -> Vectors:
    """Films as their genres, for the diversity of lists: (n_films, n_genres), rows of length 1."""
    names = {name: index for index, name in enumerate(sorted({name for each in genres for name in each}))}
    rows = np.zeros((len(genres), len(names)))
    for row, each in zip(rows, genres, strict=True):
        row[[names[name] for name in each]] = 1
    return rows_of_length_one(rows)
