"""What next, on a real store: every event counts at once, nothing that is gone is named, reasons are true."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from fpserver.config import RedisConfig
from fpserver.desk import Desk
from fpserver.errors import InvalidRequest, Overloaded
from fpserver.recommend.reasons import Why
from fpserver.services import Services
from fpserver.stocking import Stock
from fpserver.store.connect import Client
from fpserver.suggest import Standing, Suggestions, Wish, suggest
from fpserver.terms import FeedbackKind, Sieve
from fpserver.trained import Trained
from tests.described import add_described
from tests.opened import opened
from tests.recommend.asking import Named, add, catalogue, did, made_ready, titles, trained
from tests.recommend.putting import FIGURES
from tests.synth import song

LIKE, DISLIKE, PLAY, SKIP = FeedbackKind.LIKE, FeedbackKind.DISLIKE, FeedbackKind.PLAY, FeedbackKind.SKIP
HOUR = 3600.0


@pytest.fixture
async def services(client: Client, store_config: RedisConfig) -> AsyncIterator[Services]:
    async with opened(store_config, pool_processes=0) as services:
        yield services


NEVER_S = 3600.0


@pytest.fixture(autouse=True)
def only_when_told(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Nobody looks for what is new but when a test says so."""

    async def never(self: Any) -> float:
        return NEVER_S

    if "by_itself" not in request.node.name:
        monkeypatch.setattr(Stock, "_look", never)
        monkeypatch.setattr(Trained, "_look", never)
        monkeypatch.setattr(Desk, "_look", never)


@pytest.fixture
async def desk(services: Services) -> AsyncIterator[Desk]:
    async with (
        Stock(services) as stock,
        Trained(services) as trained,
        Desk(services, stock, trained) as desk,
    ):
        yield desk


@pytest.fixture
async def ids(desk: Desk) -> dict[str, int]:
    ids = await add(desk.services, catalogue())
    await made_ready(desk)
    return ids


async def does(desk: Desk, kind: FeedbackKind, *track_ids: int, user: str = "ann", **more: float) -> None:
    assert all(await desk.services.feedback.put(did(user, kind, *track_ids, **more)))


async def asked(desk: Desk, *, user: str | None = "ann", **wish: Any) -> Suggestions:
    """Ask, and see that whatever comes holds together."""
    found = await suggest(desk, Wish(user=user, **wish))
    named = [each.track.track_id for each in found.suggestions]
    assert len(named) == len(set(named)) <= wish.get("k", 10)
    for each in found.suggestions:
        assert np.isfinite(each.score)
        assert 1 <= len(each.reasons) <= 3
        shares = [told.reason.share for told in each.reasons]
        assert shares == sorted(shares, reverse=True) and all(0 < share <= 1 for share in shares)
        assert sum(shares) <= 1.01
    return found


async def community(desk: Desk, ids: dict[str, int], *, n_users: int = 30) -> None:
    """People who like artists in pairs: who likes 0 likes 3, who likes 1 likes 4, who likes 2 likes 5."""
    rng = np.random.default_rng(1)
    for number in range(n_users):
        theirs = [title for title in ids if int(title.split()[1].split(".")[0]) % 3 == number % 3]
        some = rng.choice(theirs, 5, replace=False)
        await does(desk, LIKE, *(ids[title] for title in some), user=f"user {number}", at=1000.0 + number)


async def test_before_the_catalogue_is_known_it_is_said(desk: Desk) -> None:
    with pytest.raises(Overloaded, match="made ready"):
        await suggest(desk, Wish(user="ann"))


@pytest.mark.parametrize("strategy", ["hybrid", "content", "collaborative"])
async def test_of_an_empty_catalogue_nothing_is_named(desk: Desk, strategy: str) -> None:
    await made_ready(desk)
    for wish in ({}, {"liked": [1], "disliked": [2]}, {"again": True, "seed": 1, "diversity": 1.0}):
        found = await asked(desk, strategy=strategy, **wish)
        assert not found.suggestions


