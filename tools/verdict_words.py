"""Verdicts in words: what leaving out the evidence did, with the ranks behind it."""

from __future__ import annotations

from collections.abc import Sequence

from .counterfactual import MOST_EVENTS
from .results import Claim, Counterfactual, Verdict, Verification

#: What each label says.
LABELS = {
    "necessary": "necessary",
    "contributes": "contributes",
    "unmoved": "true, but did not move the rank",
    "condition": "a condition of the request",
}


def verdict_words(verdict: Verdict) -> str:
    """Such as "necessary: without it number 41; by this alone number 2"."""
    said = LABELS[verdict.label]
    if verdict.rank_without is not None:
        said += f": without it number {verdict.rank_without:,}"
        if verdict.rank_alone is not None:
            said += f"; by this alone number {verdict.rank_alone:,}"
    return said


def verification_words(found: Verification, claims: Sequence[Claim]) -> list[str]:
    """Sentences on the explanation as a whole: where the item stands, without and with nothing but what is cited.

    Args:
        claims: of the explanation. Where one alone was measured, its verdict has said what these would say again.
    """
    measured = sum(claim.verdict is not None and claim.verdict.rank_without is not None for claim in claims)
    said = f"By score it is number {found.rank:,} of {found.candidates:,}."
    if found.rank_without is not None and measured > 1:
        said += f" Without any of this it would be number {found.rank_without:,}"
        said += f", by this alone number {found.rank_alone:,}."
    lines = [said]
    if found.counterfactual is not None:
        lines.append(_without(found.counterfactual, found))
    return lines


def _without(least: Counterfactual, found: Verification) -> str:
    *first, last = least.words
    names = f"{', '.join(first)} and {last}" if first else last
    here = "be here" if found.listed else f"be among the first {found.top}"
    if least.found:
        return f"Without {names} this would not {here} (number {least.rank_without:,})."
    if len(least.words) < MOST_EVENTS:  # all there are to leave out
        return f"Even without {names} it would {here} (number {least.rank_without:,})."
    return (
        f"No {len(least.words)} or fewer records were found that decide it: "
        f"without {names} it would still {here} (number {least.rank_without:,})."
    )
