"""The graph with a writer: sentences are shown when they are checked, and replaced where they are not so."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from llm4rec.agent.recommender import Recommender
from llm4rec.graphs.conversation import Conversation
from llm4rec.graphs.respond import plain_reason
from llm4rec.graphs.rules import RulePlanner
from llm4rec.graphs.state import Notice, TextDelta, TurnFinished
from llm4rec.graphs.writing import MOST_TOKENS, Writer, reply_messages, told_of
from llm4rec.tools.base import TurnContext
from llm4rec.tools.results import Turn
from pydantic import PrivateAttr
from scripted import ScriptedChatModel

ASK = "recommend something"


class StreamingModel(ScriptedChatModel):
    """Says its next answer word by word; ``waits`` is set after the first word, and the next waits for ``go``."""

    before: Any = None
    _options: list[dict[str, Any]] = PrivateAttr(default_factory=list)

    @property
    def options(self) -> list[dict[str, Any]]:
        return self._options

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        self._options.append(kwargs)
        answer = self._generate(messages, stop, run_manager, **kwargs).generations[0].message
        for at, word in enumerate(str(answer.content).split(" ")):
            if self.before is not None:
                self.before(at)
            yield ChatGenerationChunk(message=AIMessageChunk(content=word if not at else f" {word}"))


@pytest.fixture
def model() -> StreamingModel:
    return StreamingModel()


def talk(recommender: Recommender, writer: Writer | None) -> None:
    """Let the recommender's graph use the writer."""
    rules = RulePlanner(recommender.facets, recommender._read_mentions)
    conversation = Conversation(planner=rules, fallback=rules, toolbox=recommender.tools, writer=writer)
    recommender._graph = conversation.graph(recommender._saver)


def events(recommender: Recommender, text: str = ASK) -> tuple[str, list[str], Turn]:
    """What was told as text, the notices, and the turn."""
    told = list(recommender.stream("u1", text))
    said = "".join(event.text for event in told if isinstance(event, TextDelta))
    last = told[-1]
    assert isinstance(last, TurnFinished)
    return said, [event.text for event in told if isinstance(event, Notice)], last.turn


def first_card(recommender: Recommender) -> Any:
    talk(recommender, None)
    return events(recommender)[2].cards[0]


def test_what_passes_is_shown_and_what_fails_is_replaced_and_counted(
    recommender: Recommender, model: StreamingModel
) -> None:
    card = first_card(recommender)
    talk(recommender, Writer(model))
    model.enqueue(AIMessage(f"I'd start with {card.title}. The second won an award. Enjoy!"))
    said, notices, turn = events(recommender)
    assert said == turn.reply
    assert said.startswith(f"I'd start with {card.title}. ")
    assert "award" not in said
    assert plain_reason(turn.cards[1]) in said
    assert notices == []
    assert turn.writing is not None
    assert (turn.writing.sentences, turn.writing.replaced) == (3, 1)
    assert turn.model_calls >= 1
    assert model.options[0]["max_tokens"] == MOST_TOKENS
    assert model.options[0]["temperature"] == 0.0


def test_sentences_come_one_by_one(recommender: Recommender, model: StreamingModel) -> None:
    card = first_card(recommender)
    talk(recommender, Writer(model))
    model.enqueue(AIMessage(f"Start with {card.title}. It comes first. Enjoy!"))
    deltas = [event.text for event in recommender.stream("u1", ASK) if isinstance(event, TextDelta)]
    assert deltas[:3] == [f"Start with {card.title}.", " It comes first.", " Enjoy!"]


def test_a_sentence_that_breaks_off_is_not_shown(recommender: Recommender, model: StreamingModel) -> None:
    card = first_card(recommender)
    talk(recommender, Writer(model))
    model.enqueue(AIMessage(f"Start with {card.title}. Then go on to the"))
    said, _, turn = events(recommender)
    assert "go on" not in said
    assert turn.writing is not None
    assert turn.writing.reasons == ("breaks off",)