@pytest.mark.parametrize("user", ["ann", None])
async def test_somebody_unknown_gets_a_varied_start_and_is_told(
    desk: Desk, ids: dict[str, int], user: str | None
) -> None:
    found = await asked(desk, user=user)
    assert (found.standing, found.n_liked, found.model) == (Standing.UNKNOWN, 0, None)
    assert len({each.track.metadata.artist for each in found.suggestions}) == len(found.suggestions) == 6
    assert {told.reason.why for each in found.suggestions for told in each.reasons} == {Why.START}
    assert titles(await asked(desk, user=user)) == titles(found)
    others = [titles(await asked(desk, user=user, seed=seed)) for seed in range(5)]
    assert len({tuple(each) for each in others}) > 1, "another seed is another start"


async def test_a_start_is_what_people_hear_once_there_is_a_model(desk: Desk, ids: dict[str, int]) -> None:
    for number in range(20):
        await does(desk, LIKE, ids["song 4.2"], ids[f"song {number % 6}.1"], user=f"user {number}")
    await trained(desk)
    await made_ready(desk)
    found = await asked(desk)
    assert found.standing is Standing.UNKNOWN and found.model is not None
    assert titles(found)[0] == "song 4.2"
    assert found.suggestions[0].reasons[0].reason.why is Why.POPULAR


async def test_a_like_changes_the_very_next_answer(desk: Desk, ids: dict[str, int]) -> None:
    before = await asked(desk, diversity=0.0)
    await does(desk, LIKE, ids["song 1.0"])
    after = await asked(desk, diversity=0.0)
    assert (after.standing, after.n_liked) == (Standing.NEW, 1)
    assert titles(after)[:2] == ["song 1.2", "song 1.1"] != titles(before)[:2]
    await does(desk, LIKE, *(ids[f"song {artist}.0"] for artist in (0, 2, 3, 4)))
    assert (await asked(desk)).standing is Standing.KNOWN


@pytest.mark.parametrize("with_model", [False, True])
async def test_a_dislike_changes_the_very_next_answer_and_its_track_never_comes_again(
    desk: Desk, ids: dict[str, int], with_model: bool
) -> None:
    if with_model:
        await community(desk, ids)
        await trained(desk)
        await made_ready(desk)
    await does(desk, LIKE, ids["song 1.0"], at=1e9)
    first = titles(await asked(desk, diversity=0.0))[0]
    assert first is not None
    await does(desk, DISLIKE, ids[first], at=1e9 + 1)
    for wish in ({}, {"diversity": 1.0}, {"again": True}, {"k": 24, "max_per_artist": 24}, {"seed": 4}):
        for strategy in ("hybrid", "content", "collaborative"):
            assert first not in titles(await asked(desk, strategy=strategy, **wish))
    await does(desk, PLAY, ids[first])
    assert first not in titles(await asked(desk, again=True, k=24, max_per_artist=24))


async def test_a_dislike_lowers_what_is_like_its_track(desk: Desk, ids: dict[str, int]) -> None:
    await does(desk, LIKE, ids["song 1.0"], ids["song 0.0"], at=1e9)

    async def place(title: str) -> int:
        found = await asked(desk, k=24, max_per_artist=24, diversity=0.0, strategy="content")
        return titles(found).index(title)

    before = await place("song 1.1")
    await does(desk, DISLIKE, ids["song 1.3"], at=1e9 + 1)
    assert await place("song 1.1") > before


async def test_who_only_dislikes_gets_a_start_without_that(desk: Desk, ids: dict[str, int]) -> None:
    await does(desk, DISLIKE, *(ids[f"song 0.{i}"] for i in range(3)))
    found = await asked(desk)
    assert found.standing is Standing.UNKNOWN
    assert {each.track.metadata.artist for each in found.suggestions[:3]} <= {"Artist 1", "Artist 2"} | {
        "Artist 4",
        "Artist 5",
    }, "nothing of the artist, and its genre last"
    assert {told.reason.why for each in found.suggestions for told in each.reasons} == {Why.START}


