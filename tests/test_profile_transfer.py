"""Export and import of a profile, and import of a history in CSV."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from llm4rec.errors import UserError
from llm4rec.profiles.events import Event, EventConflict
from llm4rec.profiles.fold import fold
from llm4rec.profiles.history_file import Imported, import_history
from llm4rec.profiles.store import SqliteProfileStore
from llm4rec.profiles.transfer import export_user, import_file, import_user, write_export
from profile_cases import NOW, said, sequences, undo_of


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteProfileStore]:
    store = SqliteProfileStore(tmp_path / "profiles.sqlite")
    yield store
    store.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[SqliteProfileStore]:
    store = SqliteProfileStore(tmp_path / "other.sqlite")
    yield store
    store.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=sequences())
def test_an_export_reads_back_bit_for_bit(
    tmp_path: Path, store: SqliteProfileStore, other: SqliteProfileStore, events: tuple[Event, ...]
) -> None:
    store.forget_user("ana")
    other.forget_user("ana")
    store.append_many(events)
    path = tmp_path / "ana.json"
    write_export(store, "ana", path)
    assert import_user(other, path) == Imported("ana", len(events), 0)
    assert other.events("ana") == events
    assert export_user(other, "ana") + "\n" == path.read_text(encoding="utf-8")
    assert import_user(other, path) == Imported("ana", 0, len(events))


def test_the_document_says_what_it_is(store: SqliteProfileStore) -> None:
    store.append(said(0, item="heat"))
    assert json.loads(export_user(store, "ana")) == {
        "schema": "llm4rec.profile/2",
        "user": "ana",
        "events": [
            {
                "id": "ana:0:0:0",
                "user": "ana",
                "time": NOW,
                "kind": "like",
                "item": "heat",
                "thread": "t1",
                "source": "said",
                "confidence": 1.0,
            }
        ],
    }
    assert json.loads(export_user(store, "nobody"))["events"] == []
    with pytest.raises(UserError, match="cannot be exported"):
        export_user(store, "")


def test_a_document_of_the_first_version_is_read_too(store: SqliteProfileStore, tmp_path: Path) -> None:
    path = tmp_path / "ana.json"
    path.write_text(json.dumps({"schema": "llm4rec.profile/1", "user": "ana", "events": [EVENT]}))
    assert import_user(store, path) == Imported("ana", 1, 0)
    assert store.events("ana") == (said(0),)


def test_an_export_is_private_and_whole(store: SqliteProfileStore, tmp_path: Path) -> None:
    path = tmp_path / "ana.json"
    path.write_text("old")
    store.append(said(0))
    write_export(store, "ana", path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not list(tmp_path.glob(".ana.json*"))
    with pytest.raises(UserError, match="cannot be written"):
        write_export(store, "ana", tmp_path / "missing" / "ana.json")


def test_an_import_is_all_or_nothing(store: SqliteProfileStore, other: SqliteProfileStore, tmp_path: Path) -> None:
    store.append_many([said(0), said(1)])
    path = tmp_path / "ana.json"
    write_export(store, "ana", path)
    other.append(said(1, kind="dislike"))
    with pytest.raises(EventConflict):
        import_user(other, path)
    assert other.events("ana") == (said(1, kind="dislike"),)


EVENT = json.loads(said(0).model_dump_json())


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("{", "Invalid JSON.*line 1"),
        ("[" * 100_000, "Invalid JSON"),
        ("[]", "object|dictionary"),
        ({"user": "ana", "events": []}, "schema is unknown.*reads 'llm4rec.profile/2'"),
        ({"schema": "llm4rec.profiles/9", "user": "ana", "events": [], "more": 1}, "'llm4rec.profiles/9'.*upgrade"),
        ({"schema": "llm4rec.profile/1", "user": "ana"}, "events: Field required"),
        ({"schema": "llm4rec.profile/1", "user": "ana", "events": [], "x": 1}, "x: Extra"),
        ({"schema": "llm4rec.profile/1", "user": "ana", "events": [{**EVENT, "time": "1"}]}, r"events\[0\]\.time"),
        (
            {"schema": "llm4rec.profile/1", "user": "ana", "events": [EVENT, {**EVENT, "term": "x"}]},
            r"events\[1\].*term",
        ),
        ({"schema": "llm4rec.profile/1", "user": "bob", "events": [EVENT]}, r"events\[0\] is of 'ana'"),
        (
            {
                "schema": "llm4rec.profile/1",
                "user": "ana",
                "events": [{**said(1, kind="undo", target="gone").model_dump()}],
            },
            "nothing to undo",
        ),
    ],
)
def test_what_is_no_export_is_told(store: SqliteProfileStore, tmp_path: Path, document: object, told: str) -> None:
    path = tmp_path / "ana.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(UserError, match=told) as caught:
        import_user(store, path)
    assert "\n" not in str(caught.value)
    assert store.users() == ()


def test_import_file_goes_by_the_name_and_the_user(store: SqliteProfileStore, tmp_path: Path) -> None:
    csv, exported = tmp_path / "h.csv", tmp_path / "e.JSON"
    csv.write_text("item\nheat\n")
    assert import_file(store, "ana", csv, known={"heat"}).new == 1
    write_export(store, "ana", exported)
    assert import_file(store, "ana", exported) == Imported("ana", 0, 1)
    with pytest.raises(UserError, match="profile of 'ana', not of 'bob'"):
        import_file(store, "bob", exported)
    with pytest.raises(UserError, match=r"ends in \.json"):
        import_file(store, "ana", tmp_path / "h.txt")
    for missing in ("m.csv", "m.json"):
        with pytest.raises(UserError, match="cannot be read"):
            import_file(store, "ana", tmp_path / missing)


# Histories.


def history(folder: Path, text: str) -> Path:
    path = folder / "history.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_history_becomes_events_in_the_order_of_time(store: SqliteProfileStore, tmp_path: Path) -> None:
    text = (
        "\ufeffItem, value ,time,title\n"
        "c,,,Sea\n"
        '"b",4.5,2021-05-03,"Bee, the film"\n'
        "\n"
        "a,2,2021-05-03T10:00:00+02:00,A\n"
        "d,-0.0,1000,\n"
    )
    done = import_history(store, history(tmp_path, text), "ana", now=NOW)
    assert done == Imported("ana", 4, 0, unused=("title",))
    events = store.events("ana")
    assert [(e.item, e.kind, e.value, e.time) for e in events] == [
        ("d", "rating", 0.0, 1000.0),
        ("b", "rating", 4.5, 1620000000.0),
        ("a", "rating", 2.0, 1620028800.0),
        ("c", "seen", None, NOW),
    ]
    assert {e.source for e in events} == {"imported"}


def test_importing_a_history_again_adds_nothing_even_later(store: SqliteProfileStore, tmp_path: Path) -> None:
    path = history(tmp_path, "item,value\nheat,5\nalien,\nheat,5\n")
    assert import_history(store, path, "ana", now=NOW) == Imported("ana", 2, 1)
    store.append(undo_of(store.events("ana")[0], time=NOW))
    assert import_history(store, path, "ana") == Imported("ana", 0, 3)
    assert set(fold(store.events("ana")).items) == {"alien"}
    assert import_history(store, path, "bob", now=NOW).new == 2, "another user's rows are other events"


def test_the_later_rating_holds_wherever_it_stands_in_the_file(store: SqliteProfileStore, tmp_path: Path) -> None:
    import_history(store, history(tmp_path, "item,value,time\nheat,5,2000\nheat,1,1000\n"), "ana")
    assert fold(store.events("ana")).items["heat"].value == 5.0


BAD = {
    "heat,five,": "the value is not a number",
    "heat,nan,": "the value is not a number",
    "heat,1_0,": "the value is not a number",
    "heat,5,yesterday": "the time is neither",
    "heat,5,2021-13-01": "the time is neither",
    "heat,5,1600000000000": "the time is not between",
    "heat,5,-5": "the time is not between",
    "heat,5,0001-01-01": "the time is not between",
    ",5,": "no item",
    "ronin,5,": "not an item of the catalogue",
    "heat,5": "not 3 columns",
    "heat,5,1,2": "not 3 columns",
    'heat,"5,': "not CSV",
    'he"at,"5"x,': "not CSV",
}


@pytest.mark.parametrize("row", BAD)
def test_a_bad_row_is_named_and_stops_a_short_history(store: SqliteProfileStore, tmp_path: Path, row: str) -> None:
    path = history(tmp_path, f"item,value,time\nheat,5,1000\n{row}\n")
    with pytest.raises(UserError) as caught:
        import_history(store, path, "ana", known={"heat"})
    assert BAD[row] in str(caught.value)
    assert "history.csv:3" in str(caught.value)
    assert store.users() == ()


def test_one_bad_row_in_many_is_left_out_and_counted(store: SqliteProfileStore, tmp_path: Path) -> None:
    rows = [f"i{n},3,{n}" for n in range(199)]
    path = history(tmp_path, "\n".join(["item,value,time", *rows[:50], "x,bad,0", *rows[50:]]))
    done = import_history(store, path, "ana")
    assert (done.new, done.known) == (199, 0)
    assert done.problems == ("the value is not a number: 1, first history.csv:52: 'x,bad,0'",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("userId,movieId\n1,2\n", "one must be named item"),
        ("item;value\na;1\n", "one must be named item"),
        ("item,value,item\na,1,a\n", "names item twice"),
    ],
)
def test_a_header_that_does_not_serve_is_told(store: SqliteProfileStore, tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UserError, match=rf"history\.csv.*{told}"):
        import_history(store, history(tmp_path, text), "ana")


def test_a_history_in_another_encoding_is_told(store: SqliteProfileStore, tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_bytes("item\nAmélie\n".encode("latin-1"))
    with pytest.raises(UserError, match="save it as UTF-8"):
        import_history(store, path, "ana")