def test_a_failing_model_is_said_and_the_words_are_composed(recommender: Recommender, model: StreamingModel) -> None:
    talk(recommender, None)
    composed = events(recommender)[2]
    talk(recommender, Writer(model))
    model.enqueue(RuntimeError("gone"))
    said, notices, turn = events(recommender)
    # The first turn may ask back, and then the second may not: questions are seldom.
    asked = "" if composed.question is None else f"\n\n{composed.question.text}"
    assert turn.question is None or composed.question is None
    assert said == turn.reply == composed.reply.removesuffix(asked)
    assert any("failed at the reply (RuntimeError)" in notice for notice in notices)
    assert turn.writing is None


def test_near_the_deadline_the_model_is_not_asked(recommender: Recommender, model: StreamingModel) -> None:
    talk(recommender, Writer(model, turn_seconds=1.0))
    said, notices, turn = events(recommender)
    assert model.seen == []
    assert said == turn.reply
    assert "for you" in said
    assert any("too little time" in notice for notice in notices)


def test_past_the_deadline_the_model_is_stopped(
    recommender: Recommender, model: StreamingModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = first_card(recommender)
    model.before = lambda at: time.sleep(0.6) if at else None
    monkeypatch.setattr("llm4rec.graphs.writing.TIME_NEEDED", 0.0)
    talk(recommender, Writer(model, turn_seconds=1.5))
    model.enqueue(AIMessage(f"Start with {card.title}. " + "It is next. " * 40))
    said, notices, _ = events(recommender)
    assert len(said) < 400
    assert any("time" in notice for notice in notices)


def test_a_cancelled_turn_stops_the_model(recommender: Recommender, model: StreamingModel) -> None:
    card = first_card(recommender)
    begun, words = threading.Event(), []

    def before(at: int) -> None:
        words.append(at)
        begun.set()
        time.sleep(0.05)

    model.before = before
    talk(recommender, Writer(model))
    model.enqueue(AIMessage(f"Start with {card.title}. " + "Here " * 400))
    stream = recommender.stream("u1", ASK)
    for event in stream:
        if isinstance(event, TextDelta):
            break
    assert begun.is_set()
    stream.close()
    seen = len(words)
    time.sleep(0.3)
    assert len(words) <= seen + 2 < 300


def test_no_model_where_one_item_was_asked_about(recommender: Recommender, model: StreamingModel) -> None:
    talk(recommender, Writer(model))
    model.enqueue(AIMessage("Enjoy!"))
    events(recommender)
    said, _, turn = events(recommender, "why the first one?")
    assert len(model.seen) == 1
    assert turn.writing is None
    assert said


def test_the_prompt_is_short_and_holds_the_claims(recommender: Recommender, model: StreamingModel) -> None:
    talk(recommender, Writer(model))
    model.enqueue(AIMessage("Enjoy!"))
    _, _, turn = events(recommender, "a warm desk lamp")
    [system, human] = model.seen[0]
    assert len(str(system.content)) < 240
    lines = str(human.content).splitlines()
    assert lines[0] == "a warm desk lamp"
    assert lines[1] == f"1. {turn.cards[0].title}"
    assert len(str(human.content)) <= 370


def test_a_claim_too_long_for_the_prompt_is_left_out(recommender: Recommender) -> None:
    card = first_card(recommender)
    long = card.claims[0].model_copy(update={"text": "x" * 500})
    assert told_of("hi", [replace_claims(card, long)], {}) == []
    assert len(told_of("hi", [replace_claims(card, long, card.claims[0])], {})[0].claims) == 1
    assert reply_messages("hi", [card], {})[0].type == "system"


def replace_claims(card: Any, *claims: Any) -> Any:
    return card.model_copy(update={"claims": claims})


def test_a_turn_with_findings_is_not_written(recommender: Recommender, model: StreamingModel) -> None:
    desk = TurnContext(user="u1", thread="t", message="hi", knowledge=recommender.knowledge)
    assert not Writer(model).applies(desk)
    assert not Writer(model).applies(replace(desk, fresh=True))
