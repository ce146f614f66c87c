"""The conversation as a state machine: recall -> plan -> act -> ... -> respond -> remember."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from ..errors import Llm4RecError, ToolError, TurnError
from ..ranking.question import QuestionConfig, may_ask
from ..tools.asking import ask
from ..tools.base import Bus, ListSource, Tool, TurnContext
from ..tools.results import Card, ToolRun
from .planner import ASKED, LlmPlanner, Planner, PlanRequest
from .respond import after_list, compose, lead
from .state import Asked, ItemsReady, NodeStarted, Notice, State, TextDelta, ToolFinished
from .writing import Writer

log = logging.getLogger(__name__)

#: Rounds of plan and act in one turn, and calls in one plan.
MOST_ROUNDS = 4
MOST_CALLS = 3
#: The tool whose list, with no filters, may be followed by a question.
RECOMMEND = "recommend"
#: Messages a thread keeps in its checkpoint.
KEPT_MESSAGES = 40
#: Questions back that a thread remembers, so that none is asked again soon.
KEPT_QUESTIONS = 20

#: What such failures hold.
_FOR_THE_PERSON = ("is not clear", "has nothing called", "carries the name")

Toolbox = Callable[[int], Mapping[str, Tool]]


@dataclass(frozen=True)
class Conversation:
    """What the graph is handed: it makes none of these.

    Attributes:
        planner: reads the message and chooses tools.
        fallback: plans when the planner fails (its model gone, its output broken); the reply says so.
        toolbox: the tools, for a number of items on the table.
        replan: ``on_error`` plans again only after a recoverable error (a small model cannot judge its own
            results); ``always`` until the planner answers in words, as large models do.
        writer: writes the words that lead to a list; None: they are composed.
        asking: when the reply to a list of the best ends with a question, and which; None: never.
    """

    planner: Planner
    fallback: Planner
    toolbox: Toolbox
    replan: Literal["on_error", "always"] = "on_error"
    writer: Writer | None = None
    asking: QuestionConfig | None = field(default_factory=QuestionConfig)

    def recall(self, state: State, runtime: Runtime[TurnContext]) -> dict[str, Any]:
        """Fold the profile, put the last list back on the bus, open the turn."""
        started = time.perf_counter()
        desk = runtime.context
        _tell(NodeStarted(node="recall"))
        number = state.get("number", 0) + 1
        at = time.time()
        desk.open(number=number, started=at)
        desk.bus = restore_bus(desk, state)
        desk.clock("recall", started)
        return {
            "messages": [HumanMessage(desk.message)],
            "number": number,
            "started": at,
            "rounds": 0,
            "failures": [],
            "planned": [],
            "said": "",
            "runs": [],
            "reply": "",
        }

    def plan(self, state: State, runtime: Runtime[TurnContext]) -> dict[str, Any]:
        """Ask the planner; where it fails, say so and let the rules plan."""
        started = time.perf_counter()
        desk = runtime.context
        _tell(NodeStarted(node="plan"))
        request = PlanRequest(
            desk=desk,
            tools=self.toolbox(len(desk.bus)),
            past=_past(state),
            failures=state.get("failures", []),
        )
        try:
            answer = self.planner.plan(request)
        except TurnError as error:
            desk.notice(f"The language model could not plan ({error}): rules planned this turn.")
            answer = self.fallback.plan(request)
        except Llm4RecError:
            raise
        except Exception as error:  # a model is outside code: whatever it raises must not lose the turn
            log.exception("planner %s failed", self.planner.name)
            desk.notice(f"The language model failed ({type(error).__name__}): rules planned this turn.")
            answer = self.fallback.plan(request)
        calls = [
            {"name": c["name"], "args": c["args"], "id": c.get("id") or f"call-{i}"}
            for i, c in enumerate(answer.tool_calls[:MOST_CALLS])
        ]
        desk.model_calls += int(answer.response_metadata.get(ASKED, 1))
        desk.clock("plan", started)
        return {
            "planned": calls,
            "said": "" if calls else _words(answer),
            "rounds": state.get("rounds", 0) + 1,
        }

    def act(self, state: State, runtime: Runtime[TurnContext]) -> dict[str, Any]:
        """Run the planned calls: feedback first, so that whatever ranks in this plan ranks with it."""
        started = time.perf_counter()
        desk = runtime.context
        _tell(NodeStarted(node="act"))
        tools = self.toolbox(len(desk.bus))
        earlier = {_key(run["name"], run["arguments"]): run for run in state.get("runs", [])}
        already = set(earlier)
        planned = state.get("planned", [])
        order = sorted(range(len(planned)), key=lambda i: not _commits(tools, planned[i]["name"]))
        runs: list[ToolRun] = []
        results: dict[int, ToolMessage] = {}
        failures: list[str] = []
        for position in order:
            call = planned[position]
            desk.call = f"{state['rounds']}.{position}"
            if _key(call["name"], call["args"]) in already:
                run = ToolRun(
                    name=call["name"], arguments=call["args"], ok=False, observation="already done", seconds=0.0
                )
                before = earlier.get(_key(call["name"], call["args"]))
                if before is not None and not before["ok"] and before["observation"] != run.observation:
                    failures.append(before["observation"])  # planned again as it was: the reply still says what failed
            else:
                run = _run(desk, tools, call)
                if not run.ok:
                    failures.append(run.observation)
            already.add(_key(call["name"], call["args"]))
            runs.append(run)
            _tell(ToolFinished(run=run))
            if run.ok and tools[run.name].lists:
                desk.clock("first_result", desk.opened)
                _tell(ItemsReady(cards=desk.bus.cards))
            results[position] = ToolMessage(run.observation, tool_call_id=call["id"], name=call["name"])
        desk.clock("act", started)
        return {
            "messages": [
                AIMessage(content="", tool_calls=[dict(c) for c in planned]),
                *(results[position] for position in sorted(results)),
            ],
            "failures": failures,
            "runs": [*state.get("runs", []), *(run.model_dump(mode="json") for run in runs)],
        }

    def after_plan(self, state: State) -> Literal["act", "respond"]:
        return "act" if state.get("planned") else "respond"

    def after_act(self, state: State) -> Literal["plan", "respond"]:
        if state.get("rounds", 0) >= MOST_ROUNDS:
            return "respond"
        progressed = any(run["observation"] != "already done" for run in state["runs"][-len(state["planned"]) :])
        if not progressed:
            return "respond"
        if self.replan == "always":
            return "plan"
        return "plan" if state.get("failures") and not _asks_back(state["failures"]) else "respond"

    def respond(self, state: State, runtime: Runtime[TurnContext]) -> dict[str, Any]:
        """Say what is known, and what failed."""
        started = time.perf_counter()
        desk = runtime.context
        _tell(NodeStarted(node="respond"))
        said, failures, planner = state.get("said", ""), state.get("failures", []), self.planner.name
        asked = self._ask(desk, state)
        for notice in desk.notices:
            _tell(Notice(text=notice))
        if self.writer is None or not self.writer.applies(desk):
            reply = compose(desk, said=said, failures=failures, planner=planner)
            _tell(TextDelta(text=reply))
        else:
            below = after_list([lead(desk)], said=said, failures=failures, planner=planner, question=desk.question)
            reply = self._written(desk, self.writer, below)
        desk.clock("respond", started)
        return {"reply": reply, "messages": [AIMessage(reply)], **asked}

    def _ask(self, desk: TurnContext, state: State) -> dict[str, Any]:
        """Choose the question that the reply ends with, if any; what the thread remembers of it."""
        before = state.get("asked", [])
        number = state.get("number", desk.number)
        if self.asking is None or not _is_open(desk, state) or not may_ask(number, [one["turn"] for one in before]):
            return {}
        try:
            desk.question = ask(desk, self.asking, [frozenset(one["labels"]) for one in before])
        except Llm4RecError as error:
            desk.notice(f"No question back was chosen ({error}).")
        except Exception as error:  # a question is an extra: its bug must not lose the turn, nor pass unseen
            log.exception("no question could be chosen")
            desk.notice(f"Choosing a question back failed inside ({type(error).__name__}); the log has the details.")
        if desk.question is None:
            return {}
        now = Asked(turn=number, labels=list(desk.question.labels), nats=desk.question.nats)
        return {"asked": [*before, now][-KEPT_QUESTIONS:]}

    def _written(self, desk: TurnContext, writer: Writer, below: list[str]) -> str:
        """Tell the reply piece by piece, as its sentences are written and found to be so."""
        reply = ""
        told = len(desk.notices)
        for piece in writer.pieces(desk, below):
            _tell(TextDelta(text=piece))
            reply += piece
        for notice in desk.notices[told:]:
            _tell(Notice(text=notice))
        return reply

    def remember(self, state: State, runtime: Runtime[TurnContext]) -> dict[str, Any]:
        """Keep what the next turn may point at: the shown list, and no more messages than needed."""
        from langchain_core.messages import RemoveMessage

        desk = runtime.context
        _tell(NodeStarted(node="remember"))
        old = state["messages"][: max(0, len(state["messages"]) - KEPT_MESSAGES)]
        update: dict[str, Any] = {"messages": [RemoveMessage(id=m.id) for m in old if m.id is not None]}
        if desk.fresh:
            update["shown"] = [{"id": c.id, "score": c.score, "ranks": dict(c.ranks)} for c in desk.bus.cards]
            source = desk.bus.source
            update["request"] = {
                "query": desk.bus.query,
                "cited": list(desk.bus.cited),
                "filters": None if source is None else dict(source.filters),
                "pool": [] if source is None else list(source.pool),
                "debias": None if source is None else source.debias,
                "explored": [] if source is None else list(source.explored),
                "explore": 0.0 if source is None else source.explore,
                "turn": 0 if source is None else source.turn,
            }
        if isinstance(self.planner, LlmPlanner):
            self.planner.read_ahead(state["messages"], [card.title for card in desk.bus.cards])
        return update

    def graph(self, checkpointer: BaseCheckpointSaver[Any] | None = None) -> CompiledStateGraph[Any, Any, Any, Any]:
        """Compile. The turn's desk is passed as the run's context: ``graph.stream(..., context=desk)``."""
        builder = StateGraph(State, context_schema=TurnContext)
        for node in (self.recall, self.plan, self.act, self.respond, self.remember):
            builder.add_node(node.__name__, node)
        builder.add_edge(START, "recall")
        builder.add_edge("recall", "plan")
        builder.add_conditional_edges("plan", self.after_plan, ["act", "respond"])
        builder.add_conditional_edges("act", self.after_act, ["plan", "respond"])
        builder.add_edge("respond", "remember")
        builder.add_edge("remember", END)
        return builder.compile(checkpointer=checkpointer)


def _tell(event: NodeStarted | ToolFinished | ItemsReady | Notice | TextDelta) -> None:
    get_stream_writer()(event)


def _past(state: State) -> list[AnyMessage]:
    """What was said before the message that is planned for; a plan of this turn that failed is no part of it."""
    messages = state.get("messages", [])
    if not state.get("failures"):
        return messages[:-1]
    asked = max((at for at, one in enumerate(messages) if isinstance(one, HumanMessage)), default=0)
    return messages[:asked]


def _is_open(desk: TurnContext, state: State) -> bool:
    """Whether the turn shows a list of the best with nothing in particular asked for, and nothing went wrong."""
    source = desk.bus.source
    ranked = any(run["ok"] and run["name"] == RECOMMEND for run in state.get("runs", []))
    plain = source is not None and not source.filters and not source.pool and desk.bus.query is None
    return desk.fresh and bool(desk.bus.cards) and ranked and plain and not state.get("failures")


def _key(name: str, arguments: Mapping[str, Any]) -> str:
    return name + json.dumps(arguments, sort_keys=True, default=str)


def _commits(tools: Mapping[str, Tool], name: str) -> bool:
    return name in tools and tools[name].commits


def _words(answer: AIMessage) -> str:
    return answer.content if isinstance(answer.content, str) else str(answer.text)


def _asks_back(failures: list[str]) -> bool:
    """A failure that only the person can mend (which of two titles) is asked, not planned around."""
    return any(sign in failure for failure in failures for sign in _FOR_THE_PERSON)


def _run(desk: TurnContext, tools: Mapping[str, Tool], call: Mapping[str, Any]) -> ToolRun:
    started = time.perf_counter()
    try:
        if call["name"] not in tools:
            raise ToolError(f"there is no tool {call['name']!r}: use one of {', '.join(tools)}")
        observation, ok = tools[call["name"]].call(desk, call["args"]), True
    except ToolError as error:
        observation, ok = str(error), False
    except TurnError:
        raise
    except Llm4RecError as error:
        observation, ok = str(error), False
    except Exception as error:  # a tool's bug must not lose the turn, nor pass unseen
        log.exception("tool %s failed", call["name"])
        observation, ok = f"{call['name']} failed: {type(error).__name__}", False
        desk.notice(f"{call['name']} failed inside ({type(error).__name__}); the log has the details.")
    return ToolRun(
        name=str(call["name"]),
        arguments=dict(call["args"]),
        ok=ok,
        observation=observation,
        seconds=round(time.perf_counter() - started, 4),
    )


def restore_bus(desk: TurnContext, state: Mapping[str, Any]) -> Bus:
    """The thread's last list, back on the bus. Items that have left the catalogue are not on it."""
    catalogue = desk.knowledge.catalogue
    cards: list[Card] = []
    for shown in state.get("shown", []):
        row = catalogue.row_of.get(shown["id"])
        if row is not None and catalogue.available[row]:
            cards.append(
                Card.of(catalogue.item(row), ordinal=len(cards) + 1, score=shown["score"], ranks=shown["ranks"])
            )
    request = state.get("request") or {"query": None, "cited": []}
    filters = request.get("filters")  # a thread may be older than this
    source = None
    if filters is not None:
        pool, explored = tuple(request.get("pool", ())), tuple(request.get("explored", ()))
        drawn = request.get("explore", 0.0), request.get("turn", 0)
        source = ListSource(filters, pool, request.get("debias"), explored, *drawn)
    return Bus(cards, query=request["query"], cited=request["cited"], source=source)


def thread_state(saver: BaseCheckpointSaver[Any], thread_id: str) -> Mapping[str, Any]:
    """What a thread remembers; empty for a new one."""
    checkpoint = saver.get({"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}})
    return checkpoint["channel_values"] if checkpoint else {}
