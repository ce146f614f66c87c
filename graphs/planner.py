"""The language model as a planner: one prompt in, tool calls or a plain reply out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from numpy.typing import NDArray
from pydantic import ValidationError

from .. import prompts
from ..catalog.text import one_line
from ..errors import TurnError
from ..tools.base import Tool, TurnContext
from ..tools.mentions import Mentions, labels_said
from .grounding import narrow

Encode = Callable[[Sequence[str]], NDArray[np.float32]]
#: Demonstrations with their cosine to the message, nearest first.
Near = Sequence[tuple[prompts.Demonstration, float]]

#: Past messages the planner sees (people's words and the plans they led to), and their length in characters.
MOST_MESSAGES = 6
MESSAGE_LIMIT = 300
#: Tokens of demonstrations in a prompt, how many near ones are looked at, and of how many the tools can be called.
DEMONSTRATION_TOKENS = 120
MOST_NEAR = 5
MOST_NEAR_TOOLS = 3
#: Cosine from which a label counts as near a message in meaning.
LABEL_SIMILARITY = 0.4
LABEL_MARGIN = 0.15
#: A demonstration's tools can be called where its cosine is at most this much below the nearest one's.
TOOL_MARGIN = 0.15


@dataclass(frozen=True)
class PlanRequest:
    """What a planner is asked.

    Attributes:
        desk: the turn (its message, the list on the table).
        tools: by name, as they may be called now.
        past: the thread's earlier messages, oldest first.
        failures: what went wrong in the round before, for the planner to mend.
    """

    desk: TurnContext
    tools: Mapping[str, Tool]
    past: Sequence[AnyMessage]
    failures: Sequence[str]


class Planner(Protocol):
    """Makes a plan: an ``AIMessage`` with tool calls, or with words and no calls."""

    name: str

    def plan(self, request: PlanRequest) -> AIMessage: ...


class DemonstrationIndex:
    """The nearest demonstrations by embedding: what a small model needs to choose well.

    Args:
        encode: texts to unit vectors, shape (n, d).
        tools: demonstrations whose calls do not fit these tools are left out, so that a shop is never shown
            how to ask for a genre it does not have.
    """

    def __init__(self, encode: Encode, tools: Mapping[str, Tool]) -> None:
        self._encode = encode
        self._kept = [d for d in prompts.demonstrations() if all(_fits(tools, call) for call in d.calls)]
        self._vectors = encode([d.say for d in self._kept])
        self._labels: dict[tuple[str, ...], NDArray[np.float32]] = {}

    def nearest(self, message: str, *, most: int) -> Near:
        """The demonstrations most like the message with their cosines, nearest first."""
        similarity = self._vectors @ self._encode([message])[0]
        best = (-similarity).argsort(kind="stable")[:most]
        return [(self._kept[i], float(similarity[i])) for i in best]

    def labels_near(self, labels: Sequence[str], message: str) -> set[str]:
        """Labels the message names; where it names none, the one that is clearly nearest in meaning, if any is."""
        key = tuple(labels)
        if key not in self._labels:
            self._labels[key] = self._encode(list(labels))
        if said := labels_said(labels, message):
            return said
        similarity = self._labels[key] @ self._encode([message])[0]
        first, second = (-similarity).argsort(kind="stable")[:2]
        clear = similarity[first] >= LABEL_SIMILARITY and similarity[first] - similarity[second] >= LABEL_MARGIN
        return {labels[first]} if clear else set()


def _fits(tools: Mapping[str, Tool], call: Mapping[str, Any]) -> bool:
    tool = tools.get(call["name"])
    if tool is None:
        return False
    try:
        tool.arguments.model_validate(call["arguments"])
    except ValidationError:
        return False
    return True


def encode_plan(calls: Sequence[Mapping[str, Any]]) -> str:
    """Calls as the compact JSON that the planner writes."""
    plain = [{"name": call["name"], "arguments": call.get("arguments", call.get("args", {}))} for call in calls]
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


class LlmPlanner:
    """Plans with any LangChain chat model that binds tools.

    The system prompt is a constant prefix (the tools' names and summaries do not change within a
    workspace), so that the model's key-value cache serves every turn; what changes comes last.

    Args:
        model: the chat model.
        name: how it is named to people.
        tools: those of a turn with a full list on the table: what the system prompt tells of.
        demonstrations: for few-shot turns; None leaves them out.
        mentions: where it is given, what can be decoded is narrowed to the message (see `grounding`) and to the tools
            of the nearest demonstrations. For small untuned models; a large one needs no such fence.
    """

    def __init__(
        self,
        model: BaseChatModel,
        *,
        name: str,
        tools: Mapping[str, Tool],
        demonstrations: DemonstrationIndex | None,
        mentions: Callable[[str], Mentions] | None = None,
    ) -> None:
        self.name = name
        self._model = model
        self._demonstrations = demonstrations
        self._mentions = mentions
        lines = []
        for tool in tools.values():
            fields = ", ".join(tool.arguments.model_fields)
            lines.append(f"- {tool.name}({fields}): {tool.summary}")
        self._system = SystemMessage(prompts.text("planner").replace("{tools}", "\n".join(lines)))

    def plan(self, request: PlanRequest) -> AIMessage:
        message = request.desk.message
        near = self._demonstrations.nearest(message, most=MOST_NEAR) if self._demonstrations and message else []
        tools = [tool.as_openai() for tool in request.tools.values()]
        if self._mentions is not None and near:
            tools = self._narrowed(tools, message, near, self._mentions(message))
        bound = self._model.bind_tools(tools, tool_choice="auto" if self._mentions is None else "any")
        answer = bound.invoke(self.messages(request, near))
        if not isinstance(answer, AIMessage):
            raise TurnError(f"the model answered with {type(answer).__name__}, not with a message")
        if self._mentions is not None:
            # a small model repeats itself where the grammar lets it
            first = {call["name"]: call for call in reversed(answer.tool_calls)}
            return AIMessage(answer.content, tool_calls=[c for c in answer.tool_calls if first[c["name"]] is c])
        return answer

    def messages(self, request: PlanRequest, near: Near) -> list[AnyMessage]:
        """The prompt: constant system text, recent past, demonstrations as turns, then what is new."""
        recent: list[AnyMessage] = []
        for message in list(request.past)[-MOST_MESSAGES:]:
            if isinstance(message, HumanMessage):
                recent.append(HumanMessage(one_line(str(message.content), MESSAGE_LIMIT)))
            elif isinstance(message, AIMessage) and message.tool_calls:
                recent.append(AIMessage(encode_plan([dict(c) for c in message.tool_calls])[:MESSAGE_LIMIT]))
        shown: list[AnyMessage] = []
        for demo in reversed(self._within(near, DEMONSTRATION_TOKENS)):
            shown += [HumanMessage(demo.say), AIMessage(encode_plan(demo.calls))]
        return [self._system, *recent, *shown, HumanMessage(_last(request))]

    def _narrowed(
        self,
        tools: list[dict[str, Any]],
        message: str,
        near: Near,
        mentions: Mentions,
    ) -> list[dict[str, Any]]:
        assert self._demonstrations is not None
        index = self._demonstrations
        best = near[0][1]
        only = {
            call["name"]
            for demo, cosine in near[:MOST_NEAR_TOOLS]
            if cosine >= best - TOOL_MARGIN
            for call in demo.calls
        }
        narrowed = narrow(
            tools,
            message,
            mentions,
            labels_near=lambda labels: index.labels_near(labels, message),
            only=only,
        )
        return narrowed or tools

    def _within(self, near: Near, budget: int) -> list[prompts.Demonstration]:
        """The nearest that fit the token budget."""
        chosen: list[prompts.Demonstration] = []
        for demo, _ in near:
            budget -= self._model.get_num_tokens(f"{demo.say} {encode_plan(demo.calls)}")
            if budget < 0:
                break
            chosen.append(demo)
        return chosen


def _last(request: PlanRequest) -> str:
    """The new message, after what it may refer to: the list on the table, a picture, what just failed."""
    desk = request.desk
    lines: list[str] = []
    if len(desk.bus):
        lines.append("List: " + "; ".join(f'{c.ordinal} "{one_line(c.title, 40)}"' for c in desk.bus.cards))
    if desk.image is not None:
        lines.append("(With a picture: search_items uses it.)")
    lines.extend(f"Last try failed: {one_line(failure, 160)}" for failure in request.failures[:2])
    lines.append(one_line(desk.message, 600) or "Find something like this picture.")
    return "\n".join(lines)
