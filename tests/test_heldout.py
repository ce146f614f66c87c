"""The held-out messages: whole, fairly labelled, and not those that the planner learned from."""

from __future__ import annotations

import json
import re
import warnings
from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llm4rec import prompts
from llm4rec.agent.tuning.heldout import LISTING, Record, Table, Value, place_of, read_records, request_of, shells_for
from llm4rec.agent.tuning.scoring import NAMES, TEXT, Answer, Scored, ask, valid
from llm4rec.agent.tuning.shells import DOMAINS, TRADES, Domain, lexicon
from llm4rec.catalog.encoders import TextEncoder, load_text_encoder
from llm4rec.catalog.text import fold
from llm4rec.graphs.rules import RulePlanner
from llm4rec.tools.base import Tool
from llm4rec.tools.mentions import MentionIndex
from numpy.typing import NDArray

PATHS = sorted((Path(__file__).parent / "heldout").glob("*.jsonl"))
RECORDS = [record for path in PATHS for record in read_records(path)]
SHELLS = shells_for(RECORDS)
TABLES = {domain: Table.of(shell) for domain, shell in SHELLS.items()}
#: Cosine of sentence embeddings from which two messages are the same one, and from which they are close.
SAME, CLOSE = 0.95, 0.9
#: A slot of a training phrasing: ``{t1}`` is a title, ``{p1}`` a name, and so on.
SLOT = re.compile(r"\{([a-z])\w*\}")


def corpus() -> list[dict[str, Any]]:
    """The phrasings that training messages are made from."""
    folder = files("llm4rec.agent.tuning") / "corpus"
    texts = [path.read_text(encoding="utf-8") for path in folder.iterdir() if path.name.endswith(".jsonl")]
    lines = [json.loads(line) for text in texts for line in text.splitlines() if line.strip()]
    return [line for line in lines if isinstance(line, dict) and "say" in line]


def test_there_are_enough_of_all_trades() -> None:
    assert len(RECORDS) >= 500
    trades = Counter(record.domain for record in RECORDS)
    assert set(trades) == set(DOMAINS)
    assert min(trades.values()) >= 20


def test_every_tool_is_asked_for() -> None:
    required = Counter(tool for record in RECORDS for tool in record.required)
    assert set(required) == set(SHELLS["films"].tools())
    assert min(required.values()) >= 6
    assert sum(record.reply for record in RECORDS) >= 50
    assert sum(bool(record.past) for record in RECORDS) >= 200


def test_no_message_twice() -> None:
    said = Counter(
        (fold(r.say), tuple(fold(turn.say) for turn in r.past), tuple(map(fold, r.shown)), r.image) for r in RECORDS
    )
    assert [key for key, times in said.items() if times > 1] == []


def ids(record: Record) -> str:
    return record.say[:40]


@cache
def tools_of(domain: Domain, shown: int) -> Mapping[str, Tool]:
    """The tools of a trade with so many items on the table."""
    return SHELLS[domain].tools(shown)


@pytest.mark.parametrize("record", RECORDS, ids=ids)
def test_labels_fit_the_tools(record: Record) -> None:
    tools = tools_of(record.domain, len(record.shown))
    assert {*record.required, *record.allowed} <= set(tools)
    assert len(record.required) <= 3
    for tool, expected in record.args.items():
        assert set(expected) <= set(tools[tool].arguments.model_fields)
    for tool, names in record.may.items():
        assert set(names) <= set(tools[tool].arguments.model_fields)
    for tool in record.args:
        for name, values in record.expected(tool).items():
            for value in values:
                assert _takes(record, tool, name, value), f"{tool} takes no {name} {value!r}"
    for turn in record.past:
        assert valid(tools_of(record.domain, 5), [{"name": name, "args": args} for name, args in turn.plan])


def _takes(record: Record, tool: str, name: str, value: Value) -> bool:
    """Whether a labelled value can be written: it, and what else the tool must have, fit the schema."""
    tools = tools_of(record.domain, len(record.shown))
    if name in TEXT | NAMES:
        return isinstance(value, str) and bool(fold(value))
    beside = {"verdict": "like"} if tool == "record_feedback" else {}
    return valid(tools, [{"name": tool, "args": {**beside, name: value}}])


