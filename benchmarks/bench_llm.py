"""Measures the bundled language model: reading, writing with and without a grammar, and what the caches spare.

    python benchmarks/bench_llm.py [--rounds 5]

Each way of running is a process of its own, because OpenMP reads its environment when it loads. Within one, the
variants take turns, so that whatever else the machine does falls on all of them; medians are reported.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from llm4rec import threads
from llm4rec.agent import weights
from llm4rec.agent.llm import ChatLlamaCpp
from pydantic import BaseModel, Field
from report import Row, write

WRITTEN = 48
#: Copies of a rule that make the system prompt about 600 tokens long.
RULES = 32
#: A process that takes longer is fighting with others for the cores: measure again on a quiet machine.
CHILD_TIMEOUT = 900
STORY = "Write a long story about the sea."
PLAN = "Find films about the sea that are not horror"
QUESTIONS = ("something light for tonight", "a slow film about the sea", "what did I like last week", "more like 2")


class Filter(BaseModel, extra="forbid"):
    attribute: Literal["genre", "year", "director"]
    op: Literal["is", "is_not", "at_least", "at_most", "contains"]
    value: str = Field(min_length=1, max_length=40)


class SearchItems(BaseModel, extra="forbid"):
    """Find items by words and filters."""

    query: str = Field(min_length=1, max_length=80)
    filters: list[Filter] = Field(default_factory=list, max_length=2)


class AboutItem(BaseModel, extra="forbid"):
    """Tell about an item of the list."""

    ordinal: int = Field(ge=1, json_schema_extra={"ordinal": True})


class RecordFeedback(BaseModel, extra="forbid"):
    """Note what the user likes or not."""

    ordinal: int | None = Field(default=None, ge=1, json_schema_extra={"ordinal": True})
    verdict: Literal["like", "dislike", "seen", "skip"]


TOOLS = (SearchItems, AboutItem, RecordFeedback)


def prompt(question: str, *, opening: str) -> list[BaseMessage]:
    """A system prompt of about 600 tokens, and a question."""
    rules = " ".join(f"Rule {n}: the tools know the catalogue, so never name an item." for n in range(RULES))
    return [SystemMessage(opening + rules), HumanMessage(question)]


def one(answer: AIMessage) -> dict[str, float]:
    """Rates of one answer, tokens a second, and its first token in milliseconds.

    The first token needs no evaluation of its own, so ``n`` tokens are ``n - 1`` evaluations.
    """
    told, usage = answer.response_metadata, answer.usage_metadata
    assert usage is not None
    return {
        "read": told["evaluated_tokens"] / told["prefill_seconds"],
        "written": (usage["output_tokens"] - 1) / told["generate_seconds"],
        "first_ms": 1000 * told["first_token_seconds"],
        "evaluated": told["evaluated_tokens"],
        "prompt": usage["input_tokens"],
    }


def measure(path: str, rounds: int, encode: bool) -> dict[str, Any]:
    """One process's figures."""
    started = time.perf_counter()
    model = ChatLlamaCpp(model=path, n_ctx=2048, slots=3, max_tokens=WRITTEN, describe_tools=False)
    model.load()
    found: dict[str, list[float]] = {"load_ms": [1000 * (time.perf_counter() - started)]}

    def note(**values: float) -> None:
        for name, value in values.items():
            found.setdefault(name, []).append(value)

    encoder = None
    if encode:
        from llm4rec.catalog.encoders import load_text_encoder

        encoder = load_text_encoder()
        encoder.encode(["warm up"])
    bound = model.bind_tools(list(TOOLS), tool_choice="any", ordinals=5)
    either = model.bind_tools(list(TOOLS), tool_choice="auto", ordinals=5)
    for turn in range(rounds):
        cold = one(model.invoke(prompt(QUESTIONS[0], opening=f"Version {turn}. ")))
        note(read=cold["read"], cold_first_ms=cold["first_ms"], cold_evaluated=cold["evaluated"], prompt=cold["prompt"])
        for question in QUESTIONS:
            if encoder is not None:
                at = time.perf_counter()
                encoder.encode([question])
                note(encode_ms=1000 * (time.perf_counter() - at))
            warm = one(model.invoke(prompt(question, opening=f"Version {turn}. ")))
            note(warm_first_ms=warm["first_ms"], warm_evaluated=warm["evaluated"])
        for name, runnable, question, limit in (
            ("free", model, STORY, WRITTEN),
            ("ruled", bound, PLAN, 200),
            ("auto", either, STORY, WRITTEN),
        ):
            runnable.invoke(question, max_tokens=limit)  # the prompt is read now; what follows is writing only
            at = time.process_time()
            answer = runnable.invoke(question, max_tokens=limit)
            spent = 1000 * (time.process_time() - at)
            assert answer.usage_metadata is not None
            note(**{name: one(answer)["written"], f"{name}_cpu": spent / answer.usage_metadata["output_tokens"]})
    return {name: statistics.median(values) for name, values in found.items()}


