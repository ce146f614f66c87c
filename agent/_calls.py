"""Tools on their way in (what is bound, and the grammar it makes) and calls on their way out."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages.ai import InputTokenDetails, UsageMetadata

from ..errors import TurnError, UserError
from ..graphs.encoding import decode_plan
from .grammar import ToolSchema, plan_grammar
from .runner import Finished, Job, too_late


def choose(tool_choice: str | bool | Mapping[str, Any] | None, names: Sequence[str]) -> str:
    """ "auto", "any", "none" or a tool's name."""
    if isinstance(tool_choice, Mapping):
        tool_choice = tool_choice.get("function", {}).get("name") or tool_choice.get("type")
    if tool_choice in (None, False, "auto"):
        return "auto"
    if tool_choice in (True, "any", "required"):
        return "any"
    if tool_choice == "none" or tool_choice in names:
        return str(tool_choice)
    raise UserError(f"tool_choice {tool_choice!r} is no tool: there are {', '.join(names)}, 'auto', 'any', 'none'")


def plan_of(kwargs: Mapping[str, Any]) -> tuple[list[ToolSchema], str | None, bool]:
    """The tools to tell of, the grammar, and whether calls are forced."""
    tools = [ToolSchema.of(tool) for tool in kwargs.get("tools") or ()]
    choice = choose(kwargs.get("tool_choice"), [tool.name for tool in tools])
    if not tools or choice == "none":
        return [], None, False
    allowed = tools if choice in ("auto", "any") else [tool for tool in tools if tool.name == choice]
    grammar = plan_grammar(
        allowed,
        max_calls=kwargs.get("max_calls") or 3,
        allow_text=choice == "auto",
        ordinals=kwargs.get("ordinals"),
    )
    return allowed, grammar, choice != "auto"


def calls_of(job: Job, end: Finished) -> list[dict[str, Any]]:
    """The tool calls of an answer; none when it is words.

    Raises:
        TurnError: the answer was to be a plan and was cut off, or nothing at all was said in time.
    """
    if end.reason in ("timeout", "cancelled") and not end.text:
        raise TurnError("cancelled" if end.reason == "cancelled" else too_late(job))
    if not job.plan or not end.text.startswith("["):
        return []
    if end.reason != "stop":
        why = {"length": f"after {end.account.generated_tokens} tokens", "timeout": "by the deadline"}
        raise TurnError(f"the plan was cut off {why.get(end.reason, 'by a cancellation')}")
    return [
        {"name": c["name"], "args": c["arguments"], "id": f"call_{uuid.uuid4().hex}", "type": "tool_call"}
        for c in decode_plan(end.text)
    ]


def usage_of(end: Finished) -> UsageMetadata:
    account = end.account
    return UsageMetadata(
        input_tokens=account.prompt_tokens,
        output_tokens=account.generated_tokens,
        total_tokens=account.prompt_tokens + account.generated_tokens,
        input_token_details=InputTokenDetails(cache_read=account.reused_tokens),
    )
