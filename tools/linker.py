"""From words to items: titles in arguments are matched to the catalogue, never guessed at silently."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from rapidfuzz import fuzz, process

from ..catalog.items import Catalogue
from ..catalog.text import fold, one_line
from ..errors import ToolError

#: A fuzzy match must score this (0..100) and beat the runner-up by the margin.
THRESHOLD = 84.0
MARGIN = 5.0


class Ambiguous(ToolError):
    """Several titles fit, or none well enough: the reply asks which was meant.

    Attributes:
        options: up to three labels to choose from; none when nothing comes near.
        namesakes: whether the options all bear the very title that was asked for.
    """

    def __init__(self, asked: str, options: Sequence[str], *, namesakes: bool = False) -> None:
        self.asked = asked
        self.options = tuple(options)
        self.namesakes = namesakes
        which = " or ".join(options)
        super().__init__(
            f"{asked!r} is not clear: {which}?" if options else f"the catalogue has nothing called {asked!r}"
        )


@lru_cache(maxsize=8)
def _folded_titles(catalogue_key: int, titles: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(fold(title) for title in titles)


def _titles(catalogue: Catalogue) -> tuple[str, ...]:
    return _folded_titles(id(catalogue), tuple(catalogue.frame["title"].to_list()))


def link_title(catalogue: Catalogue, text: str, *, prefer: Iterable[str] = ()) -> int:
    """The row whose title ``text`` means.

    An exact match (case, accents and punctuation aside) wins; among several items of that title one in
    ``prefer`` (item ids on the table) wins. Otherwise the best fuzzy match, if it is good and clearly ahead.

    Raises:
        Ambiguous: with two or three titles to choose from, or none.
    """
    wanted = fold(text)
    if not wanted:
        raise Ambiguous(text, ())
    titles = _titles(catalogue)
    preferred = {catalogue.row_of[i] for i in prefer if i in catalogue.row_of}
    exact = [row for row, title in enumerate(titles) if title == wanted]
    if len(exact) > 1 and preferred.intersection(exact):
        exact = [row for row in exact if row in preferred]
    if len(exact) == 1:
        return exact[0]
    if len(exact) > 1:
        raise Ambiguous(text, [_label(catalogue, row) for row in exact[:3]], namesakes=True)
    scored = process.extract(wanted, titles, scorer=_title_score, limit=4)
    good = [(row, score + (4.0 if row in preferred else 0.0)) for _, score, row in scored]
    good.sort(key=lambda pair: -pair[1])
    if not good or good[0][1] < THRESHOLD:
        options = [_label(catalogue, row) for row, score in good[:3] if score >= 60.0]
        raise Ambiguous(text, options)
    if len(good) > 1 and good[0][1] - good[1][1] < MARGIN:
        raise Ambiguous(text, [_label(catalogue, row) for row, score in good[:3] if good[0][1] - score < MARGIN])
    return good[0][0]


def _title_score(a: str, b: str, *, score_cutoff: float | None = None) -> float:
    """Whole-title likeness; a title that is only contained ("the godfather" in its second part) loses a little."""
    whole = fuzz.ratio(a, b, score_cutoff=None)
    loose = fuzz.token_sort_ratio(a, b) - 2.0
    part = fuzz.token_set_ratio(a, b) * 0.9 if min(len(a), len(b)) >= 3 else 0.0
    return max(whole, loose, part)


def _label(catalogue: Catalogue, row: int) -> str:
    item = catalogue.item(row)
    year = item.attributes.get("year")
    return one_line(item.title, 80) + (f" ({year:.0f})" if isinstance(year, float) else "")


def closest(text: str, options: Sequence[str]) -> str | None:
    """The option most like ``text``, or None when nothing is near."""
    best = process.extractOne(fold(text), [fold(o) for o in options], scorer=fuzz.WRatio, score_cutoff=70)
    return options[best[2]] if best else None
