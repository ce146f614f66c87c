"""Forgetting, part by part: what is meant, files, conversations, running turns and builds, two at once."""

from __future__ import annotations

import csv
import fcntl
import gzip
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from llm4rec.agent._forgetting_files import forget_in_files, mentions
from llm4rec.agent._forgotten import Forgotten, texts_in, without, without_samples
from llm4rec.agent.conversations import _cleared as cleared
from llm4rec.agent.conversations import forget_conversations, open_conversations
from llm4rec.agent.recommender import Recommender
from llm4rec.catalog import durable, rebuild
from llm4rec.catalog.interactions import load_interactions
from llm4rec.catalog.workspace import Workspace
from llm4rec.errors import UserError
from llm4rec.profiles.events import Event, taste, undo
from llm4rec.profiles.history_file import history_ids, import_history
from llm4rec.profiles.store import SqliteProfileStore
from profile_cases import said
from scripted import ScriptedChatModel, calls
from terminal import command

# What is meant.


def test_titles_and_terms_are_found_as_whole_words_however_they_are_written() -> None:
    events = (
        said(0, item="heat", message="I loved it"),
        said(1, item="ronin"),
        said(2, kind="taste", term="Slow  pace"),
    )
    film = Forgotten.of("ana", events, item="heat", title="Heat, The (1995)")
    for text in ("the HEAT was on", "Heat", "heat, 1995", "I loved it", "heat's", "heat"):
        assert film.in_text(text), text
    for text in ("heated", "wheat", "I loved it all the same", "ronin", ""):
        assert not film.in_text(text), text
    pace = Forgotten.of("ana", events, statement="slow pace")
    assert pace.events == {events[2].id}
    assert pace.in_text("of a slow pace, please")
    assert not pace.in_text("slow it down")
    everything = Forgotten.of("ana", events)
    assert everything.events == {event.id for event in events}
    assert everything.everything
    assert everything.in_text("anything")


def test_undos_go_with_what_they_take_back() -> None:
    first = said(0, item="heat")
    back = undo(id="back", user="ana", time=1.0, target=first.id)
    again = undo(id="again", user="ana", time=2.0, target="back")
    assert Forgotten.of("ana", (first, back, said(5, item="ronin"), again), item="heat").events == {
        first.id,
        "back",
        "again",
    }
    assert Forgotten.of("ana", (first, back, again), statement="back").events == {"back", "again"}


def test_texts_of_messages_are_found_and_entries_of_items_left_out() -> None:
    call = {"name": "t", "args": {"title": "Heat", "n": [1, "deep"]}, "id": "c"}
    value = {
        "a": [HumanMessage("said"), AIMessage("", tool_calls=[call]), ToolMessage("seen", tool_call_id="c")],
        "b": 3,
    }
    assert {"said", "Heat", "deep", "seen"} <= set(texts_in(value))
    assert "title" not in set(texts_in(value))
    state = {
        "shown": [{"id": "p1", "score": 1.0}, {"id": "p2", "score": 0.5}],
        "pool": ["p2", "p1"],
        "query": "p1 and more",
    }
    assert without(state, "p1") == {"shown": [{"id": "p2", "score": 0.5}], "pool": ["p2"], "query": "p1 and more"}


@pytest.mark.parametrize(
    ("note", "left"),
    [
        ("bad: 1, first of them: r.csv:9: 'u5,p1'", "bad: 1"),
        ("bad: 1, first of them: r.csv:9: 'u55,p1'", None),
        ("u5 is named here, and no row is shown", None),
    ],
)
def test_rows_shown_in_notes_go_where_they_name_the_user(note: str, left: str | None) -> None:
    assert without_samples(note, "u5") == (note if left is None else left)
    whole = {"notes": [note, "other"], "n": 1}
    assert (without_samples(whole, "u5") is whole) == (left is None)


# Files.


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "ws").mkdir()
    return tmp_path / "ws"


EVENTS = (
    said(0, item="heat", message="heat was great"),
    said(1, item="ronin", message="better than HEAT"),
    taste(id="t", user="ana", time=1.0, term="crime", message="more crime"),
)
ALL = Forgotten.of("ana", EVENTS)
HEAT = Forgotten.of("ana", EVENTS, item="heat", title="Heat")


def exported(*events: Event, user: str = "ana") -> dict[str, Any]:
    records = [event.model_dump(exclude_none=True) for event in events]
    return {"schema": "llm4rec.profile/2", "user": user, "events": records}