async def test_the_last_of_few_tracks_has_a_true_reason_too(desk: Desk) -> None:
    ids = await add_described(desk.services, {f"sound {seed}": song(seed, 8.0) for seed in range(4)})
    await made_ready(desk)
    await does(desk, LIKE, ids["sound 0"])
    found = await asked(desk)
    assert len(found.suggestions) == 3
    for each in found.suggestions:
        assert (each.reasons[0].reason.why, each.reasons[0].reason.because_of) == (Why.LIKE, ids["sound 0"])


@pytest.mark.parametrize(("kind", "value"), [(PLAY, 1.0), (PLAY, 0.1), (SKIP, 0.0), (LIKE, 1.0)])
async def test_what_was_heard_is_not_named_and_with_again_only_after_a_while(
    desk: Desk, ids: dict[str, int], kind: FeedbackKind, value: float
) -> None:
    everything: dict[str, Any] = {"k": 24, "max_per_artist": 24}
    now = time.time()
    await does(desk, LIKE, ids["song 2.0"], at=now - 30 * HOUR)
    await does(desk, kind, ids["song 1.0"], value=value, at=now - 60)
    assert not {"song 1.0", "song 2.0"} & set(titles(await asked(desk, **everything)))
    again = set(titles(await asked(desk, again=True, **everything)))
    assert "song 2.0" in again and "song 1.0" not in again


async def test_again_brings_back_what_was_heard_long_ago_but_not_what_was_left(
    desk: Desk, ids: dict[str, int]
) -> None:
    long_ago = time.time() - 100 * HOUR
    await does(desk, PLAY, ids["song 1.0"], at=long_ago)
    await does(desk, SKIP, ids["song 1.1"], at=long_ago)
    again = titles(await asked(desk, again=True, k=24, max_per_artist=24))
    assert "song 1.0" in again and "song 1.1" not in again


async def test_only_what_passes_the_filter_is_named(desk: Desk, ids: dict[str, int]) -> None:
    await does(desk, LIKE, ids["song 1.0"])
    for sieve, passing in (
        (Sieve(equal={"genre": "GENRE 2"}), {"Artist 2", "Artist 5"}),
        (Sieve(equal={"artist": "artist 3"}), {"Artist 3"}),
        (Sieve(equal={"tag": "tag 4.1"}), {"Artist 4"}),
        (Sieve(q="song 5."), {"Artist 5"}),
    ):
        found = await asked(desk, sieve=sieve, k=24, max_per_artist=24)
        assert {each.track.metadata.artist for each in found.suggestions} == passing
    without = Sieve(without=frozenset({ids["song 1.2"]}))
    assert "song 1.2" not in titles(await asked(desk, sieve=without, k=24, max_per_artist=24))
    assert titles(await asked(desk, sieve=Sieve(equal={"genre": "none"}))) == []
    with pytest.raises(InvalidRequest):
        await asked(desk, sieve=Sieve(equal={"colour": "red"}))


async def test_who_asks_for_one_artist_gets_as_many_tracks_of_his_as_wanted(desk: Desk) -> None:
    await add(desk.services, catalogue(n_artists=3, n_each=6))
    await made_ready(desk)
    one = Sieve(equal={"artist": "artist 1"})
    assert len((await asked(desk, k=5, sieve=one)).suggestions) == 5
    assert len((await asked(desk, k=5, max_per_artist=3, sieve=one)).suggestions) == 3


