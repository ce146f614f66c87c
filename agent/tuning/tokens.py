"""Examples in the tokens of the model that is tuned: its own template, its own tokenizer, as in a conversation."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage

from ...errors import UserError
from ..llm import ChatLlamaCpp
from .examples import Example
from .packing import Tokens


def tokens_of(model: ChatLlamaCpp, examples: Sequence[Example]) -> list[Tokens]:
    """Each example in tokens.

    Raises:
        UserError: the model's template does not begin a prompt with the system text, so that it cannot be shared.
    """
    begun: dict[str, tuple[int, ...]] = {}
    found: list[Tokens] = []
    for one in examples:
        prompt = model.prompt_tokens([SystemMessage(one.system), *map(_message, one.turns)])
        if one.system not in begun:
            other = model.prompt_tokens([SystemMessage(one.system), HumanMessage("\n")])
            begun[one.system] = tuple(_shared(prompt, other))
        system = begun[one.system]
        if tuple(prompt[: len(system)]) != system:
            system = tuple(_shared(prompt, list(system)))
        if not system:
            raise UserError("this model's template has no common beginning for prompts of one system text")
        answer = (*model.get_token_ids(one.answer), model.end_token)
        found.append(Tokens(system, tuple(prompt[len(system) :]), answer))
    return found


def _message(turn: tuple[str, str]) -> AnyMessage:
    role, text = turn
    return HumanMessage(text) if role == "human" else AIMessage(text)


def _shared(left: Sequence[int], right: Sequence[int]) -> list[int]:
    """The common beginning."""
    shared: list[int] = []
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        shared.append(one)
    return shared
