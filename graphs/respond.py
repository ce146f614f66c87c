"""From what the tools left on the desk to what is said. Titles, years and names come from the catalogue."""

from __future__ import annotations

from collections.abc import Container, Sequence

from ..catalog.text import one_line
from ..tools.base import TurnContext
from ..tools.results import Card, Claim, ListVariant, Question
from ..tools.verdict_words import verdict_words, verification_words


def label(card: Card) -> str:
    """An item's title, with its year where it has one, in bold."""
    year = card.attributes.get("year")
    return f"**{plain(card.title)}**" + (f" ({year:.0f})" if isinstance(year, float) else "")


def plain(text: str, limit: int = 120) -> str:
    """Text from the catalogue, with Markdown's signs disarmed."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|~" else c for c in one_line(text, limit))


def compose(desk: TurnContext, *, said: str, failures: Sequence[str], planner: str) -> str:
    """The reply in Markdown, from the desk alone: nothing in it was generated, except ``said`` (a plain reply)."""
    above = before_list(desk)
    if desk.fresh:
        above.append(lead(desk))
    below = after_list(above, said=said, failures=failures, planner=planner, question=desk.question)
    return "\n\n".join([*above, *below])


def before_list(desk: TurnContext) -> list[str]:
    """Paragraphs that come before the one that leads to the list."""
    paragraphs: list[str] = []
    if desk.noted:
        paragraphs.append("Noted: " + "; ".join(plain(claim.text) for claim in desk.noted) + ".")
    if desk.described is not None:
        paragraphs.append(described(desk.described))
    if desk.findings or desk.findings_title:
        lines = [plain(desk.findings_title)] if desk.findings_title else []
        lines.extend(f"- {plain(claim.text, 600)}" for claim in desk.findings)
        paragraphs.append("\n".join(lines))
    if desk.popularity is not None and desk.popularity.variants:
        paragraphs.append(_side_by_side(desk.popularity.variants))
    return paragraphs


def after_list(
    above: Sequence[str], *, said: str, failures: Sequence[str], planner: str, question: Question | None = None
) -> list[str]:
    """Paragraphs that come last: what could not be done, what there is to say where nothing is said ``above``, and at
    the very end a question back."""
    paragraphs: list[str] = []
    if failures:
        paragraphs.append("\n".join(f"I could not do one thing: {plain(f, 300)}" for f in failures))
    if not above and not paragraphs:
        nothing = "I did not catch what you are after. Name a mood, a subject, or a title you liked."
        paragraphs.append(plain(said, 800) or nothing)  # a model may repeat a link that it read
    if planner == "rules":
        paragraphs.append("_(No language model is in use: a rule-based planner read this.)_")
    if question is not None:
        paragraphs.append(plain(question.text))
    return paragraphs


def described(card: Card) -> str:
    """One item and why it is there; with verdicts where it was explained."""
    lines = [label(card), *(f"- {_judged(claim)}" for claim in card.claims)]
    found = card.verification
    if found is None:
        return "\n".join(lines)
    if found.counterpoint is not None:
        lines.append(f"- On the other hand: {plain(found.counterpoint.text, 500)}")
    return "\n".join(lines) + "\n\n" + " ".join(plain(line, 600) for line in verification_words(found, card.claims))


def _judged(claim: Claim) -> str:
    verdict = "" if claim.verdict is None else f" _({verdict_words(claim.verdict)})_"
    return plain(claim.text, 500) + verdict


def _side_by_side(variants: Sequence[ListVariant]) -> str:
    """Lists as columns of one table; in bold what the first does not hold. Lists that are alike are not told twice."""
    if len({tuple(item.id for item in variant.items) for variant in variants}) == 1:
        return f"The list is the same {' and '.join(variant.label for variant in variants)}."
    first = {item.id for item in variants[0].items}
    rows = [
        [str(place), *(_cell(variant, place - 1, first) for variant in variants)]
        for place in range(1, max(len(variant.items) for variant in variants) + 1)
    ]
    head = ["", *(variant.label for variant in variants)]
    if any(variant.lift is not None for variant in variants):
        rows.append(["lift", *("" if v.lift is None else f"{v.lift:+.0%}" for v in variants)])
    lines = [head, ["--:", *("---" for _ in variants)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(variant: ListVariant, at: int, first: Container[str]) -> str:
    if at >= len(variant.items):
        return ""
    item = variant.items[at]
    return plain(item.title, 60) if item.id in first else f"**{plain(item.title, 60)}**"


def lead(desk: TurnContext) -> str:
    """One sentence above the list."""
    cards = desk.bus.cards
    if not cards:
        return "Nothing in the catalogue fits all of that. Loosen one of the wishes?"
    wanted = f"for “{plain(desk.bus.query, 80)}”" if desk.bus.query else "for you"
    what = "This one is" if len(cards) == 1 else f"These {len(cards)} are"
    return f"{what} {wanted}; what you know already is left out."


def with_list(reply: str, cards: Sequence[Card]) -> str:
    """The reply with its list, in Markdown, for clients that show text only."""
    lines = [f"{card.ordinal}. {label(card)}: {_told(card.claims)}" for card in cards]
    return "\n".join([reply, "", *lines]) if lines else reply


def plain_reason(card: Card) -> str:
    """Why a card is there, in the fixed words of its claims: one sentence."""
    return f"{label(card)}: {_told(card.claims)}"


def _told(claims: Sequence[Claim]) -> str:
    return "; ".join(plain(claim.text, 200) for claim in claims) + "."
