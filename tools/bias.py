"""``estimate_bias``: are these just the popular ones? Answered from the report made at build time, and this list."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..causal import wording
from ..causal.report import BiasReport
from .base import Arguments, Tool, TurnContext
from .facets import Facets
from .results import Claim, PopularityCheck
from .side_by_side import variants
from .taste import debias_of_list, history_of


class EstimateBias(Arguments):
    """No arguments: the list on the table and the log are what is asked about."""


def make(facets: Facets) -> Tool:
    def run(context: TurnContext, call: EstimateBias) -> str:
        return bias(context, facets)

    return Tool(
        name="estimate_bias",
        summary="how far popularity shaped the list and the log",
        arguments=EstimateBias,
        run=run,
    )


def bias(context: TurnContext, facets: Facets) -> str:
    """This list's popularity beside the user's own history, the estimate with its refuters, what was corrected, and the
    list without and with the correction."""
    report = context.knowledge.bias
    counts = context.knowledge.counts
    rows = np.array([context.knowledge.catalogue.row_of[card.id] for card in context.bus.cards], dtype=np.int64)
    own = history_of(context).chosen().rows
    here, usual = _mean(counts, rows), _mean(counts, own)
    lift = here / usual - 1 if here is not None and usual else None
    found = report.popularity.chosen
    tried = found.refutations if found is not None else ()
    check = PopularityCheck(
        list_mean=here,
        catalogue_mean=float(counts.mean()) if len(counts) else 0.0,
        history_mean=usual,
        lift=lift,
        verdict=report.popularity.verdict,
        effect=found.value if found is not None else None,
        interval=found.interval if found is not None else None,
        unit=report.popularity.unit,
        passed=tuple(one.name for one in tried if one.passed),
        failed=tuple(one.name for one in tried if not one.passed),
        corrected=_corrected(context, report),
        per_doubling=report.correction.per_doubling if report.correction is not None else 0.0,
        variants=variants(context, facets),
    )
    said = [_tell(context, "model:popularity:list", text) for text in (_measured(check),) if text]
    effect = " ".join(
        filter(None, (wording.headline(report.popularity, simulated=report.simulated), wording.refuted(found)))
    )
    _tell(context, "causal:popularity", effect)
    _tell(context, "causal:correction", check.corrected)
    context.popularity = check
    context.findings_title = "How far popularity is behind this:"
    return "; ".join([*said, f"effect of popularity: {report.popularity.verdict}"])


def _mean(counts: NDArray[np.int64], rows: NDArray[np.int64]) -> float | None:
    return float(counts[rows].mean()) if len(rows) else None


def _measured(check: PopularityCheck) -> str:
    """The list's popularity in words; empty where there is no list."""
    if check.list_mean is None:
        return ""
    text = f"An item of this list was chosen by {check.list_mean:,.0f} people on average"
    if check.history_mean is None:
        return f"{text}, one of the catalogue by {check.catalogue_mean:,.0f}; of you no history is known."
    text += f", one of your own history by {check.history_mean:,.0f}"
    return f"{text}." if check.lift is None else f"{text}: a popularity lift of {check.lift:+.0%}."


def _corrected(context: TurnContext, report: BiasReport) -> str:
    """What the correction did to the list on the table; to one made now, where none is."""
    used = debias_of_list(context)
    if used.dial is not None:
        if used.dial == 0:
            return "Nothing is corrected: the dial is at 0."
        return f"The dial is at {used.dial:g}: so much of what makes an item likely for everybody is taken off."
    told = wording.corrected(report)
    if not used.besides:
        return told
    own = f"{used.besides:.0%} of what makes an item likely for everybody is taken off: your own dial, steered by your "
    return f"{told} Besides, {own}verdicts." if used.per_doubling else f"{own}verdicts."


def _tell(context: TurnContext, source: str, text: str) -> str:
    context.findings.append(Claim(text=text, evidence=(context.cite(source, text),)))
    return text
