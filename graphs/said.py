"""Keeping a taught planner to the words of the conversation.

A tuned model of 135 M parameters knows which tools to call, and at times fills in a name that its training spoke of. So
the free text of its arguments is decoded from words of the conversation: the message, the list on the table, what the
turns before said and asked for. Tools, numbers and labels stay its own choice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage

#: JSON-schema keyword that our grammar knows: the string is made of these words.
VOCABULARY = "x-vocabulary"
#: Words at most, those said last first.
MOST_WORDS = 240
#: How items of the list are named by their place.
_PLACES = ("number", "last", *map(str, range(1, 11)))
_EDGES = ".,;:!?…\"“”„'‘’`()[]{}<>*_"
#: Between words: spaces, and stops that stand between them without any ("light...but not stupid").
_BREAK = re.compile(r"\s+|\.{2,}|…|[?!;]+")
_POSSESSIVE = re.compile(r"['’]s?$")


def words_of(message: str, past: Sequence[AnyMessage], titles: Iterable[str]) -> list[str]:
    """The words a plan's texts may be made of, those of the message first, as they were written and in small letters.

    Args:
        message: what the user says. past: the thread before it, oldest first. titles: of the list on the table.
    """
    found: dict[str, None] = {}
    for text in (message, *titles, *_texts(reversed(past))):
        for word in _words(text):
            found.setdefault(word)
            found.setdefault(word.lower())
    return list(found)[:MOST_WORDS]


def within(tool: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """A tool description (OpenAI form) whose free texts are made of these words; unchanged where there are none."""
    if not words:
        return dict(tool)
    function = dict(tool["function"])
    parameters = dict(function["parameters"])
    parameters["properties"] = {
        name: {**schema, VOCABULARY: [*words, *_PLACES] if name == "like" else list(words)}
        if _is_free(schema)
        else schema
        for name, schema in parameters.get("properties", {}).items()
    }
    function["parameters"] = parameters
    return {**tool, "function": function}


def _is_free(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "string" and "enum" not in schema and "const" not in schema


def _texts(past: Iterable[AnyMessage]) -> Iterator[str]:
    for message in past:
        if isinstance(message, AIMessage):
            for call in message.tool_calls:
                yield from (value for value in call["args"].values() if isinstance(value, str))
        else:
            yield str(message.content)


def _words(text: str) -> Iterator[str]:
    for piece in _BREAK.split(text):
        bare = piece.strip(_EDGES)
        plain = _POSSESSIVE.sub("", bare)
        yield from (word for word in (bare, plain, *re.split(r"[-/–—]", plain)) if word and word.isprintable())
