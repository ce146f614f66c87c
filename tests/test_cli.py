"""Every command: what it prints, and that --json is one document on one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import llm4rec
import pytest
import typer
from llm4rec.agent.recommender import Recommender
from llm4rec.cli import app
from terminal import command, process


@pytest.fixture
def poster(shop_built: Path) -> Path:
    return shop_built.parent / "data" / "images" / "p3.png"


def cited(document: dict[str, Any]) -> None:
    """Each card says why, and what it says rests on records that are there."""
    evidence = {record["id"] for record in document["evidence"]}
    assert document["cards"]
    for card in document["cards"]:
        assert card["claims"]
        for claim in card["claims"]:
            assert claim["evidence"]
            assert set(claim["evidence"]) <= evidence


def test_recommend(shop_built: Path) -> None:
    found = command("recommend", "--user", "u1", "-k", "10", "--json", "-w", shop_built).document
    assert next(iter(found)) == "schema"
    assert found["schema"] == "llm4rec.items/1"
    assert found["user"] == "u1"
    assert [card["ordinal"] for card in found["cards"]] == list(range(1, 11))
    cited(found)
    for card in found["cards"]:
        assert card["score"]
        assert set(card["parts"]) == {"popularity", "transitions", "ease", "graph", "text", "image", "posterior"}
    with Recommender.open(shop_built, llm="rules") as recommender:
        knowledge = recommender.knowledge
        seen = {knowledge.catalogue.ids[row] for row in knowledge.interactions.of_user("u1").items}
    assert seen
    assert not seen & {card["id"] for card in found["cards"]}


def test_recommend_with_less_of_what_all_get(shop_built: Path) -> None:
    asked = ("recommend", "--user", "u1", "-k", "10", "--json", "-w", shop_built)
    plain, dialled = (command(*asked, "--debias", dial).document for dial in ("0", "0.8"))
    assert not any("debias" in card["parts"] for card in plain["cards"])
    assert all("debias" in card["parts"] for card in dialled["cards"])
    assert [card["id"] for card in plain["cards"]] != [card["id"] for card in dialled["cards"]]
    cited(dialled)


def test_recommend_for_people(shop_built: Path) -> None:
    done = command("recommend", "--user", "u1", "-k", "2", "--where", "brand=acme", "-w", shop_built)
    assert done.code == 0
    assert not done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("1. Acme ")
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        (["warm", "desk", "light"], "lamp"),
        (["warm desk light"], "lamp"),
        (["--like", "Acme chair 1"], "chair"),
        (["--like", "p4", "--where", "price<=40", "--where", "brand!=Cobalt"], "chair"),
        (["--image", "POSTER"], "lamp"),
        (["lamp", "--image", "POSTER"], "lamp"),
        (["lamp", "--image", "POSTER", "--like", "p3", "--where", "price>=20", "--user", "u1"], "lamp"),
    ],
)
def test_search(shop_built: Path, poster: Path, arguments: list[str], first: str) -> None:
    given = [str(poster) if argument == "POSTER" else argument for argument in arguments]
    found = command("search", *given, "-k", "4", "--json", "-w", shop_built).document
    assert found["schema"] == "llm4rec.items/1"
    assert len(found["cards"]) == 4
    cited(found)
    if "--image" not in given or "lamp" in given:  # a picture of a lamp here is rectangles
        assert first in found["cards"][0]["title"]
    for card in found["cards"]:
        price = card["attributes"]["price"]
        assert not ("price<=40" in given and price > 40)
        assert not ("price>=20" in given and price < 20)
        assert not ("brand!=Cobalt" in given and card["attributes"]["brand"] == "Cobalt")


def test_history(shop_built: Path) -> None:
    told = command("history", "--user", "u1", "-k", "3", "-w", shop_built)
    assert told.code == 0
    assert "12 items" in told.out
    assert told.out.count(" • ") == 3
    turn = command("history", "--user", "u1", "-k", "3", "--json", "-w", shop_built).document
    assert turn["schema"] == "llm4rec.turn/1"
    assert len(turn["evidence"]) == 3


def test_explain(shop_built: Path) -> None:
    found = command("explain", "Acme lamp 1", "--user", "u1", "--json", "-w", shop_built).document
    assert [card["id"] for card in found["cards"]] == ["p3"]
    cited(found)
    told = command("explain", "p3", "--user", "u1", "-w", shop_built).out
    assert found["cards"][0]["claims"][0]["text"] in told
    assert all(record["id"] in told for record in found["evidence"])


def test_profile(shop: Path, tmp_path: Path) -> None:
    with Recommender.open(shop, llm="rules") as recommender:
        recommender.feedback("kim", "like", "p3")
        recommender.feedback("kim", "dislike", "p4")
    assert "Acme lamp 1" in command("profile", "show", "--user", "kim", "-w", shop).out
    document = command("profile", "show", "--user", "kim", "--json", "-w", shop).document
    assert document["schema"] == "llm4rec.person/1"
    assert [event["item"] for event in document["events"]] == ["p3", "p4"]
    saved = tmp_path / "kim.json"
    assert command("profile", "export", "--user", "kim", "--out", saved, "-w", shop).code == 0
    exported = json.loads(saved.read_text())
    assert exported["schema"] == "llm4rec.profile/2"
    assert exported["events"] == document["events"]
    assert "Acme chair 1" in command("profile", "undo", "--user", "kim", "-w", shop).out
    assert "Acme chair 1" not in command("profile", "show", "--user", "kim", "-w", shop).out

    assert "nothing was erased" in command("profile", "forget", "--user", "kim", "-w", shop).complaint
    receipt = command("profile", "forget", "--user", "kim", "--yes", "--json", "-w", shop).document
    assert receipt["schema"] == "llm4rec.forgotten/2"
    assert receipt["events"] == 3
    assert "unknown user 'kim'" in command("profile", "show", "--user", "kim", "-w", shop).complaint

    assert command("profile", "import", "--user", "kim", saved, "-w", shop).out.startswith("2 events imported")
    assert command("profile", "show", "--user", "kim", "--json", "-w", shop).document == document
    one = command("profile", "forget", "--user", "kim", "--item", "Acme lamp 1", "--yes", "-w", shop)
    assert one.out.startswith("1 event erased")
    history = tmp_path / "history.csv"
    history.write_text("item,value,time\np5,5,1700000000\n", encoding="utf-8")
    assert command("profile", "import", "--user", "lee", history, "-w", shop).out.startswith("1 events imported")


def test_items(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    poster = shop.parent / "pictures" / "k.png"
    poster.write_bytes(next((shop / "current" / "images").glob("*.jpg")).read_bytes())
    source = tmp_path / "new.jsonl"
    item = {"id": "k1", "title": "River kayak", "description": "an inflatable boat", "image": "pictures/k.png"}
    source.write_text(json.dumps(item) + "\n", encoding="utf-8")
    added = command("items", "add", source, "--json", "-w", shop).document
    assert added == {"schema": "llm4rec.items-changed/1", "mode": "add", "items": ["k1"], "version": 1}
    (card,) = command("search", "kayak on a river", "-k", "1", "--json", "-w", shop).document["cards"]
    assert card["id"] == "k1"
    assert (shop / "state" / "images" / card["image"]).is_file()
    source.write_text(json.dumps({**item, "title": "Sea kayak"}) + "\n", encoding="utf-8")
    assert command("items", "update", source, "-w", shop).out == "update: 1 item; the live catalogue is at version 2.\n"
    assert "Sea kayak" in command("search", "kayak", "-k", "1", "-w", shop).out
    assert command("items", "remove", "k1", "p1", "--json", "-w", shop).document["items"] == ["k1", "p1"]
    assert "Sea kayak" not in command("search", "kayak", "-k", "50", "-w", shop).out
    assert command("items", "restore", "k1", "p1", "-w", shop).code == 0
    assert "Sea kayak" in command("search", "kayak", "-k", "1", "-w", shop).out


def test_graph() -> None:
    drawn = command("graph").out
    assert "graph TD" in drawn
    assert all(node in drawn for node in ("recall", "plan", "act", "respond", "remember"))
    assert "recall --> plan" in command("graph", "--format", "ascii").out


def test_doctor(shop_built: Path, tmp_path: Path) -> None:
    found = command("doctor", "--llm", "rules", "--json", "-w", shop_built).document
    assert found["schema"] == "llm4rec.doctor/1"
    assert {finding["level"] for finding in found["findings"]} <= {"ok", "note"}
    assert "64 items, 40 users, 480 interactions" in command("doctor", "--llm", "rules", "-w", shop_built).out
    (tmp_path / "builds").mkdir()
    idle = command("doctor", "--llm", "rules", "--adapter", "a.gguf", "--json", "-w", shop_built)
    assert idle.code == 1
    said = {found["text"] for found in json.loads(idle.out)["findings"] if found["level"] == "bad"}
    assert said == {"a.gguf: the rule-based planner takes no adapter; leave out --adapter"}
    broken = command("doctor", "--llm", "rules", "-w", tmp_path)
    assert broken.code == 1
    assert "BAD  workspace" in broken.out


def test_version_and_help() -> None:
    assert command("--version").out == f"llm4rec {llm4rec.__version__}\n"
    for group in ([], ["profile"], ["items"]):
        alone = command(*group)
        assert alone.code == 0
        assert "Usage:" in alone.out


def options() -> list[Any]:
    def walk(group: Any, path: str) -> list[Any]:
        found = []
        for name, one in group.commands.items():
            if hasattr(one, "commands"):
                found += walk(one, f"{path} {name}")
            else:
                found += [pytest.param(p, id=f"{path} {name} {p.name}") for p in one.params if p.name != "help"]
        return found

    return walk(typer.main.get_command(app), "")


@pytest.mark.parametrize("option", options())
def test_help_is_sentences_that_say_the_default(option: Any) -> None:
    assert option.help[0].isupper()
    assert option.help.rstrip(")").endswith(".")
    shown = option.default is not None and not isinstance(option.default, bool)
    said = "default" in option.help or "needed" in option.help
    assert option.required or shown or said or option.default is True or option.name == "demo_data"


def test_a_closed_pipe_is_no_error(shop_built: Path, tmp_path: Path) -> None:
    line = f"{sys.executable} -m llm4rec recommend --user u1 -k 50 -w {shop_built} | head -n 1"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith(" 1. ")
    assert not done.stderr


def test_json_of_a_real_process(shop_built: Path, tmp_path: Path) -> None:
    child = process("search", "lamp", "-k", "1", "--json", "-w", shop_built, cwd=tmp_path)
    out, err = child.communicate()
    assert child.returncode == 0
    assert out.count("\n") == 1
    assert json.loads(out)["cards"]
    assert not err


def test_signs_in_ids_are_no_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    from llm4rec.cli import show

    show.out("catalogue:100:cast")
    assert "catalogue:100:cast" in capsys.readouterr().out
