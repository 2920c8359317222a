"""A table of what people did into the store of feedback."""

import csv
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fpserver.config import RedisConfig
from fpserver.errors import TableInvalid
from fpserver.feedback import event_of, take
from fpserver.feedback_table import Counts, import_feedback, open_feedback
from fpserver.services import Services
from fpserver.store.connect import Client
from fpserver.terms import FeedbackEvent, FeedbackKind
from tests.opened import opened
from tests.tracks.offers import submission


@pytest.fixture
async def services(client: Client, store_config: RedisConfig) -> AsyncIterator[Services]:
    """Tracks 1 and 2, called a and b by their external ids."""
    async with opened(store_config, pool_processes=0) as services:
        await services.tracks.submit([submission(name, external_id=name) for name in "ab"], now=1.0)
        yield services


async def imported(services: Services, path: Path, text: str) -> tuple[Counts, list[tuple[str, str]]]:
    """What became of it, and (line, reason) of its bad rows."""
    path.write_text(text)
    with open_feedback(path) as table:
        counts = await import_feedback(services, table)
    bad = path.with_name(f"{path.name}.bad.csv")
    rows = csv.DictReader(bad.read_text().splitlines()) if bad.exists() else []
    return counts, [(row["line"], row["reason"]) for row in rows]


def told(event: FeedbackEvent) -> tuple[int, str, float, float]:
    return event.track_id, event.kind.value, event.value, event.at


async def test_each_row_is_an_event(services: Services, tmp_path: Path) -> None:
    text = (
        "user;track_id;external_id;kind;fraction;rating;at;event_id\n"
        "ann;1;;play;0.5;;1970-01-01T01:00:50+01:00;e1\n"
        "ann;;b;LIKE;;;40.5;\n"
        'ann;2;a;rating;;3.5;30;"e;3"\n'
        "ann;1;;skip;;;20;\n"
    )
    counts, bad = await imported(services, tmp_path / "x.csv", text)
    assert (counts, bad) == (Counts(n_rows=4, n_taken=4), [])
    events = await services.feedback.events("ann")
    assert [told(event) for event in events] == [
        (1, "play", 0.5, 50.0),
        (2, "like", 1.0, 40.5),
        (2, "rating", 3.5, 30.0),
        (1, "skip", 0.0, 20.0),
    ]
    assert [event.event_id for event in events][::2] == ["e1", "e;3"]


@pytest.mark.parametrize(
    "text",
    [
        "user,track_id,kind,event_id\nann,1,like,e1\nbob,1,like,e1\n",
        "user,track_id,kind,at\nann,1,like,5\nbob,1,like,5\n",
        "user,track_id,kind\nann,1,play\nann,1,play\n",
    ],
)
async def test_a_table_that_is_read_again_changes_nothing(
    services: Services, tmp_path: Path, text: str
) -> None:
    assert await imported(services, tmp_path / "x.csv", text) == (Counts(n_rows=2, n_taken=2), [])
    assert await imported(services, tmp_path / "y.csv", text) == (Counts(n_rows=2, n_known=2), [])


async def test_rows_that_are_named_by_their_place_are_others_in_another_file(
    services: Services, tmp_path: Path
) -> None:
    text = "user,track_id,kind\nann,1,play\n"
    await imported(services, tmp_path / "x.csv", text)
    counts, _ = await imported(services, tmp_path / "x.csv", text + "ann,2,like\n")
    assert counts.n_taken == 2


async def test_the_same_event_over_http_and_from_a_table_is_one(services: Services, tmp_path: Path) -> None:
    given = event_of(user="ann", track_id=1, kind=FeedbackKind.PLAY, fraction=0.4, at=5.0, now=10.0)
    await take(services, [given])
    text = "user,track_id,kind,fraction,at\nann,1,play,0.4,1970-01-01T00:00:05Z\n"
    counts, _ = await imported(services, tmp_path / "x.csv", text)
    assert counts.n_known == 1


async def test_bad_rows_are_listed_with_their_reasons_and_the_others_taken(
    services: Services, tmp_path: Path
) -> None:
    rows = [
        ("ann,1,like,,,", None),
        ("ann,9,like,,,", "there is no track 9"),
        ("ann,one,like,,,", "track_id is 'one', must be a whole number"),
        (",1,like,,,", "user has 0 characters"),
        ("ann,1,loved,,,", "kind is 'loved', must be one of play, skip"),
        ("ann,1,play,half,,", "fraction is 'half', must be a number"),
        ("ann,1,play,nan,,", "fraction is nan, must be from 0 to 1"),
        ("ann,1,rating,,,", "rating is missing"),
        ("ann,1,rating,,7,", "rating is 7.0, must be from 1 to 5"),
        ("ann,1,like,,,yesterday", "at is 'yesterday', must be ISO 8601"),
        ("ann,1,like,,,2026-01-31T12:00:00", "at is '2026-01-31T12:00:00', must be ISO 8601 with its zone"),
        ("ann,1,like,,,9e12", "at is"),
        ("ann,1", "the row has 2 cells"),
        ("bob,2,like,,,", None),
    ]
    text = "\n".join(["user,track_id,kind,fraction,rating,at", *(row for row, _ in rows)])
    counts, bad = await imported(services, tmp_path / "x.csv", text)
    assert counts == Counts(n_rows=14, n_taken=2, n_bad=12)
    wanted = [(str(line), said) for line, (_, said) in enumerate(rows, 2) if said]
    assert sorted(int(line) for line, _ in bad) == [int(line) for line, _ in wanted]
    for line, reason in bad:
        assert reason.startswith(dict(wanted)[line]), (line, reason)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("track_id,kind", "there is no column user"),
        ("user,kind", "there is no column track_id or external_id"),
        ("user,track_id", "there is no column kind"),
        ("user,track_id,kind,stars", "column 'stars' is unknown"),
        ("", "its first line is empty"),
    ],
)
def test_a_table_without_its_columns_is_refused(tmp_path: Path, header: str, said: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(header + "\n")
    with pytest.raises(TableInvalid, match=said), open_feedback(path):
        pass


async def test_a_long_table_is_read_in_parts(services: Services, tmp_path: Path) -> None:
    lines = [f"u{i % 10},{1 + i % 2},skip,{i}" for i in range(2500)]
    counts, _ = await imported(
        services, tmp_path / "x.csv", "\n".join(["user,track_id,kind,at", *lines]) + "\n"
    )
    assert counts == Counts(n_rows=2500, n_taken=2500)
    assert await services.feedback.n_changes() == 2500