@pytest.mark.parametrize("with_model", [False, True])
async def test_a_track_indexed_just_now_is_named_by_what_people_call_it(
    desk: Desk, ids: dict[str, int], with_model: bool
) -> None:
    if with_model:
        await community(desk, ids)
        await trained(desk)
        await made_ready(desk)
    await does(desk, LIKE, ids["song 2.0"], ids["song 2.1"])
    await add(desk.services, [Named(title="new", artist="Artist 2", genre="genre 2", tags="tag 2, tag 2.0")])
    assert "new" not in titles(await asked(desk))
    await made_ready(desk)
    assert "new" in titles(await asked(desk, max_per_artist=10))
    content = await asked(desk, strategy="content", diversity=0.0, max_per_artist=10)
    assert "new" in titles(content)[:3], "as good as the two others of the artist"
    (new,) = [each for each in content.suggestions if each.track.metadata.title == "new"]
    assert new.reasons[0].reason.why is Why.LIKE and new.reasons[0].because_of is not None
    assert new.reasons[0].because_of.metadata.artist == "Artist 2"


async def test_a_track_removed_meanwhile_is_never_named(desk: Desk, ids: dict[str, int]) -> None:
    await does(desk, LIKE, ids["song 1.0"], ids["song 3.0"])
    first = titles(await asked(desk, diversity=0.0))[0]
    assert first is not None
    await desk.services.tracks.mark_deleting(ids[first], now=1.0)
    await desk.services.tracks.mark_deleting(ids["song 3.0"], now=1.0)  # liked, and gone
    for _ in range(2):
        found = await asked(desk, diversity=0.0)
        assert first not in titles(found) and len(found.suggestions) == 10
        assert found.n_liked == 2
        named = [told.because_of for each in found.suggestions for told in each.reasons]
        assert ids[first] not in {track.track_id for track in named if track is not None}
        await made_ready(desk)
    await desk.services.tracks.forget(ids["song 3.0"])
    named_now = [told for each in (await asked(desk)).suggestions for told in each.reasons]
    assert ids["song 3.0"] not in {told.reason.because_of for told in named_now}


async def test_feedback_of_tracks_that_are_no_more_says_nothing(desk: Desk, ids: dict[str, int]) -> None:
    before = titles(await asked(desk))
    await does(desk, LIKE, 2**28 - 1)
    found = await asked(desk)
    assert found.n_liked == 1 and len(found.suggestions) == 10
    assert all(told.because_of is None for each in found.suggestions for told in each.reasons)
    assert before


async def test_who_is_erased_is_unknown_again(desk: Desk, ids: dict[str, int]) -> None:
    before = await asked(desk)
    await does(desk, LIKE, *(ids[f"song 1.{i}"] for i in range(4)), ids["song 2.0"])
    assert (await asked(desk)).standing is Standing.KNOWN
    await desk.services.feedback.forget("ann")
    after = await asked(desk)
    assert after.standing is Standing.UNKNOWN and titles(after) == titles(before)


async def test_the_same_question_has_the_same_answer(desk: Desk, ids: dict[str, int]) -> None:
    await community(desk, ids)
    await trained(desk)
    await made_ready(desk)
    await does(desk, LIKE, ids["song 1.0"], ids["song 2.0"])
    for wish in ({}, {"seed": 7}, {"diversity": 0.7, "seed": 7}):
        one, other = await asked(desk, **wish), await asked(desk, **wish)
        assert one == other
    seeded = {tuple(titles(await asked(desk, seed=seed, k=15))) for seed in range(4)}
    assert len(seeded) > 1


async def test_people_and_their_reasons_come_with_a_model(desk: Desk, ids: dict[str, int]) -> None:
    await community(desk, ids)
    model = await trained(desk)
    assert (await asked(desk)).model is None, "not yet looked at"
    await made_ready(desk)
    await does(desk, LIKE, ids["song 0.0"], ids["song 0.1"], at=2000.0)
    found = await asked(desk, strategy="collaborative", k=6, diversity=0.0, max_per_artist=10)
    assert found.model == await desk.services.models.version() and len(model.track_id) > 12
    assert {each.track.metadata.artist for each in found.suggestions[:4]} <= {"Artist 0", "Artist 3"}
    because = [told for each in found.suggestions for told in each.reasons if told.reason.why is Why.PEOPLE]
    liked = {ids["song 0.0"], ids["song 0.1"]}
    assert because and {told.reason.because_of for told in because} <= liked
    assert all(not told.alike for told in because)