def test_exports_go_with_the_user_and_lose_what_concerns_an_item(root: Path) -> None:
    for name, document in (("mine.json", exported(*EVENTS)), ("bob.json", exported(user="bob"))):
        (root / name).write_text(json.dumps(document), encoding="utf-8")
        (root / f"{name}.gz").write_bytes(gzip.compress(json.dumps(document).encode()))
    others = {path.name: path.read_bytes() for path in root.glob("bob*")}
    done = {one.place: one.count for one in forget_in_files(root, HEAT)}
    assert done == {"mine.json": 1, "mine.json.gz": 1}
    for text in ((root / "mine.json").read_text(), gzip.decompress((root / "mine.json.gz").read_bytes()).decode()):
        left = json.loads(text)
        assert [(event["id"], event.get("message")) for event in left["events"]] == [
            (EVENTS[1].id, None),
            ("t", "more crime"),
        ]
    assert len(forget_in_files(root, ALL)) == 2
    assert {path.name: path.read_bytes() for path in root.iterdir()} == others


def test_lines_of_output_go_one_by_one_whatever_ends_a_line_in_unicode(root: Path) -> None:
    def turn(user: str, message: str) -> str:
        return json.dumps({"schema": "llm4rec.turn/1", "user": user, "message": message}, ensure_ascii=False)

    kept = turn("bob", "heat\u2028is fine")
    lines = [turn("ana", "heat\u2028was great"), kept, "no JSON", turn("ana", "hello\x85there"), ""]
    path = root / "out.log"
    path.write_text("\n".join(lines), encoding="utf-8")
    forget_in_files(root, HEAT)
    assert path.read_text(encoding="utf-8").split("\n") == lines[1:]
    forget_in_files(root, ALL)
    assert path.read_text(encoding="utf-8").split("\n") == [kept, "no JSON", ""]


def test_errors_go_with_the_only_user_of_a_file(root: Path) -> None:
    error = '{"schema":"llm4rec.error/1","error":"what is XQ?"}'
    turn = '{"schema":"llm4rec.turn/1","user":"ana","message":"hello"}'
    (root / "out.jsonl").write_text(f"{error}\n{turn}\n{error}\n", encoding="utf-8")
    forget_in_files(root, ALL)
    assert not (root / "out.jsonl").exists()


def test_files_of_others_are_named_and_left_alone(root: Path) -> None:
    (root / "diary.txt").write_text('she said "heat was great"', encoding="utf-8")
    (root / "theirs.json").write_text(json.dumps({"user": "ana", "x": ["llm4rec."]}), encoding="utf-8")
    (root / "receipt.json").write_text(json.dumps({"schema": "llm4rec.forgotten/2", "user": "ana"}), encoding="utf-8")
    (root / "packed.gz").write_bytes(b"not packed at all, llm4rec.")
    (root / "binary").write_bytes(b"\xff\xfe llm4rec. \x00")
    pl.DataFrame({"user": ["ana"], "x": [1]}).write_parquet(root / "theirs.parquet")
    before = {path.name: path.read_bytes() for path in root.iterdir()}
    assert forget_in_files(root, ALL) == []
    assert {path.name: path.read_bytes() for path in root.iterdir()} == before
    (note,) = mentions(root, ALL)
    assert note.startswith("diary.txt may still hold something of it")


def test_a_history_that_was_imported_goes_or_loses_its_rows(root: Path) -> None:
    store = SqliteProfileStore(root / "state" / "profiles.sqlite")
    plain, more, other = root / "plain.csv", root / "more.csv", root / "other.csv"
    plain.write_text("Item,Value,Time\n\nheat,5,1700000000\nronin,x,1\nronin,,\n" + "heat,5,1700000000\n" * 200)
    more.write_text('item,note,time\nheat,"mine, all",\nronin,too,\n', encoding="utf-8")
    other.write_text("item,value\nheat,1\n", encoding="utf-8")
    for path in (plain, more):
        import_history(store, path, "ana")
    import_history(store, other, "bob")
    events = store.events("ana")
    store.close()
    assert set(history_ids(more, "ana").values()) <= {event.id for event in events}
    before = other.read_bytes()
    forget_in_files(root, Forgotten.of("ana", events, item="heat", title="Heat"))
    with more.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["item", "note", "time"], ["ronin", "too", ""]]
    assert "heat" not in plain.read_text(encoding="utf-8")
    forget_in_files(root, Forgotten.of("ana", events))
    assert not plain.exists()
    with more.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["item", "note", "time"]]
    assert other.read_bytes() == before


