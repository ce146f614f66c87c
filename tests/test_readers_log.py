"""Interaction files, judged row by row: against a plain Python judge, and kind by kind."""

from __future__ import annotations

import contextlib
import json
import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llm4rec.catalog.problems import Problems
from llm4rec.catalog.readers import files
from llm4rec.catalog.readers.judge import LogColumns
from llm4rec.catalog.readers.log import LogReader
from llm4rec.catalog.readers.raw import INTERACTIONS
from llm4rec.errors import UserError

ITEMS = ("a", "b", "7", "x y")
NAMES = ("user", "item", "rating", "time")
COLUMNS = LogColumns("user", "item", "rating", "time", low=0.5, high=5.0, required=True)

Row = tuple[str, str, float | None, int | None, int]


def reader(folder: Path) -> LogReader:
    return LogReader(pl.Series("id", ITEMS), Problems(), folder)


def rows_of(log: LogReader) -> list[Row]:
    frame = log.finish().collect()
    assert dict(frame.schema) == dict(INTERACTIONS)
    return [(u, i, v, t, o) for u, i, v, t, o in frame.iter_rows()]


def judge_plainly(line: str, number: int, separator: str) -> Row | str:
    """What a row is worth, said without Polars."""
    fields = [field.strip() for field in line.split(separator)]
    if len(fields) != 4:
        return "wrong number of columns (4 expected)"
    user, item, rating, time = fields
    if not user:
        return "no user"
    if not item:
        return "no item"
    if item not in ITEMS:
        return "unknown item"
    if not rating:
        return "no rating"
    try:
        value = float(rating)
    except ValueError:
        return "rating is not a number"
    if not math.isfinite(value):
        return "rating is not finite"
    if not 0.5 <= value <= 5:
        return "rating out of range 0.5 to 5"
    if not time:
        return "no time"
    try:
        seconds = math.floor(float(time))
    except (ValueError, OverflowError):
        return "time cannot be read"
    if not 0 <= seconds <= 4_102_444_800:
        return "time is not between 1970 and 2100 (is its unit right?)"
    return user, item, value, seconds, number


_FIELDS = st.tuples(
    st.sampled_from(["1", "2", " 10 ", "ann", "é"]) | st.sampled_from(["", " "]),
    st.sampled_from([*ITEMS, " a ", "b"]) | st.sampled_from(["", "zz", "A"]),
    st.sampled_from(["1", "5", "3.5", "0.5", "1e0", " 4 "]) | st.sampled_from(["", "x", "nan", "inf", "-1", "5.5"]),
    st.sampled_from(["0", "881250949", "1e9", "12.0", " 7 "]) | st.sampled_from(["", "x", "-5", "99999999999", "nan"]),
)
_LINES = st.lists(
    _FIELDS.map(list) | st.lists(st.sampled_from(["1", "a", "5"]), min_size=1, max_size=6) | st.just([" "]),
    max_size=25,
)


