"""From messages to a prompt, by the chat template that the model's own file carries.

Templates differ in the roles they know: some refuse a system message, some drop tool results, some insist that user
and assistant take turns. What a template can do is found out once, by rendering small conversations with it, and
messages are recast to fit; nothing that was said is dropped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage

from ..errors import TurnError, UserError
from ..graphs.encoding import encode_plan
from .grammar import ToolSchema

Role = Literal["system", "user", "assistant", "tool"]
_MARK = "q7Zx9marker"


@dataclass(frozen=True)
class Said:
    """One message as plain text."""

    role: Role
    text: str


@dataclass(frozen=True)
class ChatTemplate:
    """A Jinja chat template, run in a sandbox that can change nothing.

    Attributes:
        source: the template.
        bos, eos: texts of the model's beginning and end tokens.
        control: texts of all control tokens. Where they occur in messages they are broken up, so that nobody can
            write the end of their own turn into an item's description.
        name: of the model, for messages.
    """

    source: str
    bos: str = ""
    eos: str = ""
    control: tuple[str, ...] = ()
    name: str = "the model"

    def __post_init__(self) -> None:
        if not self._shows([("user", _MARK)]):
            raise UserError(f"{self.name}: its chat template does not render what the user says")

    @cached_property
    def _compiled(self) -> Any:
        from jinja2.exceptions import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        try:
            return environment.from_string(self.source)
        except TemplateError as error:
            raise UserError(f"{self.name}: its chat template cannot be read: {error}") from error

    @cached_property
    def knows_system(self) -> bool:
        return self._shows([("system", _MARK), ("user", "a")])

    @cached_property
    def knows_tool(self) -> bool:
        return self._shows([("user", "a"), ("assistant", "b"), ("tool", _MARK)])

    @cached_property
    def knows_repeats(self) -> bool:
        """Whether the same role may speak twice in a row."""
        return self._shows([("user", "a"), ("user", _MARK), ("assistant", "b"), ("assistant", "c"), ("user", "d")])

    def _shows(self, turns: Sequence[tuple[str, str]]) -> bool:
        try:
            text = self._render([{"role": role, "content": content} for role, content in turns])
        except TurnError:
            return False
        return all(content in text for _, content in turns)

    def _render(self, messages: Sequence[Mapping[str, str]]) -> str:
        from jinja2.exceptions import TemplateError

        try:
            return str(
                self._compiled.render(
                    messages=list(messages),
                    add_generation_prompt=True,
                    bos_token=self.bos,
                    eos_token=self.eos,
                    tools=None,
                )
            )
        except (TemplateError, TypeError, ValueError, KeyError, OverflowError) as error:
            raise TurnError(f"the chat template of {self.name} refuses this conversation: {error}") from error

    def render(self, messages: Sequence[Said]) -> str:
        """The prompt, ending where the assistant is to speak.

        Raises:
            TurnError: the template refuses the conversation.
        """
        fitting = self.fit(messages)
        return self._render([{"role": said.role, "content": self._harmless(said.text)} for said in fitting])

    def fit(self, messages: Sequence[Said]) -> list[Said]:
        """The same words in the roles that this template knows."""
        said = list(messages)
        if not self.knows_tool:
            said = [Said("user", f"Result: {m.text}") if m.role == "tool" else m for m in said]
        if not self.knows_system:
            system = [m.text for m in said if m.role == "system"]
            said = [m for m in said if m.role != "system"]
            if system:
                first = next((i for i, m in enumerate(said) if m.role == "user"), None)
                if first is None:
                    said.insert(0, Said("user", "\n\n".join(system)))
                else:
                    said[first] = Said("user", "\n\n".join([*system, said[first].text]))
        if not self.knows_repeats:
            merged: list[Said] = []
            for message in said:
                if merged and merged[-1].role == message.role:
                    merged[-1] = Said(message.role, f"{merged[-1].text}\n{message.text}")
                else:
                    merged.append(message)
            said = merged
        return said

    @cached_property
    def _controls(self) -> re.Pattern[str] | None:
        texts = sorted((text for text in self.control if text), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, texts))) if texts else None

    def _harmless(self, text: str) -> str:
        if self._controls is None:
            return text
        broken = self._controls.sub(lambda found: f"{found.group()[0]} {found.group()[1:]}", text)
        return broken if broken == text else self._harmless(broken)


def _refuse(message: str) -> None:
    from jinja2.exceptions import TemplateError

    raise TemplateError(message)


def plain(messages: Sequence[BaseMessage]) -> list[Said]:
    """LangChain messages as plain text. Tool calls become the compact plan that the model itself writes.

    Raises:
        UserError: a message holds something that is no text.
    """
    return [_said(message) for message in messages]


def _said(message: BaseMessage) -> Said:
    text = _content(message)
    match message:
        case SystemMessage():
            return Said("system", text)
        case AIMessage():
            calls = encode_plan([dict(call) for call in message.tool_calls]) if message.tool_calls else ""
            return Said("assistant", (text + "\n" if text and calls else text) + calls)
        case ToolMessage():
            failed = "error: " if message.status == "error" else ""
            return Said("tool", f"{message.name}: {failed}{text}" if message.name else failed + text)
        case HumanMessage():
            return Said("user", text)
        case ChatMessage():
            known: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
            return Said(known.get(message.role, "user"), text)
        case _:
            raise UserError(f"a {type(message).__name__} cannot be shown to a language model")


def _content(message: BaseMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    parts: list[str] = []
    for block in message.content:
        if isinstance(block, str):
            parts.append(block)
        elif block.get("type") == "text":
            parts.append(str(block["text"]))
        elif block.get("type") not in ("tool_use", "tool_call", "reasoning", "thinking"):  # calls come from tool_calls
            raise UserError(f"this model reads text only, and a message holds {block.get('type')!r}")
    return "\n".join(parts)


def compact(value: Any) -> str:
    """JSON without spaces, as plans are written."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def tools_text(tools: Sequence[ToolSchema], *, forced: bool) -> str:
    """A few lines that tell a model which tools there are, each with a call spelled out as it is to be written."""
    lines = ["You answer with tool calls." if forced else "You may answer with tool calls, or in words."]
    for tool in tools:
        required = set(tool.parameters.get("required", ()))
        fields = ",".join(
            f'"{name}":<{_kind(part)}{"" if name in required else ", optional"}>'
            for name, part in tool.parameters.get("properties", {}).items()
        )
        about = " ".join(tool.description.strip().split("\n\n")[0].split())
        lines.append(f"{tool.name}: {about} Call it as [{tool.name}{{{fields}}}]")
    return "\n".join(lines)


def _kind(schema: Any) -> str:
    if not isinstance(schema, Mapping):
        return "any"
    if "enum" in schema:
        return "|".join(compact(value) for value in schema["enum"])
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            return "|".join(dict.fromkeys(_kind(part) for part in schema[keyword]))
    if "const" in schema:
        return compact(schema["const"])
    kind = schema.get("type", "object" if "$ref" in schema else "any")
    return "|".join(kind) if isinstance(kind, list) else str(kind)