def child(path: str, rounds: int, *, passive: bool, encode: bool) -> dict[str, Any]:
    """:func:`measure` in a process with this wait policy."""
    policy = "PASSIVE" if passive else "ACTIVE"
    done = subprocess.run(
        [sys.executable, __file__, "--child", path, "--rounds", str(rounds), *(["--encode"] if encode else [])],
        env={**os.environ, "OMP_WAIT_POLICY": policy},
        capture_output=True,
        text=True,
        check=True,
        timeout=CHILD_TIMEOUT,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", metavar="GGUF", help=argparse.SUPPRESS)
    parser.add_argument("--encode", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.child:
        print(json.dumps(measure(chosen.child, chosen.rounds, chosen.encode)))
        return
    original = weights.bundled_path()
    fast = weights.resolve(None).path
    assert fast is not None
    rows: list[Row] = []
    for name, path, passive, encode in (
        ("Q4_1", original, True, False),
        ("Q8_0", fast, True, False),
        ("Q8_0, OMP_WAIT_POLICY=ACTIVE", fast, False, False),
        ("Q8_0, text encoder between turns", fast, True, True),
        ("Q8_0, the same, OMP_WAIT_POLICY=ACTIVE", fast, False, True),
    ):
        got = child(str(Path(path)), chosen.rounds if passive else 1, passive=passive, encode=encode)
        rows.append(
            {
                "way": name,
                "load (ms)": round(got["load_ms"]),
                "read (tokens/s)": round(got["read"]),
                "written, no grammar (tokens/s)": round(got["free"], 1),
                "written, plan grammar (tokens/s)": round(got["ruled"], 1),
                "written, words-or-plan grammar (tokens/s)": round(got["auto"], 1),
                "CPU a token, no grammar (ms)": round(got["free_cpu"], 1),
                "CPU a token, plan grammar (ms)": round(got["ruled_cpu"], 1),
                "CPU a token, words-or-plan grammar (ms)": round(got["auto_cpu"], 1),
                "first token, cold (ms)": round(got["cold_first_ms"]),
                "first token, warm (ms)": round(got["warm_first_ms"]),
                "tokens evaluated, cold": round(got["cold_evaluated"]),
                "tokens evaluated, warm": round(got["warm_evaluated"]),
                "encode a text (ms)": round(got["encode_ms"], 1) if "encode_ms" in got else "",
            }
        )
        print(rows[-1], flush=True)
    notes = [
        f"The bundled SmolLM2-135M-Instruct on {threads.llm_threads()} threads; medians of {chosen.rounds} rounds "
        f"(of {4 * chosen.rounds} for warm first tokens and encodings); answers of up to {WRITTEN} tokens.",
        "Cold: a system prompt of about 600 tokens never seen before. Warm: the same system prompt with another "
        "question; only what differs is evaluated.",
        "CPU a token is processor time over all threads, which other work on the machine disturbs less than the clock; "
        "with ACTIVE, of which one round is run, it counts waiting, too.",
        "PASSIVE is what llm4rec sets: OpenMP's threads sleep while they wait. The text encoder is all-MiniLM-L6-v2.",
    ]
    print(write("llm", rows, notes, {}))


if __name__ == "__main__":
    main()
