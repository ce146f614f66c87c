"""What a run of turns cost and how it went, as named numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from .turns import TurnRecord

#: Names that go on with a reason and with a tool.
FAILED, TOOL = "turns_failed: ", "tool: "


def figures_of(turns: Sequence[TurnRecord]) -> dict[str, float]:
    """Named numbers of the turns.

    ``turns``, ``turns_failed`` (shown no list), ``turns_failed: <reason>``, ``short_lists`` (fewer items than asked
    for, those that failed apart), ``turns_with_notice`` (something degraded), ``llm_asked`` (share of the turns in
    which the language model was asked), ``llm_calls_per_turn``, ``prompt_tokens_per_turn`` and
    ``generated_tokens_per_turn`` (over the turns whose tokens are known, those without the model included),
    ``tokens_unknown`` (the other turns), ``tool_calls_per_turn``, ``tool_errors``, ``tool: <name>`` (calls), and
    seconds of the turns, ``first_result_p50``, ``first_result_p95`` (of those with a list), ``seconds_p50``,
    ``seconds_p95``.
    """
    if not turns:
        return {"turns": 0.0}
    failed = Counter(turn.failure for turn in turns if turn.failure is not None)
    tools = Counter(call.name for turn in turns for call in turn.calls)
    prompts = [turn.prompt_tokens for turn in turns if turn.prompt_tokens is not None]
    generated = [turn.generated_tokens for turn in turns if turn.generated_tokens is not None]
    first = [turn.first_seconds for turn in turns if turn.first_seconds is not None]
    found: dict[str, float] = {
        "turns": len(turns),
        "turns_failed": failed.total(),
        **{FAILED + reason: count for reason, count in sorted(failed.items())},
        "short_lists": sum(0 < len(turn.items) < turn.k for turn in turns),
        "turns_with_notice": sum(bool(turn.notices) for turn in turns),
        "llm_asked": float(np.mean([turn.model_calls > 0 for turn in turns])),
        "llm_calls_per_turn": float(np.mean([turn.model_calls for turn in turns])),
        "tokens_unknown": len(turns) - len(prompts),
        "tool_calls_per_turn": tools.total() / len(turns),
        "tool_errors": sum(call.error is not None for turn in turns for call in turn.calls),
        **{TOOL + name: count for name, count in sorted(tools.items())},
        **_percentiles("seconds", [turn.seconds for turn in turns]),
    }
    if prompts:
        found["prompt_tokens_per_turn"] = float(np.mean(prompts))
        found["generated_tokens_per_turn"] = float(np.mean(generated))
    if first:
        found |= _percentiles("first_result", first)
    return {name: float(value) for name, value in found.items()}


def _percentiles(name: str, seconds: Sequence[float]) -> dict[str, float]:
    return {f"{name}_p{percent}": float(np.percentile(seconds, percent)) for percent in (50, 95)}