@pytest.mark.parametrize("record", [record for record in RECORDS if record.shown], ids=ids)
def test_lists_can_be_laid(record: Record) -> None:
    assert len({fold(title) for title in record.shown}) == len(record.shown) <= 5
    for tool in record.args:
        for name, values in record.expected(tool).items():
            places = [value if isinstance(value, int) else place_of(value) for value in values]
            for place in places if name in ("ordinal", "like") else ():
                assert place is None or place <= len(record.shown)


def written(record: Record) -> list[dict[str, Any]]:
    """A plan as the labels have it: the first alternative of each argument; where a tool is called twice, the next."""
    calls: list[dict[str, Any]] = []
    made: Counter[str] = Counter()
    for tool in record.required:
        at = made[tool]
        made[tool] += 1
        args = {name: values[min(at, len(values) - 1)] for name, values in record.expected(tool).items()}
        calls.append({"name": tool, "args": args})
    return calls


@pytest.mark.parametrize("record", [r for r in RECORDS if len(set(r.required)) == len(r.required)], ids=ids)
def test_the_labelled_plan_is_right(record: Record) -> None:
    assert Scored.of(record, Answer(tuple(written(record)), 0.0, None, True)).right


@pytest.mark.parametrize("domain", DOMAINS)
def test_labels_are_the_trades(domain: Domain) -> None:
    offered = set(lexicon()[domain]["labels"])
    choice = TRADES[TABLES[domain].shell.domain].choice
    for record in RECORDS:
        if record.domain == domain:
            for tool in LISTING & record.args.keys():
                for name in (choice, f"not_{choice}"):
                    assert set(record.expected(tool).get(name, ())) <= offered


def test_the_rules_alone_get_most_plans_right() -> None:
    """A planner with no model gets through all of them: what is measured is neither trivial nor hopeless."""
    right = []
    for domain, shell in SHELLS.items():
        planner = RulePlanner(shell.facets, MentionIndex(shell.catalogue, shell.facets).read)
        its = [record for record in RECORDS if record.domain == domain]
        scored = [Scored.of(record, ask(planner, request_of(record, TABLES[domain]))) for record in its]
        assert all(one.answer.valid for one in scored)
        right += [one.plan_right for one in scored]
    assert 0.5 < np.mean(right) < 0.75


# -- apart from training --------------------------------------------------------------------------------------


def filled(say: str, domain: str) -> str:
    """A phrasing with its slots filled with the first words of their kind, or left out."""
    words = lexicon()[domain if domain in DOMAINS else "films"]
    kinds = {"t": "titles", "l": "titles", "p": "people", "q": "subjects", "m": "moods"}
    label, forms = next(iter(words["labels"].items()))

    def fill(found: re.Match[str]) -> str:
        if found[1] == "g":
            return str(forms["s"][0]) if found[0].endswith("s}") else str(label).lower()
        return str(words[kinds[found[1]]][0]) if found[1] in kinds else ""

    return " ".join(SLOT.sub(fill, say).split())


def bare(say: str) -> str:
    """A phrasing without its slots."""
    return " ".join(SLOT.sub(" ", say).split())


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return load_text_encoder()


def nearest(encoder: TextEncoder, texts: list[str], others: list[str]) -> NDArray[np.float32]:
    """Shape (n_texts,): cosine to the nearest of the others."""
    return np.asarray((encoder.encode(texts) @ encoder.encode(others).T).max(axis=1))


def test_no_held_out_message_was_trained_on(encoder: TextEncoder) -> None:
    lines = corpus()
    assert len(lines) > 1000
    phrasings = list(
        dict.fromkeys(
            text for line in lines for text in (bare(line["say"]), filled(line["say"], line.get("domain", ""))) if text
        )
    )
    said = [record.say for record in RECORDS]
    likeness = nearest(encoder, said, phrasings)
    same = [say for say, value in zip(said, likeness, strict=True) if value >= SAME]
    close = int((likeness >= CLOSE).sum())
    if close:
        warnings.warn(f"{close} of {len(said)} held-out messages are close to a training phrasing", stacklevel=1)
    assert same == []


def test_no_held_out_message_is_a_demonstration() -> None:
    shown = {fold(one.say) for one in prompts.demonstrations()}
    alone = [record.say for record in RECORDS if not record.past and fold(record.say) in shown]
    assert alone == []
