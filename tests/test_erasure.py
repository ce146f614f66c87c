"""Erasure: twenty marks planted in every way a user can leave something, and none of them found afterwards.

Every byte of every file under the workspace is searched, and what Parquet, msgpack (the checkpoints of conversations)
and compressed files hold. The search finds each mark before, in each place where it should be, so that finding nothing
means something.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import ormsgpack
import polars as pl
import profile_places
import psycopg
import pytest
from llm4rec.agent import forgetting
from llm4rec.agent._forgetting_builds import Dropped
from llm4rec.agent.recommender import Recommender
from llm4rec.builder import build_workspace
from llm4rec.catalog.interactions import load_interactions
from llm4rec.catalog.rebuild import read_mark
from llm4rec.catalog.workspace import Workspace, read_manifest
from llm4rec.profiles.store import Receipt, SqliteProfileStore
from llm4rec.profiles.transfer import export_user
from llm4rec.ranking.graph import USERS
from llm4rec.ranking.graph_ranker import load_graph
from llm4rec.ranking.models import part_file, read_metadata
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from profile_cases import said
from scripted import ScriptedChatModel, calls
from terminal import command
from test_profile_postgres import files_of_database, superuser
from traces import traces

#: The user, with what has to be written otherwise in names of threads and in JSON.
USER = 'zoë "quill" Xq00zoe'
OTHER = "u3"
#: What is planted, each with places where it has to be found before (patterns of paths, ``#`` before decoded content).
#: Twenty marks; what is no more than looked at has none.
PLACES: dict[str, tuple[str, ...]] = {
    "Xq00zoe": (
        "state/profiles.sqlite*#table/profile_events",
        "state/threads.sqlite*#table/checkpoints",
        "builds/*/users.parquet#parquet",
        "builds/older/users.parquet#parquet",
        "staging/stopped/users.parquet#parquet",
        "exports/zoe.json",
        "exports/packed.json.gz#gzip",
        "exports/folds/*/train.parquet#parquet",
        "notes/chat.jsonl",
    ),
    "Xq01wish": ("state/threads.sqlite*#table/checkpoints", "state/threads.sqlite*#table/writes", "notes/chat.jsonl"),
    "Xq02liked": ("state/profiles.sqlite*#table/profile_events", "state/threads.sqlite*#table/checkpoints"),
    "Xq03gloom": ("state/profiles.sqlite*#table/profile_events", "state/threads.sqlite*#table/checkpoints"),
    "Xq04tonight": ("state/profiles.sqlite*#table/profile_events", "exports/zoe.json"),
    "Xq05thread": ("state/threads.sqlite*#table/checkpoints", "state/profiles.sqlite*#table/profile_events"),
    "Xq06picture": ("state/threads.sqlite*#table/checkpoints",),
    "Xq07pixels": (),
    "Xq08clicked": ("state/profiles.sqlite*#table/profile_events",),
    "Xq09item": ("state/profiles.sqlite*#table/profile_events", "exports/zoe.json", "exports/taken-along.json"),
    "Xq10item": ("state/profiles.sqlite*#table/profile_events", "exports/packed.json.gz#gzip"),
    "Xq11message": ("state/profiles.sqlite*#table/profile_events", "exports/taken-along.json"),
    "Xq12term": ("state/profiles.sqlite*#table/profile_events", "exports/taken-along.json"),
    "Xq13comment": ("histories/mine.csv",),
    "Xq14undone": ("state/profiles.sqlite*#table/profile_events",),
    "Xq15town": ("builds/*/users.parquet#parquet", "staging/stopped/users.parquet#parquet"),
    "Xq16sample": (
        "builds/*/manifest.json",
        "staging/stopped/stages.json",
        "replay/replay.json",
        "replay/report.html",
    ),
    "Xq17turn": ("replay/work/*/turns.jsonl",),
    "Xq18before": ("state/before.sqlite*",),
    "Xq19answer": ("state/threads.sqlite*#table/checkpoints",),
}
THREAD = "plans Xq05thread"
LIKED = {"verdict": "like", "title": "Acme lamp 1"}
#: Said by somebody else, to stay.
KEPT = ("Kept0message", "Kept1term", "Kept2wish")


@dataclass
class Planted:
    """A workspace full of marks, open.

    Attributes:
        liked: row of an item the user has in the training log.
    """

    root: Path
    talk: Recommender
    model: ScriptedChatModel
    liked: int


def rename_user(build: Path, old: str, new: str) -> None:
    """Give a user of a log another id, and a column of what is known of users."""
    path = build / "users.parquet"
    frame = pl.read_parquet(path)
    town = pl.when(pl.col("user") == old).then(pl.lit("Xq15town")).otherwise(pl.lit("elsewhere"))
    renamed = frame.with_columns(town=town, user=pl.col("user").replace({old: new}))
    path.unlink()  # the file may be shared with the build it was copied from
    renamed.write_parquet(path)


def plant_builds(root: Path) -> None:
    """The user in the log of three builds (in use, older, stopped), and a bad row of theirs in what is said of them."""
    place = Workspace(root)
    build = place.open().path
    rename_user(build, "u7", USER)
    older = root / "builds" / "older"
    shutil.copytree(build, older)
    note = f"not 4 columns: 1, first of them: ratings.csv:9: '{USER},p1,Xq16sample'"
    for folder, name in ((build, build.name), (older, "older")):
        manifest = read_manifest(folder)
        told = manifest.model_copy(update={"id": name, "notes": (*manifest.notes, note, "another note")})
        (folder / "manifest.json").write_text(told.model_dump_json(indent=2) + "\n", encoding="utf-8")
    stopped = root / "staging" / "stopped"
    shutil.copytree(build, stopped, ignore=shutil.ignore_patterns("manifest.json", "views", "images"))
    stages = {"read": {"notes": [note]}, "text view": {"notes": []}, "models": {"notes": []}, "bias": {}}
    (stopped / "stages.json").write_text(json.dumps(stages), encoding="utf-8")
    unread = root / "staging" / "unread"
    (unread / "llm4rec-scratch").mkdir(parents=True)
    (unread / "llm4rec-scratch" / "rows.csv").write_text(f"{USER},p1\n", encoding="utf-8")


def plant_talk(talk: Recommender, model: ScriptedChatModel, tmp_path: Path) -> list[str]:
    """Conversations, feedback, a picture, statements; gives the turns as ``chat --json`` prints them."""
    turns: list[str] = []
    tonight = {"verdict": "like", "about": "Xq04tonight", "scope": "tonight"}
    for text, answer in (
        ("a lamp for Xq01wish", calls(("search_items", {"query": "lamp"}))),
        ("I loved the Acme lamp 1 since Xq02liked", calls(("record_feedback", LIKED))),
        ("no Xq03gloom for me please", calls(("record_feedback", {"verdict": "dislike", "about": "Xq03gloom"}))),
        ("tonight I want Xq04tonight", calls(("record_feedback", tonight))),
        ("what do you know of me?", calls(("get_history", {"limit": 5}))),
        ("tell me something", calls(text="Xq19answer, since you ask")),
    ):
        model.enqueue(answer)
        turns.append(talk.chat(USER, text, thread=THREAD).model_dump_json())
    pixels = PngInfo()
    pixels.add_text("comment", "Xq07pixels")
    picture = tmp_path / "Xq07pixels.png"
    Image.new("RGB", (40, 40), "red").save(picture, pnginfo=pixels)
    model.enqueue(calls(("search_items", {"query": "lamp"})))
    turns.append(talk.chat(USER, "something like this Xq06picture", image=picture).model_dump_json())
    talk.feedback(USER, "dislike", "Acme chair 1", thread="Xq08clicked")
    talk.feedback(USER, "seen", "Acme pen 1", thread="Xq14undone")
    talk.undo(USER)
    return turns


def plant_files(root: Path, talk: Recommender, model: ScriptedChatModel, turns: list[str]) -> None:
    """What people keep in a workspace: exports, output, histories, replays, a store of before."""
    for name in ("exports", "notes", "histories"):
        (root / name).mkdir()
    fields = {"user": USER, "time": 1_700_000_000.0, "source": "said"}
    events = [
        said(0, id="e0 Xq09item", item="Xq09item", message="Xq11message is why", **fields),
        said(1, id="e1", kind="rating", item="Xq10item", value=4.0, **fields),
        said(2, id="e2", kind="taste", term="Xq12term", **fields),
    ]
    along = {"schema": "llm4rec.profile/1", "user": USER, "events": [e.model_dump(exclude_none=True) for e in events]}
    (root / "exports" / "taken-along.json").write_text(json.dumps(along), encoding="utf-8")
    assert talk.import_profile(USER, root / "exports" / "taken-along.json").new == 3
    (root / "histories" / "mine.csv").write_text(
        "item,value,time,comment\np2,5,1700000000,Xq13comment\np3,1,1700000001,Xq13comment\n", encoding="utf-8"
    )
    assert talk.import_profile(USER, root / "histories" / "mine.csv").new == 2
    (root / "histories" / "plain.csv").write_text("item,value\np5,4\n", encoding="utf-8")
    assert talk.import_profile(USER, root / "histories" / "plain.csv").new == 1
    exported = export_user(talk.knowledge.store, USER)
    (root / "exports" / "zoe.json").write_text(exported, encoding="utf-8")
    (root / "exports" / "packed.json.gz").write_bytes(gzip.compress(exported.encode()))
    (root / "exports" / "other.json").write_text(export_user(talk.knowledge.store, OTHER), encoding="utf-8")
    model.enqueue(calls(("recommend", {})))
    theirs = talk.chat(OTHER, "for Kept2wish").model_dump_json()
    error = '{"schema":"llm4rec.error/1","error":"no such thing"}'
    lines = [*turns[:3], theirs, error, *turns[3:]]
    (root / "notes" / "chat.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert command("replay", "-w", root, "--policies", "pop", "--out", root / "replay").code == 0
    assert command("replay", "-w", root, "--export", root / "exports" / "folds").code == 0
    work = root / "replay" / "work" / ("0123456789abcdef" * 2)[:24]
    work.mkdir(parents=True)
    (work / "turns.jsonl").write_text(json.dumps({"user": USER, "request": "Xq17turn"}) + "\n", encoding="utf-8")
    before = SqliteProfileStore(root / "state" / "before.sqlite")
    before.append(said(0, user=USER, message="Xq18before"))
    before.append(said(1, user=OTHER, message="Kept0message"))
    before.close()


@pytest.fixture(scope="module")
def planted_once(shop_built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace with everything planted, closed; never write into it."""
    folder = tmp_path_factory.mktemp("planted")
    root = Path(shutil.copytree(shop_built, folder / "workspace", symlinks=True))
    plant_builds(root)
    model = ScriptedChatModel()
    with Recommender.open(root, chat_model=model) as talk:
        model.enqueue(calls(("record_feedback", {"verdict": "like", "title": "Acme pen 1"})))
        talk.chat(OTHER, "I liked the Acme pen 1, Kept0message")
        model.enqueue(calls(("record_feedback", {"verdict": "dislike", "about": "Kept1term"})))
        talk.chat(OTHER, "no Kept1term for me please")
        plant_files(root, talk, model, plant_talk(talk, model, folder))
    return root


