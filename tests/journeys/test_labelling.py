"""A table of metadata into the catalogue."""

import csv
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fpserver.config import RedisConfig
from fpserver.errors import TableInvalid
from fpserver.labelling import Counts, import_metadata, open_metadata
from fpserver.services import Services
from fpserver.store.connect import Client
from fpserver.terms import Metadata, Submission
from fpserver.tracks.catalogue import TrackFilter
from tests.opened import opened


@pytest.fixture
async def services(client: Client, store_config: RedisConfig) -> AsyncIterator[Services]:
    """Tracks 1, 2 and 3; 4 and 5 have the same external id; 6 is being deleted."""
    async with opened(store_config) as services:
        names = ["a", "b", "c", "same", "same", "gone"]
        offers = [
            Submission(
                source=f"file:/{i}",
                place="here",
                content_sha256=f"{i:064x}",
                metadata=Metadata(external_id=name, title=f"Title {name}", genre="Pop"),
            )
            for i, name in enumerate(names)
        ]
        await services.tracks.submit(offers, now=1.0)
        await services.tracks.mark_deleting(6, now=1.0)
        yield services


async def imported(services: Services, folder: Path, text: str) -> tuple[Counts, list[list[str]]]:
    """What became of it, and its bad rows."""
    path = folder / "songs.csv"
    path.write_text(text)
    with open_metadata(path) as table:
        counts = await import_metadata(services, table)
    bad = path.with_name("songs.csv.bad.csv")
    rows = list(csv.reader(bad.read_text().splitlines())) if bad.exists() else []
    return counts, rows


async def metadata(services: Services, track_id: int) -> Metadata:
    return (await services.tracks.get([track_id]))[track_id].metadata


async def test_cells_are_set_left_or_removed(services: Services, tmp_path: Path) -> None:
    text = 'external_id,genre,tags,title\na,Jazz,"calm, rainy",\nb,-,,New\nc,,,\n'
    counts, bad = await imported(services, tmp_path, text)
    assert (counts, bad) == (Counts(n_rows=3, n_changed=2, n_same=1), [])
    assert await metadata(services, 1) == Metadata(
        external_id="a", title="Title a", genre="Jazz", tags="calm, rainy"
    )
    assert await metadata(services, 2) == Metadata(external_id="b", title="New")
    assert await metadata(services, 3) == Metadata(external_id="c", title="Title c", genre="Pop")
    page, _ = await services.tracks.page(filters=TrackFilter(tag="calm", genre="jazz"))
    assert [track.track_id for track in page] == [1]


async def test_a_table_that_is_read_again_changes_nothing(services: Services, tmp_path: Path) -> None:
    text = "track_id,genre,tags\n1,Jazz,calm\n2,-,\n"
    await imported(services, tmp_path, text)
    before = await services.tracks.get([1, 2, 3])
    counts, _ = await imported(services, tmp_path, text)
    assert counts == Counts(n_rows=2, n_same=2)
    assert await services.tracks.get([1, 2, 3]) == before


async def test_an_external_id_beside_a_track_id_is_a_new_value(services: Services, tmp_path: Path) -> None:
    counts, _ = await imported(services, tmp_path, "track_id,external_id\n1,x-1\n2,-\n,c\n")
    assert counts == Counts(n_rows=3, n_changed=2, n_same=1)
    assert [(await metadata(services, track_id)).external_id for track_id in (1, 2, 3)] == ["x-1", None, "c"]


async def test_rows_that_name_no_track_or_break_a_rule_are_listed(services: Services, tmp_path: Path) -> None:
    rows = [
        ("7", "", "x", "there is no track 7"),
        ("6", "", "x", "there is no track 6"),
        ("0", "", "x", "track_id is '0', must be a whole number from 1 to 268435455"),
        ("1.0", "", "x", "track_id is '1.0', must be"),
        ("\u0663", "", "x", "must be a whole number"),
        ("9" * 30, "", "x", "must be a whole number"),
        ("", "", "x", "the row names no track: track_id and external_id empty"),
        ("", "A", "x", "no track has the external_id 'A'"),
        ("", "gone", "x", "no track has the external_id 'gone'"),
        ("", "same", "x", "several tracks have the external_id 'same'"),
        ("2", "", "x" * 1001, "title has 1001 characters, must have at most 1000"),
        ("3", "", "Good", ""),
    ]
    text = "track_id;external_id;title\n" + "".join(";".join(row[:3]) + "\n" for row in rows)
    counts, bad = await imported(services, tmp_path, text)
    assert counts == Counts(n_rows=12, n_changed=1, n_bad=11)
    assert bad[0] == ["line", "reason", "track_id", "external_id", "title"]
    for i, (row, told) in enumerate(zip(rows[:-1], bad[1:], strict=True)):
        assert told[0] == str(i + 2) and row[3] in told[1] and tuple(told[2:]) == row[:3]
    assert (await metadata(services, 3)).title == "Good"
    assert (await metadata(services, 2)).title == "Title b"


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("title", "there is no column track_id or external_id"),
        ("track_id", "there is no column external_id, title, artist, album, isrc, genre or tags"),
        ("external_id", "there is no column to change, such as title or genre"),
        ("track_id,name", "column 'name' is unknown, must be one of track_id, external_id, title"),
    ],
)
async def test_a_table_without_what_is_needed_is_refused(
    services: Services, tmp_path: Path, header: str, words: str
) -> None:
    with pytest.raises(TableInvalid, match=words):
        await imported(services, tmp_path, f"{header}\n1\n")


async def test_many_rows_are_told_as_they_come(services: Services, tmp_path: Path) -> None:
    path = tmp_path / "many.csv"
    path.write_text("track_id,title\n" + "".join(f"{1 + i % 3},Title {i}\n" for i in range(1300)))
    seen: list[int] = []
    with open_metadata(path) as table:
        counts = await import_metadata(services, table, watch=lambda table: seen.append(table.n_rows))
    assert (counts.n_rows, counts.n_changed, seen) == (1300, 1300, [500, 1000, 1300])
    assert [(await metadata(services, track_id)).title for track_id in (1, 2, 3)] == [
        "Title 1299",
        "Title 1297",
        "Title 1298",
    ]
