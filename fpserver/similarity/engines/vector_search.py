"""Asking vector sets for the nearest of a query: what is asked of each set, and how far it looks.

Each set gets one call of a function (vector_functions.lua), all of a node in one round trip, and what it holds likely
comes back with it and is measured exactly: distances are true, and their order too. By distance, with a weight for
each group or without, sets rank as distance does (lifted.py), so few are fetched; by cosine, or where weights differ
within a group, many, as their order is another. What is near by cosine may be longer or shorter than the query, so what
is near to the query made shorter and longer is fetched, too.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from fpserver.similarity.engines.checks import Asked
from fpserver.similarity.engines.engine import Found
from fpserver.similarity.engines.lifted import least_distance, lift, question, weights_of_parts
from fpserver.similarity.engines.vector_answers import (
    Held,
    Seen,
    best,
    held,
    merged,
    nearest_of,
    none_found,
    seen,
)
from fpserver.similarity.engines.vector_keys import Keys, of_element
from fpserver.similarity.engines.vector_state import Place
from fpserver.store.nodes import Call, Nodes
from fpserver.terms import Vector
from fpserver.thinking import think

P = ParamSpec("P")
T = TypeVar("T")

FUNCTIONS = Path(__file__).with_name("vector_functions.lua").read_text(encoding="utf-8")

SPARE = 16  # vectors fetched beyond those asked for: by angle the order is nearly that of distance
FEW = 6  # the same with a filter that may keep few: a hundred are looked at until one passes that keeps 1 %
SPARE_RATIO = 40  # the same, where it is another order: so many times those asked for
MIN_SPARE = 400
SCALES = (0.7, 1.0, 1.4)  # times a query, by cosine
SHARE_RATIO = 2  # times a set's even share of them, that it is asked for
EFFORT = 100  # vectors that a search keeps in view (EF)
FILTERED_EFFORT = 50  # the same with a filter: of those that pass, so that more are looked at
LONE_EFFORT = 400  # the same where parts are left out: links are between what is near with all of them
LEFT_OUT = 0.05  # of the largest weight: a part that counts less is left out
EFFORT_RATIO = 2  # times those fetched from a set
FIRST_LOOK = 25  # vectors whose links a filtered search follows, at most, for each that it is asked for
MOST_LINKS = 1000  # the same of all together (FILTER-EF): about 5 ms of the server's own thread
SURE_RATIO = 3  # so many times those asked for must pass in a first look, or nearer ones may have been missed
EVERYTHING = 1_000_000  # the most that a set is asked for
NAMES_PER_CALL = 1000
MEASURED_AT_A_TIME = 4096
AT_ONCE = 20_000  # numbers that are measured in less time than handing them to a thread takes
GROWTH = 8  # times as many are fetched, until it is certain that none is missing
ROUNDING = 1e-3  # by which a likeness, which has 32 bits, may mislead about a distance


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A query as it is put to sets."""

    raw: bytes
    length: float
    ranks: bool  # by how alike they seem vectors are in the order wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How far sets look."""

    n_wanted: int  # vectors of all sets together
    of_set: int  # that each is asked for
    effort: int  # that it keeps in view


