"""The map from IARD's intents to tools, and the reading of its dialogues."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm4rec.agent.tuning.heldout import Table
from llm4rec.agent.tuning.shells import make_shell

BENCHMARKS = str(Path(__file__).parents[1] / "benchmarks")
sys.path.insert(0, BENCHMARKS)
try:
    iard = importlib.import_module("iard")
    bench: ModuleType = importlib.import_module("bench_planning")
finally:
    sys.path.remove(BENCHMARKS)
    for _name in ("iard", "bench_planning", "report"):
        sys.modules.pop(_name, None)

TOOLS = sorted(make_shell("films").tools())


@pytest.mark.parametrize(
    ("labels", "called", "right"),
    [
        ("IQU", "search_items", True),
        ("IQU", "recommend record_feedback", True),
        ("IQU", "record_feedback", False),
        ("IQU", "", False),
        ("OTH", "", True),
        ("OTH", "recommend", False),
        ("IQU OTH", "recommend", True),
        ("IQU OTH", "", False),
        ("SEE", "record_feedback", True),
        ("SEE", "record_feedback recommend", True),
        ("SEE", "recommend", False),
        ("PRO SEE", "record_feedback", True),
        ("PRO SEE", "search_items", False),
        ("INQ PRO", "describe_item record_feedback", True),
        ("INQ PRO", "describe_item", False),
        ("ACC", "", True),
        ("ACC", "record_feedback", True),
        ("ACC", "search_items", False),
        ("ACC CON", "record_feedback recommend", True),
        ("ASK", "", True),
        ("ASK", "estimate_bias", False),
        ("CRI-C", "search_items", True),
        ("CRI-C", "recommend", False),
    ],
)
def test_plans(labels: str, called: str, right: bool) -> None:
    assert iard.right(labels.split(), called.split()) is right


def test_the_map_is_of_the_tools_there_are() -> None:
    for wanted in iard.INTENTS.values():
        assert wanted.one_of | wanted.allowed <= set(TOOLS)
        assert not wanted.one_of & wanted.allowed
        assert wanted.meaning
        assert wanted.why


@given(st.sets(st.sampled_from(sorted(iard.INTENTS)), min_size=1))
def test_doing_one_thing_for_each_label_is_right(labels: set[str]) -> None:
    called = {min(iard.INTENTS[label].one_of) for label in labels if iard.INTENTS[label].one_of}
    assert iard.right(sorted(labels), sorted(called))
    fair = set().union(*(iard.INTENTS[one].one_of | iard.INTENTS[one].allowed for one in labels))
    assert not any(iard.right(sorted(labels), [*called, tool]) for tool in set(TOOLS) - fair)


def test_an_unknown_intent_is_refused(tmp_path: Path) -> None:
    path = dialogues(tmp_path, ("seeker", "hi", ["NEW"]))
    with pytest.raises(KeyError, match="NEW"):
        iard.read_turns(path)


@pytest.mark.parametrize(
    ("text", "said", "films"),
    [
        ("try @12 <Heat (1995)> or @3 <Ronin  (1998)>!", "try Heat or Ronin !", ["Heat", "Ronin"]),
        ("  <Zootopia> again: @9 <zootopia (2016)>", "Zootopia again: zootopia", ["Zootopia"]),
        ("nothing <> here", "nothing here", []),
        ("2 < 3", "2 < 3", []),
    ],
)
def test_mentions(text: str, said: str, films: list[str]) -> None:
    assert iard.plain(text) == said
    assert iard.mentioned(text) == films


def dialogues(folder: Path, *utterances: tuple[str, str, list[str]]) -> Path:
    info: dict[str, Any] = {
        f"{role[0].upper()}{at}": {
            "utterance_pos": at,
            "role": role,
            "utterance_text": text,
            "sub-intent/action": labels,
        }
        for at, (role, text, labels) in enumerate(utterances, start=1)
    }
    path = folder / "dialogues.json"
    path.write_text(json.dumps({"d": {"dialogue_info": info}}), encoding="utf-8")
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return dialogues(
        tmp_path,
        ("seeker", "hello, a good film please", ["OTH", "IQU", "IQU"]),
        ("recommender", "see @1 <Made Up Heist (1999)> or @2 <Another Made Up (2001)>", ["REC-S"]),
        ("recommender", "they are good", ["EXP-S"]),
        ("seeker", "who is in @1 <Made Up Heist (1999)>?", ["INQ"]),
    )


def test_turns(path: Path) -> None:
    first, second = iard.read_turns(path)
    assert first.labels == ("IQU", "OTH")
    assert first.past == ()
    assert first.shown == ()
    assert second.say == "who is in Made Up Heist ?"
    assert [message.type for message in second.past] == ["human", "ai", "ai"]
    assert second.past[1].content == "see Made Up Heist or Another Made Up"
    assert second.shown == ("Made Up Heist", "Another Made Up"), "a list stays until another one is named"
    request = Table.of(iard.shell_for(path)).request(second.say, past=second.past, shown=second.shown)
    assert [card.title for card in request.desk.bus.cards] == list(second.shown)


def test_the_rules_are_scored(path: Path) -> None:
    makers = bench.Makers(None, None)
    steps: list[None] = []
    turns = iard.read_turns(path)
    _, make = makers.by_name["rules"]
    outcomes = bench.plan_turns(make, turns, iard.shell_for(path), lambda: steps.append(None))
    assert len(steps) == 2
    assert [bench.turn_right(turn, answer) for turn, answer in outcomes] == [True, True]
    rows = {row["turns of"]: row for row in bench.iard_rows({"rules": outcomes})}
    assert rows["all"]["turns"] == 2
    assert str(rows["INQ"]["rules: plan right (%)"]).startswith("100.0")
    assert rows["SEE"]["turns"] == 0


def test_limits_are_spread_evenly() -> None:
    assert bench.spread(10, None) == list(range(10))
    assert bench.spread(10, 3) == [0, 3, 6]
    assert bench.spread(2, 5) == [0, 1]
    assert len(bench.held_out(7)) == 7


@pytest.fixture(scope="session")
def real(realdata: Path) -> Path:
    return realdata / "iard" / "dialogues.json"


@pytest.mark.realdata
def test_the_real_dialogues_are_read(real: Path) -> None:
    turns = iard.read_turns(real)
    assert len(turns) == 1135
    assert not any("@" in turn.say.split() or "<" in turn.say for turn in turns if ">" in turn.say)
    titles = Table.of(iard.shell_for(real))
    assert all(len(titles.cards(turn.shown)) == len(turn.shown) <= 5 for turn in turns)
