"""A chat model that says what it was told to say: drives the graph in tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from pydantic import PrivateAttr

Answer = AIMessage | Exception


def calls(*planned: tuple[str, dict[str, Any]], text: str = "") -> AIMessage:
    """An answer that calls tools."""
    return AIMessage(
        content=text,
        tool_calls=[{"name": name, "args": args, "id": f"c{i}"} for i, (name, args) in enumerate(planned)],
    )


class ScriptedChatModel(BaseChatModel):
    """Answers from a queue, or from a function of the tools it was bound to.

    ``seen`` keeps every prompt, ``bound`` the tools of every call.
    """

    make: Callable[[Sequence[dict[str, Any]]], Answer] | None = None
    _queue: list[Answer] = PrivateAttr(default_factory=list)
    _seen: list[list[BaseMessage]] = PrivateAttr(default_factory=list)
    _bound: list[Sequence[dict[str, Any]]] = PrivateAttr(default_factory=list)

    def enqueue(self, *answers: Answer) -> None:
        self._queue.extend(answers)

    @property
    def seen(self) -> list[list[BaseMessage]]:
        return self._seen

    @property
    def bound(self) -> list[Sequence[dict[str, Any]]]:
        return self._bound

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        return self.bind(tools=list(tools), **kwargs)  # type: ignore[return-value]

    def get_num_tokens(self, text: str) -> int:
        return len(text) // 4 + 1

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        tools = kwargs.get("tools", [])
        self._seen.append(messages)
        self._bound.append(tools)
        answer = self.make(tools) if self.make else self._queue.pop(0) if self._queue else AIMessage("nothing to say")
        if isinstance(answer, Exception):
            raise answer
        return ChatResult(generations=[ChatGeneration(message=answer)])
