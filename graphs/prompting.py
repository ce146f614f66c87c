"""The planner's prompt: a constant system text, the recent past, and what is new.

The system text does not change within a workspace, so that a local model reads it once. What it says, and in which
order the rest follows, is what the tuned adapter was trained on (:mod:`llm4rec.agent.tuning`): a change here asks for a
new adapter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage

from .. import prompts
from ..catalog.text import one_line
from ..tools.base import Tool
from .encoding import encode_plan

#: Earlier turns that the planner sees: what was said, and the plan or the reply it led to.
MOST_TURNS = 3
#: Characters of each of them, of a title in the list, and of the new message.
PAST_LIMIT, TITLE_LIMIT, MESSAGE_LIMIT = 300, 40, 600
#: A filter with more labels is told of without them: the grammar knows them all the same.
MOST_LABELS = 30
#: Stands for the message that a picture came without.
PICTURE_ALONE = "Find something like this picture."


def system_message(tools: Mapping[str, Tool]) -> SystemMessage:
    """What a planner is told of its task and its tools: names, arguments, labels.

    Args:
        tools: by name, those of a turn with a list on the table.
    """
    fields = {name: _fields(tool) for name, tool in tools.items()}
    listing = [set(fields[name]) for name, tool in tools.items() if tool.lists]
    shared = set.intersection(*listing) if len(listing) > 1 else set()
    lines = []
    for name, tool in tools.items():
        own = [field for field in fields[name] if field not in shared or not tool.lists]
        marked = ["filters"] if shared and tool.lists else []
        lines.append(f"{name}({', '.join([*own, *marked])}): {tool.summary}")
    every = {field: schema for name in tools for field, schema in fields[name].items() if field in shared}
    if every:
        lines.append(f"filters: {', '.join(_grouped(list(every)))}")
        lines += [
            f"{field}: {', '.join(one_line(str(label)) for label in schema['enum'])}"
            for field, schema in every.items()
            if f"not_{field}" in every and len(schema.get("enum", ())) in range(1, MOST_LABELS + 1)
        ]
    return SystemMessage(prompts.text("planner").replace("{tools}", "\n".join(lines)))


def past_messages(past: Sequence[AnyMessage]) -> list[AnyMessage]:
    """The latest turns of a thread: each message with its plan, or with the reply that was all its answer."""
    turns: list[list[AnyMessage]] = []
    for message in past:
        if isinstance(message, HumanMessage):
            turns.append([HumanMessage(one_line(str(message.content), PAST_LIMIT))])
        elif isinstance(message, AIMessage) and turns and message.tool_calls:
            # the last of a turn: one before it failed, and this one led to what is on the table
            plan = encode_plan([dict(call) for call in message.tool_calls])
            turns[-1][1:] = [AIMessage(plan[:PAST_LIMIT])]
        elif isinstance(message, AIMessage) and turns and len(turns[-1]) == 1:
            # after a plan it would be the reply made of its results
            turns[-1].append(AIMessage(one_line(str(message.content), PAST_LIMIT)))
    return [message for turn in turns[-MOST_TURNS:] if len(turn) == 2 for message in turn]


def new_message(
    message: str, *, titles: Sequence[str] = (), picture: bool = False, failures: Sequence[str] = ()
) -> HumanMessage:
    """What is new: the list on the table, a picture, what just failed, and what the user says."""
    lines: list[str] = []
    if titles:
        # no title ends its own quotes and goes on as what the user says
        quoted = (one_line(title, TITLE_LIMIT).replace('"', "'") for title in titles)
        lines.append("List: " + "; ".join(f'{place} "{title}"' for place, title in enumerate(quoted, start=1)))
    if picture:
        lines.append("(With a picture.)")
    lines.extend(f"Last try failed: {one_line(failure, 160)}" for failure in failures[:2])
    lines.append(one_line(message, MESSAGE_LIMIT) or PICTURE_ALONE)
    return HumanMessage("\n".join(lines))


def _fields(tool: Tool) -> Mapping[str, Any]:
    """A tool's arguments with their schemas."""
    properties: Mapping[str, Any] = tool.as_openai()["function"]["parameters"].get("properties", {})
    return properties


def _grouped(fields: Sequence[str]) -> list[str]:
    """Names of filters, those that belong together told as one."""
    told: list[str] = []
    for field in fields:
        plain = field.removeprefix("not_")
        number = field.removesuffix("_min").removesuffix("_max")
        if f"{number}_min" in fields and f"{number}_max" in fields:
            name = f"{number}_min, {number}_max"
        elif plain in fields and f"not_{plain}" in fields:
            name = f"{plain}, not_{plain}"
        else:
            name = field
        if name not in told:
            told.append(name)
    return told
