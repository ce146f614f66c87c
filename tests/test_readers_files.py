"""Text files in bounded pieces: line numbers, encodings, gzip, broken rows."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llm4rec.catalog.problems import Problems
from llm4rec.catalog.readers.files import chunks, header, json_records, lines, records, require
from llm4rec.errors import UserError

_ROWS = st.lists(st.text(alphabet="ab,é€ \t", max_size=12), min_size=1, max_size=30)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=_ROWS, size=st.integers(64, 300), ended=st.booleans(), windows=st.booleans(), bom=st.booleans())
def test_pieces_of_any_size_give_the_same_lines(
    tmp_path: Path, rows: list[str], size: int, ended: bool, windows: bool, bom: bool
) -> None:
    text = "\n".join(rows) + ("\n" if ended else "")
    path = tmp_path / "any.csv"
    path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + text.replace("\n", "\r\n" if windows else "\n").encode())
    found = list(chunks(path, Problems(), size=size))
    assert "".join(piece for _, piece in found) == text
    counted = 1
    for first, piece in found:
        assert first == counted
        counted += piece.count("\n")
    expected = [(n, row) for n, row in enumerate(rows, start=1) if row.strip()]
    assert list(lines(path, Problems())) == expected


def test_a_line_that_is_not_utf8_is_latin1_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "mixed.csv"
    path.write_bytes("id,title\n1,Été\n".encode() + "2,Cérémonie\n".encode("latin-1"))
    problems = Problems()
    assert [row["title"] for _, row in records(path, problems)] == ["Été", "Cérémonie"]
    assert problems.settled == {"lines of mixed.csv that are not UTF-8, read as Latin-1": 1}


def test_gzip_is_looked_through(tmp_path: Path) -> None:
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"id,title\n1,Pen\n"))
    assert list(records(path, Problems())) == [(2, {"id": "1", "title": "Pen"})]


def test_a_truncated_gzip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl.gz"
    content = gzip.compress(b"\n".join(b'{"a": %d}' % (n * 7919 % 1000) for n in range(5_000)))
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"cut\.jsonl\.gz is a gzip cut short or damaged"):
        list(json_records(path, Problems()))


def test_a_damaged_gzip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl.gz"
    content = bytearray(gzip.compress(b'{"a": 1}\n' * 1000))
    content[20:24] = b"\xff\xff\xff\xff"
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"bad\.jsonl\.gz"):
        list(json_records(path, Problems()))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv.gz", b"id,title\n", "is not gzip"),
        ("x.csv", b"\xff\xfei\x00d\x00", "is UTF-16"),
        ("x.csv", b"", "is empty"),
        ("x.jsonl", b'[{"a": 1}]', "one JSON array"),
        ("x.json", b'[\n{"a": 1},\n{"a": 2}\n]', "one JSON array"),
        ("x.parquet", b"PAR1 not really", "cannot be read as Parquet"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        list(records(path, Problems()))
    assert str(path) in str(caught.value)


def test_a_missing_file_a_folder_and_an_endless_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        list(lines(tmp_path / "none.csv", Problems()))
    with pytest.raises(UserError, match="is a folder"):
        list(lines(tmp_path, Problems()))
    path = tmp_path / "long.csv"
    path.write_bytes(b"x" * 3_000_000)
    with pytest.raises(UserError, match="a line of more than 1 MB"):
        list(chunks(path, Problems(), size=2**20))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(*[st.text(alphabet='ab,"\né ', max_size=8)] * 3).filter(lambda row: any(row)),
        max_size=15,
    )
)
def test_csv_rows_are_those_of_the_csv_module(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerows([("a", "b", "c"), *rows])
    path = tmp_path / "any.csv"
    path.write_text(written.getvalue(), encoding="utf-8", newline="")
    problems = Problems()
    found = list(records(path, problems))
    assert [tuple(record.values()) for _, record in found] == rows
    assert not problems.counts
    for line, record in found:  # each row is where its line says
        tail = "\n".join(written.getvalue().split("\n")[line - 1 :])
        assert next(csv.reader(io.StringIO(tail, newline=""))) == list(record.values())


def test_broken_csv_rows_are_counted_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('id,title\n1,Pen\n2\n3,Ink,7\n\n4,"Cut "quote\n5,Good\n6,"never closed\n7,lost\n8,lost\n')
    problems = Problems()
    assert [row["id"] for _, row in records(path, problems)] == ["1", "5"]
    assert problems.counts == {
        "wrong number of columns (2 expected)": 2,
        "broken quotes (',' expected after '\"')": 1,
        "broken quotes (unexpected end of data)": 3,  # the line with the open quote and the two it swallowed
    }
    assert [row.line for row in problems.first["wrong number of columns (2 expected)"]] == [3, 4]


def test_json_lines_cut_in_half_are_counted_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n\n{"a": 2, "b\n7\n{"a": 3}\n{"a": ')
    problems = Problems()
    assert list(json_records(path, problems)) == [(1, {"a": 1}), (5, {"a": 3})]
    assert problems.counts == {"JSON cut short or not JSON": 2, "not a JSON object": 1}
    assert [str(row) for row in problems.first["JSON cut short or not JSON"]] == [
        'x.jsonl:3: \'{"a": 2, "b\'',
        "x.jsonl:6: '{\"a\": '",
    ]


def test_parquet_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pl.DataFrame({"id": [1, 2], "tags": [["a"], None]}).write_parquet(path)
    assert list(records(path, Problems())) == [(1, {"id": 1, "tags": ["a"]}), (2, {"id": 2, "tags": None})]


def test_a_wrong_column_names_those_found_and_expected(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("user;item\n1;2\n")
    names, separator = header(path)
    assert (names, separator) == (["user", "item"], ";")
    with pytest.raises(UserError, match=r"has no column 'rating': expected user, rating; found user, item"):
        require(path, names, ("user", "rating"))


def test_terminal_escapes_in_bad_rows_are_not_shown_raw() -> None:
    problems = Problems()
    problems.bad("not a number", "x.csv", 3, "\x1b[2Jgone")
    with pytest.raises(UserError) as caught:
        problems.check(10, "x.csv")
    assert "\x1b" not in str(caught.value)
    assert "x.csv:3" in str(caught.value)


@given(good=st.integers(0, 100_000), bad=st.integers(0, 2_000))
def test_more_than_one_in_a_hundred_stops(good: int, bad: int) -> None:
    problems = Problems()
    problems.bad_many("not a number", "x.csv", bad, [(n, "?") for n in range(1, bad + 1)])
    problems.bad("unknown item", "other.csv", 1, "?")
    total = good + bad
    if bad * 100 > total:
        with pytest.raises(UserError, match=f"x.csv: {bad:,} of {total:,} rows"):
            problems.check(total, "x.csv")
    else:
        problems.check(total, "x.csv")
    assert len(problems.first.get("not a number", ())) == min(bad, 5)