@pytest.mark.parametrize("separator", [",", "\t", "::", "|"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(fields=_LINES, quotes=st.booleans(), size=st.integers(100, 400))
def test_rows_are_judged_as_a_plain_judge_does(
    tmp_path: Path, separator: str, fields: list[list[str]], quotes: bool, size: int
) -> None:
    written = [separator.join(row) for row in fields]
    path = tmp_path / "log.txt"
    path.write_text("\n".join(written), encoding="utf-8")
    log = reader(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files.chunks, "__kwdefaults__", {**(files.chunks.__kwdefaults__ or {}), "size": size})
        with contextlib.suppress(UserError):  # over 1 %: what was judged is looked at all the same
            log.read_delimited(path, COLUMNS, names=NAMES, separator=separator, quotes=quotes)
    judged = [judge_plainly(line, n, separator) for n, line in enumerate(written, 1) if line.strip(" \t")]
    good = [row for row in judged if not isinstance(row, str)]
    assert log.problems.counts == Counter(row for row in judged if isinstance(row, str))
    if good:
        assert rows_of(log) == good
    else:
        with pytest.raises(UserError, match="no interaction"):
            log.finish()


def write_log(path: Path, lines: list[str]) -> Path:
    path.write_text("user,item,rating,time\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def many(count: int) -> list[str]:
    return [f"{n},a,3,{n}" for n in range(count)]


def test_over_one_percent_shows_counts_lines_and_the_mend(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.csv", [*many(300), "1,a,five,3", "1,zz,4,3", "1,a", "2,a,bad,4"])
    with pytest.raises(UserError) as caught:
        reader(tmp_path).read(path, COLUMNS)
    message = str(caught.value)
    assert message.startswith("log.csv: 4 of 304 rows (1.3%) cannot be read")
    assert "rating is not a number: 2" in message
    assert "log.csv:302: '1,a,five,3'" in message
    assert "unknown item: 1" in message
    assert "wrong number of columns (4 expected): 1" in message


def test_up_to_one_percent_is_counted_and_left_out(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.csv", [*many(198), "1,a,five,3", "1,zz,4,3"])
    log = reader(tmp_path)
    log.read(path, COLUMNS)
    assert log.problems.counts == {"rating is not a number": 1, "unknown item": 1}
    assert len(rows_of(log)) == 198


def test_quoted_fields(tmp_path: Path) -> None:
    lines = ['"ann, b",a,"3",5', 'carl,"x y",4,6', '"with ""quotes""",b,1,7', *many(300), '"open,a,3,1']
    log = reader(tmp_path)
    log.read(write_log(tmp_path / "log.csv", lines), COLUMNS)
    assert rows_of(log)[:4] == [
        ("ann, b", "a", 3.0, 5, 2),
        ("carl", "x y", 4.0, 6, 3),
        ('with "quotes"', "b", 1.0, 7, 4),
        ("0", "a", 3.0, 0, 5),
    ]
    assert log.problems.counts == {"broken quotes (unexpected end of data)": 1}


def test_a_wrong_column_names_those_found_and_expected(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item,stars\n1,a,3\n")
    with pytest.raises(UserError, match=r"no column 'rating', 'time': expected .*; found user, item, stars"):
        reader(tmp_path).read(path, COLUMNS)
    path = tmp_path / "log.jsonl"
    path.write_text('{"user": 1, "item": "a", "stars": 3}\n')
    with pytest.raises(UserError, match=r"no column 'rating', 'time': expected .*; found user, item, stars"):
        reader(tmp_path).read(path, COLUMNS)
    path = tmp_path / "log.parquet"
    pl.DataFrame({"user": ["1"], "item": ["a"], "stars": [3]}).write_parquet(path)
    with pytest.raises(UserError, match=r"no column 'rating', 'time': expected .*; found user, item, stars"):
        reader(tmp_path).read(path, COLUMNS)


def test_a_log_without_ratings_and_times_keeps_its_order_column(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("n,user,item\n5,1,a\n3.0,1,b\n")
    log = reader(tmp_path)
    log.read(path, LogColumns("user", "item", order="n"))
    assert rows_of(log) == [("1", "a", None, None, 5), ("1", "b", None, None, 3)]


def test_an_order_that_is_no_whole_number_is_bad(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("n,user,item\n" + "1,1,a\n" * 300 + "1.5,1,a\n,1,a\nx,1,a\n")
    log = reader(tmp_path)
    log.read(path, LogColumns("user", "item", order="n"))
    assert log.problems.counts == {"order is not a whole number": 3}


def test_an_empty_rating_or_time_is_unknown_where_it_may_be(tmp_path: Path) -> None:
    log = reader(tmp_path)
    log.read(write_log(tmp_path / "log.csv", ["1,a,,5", "1,b,3,"]), LogColumns("user", "item", "rating", "time"))
    assert rows_of(log) == [("1", "a", None, 5, 2), ("1", "b", 3.0, None, 3)]


@given(moment=st.datetimes(datetime(1970, 1, 2), datetime(2099, 12, 30)), zone=st.integers(-11, 11))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_every_unit_of_time_gives_the_same_seconds(tmp_path: Path, moment: datetime, zone: int) -> None:
    utc = moment.replace(tzinfo=UTC)
    seconds = math.floor((utc - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1))
    microseconds = (utc - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    local = moment + timedelta(hours=zone)
    forms = {
        "s": [str(seconds)],
        "ms": [str(microseconds // 1000)],
        "us": [str(microseconds)],
        "ns": [str(microseconds * 1000)],
        "text": [
            moment.isoformat(sep=" "),
            moment.isoformat(),
            moment.isoformat() + "Z",
            f"{local.isoformat()}{'+' if zone >= 0 else '-'}{abs(zone):02}:00",
        ],
    }
    for unit, texts in forms.items():
        for text in texts:
            log = reader(tmp_path)
            columns = LogColumns("user", "item", "rating", "time", time_unit=unit)  # type: ignore[arg-type]
            log.read(write_log(tmp_path / "log.csv", [f"1,a,3,{text}"]), columns)
            assert rows_of(log)[0][3] == seconds, (unit, text)


def test_dates_without_a_clock(tmp_path: Path) -> None:
    log = reader(tmp_path)
    columns = LogColumns("user", "item", "rating", "time", time_unit="text")
    log.read(write_log(tmp_path / "log.csv", ["1,a,3,1970-01-02", "1,b,3,1970-01-03"]), columns)
    assert [row[3] for row in rows_of(log)] == [86_400, 172_800]


def test_milliseconds_taken_for_seconds_are_refused(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.csv", ["1,a,3,1500000000000"])
    with pytest.raises(UserError, match="is its unit right"):
        reader(tmp_path).read(path, COLUMNS)


def test_all_forms_of_a_table_give_the_same_rows(tmp_path: Path) -> None:
    table = [("1", "a", 3.5, 100), ("2", "7", 1.0, 200), ("2", "b", 5.0, 150)]
    (tmp_path / "log.csv").write_text("user,item,rating,time\n" + "".join(f"{u},{i},{v},{t}\n" for u, i, v, t in table))
    (tmp_path / "log.tsv").write_text(
        "user\titem\trating\ttime\n" + "".join(f"{u}\t{i}\t{v}\t{t}\n" for u, i, v, t in table)
    )
    objects = [dict(zip(NAMES, row, strict=True)) for row in table]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps({**o, "user": int(o["user"])}) + "\n" for o in objects))
    pl.DataFrame(objects).write_parquet(tmp_path / "log.parquet")
    for name in ("log.csv", "log.tsv", "log.jsonl", "log.parquet"):
        log = reader(tmp_path)
        log.read(tmp_path / name, COLUMNS)
        assert [row[:4] for row in rows_of(log)] == table, name


def test_ids_that_gaps_turned_into_floats_are_whole_again(tmp_path: Path) -> None:
    pl.DataFrame({"user": [1.0, 2.5], "item": [7.0, 7.0]}).write_parquet(tmp_path / "log.parquet")
    log = reader(tmp_path)
    log.read(tmp_path / "log.parquet", LogColumns("user", "item"))
    assert [row[:2] for row in rows_of(log)] == [("1", "7"), ("2.5", "7")]


def test_real_date_times_in_parquet(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": ["1"], "item": ["a"], "when": [datetime(1970, 1, 2, 0, 0, 3)]})
    frame.write_parquet(tmp_path / "log.parquet")
    for unit in ("s", "ms", "text"):
        log = reader(tmp_path)
        log.read(tmp_path / "log.parquet", LogColumns("user", "item", time="when", time_unit=unit))  # type: ignore[arg-type]
        assert rows_of(log)[0][3] == 86_403


def test_json_rows_lacking_a_key_are_judged(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    good = '{"user": "1", "item": "a", "rating": 3, "time": 5}\n'
    path.write_text(
        good * 300 + '{"item": "a", "rating": 3, "time": 5}\n{"user": "1", "item": "a", "time": 5}\n{"user"'
    )
    log = reader(tmp_path)
    log.read(path, COLUMNS)
    assert log.problems.counts == {"no user": 1, "no rating": 1, "JSON cut short or not JSON": 1}
    assert log.problems.first["JSON cut short or not JSON"][0].line == 303