class VectorSearch:
    """The sets, for whoever looks for something."""

    def __init__(self, nodes: Nodes, keys: Keys, *, n_sets: int, timeout_s: float) -> None:
        self._nodes = nodes
        self._keys = keys
        self._n_sets = n_sets
        self._timeout_s = timeout_s

    async def likely(
        self, place: Place, asked: Asked, *, k: int, filter_: str | None, keeps_few: bool
    ) -> list[Found]:
        """For each query its `k` nearest, nearly all of them.

        With a filter the first look goes as far as one that keeps 1 % needs; where all sets together find too few, they
        compare all.
        """
        of_queries = [_questions(query, asked, place) for query in asked.queries]
        if not of_queries:
            return []
        look = _look(asked, k, self._n_sets, of_queries[0], keeps_few=keeps_few)
        words = ("COUNT", look.of_set, "EF", look.effort)
        filtered = (
            ("FILTER", filter_, "FILTER-EF", min(FIRST_LOOK * (k + FEW), MOST_LINKS)) if filter_ else ()
        )
        replies = await self._ask(
            Call.function("fpserver_vectors_near", (key,), *_encoded(("FP32", one.raw, *words, *filtered)))
            for questions in of_queries
            for one in questions
            for key in self._sets(place)
        )
        pieces = list(_pieces(replies, self._n_sets * len(of_queries[0])))
        n_numbers = place.size * look.of_set * len(replies)
        answers = await _aside(n_numbers, _first_answers, pieces, place, asked, k)
        for i, (questions, (_, n_seen)) in enumerate(zip(of_queries, answers, strict=True)):
            if filter_ and n_seen < max(k + SPARE, SURE_RATIO * k):
                of_sets = await self._compared(place, questions[len(questions) // 2], look.n_wanted, filter_)
                told = await self.fetched(place, best(of_sets, look.n_wanted))
                answers[i] = await _measured(told, asked.of(asked.queries[i]), k), len(told)
        return [found for found, _ in answers]

    async def certain(self, place: Place, asked: Asked, *, k: int, filter_: str | None) -> list[Found]:
        """For each query its `k` nearest: as many are fetched as it takes."""
        return [await self._certain(place, asked.of(query), k, filter_) for query in asked.queries]

    async def fetched(self, place: Place, names: Iterable[bytes]) -> Held:
        """The vectors of these names, as far as they are still there."""
        by_set: list[list[bytes]] = [[] for _ in range(self._n_sets)]
        for name in names:
            by_set[of_element(name)[0] % self._n_sets].append(name)
        replies = await self._ask(
            Call.function("fpserver_vectors_fetch", (self._keys.vectors(set_, place.space),), *some)
            for set_, of_set in enumerate(by_set)
            for some in _pieces(of_set, NAMES_PER_CALL)
        )
        return held(replies, place.size)

    async def _certain(self, place: Place, asked: Asked, k: int, filter_: str | None) -> Found:
        one = _questions(asked.queries[0], asked, place)[0]
        n_wanted = k + SPARE if one.ranks else EVERYTHING
        while True:
            of_sets = await self._compared(place, one, n_wanted, filter_)
            names = [name for of_set in of_sets for name in of_set.names]
            found = none_found()
            for some in _pieces(names, MEASURED_AT_A_TIME):
                of_some = await _measured(await self.fetched(place, some), asked, k)
                found = merged(found, of_some, k)
            unseen = [of_set.likeness[-1] for of_set in of_sets if len(of_set.names) >= n_wanted]
            if not unseen or (len(found.distance) == k and _is_beyond(max(unseen), one, place, found)):
                return found
            n_wanted = min(GROWTH * n_wanted, EVERYTHING)

    async def _compared(self, place: Place, one: Question, n_wanted: int, filter_: str | None) -> list[Seen]:
        """What each set finds by comparing all: work for its server's other threads, so by no function."""
        words = ("WITHSCORES", "COUNT", n_wanted, "TRUTH", *(("FILTER", filter_) if filter_ else ()))
        replies = await self._ask(
            Call(key=key, command=("VSIM", key, "FP32", one.raw, *words)) for key in self._sets(place)
        )
        return [seen(reply) for reply in replies]

    def _sets(self, place: Place) -> list[str]:
        return [self._keys.vectors(set_, place.space) for set_ in range(self._n_sets)]

    async def _ask(self, calls: Iterable[Call]) -> list[Any]:
        return await self._nodes.demand(list(calls), timeout_s=self._timeout_s)


def _questions(query: Vector, asked: Asked, place: Place) -> list[Question]:
    """What is asked for one query; as many for each."""
    weights = weights_of_parts(asked.weights, place.parts)
    if weights is None:
        return [Question(raw=lift(query, place.radius, place.parts), length=1.0, ranks=False)]
    questions = []
    for scale in SCALES if asked.cosine else (1.0,):
        raw, length = question(np.float32(scale) * query, weights, place.radius, place.parts)
        questions.append(Question(raw=raw, length=length, ranks=not asked.cosine))
    return questions


def _look(asked: Asked, k: int, n_sets: int, questions: Sequence[Question], *, keeps_few: bool) -> Look:
    n_wanted = k + (FEW if keeps_few else SPARE) if questions[0].ranks else max(SPARE_RATIO * k, MIN_SPARE)
    even_share = n_wanted // (n_sets * len(questions))
    of_set = min(n_wanted, max(k + FEW, SHARE_RATIO * even_share))
    leaves_out = bool(asked.weights.min() < LEFT_OUT * asked.weights.max())
    least = LONE_EFFORT if leaves_out else FILTERED_EFFORT if keeps_few else EFFORT
    return Look(n_wanted=n_wanted, of_set=of_set, effort=max(least, EFFORT_RATIO * of_set))


def _is_beyond(likeness: float, one: Question, place: Place, found: Found) -> bool:
    """Whether what seems less alike is farther than all that was found."""
    least = least_distance(likeness, one.length, place.radius)
    return least > float(found.distance[-1]) ** 2 * (1 + ROUNDING) + 1e-9


def _first_answers(
    of_queries: Sequence[Sequence[Any]], place: Place, asked: Asked, k: int
) -> list[tuple[Found, int]]:
    """For each query its nearest, and of how many."""
    each = [held(replies, place.size) for replies in of_queries]
    pairs = zip(each, asked.queries, strict=True)
    return [(nearest_of(told, asked.of(query), k), len(told)) for told, query in pairs]


async def _measured(told: Held, asked: Asked, k: int) -> Found:
    return await _aside(told.vectors.size, nearest_of, told, asked, k)


async def _aside(n_numbers: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return function(*args, **kwargs) if n_numbers <= AT_ONCE else await think(function, *args, **kwargs)


def _encoded(words: Sequence[str | int | bytes]) -> list[bytes | int]:
    return [word.encode() if isinstance(word, str) else word for word in words]


def _pieces(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[at : at + size] for at in range(0, len(items), size))