@pytest.fixture
def planted(planted_once: Path, tmp_path: Path) -> Iterator[Planted]:
    root = Path(shutil.copytree(planted_once, tmp_path / "workspace", symlinks=True))
    model = ScriptedChatModel()
    with Recommender.open(root, chat_model=model) as talk:
        yield Planted(root, talk, model, int(talk.knowledge.interactions.of_user(USER).items[0]))


def listed(talk: Recommender, user: str) -> list[tuple[str, float]]:
    return [(card.id, card.score) for card in talk.recommend(user, k=50).cards]


def ratings_of_others(build: Path) -> dict[str, list[Any]]:
    log = load_interactions(build)
    owners = log.frame()["user"].to_list()
    rows: dict[str, list[Any]] = {}
    for owner, row in zip(owners, log.frame().drop("user").rows(), strict=True):
        rows.setdefault(log.user_ids[owner], []).append(row)
    rows.pop(USER, None)
    return rows


def test_twenty_marks_leave_no_trace(planted: Planted) -> None:
    root, talk = planted.root, planted.talk
    assert len(PLACES) == 20
    before = traces(root, PLACES)
    for mark, patterns in PLACES.items():
        for pattern in patterns:
            assert any(fnmatch(place, pattern) for place in before.get(mark, ())), (mark, pattern, before.get(mark))
    assert "Xq07pixels" not in before, "a picture is looked at, never kept"
    build = Workspace(root).open().path
    lists, exported = listed(talk, OTHER), export_user(talk.knowledge.store, OTHER)
    logs = {folder: ratings_of_others(folder) for folder in (build, root / "builds" / "older")}
    with Recommender.open(root, llm="rules") as elsewhere:  # as another process: nothing of the log is read yet
        receipt = talk.forget(USER)
        assert traces(root, PLACES) == {}
        assert not elsewhere.known_user(USER)
        assert listed(elsewhere, OTHER) == lists
        assert elsewhere.history(OTHER).evidence
    assert not talk.known_user(USER)
    check_receipt(receipt)
    # Others are as they were.
    assert listed(talk, OTHER) == lists
    assert export_user(talk.knowledge.store, OTHER) == exported
    assert (root / "exports" / "other.json").read_text(encoding="utf-8") == exported
    assert {folder: ratings_of_others(folder) for folder in logs} == logs
    there = traces(root, KEPT)
    assert set(there) == set(KEPT)
    assert any("threads.sqlite" in place for place in there["Kept2wish"])
    assert any("before.sqlite" in place for place in there["Kept0message"])
    lines = (root / "notes" / "chat.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line).get("user") for line in lines] == [OTHER, None]
    folds = pl.read_parquet(next((root / "exports" / "folds").rglob("train.parquet")))
    assert folds["user"].n_unique() == 39
    planted.model.enqueue(calls(("explain", {"ordinal": 1})))
    assert talk.chat(OTHER, "why the first?").number == 4, "the conversation goes on"
    # A log and models that agree, and open again.
    for folder in logs:
        log = load_interactions(folder)
        assert (log.n_users, len(log)) == (39, 468)
        check_graph(folder)
    again = talk.forget(USER)
    assert (again.events, again.rebuild, again.notes) == (0, (), ())
    with Recommender.open(root, llm="rules") as opened:
        assert listed(opened, OTHER) == lists


def check_graph(build: Path) -> None:
    """The graph has a node for each user of the log, with as many items."""
    models = build / "models"
    graph = load_graph(part_file(models, "graph", read_metadata(models).sha256))
    users = graph.relation_of == graph.relations.index(USERS)
    assert graph.sizes[users].tolist() == np.diff(load_interactions(build).offsets).tolist()


def check_receipt(receipt: Receipt) -> None:
    """It says what went where, what is to be built again, and what is out of reach."""
    assert receipt.events == 12 + 1, "those of the store in use, and of the one before"
    found = {(one.store, one.place): (one.count, one.unit) for one in receipt.removed}
    assert found["profile", "state/profiles.sqlite"] == (12, "event")
    assert found["profile", "state/before.sqlite"] == (1, "event")
    assert found["conversations", "state/threads.sqlite"] == (2, "thread")
    assert found["file", "exports/zoe.json"] == (1, "document")
    assert found["file", "exports/packed.json.gz"] == (1, "document")
    assert found["file", "histories/mine.csv"] == (2, "row")
    assert found["file", "notes/chat.jsonl"] == (7, "document")
    assert found["log", "builds/older"] == (12, "interaction")
    assert found["log", "staging/stopped"] == (12, "interaction")
    assert found["graph", "builds/older"] == (1, "node")
    assert ("replay", "replay") in found
    assert {"popularity", "graph", "the causal report"} <= set(receipt.rebuild)
    assert not receipt.notes
    told = receipt.text()
    for words in ("built again", "Out of reach: the data that the workspace was built of", "outside the workspace"):
        assert words in told
    assert Receipt.model_validate_json(receipt.model_dump_json()) == receipt


def test_models_are_marked_until_the_workspace_is_built_again(planted: Planted, shop_built: Path) -> None:
    root = planted.root
    planted.talk.forget(USER)
    mark = read_mark(Workspace(root).open().path)
    assert mark is not None
    assert "ease" in mark.models
    findings = command("doctor", "--llm", "rules", "--json", "-w", root).document["findings"]
    (told,) = [finding for finding in findings if finding["what"] == "forgotten"]
    assert told["level"] == "note"
    assert "llm4rec build" in told["text"]
    assert not (root / "staging" / "unread").exists()
    stages = json.loads((root / "staging" / "stopped" / "stages.json").read_text(encoding="utf-8"))
    assert set(stages) == {"read", "text view"}, "what was learned from the log is learned again"
    assert not (root / "staging" / "stopped" / "models").exists()
    build_workspace(shop_built.parent / "data", root)
    assert read_mark(Workspace(root).open().path) is None
    findings = command("doctor", "--llm", "rules", "--json", "-w", root).document["findings"]
    assert not [finding for finding in findings if finding["what"] == "forgotten"]


class Cut(BaseException):
    """A kill: nothing may clean up after it."""


#: The steps of a forgetting.
STEPS = ("forget_conversations", "forget_in_files", "_from_store", "drop_from_builds", "_from_memory")


def test_a_forgetting_cut_off_anywhere_is_done_again(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off before and after each of its steps, one after another: none makes a later one blind."""
    for name, after in itertools.product(STEPS, (False, True)):
        step: Callable[..., Any] = getattr(forgetting, name)

        def cut(*given: Any, step: Callable[..., Any] = step, after: bool = after, **named: Any) -> Any:
            if after:
                step(*given, **named)
            raise Cut

        with monkeypatch.context() as patch:
            patch.setattr(forgetting, name, cut)
            with pytest.raises(Cut):
                planted.talk.forget(USER)
        assert planted.talk.recommend(OTHER, k=5).cards
    with Recommender.open(planted.root, llm="rules") as talk:
        talk.forget(USER)
    assert traces(planted.root, PLACES) == {}


#: What a step gives where it does nothing, and a mark that is left then, with where.
IDLE: dict[str, tuple[Any, str, str]] = {
    "forget_conversations": ((0, 0), "Xq19answer", "state/threads.sqlite*#table/checkpoints"),
    "forget_in_files": ([], "Xq13comment", "histories/mine.csv"),
    "_from_store": (Receipt(user=USER, events=0), "Xq14undone", "state/profiles.sqlite*#table/profile_events"),
    "drop_from_builds": (Dropped(), "Xq15town", "builds/older/users.parquet#parquet"),
}


@pytest.mark.parametrize("name", IDLE)
def test_a_step_left_out_is_seen(planted: Planted, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A control: the search that finds nothing after a whole forgetting finds what each step alone erases."""
    result, mark, place = IDLE[name]
    monkeypatch.setattr(forgetting, name, lambda *given, **named: result)
    planted.talk.forget(USER)
    found = traces(planted.root, PLACES)
    assert any(fnmatch(one, place) for one in found[mark]), found


def test_an_item_leaves_no_trace_and_the_rest_stays(planted: Planted) -> None:
    root, talk = planted.root, planted.talk
    receipt = talk.forget(USER, item="Xq09item")
    assert receipt.events == 1
    left = traces(root, PLACES)
    assert not {"Xq09item", "Xq11message"} & set(left)
    assert set(PLACES) - set(left) == {"Xq09item", "Xq11message", "Xq07pixels"}
    assert read_mark(Workspace(root).open().path) is None, "it is in no log"
    assert len(talk.knowledge.interactions.of_user(USER)) == 12


def test_an_item_of_the_log_goes_from_the_log(planted: Planted) -> None:
    root, talk = planted.root, planted.talk
    build, catalogue = Workspace(root).open().path, talk.knowledge.catalogue
    others = ratings_of_others(build)
    before = talk.knowledge.interactions.of_user(USER)
    receipt = talk.forget(USER, item=catalogue.ids[planted.liked])
    after = talk.knowledge.interactions.of_user(USER)
    keep = before.items != planted.liked
    assert after.items.tolist() == before.items[keep].tolist()
    assert after.times.tolist() == before.times[keep].tolist()
    assert ratings_of_others(build) == others
    check_graph(build)
    assert receipt.rebuild
    assert ("log", 1) in {(one.store, one.count) for one in receipt.removed}
    log = load_interactions(build)
    assert log.frame().filter(pl.col("user") == log.index_of[USER])["order"].to_list() == list(range(11))
    with Recommender.open(root, llm="rules") as opened:
        assert planted.liked not in opened.knowledge.interactions.of_user(USER).items


def test_a_statement_leaves_no_trace_and_its_thread_goes_on(planted: Planted) -> None:
    root, talk = planted.root, planted.talk
    receipt = talk.forget(USER, statement="xq03GLOOM")
    assert receipt.events == 1
    left = traces(root, PLACES)
    assert set(PLACES) - set(left) == {"Xq03gloom", "Xq07pixels"}
    assert any("threads.sqlite" in place for place in left["Xq01wish"]), "other turns stay"
    assert ("conversations", "turn") in {(one.store, one.unit) for one in receipt.removed}
    planted.model.enqueue(calls(("search_items", {"query": "lamp"})))
    assert talk.chat(USER, "a lamp", thread=THREAD).number == 7
    assert not receipt.rebuild


def test_a_store_in_the_way_of_a_server_is_cleared_too(planted: Planted) -> None:
    """In PostgreSQL, and in the workspace's own file from before: table files after VACUUM FULL."""
    mark = f"Xq{uuid.uuid4().hex[:8]}"
    with profile_places.postgres_place() as url, profile_places.plain() as plain:
        superuser(plain)
        with Recommender.open(planted.root, chat_model=planted.model, profiles=url) as talk:
            for number in range(4):
                planted.model.enqueue(calls(("record_feedback", LIKED)))
                talk.chat(USER, f"I loved the Acme lamp 1 {mark}said{number}", thread=f"{mark}thread")
                disliked = {"verdict": "dislike", "about": f"{mark}term{number}"}
                planted.model.enqueue(calls(("record_feedback", disliked)))
                talk.chat(USER, f"no {mark}term{number} please", thread=f"{mark}thread")
            talk.feedback(OTHER, "like", "Acme lamp 1")
            others = talk.knowledge.store.events(OTHER)
            held = files_of_database(plain)
            for number in range(4):
                assert f"{mark}said{number}".encode() in held
                assert f"{mark}term{number}".encode() in held
            assert held.count(b"Xq00zoe") >= 8
            receipt = talk.forget(USER)
            vacuum(plain, url)
            held = files_of_database(plain)
            assert (held.count(mark.encode()), held.count(b"Xq00zoe")) == (0, 0)
            assert talk.knowledge.store.events(OTHER) == others
        assert any("write-ahead log" in one and "backups" in one for one in receipt.unreachable)
    assert traces(planted.root, [*PLACES, mark]) == {}


def vacuum(plain: psycopg.Connection[Any], url: str) -> None:
    from llm4rec.profiles.server import Address
    from psycopg import sql

    table = sql.Identifier(Address(url).schema, "profile_events")
    plain.execute(sql.SQL("VACUUM FULL {}").format(table))


def test_the_search_looks_into_everything(tmp_path: Path) -> None:
    """A control of the control: each kind of content, with the mark in none but its decoded form."""
    mark = "Xq99hidden"
    pl.DataFrame({"text": [mark] * 100}).write_parquet(tmp_path / "a.parquet", compression="zstd")
    (tmp_path / "b.gz").write_bytes(gzip.compress(mark.encode() * 50))
    with contextlib.closing(sqlite3.connect(tmp_path / "c.sqlite")) as opened:
        opened.execute("CREATE TABLE kept (value BLOB)")
        inner = ormsgpack.packb({"deep": [mark]})
        opened.execute("INSERT INTO kept VALUES (?)", (ormsgpack.packb({"x": ormsgpack.Ext(5, inner)}),))
        opened.commit()
    (tmp_path / f"{mark}.txt").write_text("nothing inside", encoding="utf-8")
    (tmp_path / "d.csv").write_text(f"a,{mark}\n", encoding="utf-8")
    found = traces(tmp_path, [mark])[mark]
    assert {"a.parquet#parquet", "b.gz#gzip", "c.sqlite#table/kept", f"{mark}.txt", "d.csv"} <= found
