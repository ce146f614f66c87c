"""The language model as a planner: one prompt in, tool calls or a plain reply out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolCall
from langchain_core.runnables import Runnable

from .. import prompts
from ..catalog.text import one_line
from ..errors import TurnError
from ..tools.base import Tool, TurnContext
from ..tools.mentions import Mentions
from ..tools.results import numbers_shown
from .demonstrations import FEEDBACK, MOST_NEAR, DemonstrationIndex, Near, Shape
from .encoding import encode_plan
from .grounding import Ground, narrow, only_choice
from .prompting import PAST_LIMIT, new_message, past_messages, system_message
from .said import within, words_of

__all__ = ["DemonstrationIndex", "LlmPlanner", "PlanRequest", "Planner", "focus_of"]

#: Tokens of demonstrations in a prompt.
DEMONSTRATION_TOKENS = 120
CHARACTERS_A_TOKEN = 3
#: Texts of a past plan are cut no shorter than this.
SHORTEST_TEXT = 5


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


#: In a plan's ``response_metadata``: how often the language model was asked for it.
ASKED = "model_calls"


class LlmPlanner:
    """Plans with any LangChain chat model that binds tools.

    The system prompt is a constant prefix (the tools' names and summaries do not change within a
    workspace), so that the model's key-value cache serves every turn; what changes comes last.

    Args:
        model: the chat model.
        name: how it is named to people.
        tools: those of a turn with a full list on the table: what the system prompt tells of.
        demonstrations: for few-shot turns; None leaves them out.
        mentions: where it is given, the demonstrations choose the tools and what can be decoded is narrowed to the
            message (see `grounding`). For small untuned models; a large one needs no such fence.
        own_words: whether texts in arguments are made of words of the conversation (see `said`). For small models that
            decode under our grammar.
    """

    def __init__(
        self,
        model: BaseChatModel,
        *,
        name: str,
        tools: Mapping[str, Tool],
        demonstrations: DemonstrationIndex | None,
        mentions: Callable[[str], Mentions] | None = None,
        own_words: bool = False,
    ) -> None:
        self.name = name
        self._model = model
        self._demonstrations = demonstrations
        self._mentions = mentions
        self._own_words = own_words
        self._system = system_message(tools)

    def warm(self) -> None:
        """Let a local model read the constant prefix ahead of the first message, in the background."""
        if hasattr(self._model, "warm"):
            self._model.warm([self._system])

    def read_ahead(self, past: Sequence[AnyMessage], titles: Sequence[str]) -> None:
        """Let a local model read what the thread's next prompt begins with, in the background, while a person reads.

        Args:
            past: the thread's messages, this turn's with them. titles: of the list on the table.
        """
        if self._demonstrations is None and hasattr(self._model, "warm"):
            known = [_within_limit(one) for one in past]
            self._model.warm([self._system, *past_messages(known), new_message("", titles=titles)])

    def plan(self, request: PlanRequest) -> AIMessage:
        message = request.desk.message
        if request.desk.image is not None and not message.strip():
            call = ToolCall(name="search_items", args={}, id="plan-0")  # a picture alone leaves nothing to be read
            return AIMessage("", tool_calls=[call], response_metadata={ASKED: 0})
        if self._mentions is not None and self._demonstrations is not None:
            return self._grounded(request, self._demonstrations, self._mentions(message))
        near = self._demonstrations.nearest(message, most=MOST_NEAR) if self._demonstrations and message else []
        tools = [tool.as_openai() for tool in request.tools.values()]
        if self._own_words:
            words = words_of(message, request.past, [card.title for card in request.desk.bus.cards])
            tools = [within(tool, words) for tool in tools]
        return self._ask(self._model.bind_tools(tools, tool_choice="auto"), self.messages(request, near))

    def _grounded(self, request: PlanRequest, index: DemonstrationIndex, mentions: Mentions) -> AIMessage:
        """The demonstrations choose the tools; the model writes the arguments, within what was said."""
        desk = request.desk
        shape = index.shape(mentions)
        query = None
        if desk.image is not None:
            shape = Shape(("search_items",))  # a picture is there to be searched by, with or without words
        elif mentions.bounds_only and shape.tools in (("search_items",), ("recommend",)):
            query = desk.bus.query  # "newer ones" narrows down what the list on the table answers
            shape = Shape(("search_items",)) if query else Shape(("recommend",))
        near = index.nearest(mentions.bare, most=MOST_NEAR, shape=shape)
        if not shape.tools:
            return AIMessage(near[0][0].reply, response_metadata={ASKED: 0})
        ground = Ground(
            message=desk.message,
            mentions=mentions,
            labels=index.labels_meant,
            examples=[{call["name"]: call["arguments"] for call in demo.calls} for demo, _ in near],
            taste=shape.taste,
            like=shape.like,
            told=FEEDBACK in shape.tools,
            shown={} if shape.like else numbers_shown(desk.bus.cards),
            query=query,
            focus=focus_of(request.past),
        )
        prompt = self.messages(request, near)
        calls: list[ToolCall] = []
        asked = 0
        for position, name in enumerate(shape.tools):
            tool = narrow(request.tools[name].as_openai(), ground)
            arguments = only_choice(tool)
            if arguments is None:
                bound = self._model.bind_tools([tool], tool_choice="any", max_calls=1)
                arguments = self._ask(bound, prompt).tool_calls[0]["args"]
                asked += 1
            calls.append(ToolCall(name=name, args=arguments, id=f"plan-{position}"))
            ground = ground.after(arguments)
        return AIMessage("", tool_calls=calls, response_metadata={ASKED: asked})

    def _ask(self, bound: Runnable[LanguageModelInput, AIMessage], prompt: list[AnyMessage]) -> AIMessage:
        answer = bound.invoke(prompt)
        if not isinstance(answer, AIMessage):
            raise TurnError(f"the model answered with {type(answer).__name__}, not with a message")
        return answer

    def messages(self, request: PlanRequest, near: Near) -> list[AnyMessage]:
        """The prompt: constant system text, recent past, demonstrations as turns, then what is new."""
        shown: list[AnyMessage] = []
        for demo in reversed(self._within(near, DEMONSTRATION_TOKENS)):
            shown += [HumanMessage(demo.say), AIMessage(demo.reply or encode_plan(demo.calls))]
        desk = request.desk
        new = new_message(
            desk.message,
            titles=[card.title for card in desk.bus.cards],
            picture=desk.image is not None,
            failures=request.failures,
        )
        return [self._system, *past_messages([_within_limit(one) for one in request.past]), *shown, new]

    def _within(self, near: Near, budget: int) -> list[prompts.Demonstration]:
        """The nearest that fit the token budget."""
        chosen: list[prompts.Demonstration] = []
        for demo, _ in near:
            # An estimate: a model on a server has no tokenizer here, and asking for one would download it.
            budget -= len(f"{demo.say} {encode_plan(demo.calls)}") // CHARACTERS_A_TOKEN
            if budget < 0:
                break
            chosen.append(demo)
        return chosen


def _within_limit(message: AnyMessage) -> AnyMessage:
    """A past plan that is too long for the prompt, without its last calls, or else with its texts cut short: it would
    break off in the middle, and what the model reads there is what it writes."""
    if not isinstance(message, AIMessage) or not message.tool_calls:
        return message
    calls, room = list(message.tool_calls), PAST_LIMIT
    while len(encode_plan([dict(call) for call in calls])) > PAST_LIMIT:
        if len(calls) > 1:
            calls.pop()
        else:
            room = room * 2 // 3
            short = {k: one_line(v, room) if isinstance(v, str) else v for k, v in calls[0]["args"].items()}
            calls = [ToolCall(name=calls[0]["name"], args=short, id=calls[0]["id"])]
            if room < SHORTEST_TEXT:
                break
    return message if calls == message.tool_calls else message.model_copy(update={"tool_calls": calls})


def focus_of(past: Sequence[AnyMessage]) -> Mapping[str, Any]:
    """What the last plan was about, by its number or its title: what "it" means now."""
    for message in reversed(past):
        if isinstance(message, AIMessage) and message.tool_calls:
            # a plan that lists anew leaves nothing in focus
            calls = message.tool_calls
            subjects = [{k: v} for c in calls for k, v in c["args"].items() if k in ("ordinal", "title")]
            return subjects[-1] if len(calls) == 1 and subjects else {}
    return {}