async def test_reasons_name_liked_tracks_and_are_alike_only_where_both_are_described(desk: Desk) -> None:
    services = desk.services
    sounds = {f"sound {seed}": song(seed, 8.0) for seed in range(5)} | {"twin": song(0, 8.0)}
    described = await add_described(services, sounds)
    plain = await add(services, catalogue(n_artists=2))
    await made_ready(desk)
    await does(desk, LIKE, described["sound 0"], plain["song 0.0"])
    await does(desk, DISLIKE, described["sound 4"])
    found = await asked(desk, k=20, max_per_artist=20, diversity=0.0, strategy="content")
    liked = {described["sound 0"], plain["song 0.0"]}
    n_alike = 0
    for each in found.suggestions:
        for told in each.reasons:
            assert told.reason.because_of in liked | {None}
            if told.because_of is not None:
                assert told.because_of.track_id == told.reason.because_of
            if told.alike:
                n_alike += 1
                assert told.reason.why is Why.LIKE
                both = {each.track.track_id, told.reason.because_of}
                assert both <= set(described.values())
                assert len(told.alike) <= 2 and all(0.6 <= how <= 1 for how in told.alike.values())
    (twin,) = [each for each in found.suggestions if each.track.metadata.title == "twin"]
    assert twin.reasons[0].reason.because_of == described["sound 0"]
    assert set(twin.reasons[0].alike.values()) == {1.0}
    (same,) = [each for each in found.suggestions if each.track.metadata.title == "song 0.2"]
    assert same.reasons[0].reason.because_of == plain["song 0.0"] and same.reasons[0].reason.same_artist
    assert n_alike >= 1


async def test_models_swapped_in_during_questions_never_give_an_error(
    desk: Desk, ids: dict[str, int]
) -> None:
    await community(desk, ids)
    await does(desk, LIKE, ids["song 0.0"])
    ended = asyncio.Event()

    async def asks() -> set[str | None]:
        seen: set[str | None] = set()
        while not ended.is_set():
            found = await asked(desk, seed=len(seen))
            assert len(found.suggestions) == 10
            seen.add(found.model)
        return seen

    asking = [asyncio.create_task(asks()) for _ in range(3)]
    for number in range(5):
        await trained(desk, seed=number)
        more = [Named(title=f"new {number}.{i}", artist=f"New {number}") for i in range(5)]
        await add(desk.services, more)  # and tracks come and go
        await desk.services.tracks.mark_deleting(ids[f"song 5.{number % 4}"], now=1.0)
        await made_ready(desk)
        await asyncio.sleep(0.02)
    ended.set()
    versions = set[str | None]().union(*await asyncio.gather(*asking))
    assert len(versions) >= 3 and None in versions


async def test_a_model_of_nothing_is_none(desk: Desk, ids: dict[str, int]) -> None:
    version = await desk.services.models.put(b"", figures=FIGURES)
    await made_ready(desk)
    found = await asked(desk)
    assert found.model == version and len(found.suggestions) == 6


async def test_it_takes_up_what_is_new_by_itself(desk: Desk) -> None:
    ids = await add(desk.services, catalogue())
    await does(desk, LIKE, ids["song 0.0"], ids["song 0.1"], user="bob")

    async def version() -> str | None:
        try:
            found = await asked(desk)
        except Overloaded:
            return None
        return found.model if len(found.suggestions) == 6 else None

    async with asyncio.timeout(15):
        while not _is_ready(desk):  # noqa: ASYNC110 – another task, no event of ours
            await asyncio.sleep(0.05)
        await trained(desk)
        while await version() is None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def _is_ready(desk: Desk) -> bool:
    try:
        return len(desk.ready.stocked.shelf) == 24
    except Overloaded:
        return False
