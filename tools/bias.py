"""``estimate_bias``: are these just the popular ones? Answered from the report made at build time, and this list."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .base import Arguments, Tool, TurnContext
from .results import Claim


class EstimateBias(Arguments):
    """No arguments: the list on the table and the log are what is asked about."""


def make() -> Tool:
    return Tool(
        name="estimate_bias",
        summary="how far popularity shaped this list and the log, with the causal estimate",
        arguments=EstimateBias,
        run=bias,
    )


def popularity_percentile(counts: NDArray[np.int64], rows: NDArray[np.int64]) -> float:
    """Mean share of the catalogue that is less popular than each of ``rows``, in [0, 1] (ties count half)."""
    ordered = np.sort(counts)
    below = np.searchsorted(ordered, counts[rows], side="left")
    through = np.searchsorted(ordered, counts[rows], side="right")
    return float(np.mean((below + through) / 2.0) / len(counts))


def bias(context: TurnContext, call: EstimateBias) -> str:
    """The list's popularity beside the user's own history, then the estimated effect with interval and refuters."""
    knowledge = context.knowledge
    counts = knowledge.counts
    said: list[str] = []
    rows = np.array([knowledge.catalogue.row_of[card.id] for card in context.bus.cards], dtype=np.int64)
    own = knowledge.interactions.of_user(context.user).items
    if len(rows):
        here = popularity_percentile(counts, rows)
        text = f"this list is more popular than {here:.0%} of the catalogue on average"
        if len(own):
            usual = popularity_percentile(counts, own)
            text += f"; your own history, {usual:.0%}"
        source = context.cite("model:popularity:list", text)
        context.findings.append(Claim(text=text, evidence=(source,)))
        said.append(text)
    report = knowledge.bias
    text = report.text()
    context.findings.append(Claim(text=text, evidence=(context.cite("causal:popularity", text),)))
    said.append(f"effect of popularity: {report.verdict}")
    context.findings_title = "How far popularity is behind this:"
    return "; ".join(said)
