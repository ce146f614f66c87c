"""Keeping a small planner to what was said: tool schemas narrowed to one message.

A 135 M-parameter model that is asked for a search writes "Hitchcock" because an example did. So the schemas it
decodes under are narrowed before each plan: titles and names are those the message holds, other text is made of its
words, numbers are those it names (with decades unfolded), labels those it names or comes near in meaning, ordinals
only where it points at something. The narrowing shapes decoding alone: what comes back is validated against the full
schema like any call.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from typing import Any

from ..catalog.text import one_line
from ..tools.mentions import Mentions

#: JSON-schema keyword that our grammar knows: the string is made of these words, in their order.
WORDS = "x-words"
#: Arguments that hold a title, a name, or the question itself, in every listing tool.
TITLES = ("title", "like")
NAMES = ("named", "not_named")

Schema = dict[str, Any]


def narrow(
    tools: Sequence[Mapping[str, Any]],
    message: str,
    mentions: Mentions,
    *,
    labels_near: Callable[[Sequence[str]], Collection[str]],
    only: Collection[str] | None = None,
) -> list[dict[str, Any]]:
    """Tool descriptions (OpenAI form) narrowed to a message.

    Args:
        tools: as ``Tool.as_openai`` gives them.
        message: what the user said.
        mentions: what it names.
        labels_near: of some labels, those that the message names or comes near in meaning.
        only: names of the tools to keep; None keeps all.

    Returns:
        The tools that can still be called; one whose required argument has nothing to be made of is left out.
    """
    kept: list[dict[str, Any]] = []
    for tool in tools:
        function = deepcopy(dict(tool["function"]))
        if only is not None and function["name"] not in only:
            continue
        parameters = function["parameters"]
        properties: dict[str, Schema] = {}
        for name, schema in parameters.get("properties", {}).items():
            narrowed = _narrowed(name, _without_null(schema), message, mentions, labels_near)
            if narrowed is not None:
                properties[name] = narrowed
        # a year or a price that was said is meant: a number with one field to go to must be used
        said = [name for name in properties if name.endswith(("_min", "_max"))]
        required = [*parameters.get("required", []), *said]
        if name_needed := _needs_subject(function["name"], properties):
            required.append(name_needed)
        if all(name in properties for name in required):
            function["parameters"] = {
                "type": "object",
                "properties": properties,
                "required": required,
                "additionalProperties": False,
            }
            kept.append({"type": "function", "function": function})
    return kept


def _narrowed(
    name: str,
    schema: Schema,
    message: str,
    mentions: Mentions,
    labels_near: Callable[[Sequence[str]], Collection[str]],
) -> Schema | None:
    """One argument's schema, or None where the message has nothing for it."""
    if name.startswith("not_") and not mentions.negates:
        return None
    if name in TITLES:
        return _one_of(mentions.titles or mentions.capitals)
    if name in NAMES:
        return _one_of(mentions.names)
    if name == "question":
        return _one_of((one_line(message, 120),))
    if name == "scope":
        return _one_of(("tonight",) if mentions.passing else ("always",))
    if schema.get("ordinal"):
        return schema if mentions.points else None
    if schema.get("type") == "string" and "enum" not in schema:
        return {**schema, WORDS: list(mentions.words)} if mentions.words else None
    if schema.get("type") == "integer":
        said = mentions.highs if name.endswith("_max") else mentions.lows
        within = [n for n in said if schema.get("minimum", n) <= n <= schema.get("maximum", n)]
        return {"type": "integer", "enum": within} if within else None
    if "enum" in schema and len(schema["enum"]) > 5:
        near = labels_near(schema["enum"])
        return _one_of(tuple(label for label in schema["enum"] if label in near))
    return schema


def _needs_subject(tool: str, properties: Mapping[str, Schema]) -> str | None:
    """Feedback must be about something; where only one thing can be it, it is required."""
    if tool != "record_feedback":
        return None
    subjects = [name for name in ("title", "ordinal", "about") if name in properties]
    return subjects[0] if subjects else "about"


def _one_of(values: Sequence[str]) -> Schema | None:
    return {"type": "string", "enum": list(dict.fromkeys(values))} if values else None


def _without_null(schema: Mapping[str, Any]) -> Schema:
    """An optional field's schema without its null: leaving the field out says the same."""
    if "anyOf" in schema:
        rest = [option for option in schema["anyOf"] if option.get("type") != "null"]
        if len(rest) == 1:
            outer = {k: v for k, v in schema.items() if k not in ("anyOf", "default")}
            return {**rest[0], **outer}
    return dict(schema)
