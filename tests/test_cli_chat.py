"""The conversation: as JSON lines, and in a terminal."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_llama
from llm4rec.agent.recommender import Recommender
from llm4rec.cli.chat import HELP, Session, _path_and_words, say
from llm4rec.errors import UserError
from scripted import ScriptedChatModel, calls
from terminal import Ended, command

pexpect = pytest.importorskip("pexpect")

#: A command line whose turns hang where the message says "slowly".
SLOW = """
import sys, time
from llm4rec.agent.recommender import Recommender
from llm4rec.cli import run
stream = Recommender.stream
def slow(self, user, text, **options):
    if "slowly" in text:
        time.sleep(120)
    yield from stream(self, user, text, **options)
Recommender.stream = slow
sys.exit(run(sys.argv[1:]))
"""


def talk(workspace: Path, *lines: str, user: str = "kim") -> Ended:
    given = "".join(f"{line}\n" for line in lines)
    return command("chat", "--json", "--llm", "rules", "--user", user, "-w", workspace, stdin=given)


def documents(done: Ended) -> list[dict[str, Any]]:
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_json_is_one_document_a_line(shop: Path) -> None:
    lines = ["warm light for my desk", "", "/why 1", "/like 1", "/profile", "/undo", "/more 3", "/bias", "/help"]
    told = documents(talk(shop, *lines, "something to write with"))
    assert [turn["schema"] for turn in told] == ["llm4rec.turn/1"] * 9
    first, why, like, profile, undo, more, bias, helped, last = told
    evidence = {record["id"] for record in first["evidence"]}
    assert first["listed"]
    assert len(first["cards"]) == 5
    assert all(set(claim["evidence"]) <= evidence for card in first["cards"] for claim in card["claims"])
    best = first["cards"][0]
    assert [card["id"] for card in why["cards"]] == [best["id"]]
    assert like["events"]
    assert best["title"] in like["reply"]
    assert best["title"] in profile["reply"]
    assert best["title"] in undo["reply"]
    assert "3 items" in more["reply"]
    assert "causal:popularity" in {record["id"] for record in bias["evidence"]}
    assert helped["reply"] == HELP
    assert len(last["cards"]) == 3
    assert last["number"] == 2
    assert documents(talk(shop, "a chair"))[0]["number"] == 3


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("/why 1", "no list is shown yet"),
        ("/like", "no list is shown yet"),
        ("/image", "/image needs a file"),
        ("/image none.png", "none.png"),
        ("/more 0", "from 1 to 50"),
        ("/more ²", "from 1 to 50"),
        ("/debias 2", "debias must be from 0 to 1"),
        ("/debias some", "/debias needs a number"),
        ("/undo", "nothing to take back"),
        ("/sing", "no command /sing"),
        ("x" * 5000, "5000 characters"),
    ],
)
def test_what_cannot_be_done_is_said_and_the_conversation_goes_on(shop: Path, line: str, complaint: str) -> None:
    failure, turn = documents(talk(shop, line, "a lamp"))
    assert failure["schema"] == "llm4rec.error/1"
    assert complaint in failure["error"]
    assert turn["cards"]


def test_the_dial_of_popularity_is_set_and_given_back(shop: Path) -> None:
    ask = "recommend me something"
    told = documents(talk(shop, ask, "/debias 0.6", ask, "/why 1", "/debias 0", ask, "/debias", ask))
    corrected = ["debias" in turn["cards"][0]["parts"] if turn["cards"] else None for turn in told]
    assert corrected == [False, None, True, True, None, False, None, False]
    assert "60% of what makes items likely for everybody" in told[1]["reply"]
    assert "nothing is taken off" in told[4]["reply"]
    assert "causal report" in told[6]["reply"]
    done = command(
        *("chat", "--json", "--llm", "rules", "--user", "u1", "--debias", "0.5", "-w", shop), stdin=f"{ask}\n"
    )
    assert "debias" in documents(done)[0]["cards"][0]["parts"]


def test_numbers_outside_the_list(shop: Path) -> None:
    told = documents(talk(shop, "a lamp", "/like 0", "/why 6", "/dislike two", "/quit", "never read"))
    assert ["1 to 5" in one.get("error", "") for one in told] == [False, True, True, True]


def test_a_picture_by_its_path(shop: Path, tmp_path: Path) -> None:
    poster = tmp_path / "my poster.jpg"
    poster.write_bytes(next((shop / "current" / "images").glob("*.jpg")).read_bytes())
    for line in (
        f"/image {poster}",
        f'/image "{poster}" lamp',
        f"/image {str(poster).replace(' ', chr(92) + ' ')} lamp",
    ):
        (turn,) = documents(talk(shop, line))
        assert turn["cards"], line
        assert "image" in turn["cards"][0]["ranks"]


def test_paths_and_words() -> None:
    assert _path_and_words("a.png") == (Path("a.png"), "")
    assert _path_and_words("a.png something that's tense") == (Path("a.png"), "something that's tense")
    assert _path_and_words("'a b.png'  like this") == (Path("a b.png"), "like this")
    assert _path_and_words("~/a.png") == (Path.home() / "a.png", "")
    with pytest.raises(UserError, match="needs a file"):
        _path_and_words("")


def test_of_two_lists_the_one_that_counts_is_shown(shop: Path) -> None:
    model = ScriptedChatModel()
    with Recommender.open(shop, chat_model=model) as recommender:
        model.enqueue(calls(("search_items", {"query": "lamp"}), ("search_items", {"query": "office chair"})))
        session = Session(recommender, "kim", "main", (), False)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            say(session, "a lamp, no, a chair")
    assert out.getvalue().count("1. ") == 1
    assert session.cards[0].title in out.getvalue()
    assert "lamp 1" not in out.getvalue()


def test_what_there_is_to_say_of_the_model_is_said_once(shop: Path, tmp_path: Path) -> None:
    base, other = (tiny_llama.write(tmp_path / f"{name}.gguf", seed=at) for at, name in enumerate(("base", "other")))
    adapter = tiny_llama.write_adapter(tmp_path / "adapter.gguf", size=0.5, base=other)
    given = ("chat", "--llm", base, "--adapter", adapter, "-w", shop, "--user", "kim")
    for way in ((), ("--json",)):
        done = command(*given, *way, stdin="/profile\n")
        assert done.code == 0, done.err
        assert done.err.count("adapter.gguf fits base.gguf, but was made for another file (other.gguf)") == 1


def test_help_fits_a_terminal() -> None:
    assert max(len(line) for line in HELP.splitlines()) < 80


@pytest.fixture
def terminal(shop: Path) -> Iterator[Any]:
    """A conversation in a terminal of 80 columns."""
    child = pexpect.spawn(
        sys.executable,
        ["-c", SLOW, "chat", "--llm", "rules", "--user", "kim", "-w", str(shop)],
        cwd=str(shop.parent),
        dimensions=(50, 80),
        encoding="utf-8",
        timeout=120,
        env={**os.environ, "PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm-256color", "OMP_NUM_THREADS": "2"},
    )
    yield child
    child.close(force=True)


def test_ctrl_c_stops_a_reply_and_not_the_program(terminal: Any) -> None:
    terminal.expect("64 items")
    terminal.expect("you>")
    terminal.send("recommend something\r")
    terminal.expect("recommend · ")
    terminal.expect("you>")
    terminal.send("slowly, please\r")
    terminal.expect("thinking")
    terminal.sendintr()
    terminal.expect("Stopped")
    terminal.expect("you>")
    terminal.send("half a line")
    terminal.sendintr()
    terminal.expect("you>")
    terminal.send("/like 2\r")
    terminal.expect("Noted: you like")
    terminal.expect("you>")
    terminal.send("/sing\r")
    terminal.expect("no command /sing")
    terminal.expect("you>")
    terminal.send("\x1b[A\x1b[A")  # up, up: the line before the last
    terminal.expect("/like 2")
    terminal.send("\r")
    terminal.expect("Noted: you like")
    terminal.expect("you>")
    terminal.sendeof()
    terminal.expect(pexpect.EOF)
    terminal.wait()
    assert terminal.exitstatus == 0
    assert "Traceback" not in terminal.before
