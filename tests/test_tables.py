"""Tables as people's programs write them, and what becomes of rows that are none."""

import csv
from pathlib import Path

import pytest

from fpserver import tables
from fpserver.errors import TableInvalid
from fpserver.tables import Row, open_table

COLUMNS = ("track_id", "title", "tags")


def read(path: Path, n_rows: int = 100, **wanted: object) -> list[Row]:
    with open_table(path, columns=COLUMNS, **wanted) as table:  # type: ignore[arg-type]
        rows = []
        while some := table.read(n_rows):
            rows += some
        return rows


def listed(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "songs.csv"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_table_is_read_however_a_program_writes_it(
    path: Path, delimiter: str, encoding: str, end: str
) -> None:
    rows = [
        ["Title", " TRACK_ID "],
        ["Größe", "1"],
        [" a ", ""],
        ['b "c", d; e\tf', "3"],
        ["two\nlines", "4"],
    ]
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
        writer.writerows(rows)
    assert [row.cells for row in read(path, n_rows=2)] == [
        {"title": "Größe", "track_id": "1"},
        {"title": "a", "track_id": ""},
        {"title": 'b "c", d; e\tf', "track_id": "3"},
        {"title": "two\nlines", "track_id": "4"},
    ]


def test_lines_are_told_as_an_editor_counts_them_and_empty_ones_are_no_rows(path: Path) -> None:
    path.write_text('track_id,title\n\n1,"a\nb"\n , \n2,c\n')
    assert [(row.line, row.cells["title"]) for row in read(path)] == [(3, "a\nb"), (6, "c")]


def test_a_table_of_one_column_and_one_without_rows_are_tables(path: Path) -> None:
    path.write_text("title\na;b\n")
    assert [row.cells for row in read(path)] == [{"title": "a;b"}]
    path.write_text("title")
    assert read(path) == []


def test_bad_rows_are_listed_with_line_and_reason_and_the_others_are_read(path: Path) -> None:
    path.write_text('title;track_id\na;1\nb\nc;2;too;many\nd;3;;\n"e"f;4\ng;5\n')
    with open_table(path, columns=COLUMNS) as table:
        rows = table.read(100)
        table.refuse(rows[0], "there is no track 1")
        assert (table.n_rows, table.n_bad) == (6, 4)
        assert table.n_bytes_read == table.n_bytes == path.stat().st_size
    assert [row.cells["title"] for row in rows] == ["a", "d", "g"]
    assert listed(path.with_name("songs.csv.bad.csv")) == [
        ["line", "reason", "title", "track_id"],
        ["3", "the row has 1 cells, the first line 2", "b", ""],
        ["4", "the row has 4 cells, the first line 2", "c", "2", "too", "many"],
        ["6", "the row is no CSV: ';' expected after '\"'"],
        ["2", "there is no track 1", "a", "1"],
    ]


def test_a_list_of_bad_rows_is_read_once_it_is_corrected(path: Path) -> None:
    path.write_text("title,track_id\na\n")
    read(path)
    bad = path.with_name("songs.csv.bad.csv")
    bad.write_text(bad.read_text().replace("a,", "a,7") + "3,short,b\n")
    assert [row.cells for row in read(bad)] == [{"title": "a", "track_id": "7"}]
    assert listed(bad.with_name("songs.csv.bad.csv.bad.csv"))[1][2:] == ["b", ""]


def test_the_list_of_an_earlier_run_is_removed_and_no_other_file_is(path: Path) -> None:
    path.write_text("title,track_id\na\n")
    read(path)
    path.write_text("title,track_id\na,1\n")
    read(path)
    assert sorted(path.parent.iterdir()) == [path]
    other = path.with_name("other.csv")
    other.write_text("mine")
    with pytest.raises(TableInvalid, match="is no list of bad rows"):
        read(path, bad_rows=other)
    assert other.read_text() == "mine"
    path.write_text("line,reason,title\n1,x,a\n")
    with pytest.raises(TableInvalid, match="cannot be both"):
        read(path, bad_rows=path)
    assert path.exists()


def test_a_quote_that_is_never_closed_is_a_bad_row(path: Path) -> None:
    path.write_text('title,track_id\na,1\n"b,2\nc,3\n')
    assert [row.cells["title"] for row in read(path)] == ["a"]
    path.write_text("title,track_id\n" + '"' + "b\n" * 100_000)  # nor does it fill the memory
    read(path)
    assert "field larger than field limit" in listed(path.with_name("songs.csv.bad.csv"))[1][1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "songs.csv: its first line is empty, must name columns"),
        (b"\nid\n", "its first line is empty"),
        (b"title,track\na,1\n", "column 'track' is unknown, must be one of track_id, title or tags"),
        (b"title,track_id,title\n", "column 'title' is there 2 times"),
        (b"tags\na\n", "there is no column title or track_id"),
        ("tïtle\n".encode("utf-16"), "is not UTF-8, somewhere after line 0: invalid start byte"),
        (b"title\xe9\n", "is not UTF-8"),
        (b"title\n" + b"a\n" * 20_000 + b"caf\xe9\n", "is not UTF-8, somewhere after line 1"),
        (b"title\n" + b"a" * 3_000_000, "line 2 has more than 1,048,575 characters"),
    ],
)
def test_what_is_no_such_table_is_one_clear_line(path: Path, content: bytes, words: str) -> None:
    path.write_bytes(content)
    with pytest.raises(TableInvalid) as refused:
        read(path, needed=[{"track_id", "title"}])
    assert words in refused.value.message
    assert "\n" not in refused.value.message


def test_a_file_that_cannot_be_read_is_named(path: Path, tmp_path: Path) -> None:
    with pytest.raises(TableInvalid, match=r"songs.csv cannot be read: No such file"):
        read(path)
    with pytest.raises(TableInvalid, match="cannot be read: Is a directory"):
        read(tmp_path)


def test_a_list_that_cannot_be_written_is_named(path: Path, tmp_path: Path) -> None:
    path.write_text("title,track_id\na\n")
    with pytest.raises(TableInvalid, match=r"none/bad.csv cannot be written: No such file"):
        read(path, bad_rows=tmp_path / "none" / "bad.csv")


def test_some_rows_are_read_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("title\n" + "".join(f"{'x' * 100}{i}\n" for i in range(1000)))
    monkeypatch.setattr(tables, "MAX_LINE_CHARS", 200)
    with open_table(path, columns=COLUMNS) as table:
        assert len(table.read(10)) == 10
        assert table.n_bytes_read < table.n_bytes / 2
        assert len(table.read(2000)) == 990
        assert table.read(10) == []
        assert table.n_rows == 1000