def test_links_are_not_followed(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine.json").write_text(json.dumps(exported(*EVENTS)), encoding="utf-8")
    (root / "folder").symlink_to(outside)
    (root / "file.json").symlink_to(outside / "mine.json")
    assert forget_in_files(root, ALL) == []
    assert (outside / "mine.json").exists()


# Conversations.


@pytest.fixture
def model() -> ScriptedChatModel:
    return ScriptedChatModel()


@pytest.fixture
def talk(shop: Path, model: ScriptedChatModel) -> Iterator[Recommender]:
    with Recommender.open(shop, chat_model=model) as opened:
        yield opened


def spoken(talk: Recommender, user: str, thread: str = "main") -> list[str]:
    return [m.content for m in talk._state(user, thread)["messages"] if isinstance(m, HumanMessage)]


def test_an_item_leaves_conversations_with_the_turns_that_speak_of_it(
    talk: Recommender, model: ScriptedChatModel, shop: Path
) -> None:
    model.enqueue(calls(("search_items", {"query": "lamp"})))
    shown = talk.chat("kim", "a lamp please").cards
    model.enqueue(calls(("record_feedback", {"verdict": "like", "title": "Borealis chair 1"})))
    talk.chat("kim", "I loved the Borealis chair 1")
    model.enqueue(calls(text="it is late"))
    talk.chat("kim", "what time is it?")
    model.enqueue(calls(("search_items", {"query": "lamp"})))
    talk.chat("kim2", f"what of the {shown[0].title}?")
    others = talk._state("kim2", "main")
    receipt = talk.forget("kim", item="Borealis chair 1")
    assert receipt.events == 1
    assert spoken(talk, "kim") == ["a lamp please", "what time is it?"]
    receipt = talk.forget("kim", item=shown[0].id)
    assert spoken(talk, "kim") == ["what time is it?"], "a turn that listed it speaks of it"
    assert shown[0].id not in {one["id"] for one in talk._state("kim", "main")["shown"]}
    assert talk._state("kim2", "main") == others
    model.enqueue(calls(("search_items", {"query": "lamp"})))
    assert talk.chat("kim", "a lamp please").number == 4
    with sqlite3.connect(shop / "state" / "threads.sqlite") as connection:
        found = connection.execute("SELECT count(*) FROM checkpoints WHERE thread_id = 'kim/main'").fetchone()
    assert found[0] > 0
    talk.forget("kim")
    assert talk._state("kim", "main") == {}
    assert talk._state("kim2", "main") == others, "a name that begins alike is another's"


def test_a_question_back_that_names_it_goes_and_the_thread_stays() -> None:
    about, other = [{"turn": n, "labels": labels} for n, labels in ((1, ["Crime", "Comedy"]), (9, ["War", "Drama"]))]
    messages = [HumanMessage("more crime"), AIMessage("noted"), HumanMessage("hello"), AIMessage("hello to you")]
    state = {"messages": messages, "asked": [about, other], "reply": "hello to you", "said": ""}
    crime = Forgotten.of("ana", EVENTS, statement="crime")
    assert cleared(state, crime) == ({**state, "messages": messages[2:], "asked": [other]}, 1)


def test_a_file_in_use_is_waited_for_and_named_when_it_stays_so(tmp_path: Path) -> None:
    connection, saver = open_conversations(tmp_path / "threads.sqlite")
    reader = sqlite3.connect(tmp_path / "threads.sqlite", isolation_level=None, check_same_thread=False)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM checkpoints").fetchone()
    connection.execute("PRAGMA busy_timeout=10")
    connection.execute("CREATE TABLE more (x)")
    connection.commit()
    with pytest.raises(UserError, match=r"another process .*traces may stay in it: forget again"):
        forget_conversations(connection, saver, ALL, patience=0.2)
    timer = threading.Timer(0.1, reader.execute, ["COMMIT"])
    timer.start()
    assert forget_conversations(connection, saver, ALL) == (0, 0)
    timer.join()
    reader.close()
    connection.close()


# All together.


def test_only_one_thing_at_a_time_and_unknown_items_are_told(talk: Recommender, shop: Path) -> None:
    with pytest.raises(UserError, match="one thing at a time"):
        talk.forget("kim", item="p1", statement="crime")
    assert (
        "leave one out"
        in command(
            "profile", "forget", "--user", "kim", "--item", "p1", "--statement", "x", "--yes", "-w", shop
        ).complaint
    )
    assert command("profile", "forget", "--user", "kim", "--item", "no such thing", "--yes", "-w", shop).code == 2
    nothing = talk.forget("nobody")
    assert (nothing.events, nothing.rebuild) == (0, ())
    outcome = command("profile", "forget", "--user", "kim", "--statement", "crime", "--yes", "-w", shop)
    assert outcome.out.startswith("0 events erased")


def test_messages_of_other_events_lose_the_title_too(talk: Recommender, model: ScriptedChatModel) -> None:
    liked = calls(("record_feedback", {"verdict": "like", "title": "Acme pen 1"}))
    for message in ("the Acme pen 1 beats the acme LAMP 1", "a fine pen"):
        model.enqueue(liked)
        talk.chat("kim", message)
    talk.feedback("kim", "dislike", "Acme lamp 1")
    receipt = talk.forget("kim", item="Acme lamp 1")
    assert (receipt.events, receipt.messages) == (1, 1)
    assert [event.message for event in talk.knowledge.store.events("kim")] == [None, "a fine pen"]


def test_a_turn_that_runs_is_waited_for(talk: Recommender) -> None:
    talk._timeout = 0.1
    talk.feedback("kim", "like", "Acme lamp 1")
    lock = talk._turns["kim/main"]
    with lock, ThreadPoolExecutor(1) as pool, pytest.raises(UserError, match="a turn of 'kim' is running"):
        pool.submit(talk.forget, "kim").result()
    assert talk.known_user("kim")
    assert talk.forget("kim").events == 1


def test_a_running_build_is_told_and_forgetting_again_finishes(talk: Recommender, shop: Path) -> None:
    talk.feedback("u5", "like", "Acme lamp 1")
    with (shop / "staging" / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"a build is running .*all else is erased; .*forget again"):
            talk.forget("u5")
        assert len(talk.knowledge.interactions.of_user("u5")) == 12
        assert not talk.knowledge.store.events("u5")
        assert talk.forget("somebody new").events == 0, "who is in no log need not wait"
    receipt = talk.forget("u5")
    assert receipt.rebuild
    assert not talk.known_user("u5")


def test_two_forget_at_once(shop: Path) -> None:
    with Recommender.open(shop, llm="rules") as one, Recommender.open(shop, llm="rules") as other:
        with ThreadPoolExecutor(2) as pool:
            done = [pool.submit(one.forget, "u5"), pool.submit(other.forget, "u6")]
            rows = [sum(part.count for part in d.result().removed if part.store == "log") for d in done]
        assert rows == [12, 12]
        for talk in (one, other):
            assert not talk.known_user("u5")
            assert not talk.known_user("u6")
            assert len(talk.knowledge.interactions.of_user("u7")) == 12
    build = Workspace(shop).open().path
    assert load_interactions(build).n_users == 38
    with Recommender.open(shop, llm="rules") as again:
        assert again.recommend("u7", k=3).cards


def test_states_kept_in_memory_go(talk: Recommender) -> None:
    talk.recommend("u5", k=3)
    encoder = talk.knowledge.searcher.text_encoder
    encoder.encode(["something said"])
    assert encoder._single.cache_info().currsize > 0  # type: ignore[attr-defined]
    talk.forget("nobody")
    assert encoder._single.cache_info().currsize == 0  # type: ignore[attr-defined]


def test_marks_add_up_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    assert rebuild.read_mark(tmp_path) is None
    first = rebuild.mark(tmp_path, ["ease"])
    time.sleep(0.01)
    both = rebuild.mark(tmp_path, ["graph", "ease"])
    assert both.models == ("ease", "graph")
    assert both.since == first.since
    assert rebuild.read_mark(tmp_path) == both
    assert "ease, graph" in both.text()
    (tmp_path / rebuild.MARK).write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="damaged"):
        rebuild.read_mark(tmp_path)


def test_what_replaces_a_file_is_whole_and_keeps_its_permissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    durable.replace(path, b"one")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    durable.replace(path, b"two")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two", 0o640)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        durable.replace(path, b"three")
    assert path.read_bytes() == b"two"
    assert [one.name for one in tmp_path.iterdir()] == ["a"]
