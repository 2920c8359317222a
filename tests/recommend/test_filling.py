"""A shelf that is filled, beside one that is built at once."""

import numpy as np
import pytest

from fpserver.recommend import filling
from fpserver.recommend.filling import Filling, Stocked
from fpserver.recommend.shelf import Shelf, build, described
from fpserver.terms import Metadata, Sieve, Vector

SIZE = 5
Model = dict[int, tuple[Metadata, Vector | None]]


def some_track(rng: np.random.Generator, track_id: int) -> tuple[Metadata, Vector | None]:
    metadata = Metadata(
        title=f"Piece {track_id}",
        artist=[None, "The Ä", "the ä ", "Other"][int(rng.integers(4))],
        genre=["Jazz", "jazz", None][int(rng.integers(3))],
        tags=[None, "calm", "Calm, rainy day", "x,,calm"][int(rng.integers(4))],
    )
    return metadata, rng.standard_normal(SIZE).astype(np.float32) if rng.integers(3) else None


def put(held: Filling, model: Model, rng: np.random.Generator, track_ids: list[int]) -> None:
    for track_id in track_ids:
        metadata, audio = model[track_id] = some_track(rng, track_id)
        held.put(track_id=track_id, metadata=metadata, facts={}, key=None, audio=audio, added_at=track_id / 2)


def told(shelf: Shelf) -> dict[int, tuple[object, ...]]:
    """What a shelf says of each track, whatever its slots and numbers."""
    rows: dict[int, tuple[object, ...]] = {}
    for slot, track_id in enumerate(shelf.track_id.tolist()):
        tags = frozenset(shelf.tag_names[number] for number in shelf.tags[[slot]].indices)
        text = (shelf.artists[shelf.artist[slot]], shelf.genres[shelf.genre[slot]], tags)
        sound = tuple(shelf.audio[slot].tolist()) if shelf.has_audio[slot] else None
        assert sound is not None or not shelf.audio[slot].any()
        rows[track_id] = (*text, sound, shelf.added_at[slot])
    return rows


def agrees(stocked: Stocked, model: Model) -> None:
    shelf = stocked.shelf
    expected = build(
        [
            described(track_id, metadata, audio, added_at=track_id / 2)
            for track_id, (metadata, audio) in model.items()
        ],
        n_dimensions=SIZE,
    )
    assert told(shelf) == told(expected)
    assert shelf.track_id.tolist() == sorted(model)
    assert shelf.tags.shape == (len(shelf), len(shelf.tag_names))
    assert len(shelf) == len(stocked.passing(None))
    slots = shelf.slots_of(np.array(list(model), np.int64))
    assert [stocked.metadata(slot) for slot in slots.tolist()] == [metadata for metadata, _ in model.values()]
    assert stocked.passing(None).all()
    calm = {track_id for track_id, (metadata, _) in model.items() if "calm" in (metadata.tags or "").lower()}
    assert set(shelf.track_id[stocked.passing(Sieve(equal={"tag": "calm"}))].tolist()) == calm


def test_what_is_laid_down_is_what_would_be_built_and_stays_as_it_is(rng: np.random.Generator) -> None:
    held, model = Filling(n_dimensions=SIZE), Model()
    agrees(held.laid_down(), model)
    put(held, model, rng, list(range(1, 200)))
    first, before = held.laid_down(), dict(model)
    agrees(first, before)
    put(held, model, rng, rng.integers(1, 400, 500).tolist())
    for track_id in range(50, 90):
        held.remove(track_id)
        model.pop(track_id, None)
    agrees(held.laid_down(), model)
    agrees(first, before)
    assert len(held) == len(model)


def test_slots_are_moved_together_when_many_are_empty(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "MIN_DEAD", 50)
    held, model = Filling(n_dimensions=SIZE), Model()
    for _ in range(12):
        before, kept = held.laid_down(), dict(model)
        put(held, model, rng, rng.integers(1, 150, 100).tolist())
        for track_id in rng.integers(1, 150, 20).tolist():
            held.remove(track_id)
            model.pop(track_id, None)
        agrees(held.laid_down(), model)
        agrees(before, kept)
        assert held.n_empty <= 50
    for track_id in list(model):
        held.remove(track_id)
    agrees(held.laid_down(), {})
    put(held, model, rng, [1, 2])
    agrees(held.laid_down(), {track_id: model[track_id] for track_id in (1, 2)})


def test_sound_of_another_size_is_left_out() -> None:
    held = Filling(n_dimensions=0)
    held.put(track_id=3, metadata=Metadata(), facts={}, key=None, audio=np.ones(4, np.float32), added_at=1.0)
    shelf = held.laid_down().shelf
    assert shelf.audio.shape == (1, 0) and not shelf.has_audio.any()
