"""Whatever the grammar allows, said by a random planner: no invalid reference, no exception, no lost feedback."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from gbnf import random_string
from langchain_core.messages import AIMessage
from llm4rec.agent.grammar import ToolSchema, plan_grammar
from llm4rec.agent.recommender import Recommender
from llm4rec.graphs.encoding import decode_plan
from scripted import ScriptedChatModel, calls

#: Turns in the suite. ``LLM4REC_RANDOM_TURNS=10000`` runs the long version.
TURNS = int(os.environ.get("LLM4REC_RANDOM_TURNS", "300"))


class RandomPlanner:
    """Emits any member of the plan grammar of the tools it is offered; half of the titles it names are real."""

    def __init__(self, seed: int, titles: Sequence[str]) -> None:
        self._rng = random.Random(seed)
        self._titles = titles
        self.planned: list[list[dict[str, Any]]] = []

    def __call__(self, tools: Sequence[dict[str, Any]]) -> AIMessage:
        grammar = plan_grammar([ToolSchema.of(tool) for tool in tools], max_calls=3)
        plan = decode_plan(random_string(grammar, self._rng))
        for call in plan:
            for name in ("title", "like"):
                if name in call["arguments"] and self._rng.random() < 0.5:
                    call["arguments"][name] = self._rng.choice(self._titles)
        self.planned.append(plan)
        return calls(*((call["name"], call["arguments"]) for call in plan))


@pytest.mark.timeout(7200 if TURNS > 1000 else 300)
def test_random_plans(shop: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Recommender.open(shop, llm="rules") as opened:
        titles = opened.knowledge.catalogue.frame["title"].to_list()
    planner = RandomPlanner(11, titles)
    with Recommender.open(shop, chat_model=ScriptedChatModel(make=planner)) as recommender:
        catalogue = recommender.knowledge.catalogue
        events: dict[str, list[str]] = {}
        for number in range(TURNS):
            user = f"u{number % 7}"
            turn = recommender.chat(user, f"turn {number}", thread=f"t{number % 11}", k=1 + number % 6)
            events.setdefault(user, []).extend(turn.events)
            for card in turn.cards:
                assert card.title == catalogue.item(catalogue.row_of[card.id]).title
            noted = sum(run.name == "record_feedback" and run.ok for run in turn.tools)
            assert len(turn.events) == noted
            assert not any("failed inside" in notice for notice in turn.notices), turn.notices
        for user, ids in events.items():
            kept = [event.id for event in recommender.knowledge.store.events(user)]
            assert kept == ids, "an acknowledged feedback event is not in the store, or is there twice"
        assert sum(map(len, events.values())) > TURNS / 20
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
