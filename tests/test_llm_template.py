"""Chat templates of all manners: every word reaches the model, in roles that its template knows."""

from __future__ import annotations

import pytest
import tiny_llama
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage
from llm4rec.agent.grammar import ToolSchema
from llm4rec.agent.runner import _Said
from llm4rec.agent.template import ChatTemplate, Said, plain, tools_text
from llm4rec.errors import TurnError, UserError

CHATML = (
    "{% for message in messages %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
#: Drops roles that it does not know without a word, and starts with a system message of its own.
FORGETFUL = (
    "{% for m in messages %}{% if m.role == 'user' %}<u>{{ m.content | trim }}{% elif m.role == 'assistant' %}"
    "<a>{{ m.content | trim }}{% endif %}{% endfor %}<a>"
)
TEMPLATES = {"chatml": CHATML, "forgetful": FORGETFUL, "strict": tiny_llama.STRICT_TEMPLATE}

WORDS = st.text("abcdefg hij\n<|>_é", min_size=1, max_size=12).map(lambda text: f"x{text}x")
TURNS = st.lists(st.tuples(st.sampled_from(["user", "assistant", "tool"]), WORDS), max_size=6)


@pytest.mark.parametrize("name", TEMPLATES)
@given(system=st.none() | WORDS, first=WORDS, turns=TURNS)
@settings(max_examples=60, deadline=None)
def test_nothing_that_was_said_is_dropped(
    name: str, system: str | None, first: str, turns: list[tuple[str, str]]
) -> None:
    template = ChatTemplate(TEMPLATES[name], bos="<s>", eos="</s>", control=("<|im_end|>", "<|im_start|>"))
    said = [Said("system", system)] if system else []
    said += [Said("user", first), *(Said(role, text) for role, text in turns)]  # type: ignore[arg-type]
    prompt = template.render(said)
    at = -1
    for message in said:
        at = prompt.find(message.text, at + 1)
        assert at >= 0, (message, prompt)
    extra = prompt
    for message in said:
        extra = extra.replace(message.text, "", 1)
    assert extra.count("<|im_start|>") == (len(said) + 1 if name == "chatml" else 0)


def test_what_each_template_knows() -> None:
    known = {name: ChatTemplate(source) for name, source in TEMPLATES.items()}
    assert {n: (t.knows_system, t.knows_tool, t.knows_repeats) for n, t in known.items()} == {
        "chatml": (True, True, True),
        "forgetful": (False, False, True),
        "strict": (False, False, False),
    }


def test_a_template_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(UserError, match="cannot be read"):
        ChatTemplate("{% for %}", name="m")
    with pytest.raises(UserError, match="does not render what the user says"):
        ChatTemplate("hello", name="m")
    with pytest.raises(TurnError, match="refuses this conversation: roles must alternate"):
        ChatTemplate(tiny_llama.STRICT_TEMPLATE).render([Said("assistant", "I begin")])


@pytest.mark.parametrize(
    "attack",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{% set _ = messages.append({'role': 'user', 'content': 'x'}) %}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
    ],
)
def test_a_template_can_reach_nothing(attack: str) -> None:
    with pytest.raises(UserError):
        ChatTemplate(attack + "{{ messages[0]['content'] }}")


@given(
    text=st.lists(st.sampled_from(["<|im_end|>", "<|im_", "end|>", "|>", "<", "<<|im_end|>", "a", " ", "</s>"])).map(
        "".join
    )
)
def test_control_tokens_in_messages_are_broken_up(text: str) -> None:
    template = ChatTemplate(CHATML, control=("<|im_end|>", "<|im_start|>", "</s>"))
    prompt = template.render([Said("user", text)])
    assert prompt.count("<|im_end|>") == 1
    assert "</s>" not in prompt
    assert prompt.replace(" ", "").count(text.replace(" ", "")) >= 1


def test_messages_become_plain_text() -> None:
    call = {"name": "search", "args": {"q": "é"}, "id": "1", "type": "tool_call"}
    said = plain(
        [
            SystemMessage("s"),
            HumanMessage([{"type": "text", "text": "a"}, "b"]),
            AIMessage([{"type": "text", "text": "t"}, {"type": "tool_use", "id": "1"}], tool_calls=[call]),
            ToolMessage("r", tool_call_id="1", name="search"),
            ToolMessage("gone", tool_call_id="1", status="error"),
            ChatMessage("c", role="narrator"),
        ]
    )
    assert [(m.role, m.text) for m in said] == [
        ("system", "s"),
        ("user", "a\nb"),
        ("assistant", 't\n[search{"q":"é"}]'),
        ("tool", "search: r"),
        ("tool", "error: gone"),
        ("user", "c"),
    ]
    with pytest.raises(UserError, match="RemoveMessage cannot be shown"):
        plain([RemoveMessage(id="1")])


def test_tools_are_described_as_they_are_called() -> None:
    schema = {
        "type": "object",
        "properties": {
            "q": {"type": "string"},
            "n": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "o": {"enum": ["a", "b"]},
        },
        "required": ["q"],
    }
    text = tools_text([ToolSchema("find", "Find\n  things.\n\nMore.", schema)], forced=True)
    assert text == (
        "You answer with tool calls.\nfind: Find things. Call it as "
        '[find{"q":<string>,"n":<integer|null, optional>,"o":<"a"|"b", optional>}]'
    )


@given(
    pieces=st.lists(st.sampled_from([b"a", b"b", b"ab", "é".encode()[:1], "é".encode()[1:], "中".encode(), b"STOP"])),
    stops=st.lists(st.sampled_from(["ab", "ba", "aba", "STOP", "bST", "中a"]), max_size=3),
)
def test_a_stream_holds_back_what_may_become_a_stop(pieces: list[bytes], stops: list[str]) -> None:
    told: list[str] = []
    said = _Said(stops, lambda event: told.append(str(event)))
    whole = b""
    for piece in pieces:
        whole += piece
        if said.add(piece):
            break
    said.flush()
    assert "".join(told) == said.text
    assert not any(stop in said.text for stop in stops)
    everything = b"".join(pieces).decode("utf-8", errors="ignore")
    if not stops and "é".encode()[:1] not in pieces and "é".encode()[1:] not in pieces:
        assert said.text == everything
