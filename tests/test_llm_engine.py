"""The engine under the chat model: how tokens are chosen, and what it refuses to say."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gbnf
import numpy as np
import pytest
import tiny_llama
from llm4rec.agent._sampling import Chooser, GrammarState, Vocabulary
from llm4rec.agent.engine import Account, Engine
from llm4rec.agent.grammar import ToolSchema, plan_grammar
from llm4rec.agent.llm import ChatLlamaCpp
from llm4rec.errors import TurnError
from llm_tools import About, Search


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama.write(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture(scope="module")
def engine(tiny_file: Path) -> Iterator[Engine]:
    engine = Engine(tiny_file, n_ctx=512, slots=1)
    yield engine
    engine.close()


def test_the_greedy_choice_is_the_best_allowed_token(engine: Engine) -> None:
    """Against the slow way: mask the whole vocabulary at every step."""
    grammar = plan_grammar([ToolSchema("Search", "", Search.model_json_schema())], max_calls=2)
    reference = GrammarState(engine._lib, engine._vocab, grammar)
    everything = np.arange(engine.n_vocab, dtype=np.int32)
    steps = engine.generate(
        engine.prompt("find"), max_tokens=60, account=Account(), check=lambda: None, grammar=grammar
    )
    checked = 0
    for step in steps:
        # The generator stands after its choice and before the next evaluation: the logits are those it chose by.
        allowed = reference.allows(everything)
        masked = np.where(allowed, engine.logits(), -np.inf)
        assert step.token == int(masked.argmax())
        assert not step.may_end or step.piece.endswith(b"]")
        reference.accept(step.token)
        checked += 1
    assert checked > 10
    reference.free()


def test_a_random_choice_has_the_right_distribution() -> None:
    """Draws under a grammar against softmax over the allowed tokens (chi-squared, 5 degrees of freedom)."""
    logits = np.random.default_rng(0).normal(0, 1, 4000).astype(np.float32)
    logits[50] = 3.0  # a likely token that is not allowed
    logits[60] = 9.0  # and one that is never said
    allowed = np.array([260, 270, 280, 290, 300, 3100])

    class Some:
        def allows(self, tokens: Any) -> Any:
            return np.isin(tokens, allowed)

    words = Vocabulary(["é".encode()] * 4000, frozenset(), np.array([60]))
    chooser = Chooser(Some(), words, temperature=0.7, seed=0)
    weights = np.exp(logits[allowed].astype(float) / 0.7)
    expected = 3000 * weights / weights.sum()
    drawn = [chooser.choose(logits.copy()) for _ in range(3000)]
    counts = np.array([drawn.count(token) for token in allowed])
    assert counts.sum() == 3000
    assert ((counts - expected) ** 2 / expected).sum() < 20.5  # 99.9th percentile
    assert 0 < chooser.resampled <= 3000


def test_llamacpp_reads_the_grammar_as_the_tests_do(engine: Engine) -> None:
    """Random members, by the reading of tests/gbnf.py, are members for llama.cpp; with an end cut off, none is."""
    tools = [ToolSchema(m.__name__, "", m.model_json_schema()) for m in (Search, About)]
    grammar = plan_grammar(tools, ordinals=12, max_calls=2, allow_text=True, text_limit=40)
    rng = random.Random(4)
    end = np.array([2], dtype=np.int32)
    for _ in range(120):
        text = gbnf.random_string(grammar, rng)
        state = GrammarState(engine._lib, engine._vocab, grammar)
        for byte in text.encode():
            token = 3 + byte  # a token for each byte
            assert state.allows(np.array([token], dtype=np.int32))[0], text
            if text.startswith("["):
                assert not state.allows(end)[0]
            state.accept(token)
        assert state.allows(end)[0]
        state.free()


def test_no_numbers_is_an_error_and_not_an_answer(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "logits", lambda self: np.full(self.n_vocab, np.nan, dtype=np.float32))
    with pytest.raises(TurnError, match="no usable numbers"):
        list(engine.generate(engine.prompt("x"), max_tokens=2, account=Account(), check=lambda: None))


def test_broken_characters_are_never_written(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes have tokens of their own here (3 + byte): one that breaks a character is passed over."""
    likings = iter([(0xF5, 0xE4), (0xE4, ord("a"), 0xB8), (ord("a"), 0xAD), (0xFF, 0x80, ord("b"))])

    def logits(self: Engine) -> Any:
        rank = np.full(self.n_vocab, -9.0, dtype=np.float32)
        for place, byte in enumerate(next(likings)):
            rank[3 + byte] = -place
        return rank

    monkeypatch.setattr(Engine, "logits", logits)
    steps = engine.generate(engine.prompt("x"), max_tokens=4, account=Account(), check=lambda: None)
    assert b"".join(step.piece for step in steps).decode() == "中b"


def test_repacked_weights_are_off_when_they_are_to_be_off(tiny_file: Path) -> None:
    for options in ({"extra_buffers": False}, {}):
        plain = Engine(tiny_file, n_ctx=128, slots=1, **options)
        assert not [line for line in plain.load_log if "REPACK" in line or "AMX" in line]
        plain.close()
    # Loaded and never evaluated, which crashes where the processor has AMX.
    Engine(tiny_file, n_ctx=128, slots=1, extra_buffers=True).close()


def test_a_closed_model_says_so(tiny_file: Path, cache: Path) -> None:
    model = ChatLlamaCpp(model=str(tiny_file), cache_folder=cache, n_ctx=128)
    model.load()
    model.close()
    with pytest.raises(TurnError, match="was closed"):
        model.invoke("hello")
