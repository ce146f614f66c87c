"""Which planner and which writer a language model gets: that depends on whether it was taught to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from langchain_core.language_models import BaseChatModel

from ..graphs.demonstrations import DemonstrationIndex, Encode
from ..graphs.planner import LlmPlanner
from ..graphs.writing import Writer
from ..tools.base import Tool
from .llm import ChatLlamaCpp

if TYPE_CHECKING:
    from ..tools.mentions import Mentions


def planner_of(
    model: BaseChatModel,
    name: str,
    *,
    tools: Mapping[str, Tool],
    encode: Encode,
    mentions: Callable[[str], Mentions],
) -> LlmPlanner:
    """The planner of a model.

    - A local model with an adapter was taught to plan: it reads the message and the prompt it was trained on, and is
      kept to the words of the conversation.
    - The bundled model without one is kept to what was said, and the demonstrations choose its tools.
    - Any other model is shown the nearest demonstrations.

    Args:
        name: of the model, for people.
        tools: those of a turn with a list on the table.
        encode: texts to unit vectors.
        mentions: what a message names.
    """
    if is_tuned(model):
        return LlmPlanner(model, name=name, tools=tools, demonstrations=None, own_words=True)
    demonstrations = DemonstrationIndex(encode, tools)
    if isinstance(model, ChatLlamaCpp) and model.source.kind == "bundled":
        named = f"{name} behind demonstrations"
        return LlmPlanner(model, name=named, tools=tools, demonstrations=demonstrations, mentions=mentions)
    return LlmPlanner(model, name=name, tools=tools, demonstrations=demonstrations)


def writer_of(model: BaseChatModel | None, *, turn_seconds: float) -> Writer | None:
    """Who writes the words above a list: a model that was taught to; None composes them of records.

    Args:
        turn_seconds: how long a turn may take.
    """
    return Writer(model, turn_seconds=turn_seconds) if model is not None and is_tuned(model) else None


def is_tuned(model: BaseChatModel) -> bool:
    """Whether it is a local model with an adapter, which plans and writes as it was taught."""
    return isinstance(model, ChatLlamaCpp) and model.source.adapter is not None
