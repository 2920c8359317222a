"""A roster beside a dictionary of what it was told."""

from dataclasses import dataclass

import numpy as np
import pytest

from fpserver.errors import InvalidRequest
from fpserver.roster import FIELDS, Roster
from fpserver.terms import Metadata, Sieve, fold, tags_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a roster was told of a track."""

    metadata: Metadata
    facts: dict[str, float]
    key: str | None


SIEVES = [
    Sieve(),
    Sieve(equal={"artist": "ARTIST 3"}),
    Sieve(equal={"key": "a minor", "genre": "jazz"}),
    Sieve(equal={"tag": " Calm"}),
    Sieve(equal={"tag": "rainy day", "artist": "artist 1"}),
    Sieve(equal={"tag": "rainy"}),
    Sieve(equal={"tag": ""}),
    Sieve(ranges={"tempo_bpm": (80.0, 120.0)}),
    Sieve(ranges={"tempo_bpm": (None, None)}),
    Sieve(ranges={"rms_db": (None, 0.0)}),
    Sieve(q="piece 1", without=frozenset({10, 12, 999})),
]


def held(rng: np.random.Generator, track_id: int) -> Held:
    tags = [None, "calm", "Calm, rainy day", "rainy day,,x", " "][int(rng.integers(5))]
    return Held(
        metadata=Metadata(
            title=f"Piece {track_id}",
            artist=f"Artist {rng.integers(5)}",
            genre=["Jazz", "Pop", None][int(rng.integers(3))],
            tags=tags,
        ),
        facts={"tempo_bpm": float(rng.integers(60, 180))} if rng.integers(4) else {"tempo_bpm": np.nan},
        key=["A minor", None][int(rng.integers(2))],
    )


def passes(track_id: int, held: Held, sieve: Sieve) -> bool:
    texts = {**dict(held.metadata.items()), "key": held.key}
    for name, value in sieve.equal.items():
        if name == "tag":
            if fold(value).strip() not in tags_of(held.metadata.tags):
                return False
        elif texts[name] is None or fold(texts[name]) != fold(value):
            return False
    for name, (least, most) in sieve.ranges.items():
        fact = held.facts.get(name, np.nan)
        if np.isnan(fact) or (least is not None and fact < least) or (most is not None and fact > most):
            return False
    return track_id not in sieve.without and fold(sieve.q) in fold(held.metadata.title)


def passing(roster: Roster, sieve: Sieve) -> set[int]:
    found = roster.ids[roster.passing(sieve)].tolist()
    assert len(set(found)) == len(found)
    return set(found)


def agrees(roster: Roster, model: dict[int, Held]) -> None:
    assert len(roster) == len(model)
    for sieve in SIEVES:
        expected = {track_id for track_id, each in model.items() if passes(track_id, each, sieve)}
        assert passing(roster, sieve) == expected, sieve


def put(roster: Roster, model: dict[int, Held], track_id: int, each: Held) -> None:
    roster.remove(track_id)
    roster.add(track_id=track_id, metadata=each.metadata, facts=each.facts, key=each.key)
    model[track_id] = each


@pytest.fixture
def filled(rng: np.random.Generator) -> tuple[Roster, dict[int, Held]]:
    roster, model = Roster(), dict[int, Held]()
    for track_id in rng.integers(1, 200, 300).tolist():
        put(roster, model, track_id, held(rng, track_id))
    for track_id in (5, 10, 17, 999):
        roster.remove(track_id)
        model.pop(track_id, None)
    return roster, model


def test_what_passes_is_what_agrees(filled: tuple[Roster, dict[int, Held]]) -> None:
    agrees(*filled)


def test_a_frozen_roster_stays_as_it_is(
    filled: tuple[Roster, dict[int, Held]], rng: np.random.Generator
) -> None:
    roster, model = filled
    frozen, before = roster.frozen(), dict(model)
    n_slots = len(frozen.ids)
    for track_id in rng.integers(1, 600, 500).tolist():
        put(roster, model, track_id, held(rng, track_id))
    for track_id in range(20, 60):
        roster.remove(track_id)
        model.pop(track_id, None)
    agrees(roster, model)
    agrees(frozen, before)
    assert len(frozen.ids) == len(frozen.passing(None)) == n_slots


def test_a_compacted_roster_holds_the_same(filled: tuple[Roster, dict[int, Held]]) -> None:
    roster, model = filled
    compacted, new = roster.compacted()
    agrees(compacted, model)
    assert compacted.n_dead == 1
    for track_id, slot in roster.slot_of.items():
        assert compacted.slot_of[track_id] == new[slot]


def test_what_is_kept_comes_back_also_of_a_version_without_tags(
    filled: tuple[Roster, dict[int, Held]],
) -> None:
    roster, model = filled
    arrays, document = roster.columns()
    agrees(Roster.restored(arrays, document), model)
    del arrays["text:tag"], document["texts"]["tag"]
    old = Roster.restored(arrays, document)
    assert passing(old, Sieve(equal={"tag": "calm"})) == set()
    assert passing(old, Sieve(equal={"genre": "pop"})) == passing(roster, Sieve(equal={"genre": "pop"}))
    put(old, model, 1000, Held(metadata=Metadata(title="New", tags="calm"), facts={}, key=None))
    assert passing(old, Sieve(equal={"tag": "calm"})) == {1000}


def test_a_field_that_is_none_is_named() -> None:
    with pytest.raises(InvalidRequest, match=r'"tags" is no field to filter by; there are external_id,.*tag'):
        Roster().passing(Sieve(equal={"tags": "calm"}))
    assert "tags" not in FIELDS
