"""A plan as text, the way a local planner reads and writes it: ``[search_items{"query":"submarine"},recommend{}]``.

A call is a tool's name and its arguments as one compact JSON object. That is half the tokens of the usual list of
objects with names and arguments, and a plan begins with ``[``, which a plain reply does not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

#: What a tool may be called.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_DECODER = json.JSONDecoder()


def encode_plan(calls: Sequence[Mapping[str, Any]]) -> str:
    """Calls (``name``, and ``arguments`` or ``args``) as text."""
    told = [f"{call['name']}{encode_arguments(call.get('arguments', call.get('args', {})))}" for call in calls]
    return f"[{','.join(told)}]"


def encode_arguments(arguments: Mapping[str, Any]) -> str:
    """A call's arguments as text."""
    return json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))


def decode_plan(text: str) -> list[dict[str, Any]]:
    """The calls of a plan, each with its ``name`` and ``arguments``.

    Raises:
        ValueError: it is no plan.
    """
    if not (text.startswith("[") and text.endswith("]")):
        raise ValueError("a plan stands between [ and ]")
    calls: list[dict[str, Any]] = []
    at, end = 1, len(text) - 1
    while at < end:
        if calls:
            if text[at] != ",":
                raise ValueError(f"expected a comma at {at}")
            at += 1
        name = NAME.match(text, at)
        if name is None:
            raise ValueError(f"expected a tool's name at {at}")
        arguments, at = _DECODER.raw_decode(text, name.end())
        if not isinstance(arguments, dict):
            raise ValueError(f"the arguments of {name.group()} are no object")
        calls.append({"name": name.group(), "arguments": arguments})
    if at != end:
        raise ValueError("the plan ends too early")
    return calls
