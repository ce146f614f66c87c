"""From words to items: titles in arguments are matched to the catalogue, never guessed at silently.

The surest way that finds something decides, and where it finds several the reply asks which was meant:

1. the title as written, case, accents and punctuation aside;
2. the title as people say it: article moved or left out, numbers in any script, spaces and hyphens or none;
3. a part of a title that tells it ("The Wrath of Khan", "Terminator 2"); of a mere series ("Mad Max") it is asked
   which;
4. a title among words that are all true of the item ("the movie Heat with Al Pacino", "Heat 1995");
5. words of just one title in the list on the table;
6. a misspelling: the nearest title, if it is near enough and clearly ahead of the next, and what differs is no word
   that the catalogue itself uses ("Shine" is not "Shane" misspelt), no plural ("The Innocents" is not "The Innocent"),
   no number and no article;
7. words of just one title, where titles are too long to be said ("the Brother TN330").
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz, process
from rapidfuzz.distance import OSA

from ..catalog.items import Catalogue
from ..catalog.text import fold, one_line
from ..errors import ToolError
from .titles import LONG, Form, Said, Titles, ordinary_words, said, titles_of

#: A misspelt title must be this like (0..100: the share of its letters that need no change) and beat the next by the
#: margin. Set by benchmarks/bench_linker.py on one half of the titles, measured on the other.
THRESHOLD = 80.0
MARGIN = 10.0
#: A title of fewer letters is never taken for misspelt: "Up", "It" and "Go" are one letter from everything.
SHORTEST = 5
#: The likeness, at most, of a title that differs by a word of the catalogue: never enough, and near enough to ask.
JUST_UNDER = 73.0
#: The year of a film differs by one between sources (festival, release, country): tried when no year is just so.
YEARS_APART = (0, 1)
#: Titles less like it than this are not looked at when misspelt ones are compared.
NEAREST = 60.0
#: How like a title must be to be asked about, and how many are.
ASKED_ABOUT = 72.0
MOST_OPTIONS = 3
#: Or how much of it must be in the title's words, and from how many letters on that is looked at.
LEAST_HELD = 95.0
SHORTEST_HELD = 3
#: What the list on the table adds to the likeness of its titles.
ON_THE_TABLE = 4.0

_YEAR = re.compile(r"(?:18|19|20)\d\d")
#: Words around a title that tell nothing of it.
_AROUND_WORDS = """
    the a an movie movies film films picture show series book novel album game song item product one called titled
    named with by from of starring directed written in and version original old new
"""
_AROUND = frozenset(_AROUND_WORDS.split())


class Ambiguous(ToolError):
    """Several items fit, or none well enough: the reply asks which was meant.

    Attributes:
        options: up to three labels to choose from; none when nothing comes near.
        namesakes: whether the options all bear what was said as their title, or as a part of it.
    """

    def __init__(self, asked: str, options: Sequence[str], *, namesakes: bool = False) -> None:
        self.asked = asked
        self.options = tuple(options)
        self.namesakes = namesakes
        which = " or ".join(options)
        super().__init__(
            f"{asked!r} is not clear: {which}?" if options else f"the catalogue has nothing called {asked!r}"
        )


@dataclass(frozen=True, slots=True)
class Link:
    """What a title in an argument means.

    Attributes:
        row: of the item.
        sure: whether the item's own title was said; else a part of it, or something misspelt.
    """

    row: int
    sure: bool


def link_title(catalogue: Catalogue, text: str, *, prefer: Iterable[str] = ()) -> int:
    """The row whose title ``text`` means: see :func:`link`."""
    return link(catalogue, text, prefer=prefer).row


def link(
    catalogue: Catalogue,
    text: str,
    *,
    prefer: Iterable[str] = (),
    threshold: float = THRESHOLD,
    margin: float = MARGIN,
) -> Link:
    """The item whose title ``text`` means.

    Args:
        text: as the user wrote it.
        prefer: ids of the items on the table: among namesakes they win.
        threshold: least likeness of a misspelt title, 0..100.
        margin: least lead over the next.

    Raises:
        Ambiguous: with up to three titles to choose from, or none.
    """
    titles, asked = titles_of(catalogue), said(text)
    if not asked.tight:
        raise Ambiguous(text, ())
    table = {catalogue.row_of[i] for i in prefer if i in catalogue.row_of}
    for sure, rows in _ways(catalogue, titles, asked, fold(text), table):
        if rows and not sure and table.isdisjoint(rows) and _is_series(titles, asked):
            raise Ambiguous(text, _labels(catalogue, rows), namesakes=True)
        if rows:
            return Link(_only(catalogue, text, rows, table), sure)
    return Link(_nearest(catalogue, titles, text, asked, table, threshold, margin), False)


def label(catalogue: Catalogue, row: int) -> str:
    """An item's title, with its year where it has one."""
    title, year = catalogue.frame["title"][row], catalogue.frame["year"][row] if "year" in catalogue.frame else None
    return one_line(title, 80) + (f" ({year:.0f})" if isinstance(year, float) else "")


def _ways(
    catalogue: Catalogue, titles: Titles, asked: Said, folded: str, table: Collection[int]
) -> Iterable[tuple[bool, list[int]]]:
    """Rows that fit, and whether their own title was said: the surest way first, each tried when its turn comes."""
    yield True, list(titles.exact.get(folded, ()))
    alike = titles.of(asked.tight)
    whole = [form for form in alike if form.whole]
    yield True, _rows(form for form in whole if asked.article in ("", form.said.article))
    yield False, _rows(form for form in alike if not form.whole) if not whole else []
    yield True, _explained(catalogue, titles, asked)
    if len(asked.tight) >= SHORTEST - 1:
        run = f" {' '.join(asked.words)} "
        yield False, _rows(f for f in titles.forms if f.row in table and run in f" {' '.join(f.said.words)} ")


def _is_series(titles: Titles, asked: Said) -> bool:
    """Whether what was said is what the titles of a series have in common, of which the first may be meant, or none."""
    alike = titles.of(asked.tight)
    return bool(alike) and not any(form.whole or form.tells for form in alike)


def _rows(forms: Iterable[Form]) -> list[int]:
    return list(dict.fromkeys(form.row for form in forms))


def _only(catalogue: Catalogue, text: str, rows: Sequence[int], table: Collection[int]) -> int:
    """The one row that is meant; of several that are all called so, the one on the table.

    Items that no label tells apart are one to whoever asks: the first that can be had stands for them.

    Raises:
        Ambiguous: there is a choice.
    """
    shown = [row for row in rows if row in table]
    choice = shown or sorted(rows, key=lambda row: not catalogue.available[row])
    by_label: dict[str, int] = {}
    for row in choice:
        by_label.setdefault(label(catalogue, row), row)
    if len(by_label) == 1:
        return choice[0]
    raise Ambiguous(text, list(by_label)[:MOST_OPTIONS], namesakes=True)


def _explained(catalogue: Catalogue, titles: Titles, asked: Said) -> list[int]:
    """Rows whose title stands in what was said, where all other words are true of the item: the longest such title."""
    words = asked.words
    for size in range(len(words) - 1, 0, -1):
        spans = [
            (titles.of("".join(words[start : start + size])), (*words[:start], *words[start + size :]))
            for start in range(len(words) - size + 1)
        ]
        for slack in YEARS_APART:
            found = [
                form.row
                for forms, rest in spans
                for form in forms
                if _tells_it(form, rest, slack) and _is_true(catalogue, form.row, rest, slack)
            ]
            if found:
                return list(dict.fromkeys(found))
    return []


def _tells_it(form: Form, rest: Sequence[str], slack: int) -> bool:
    """Whether a title and what stands around it leave no doubt: of the name of a series ("the movie Mad Max",
    "Amityville 1992") the rest must say which part is meant, and be just so."""
    return form.whole or form.tells or (slack == 0 and not _AROUND.issuperset(rest))


def _is_true(catalogue: Catalogue, row: int, words: Sequence[str], slack: int) -> bool:
    """Whether the words are the item's year, ``slack`` years more or less, or in its names."""
    own = set(_AROUND)
    for name, value in catalogue.item(row).attributes.items():
        if isinstance(value, float):
            own.update(f"{value + off:.0f}" for off in (-slack, slack) if name == "year")
        else:
            labels = (value,) if isinstance(value, str) else value
            # A number in a label ("3 Oscars") is not what makes a sequel.
            own.update(word for one in labels for word in said(one).words if not word.isdigit())
    return own.issuperset(words)


def _nearest(
    catalogue: Catalogue,
    titles: Titles,
    text: str,
    asked: Said,
    table: Collection[int],
    threshold: float,
    margin: float,
) -> int:
    """The row of the nearest title, if it is near enough and clearly ahead.

    Raises:
        Ambiguous: it is not.
    """
    words = list(asked.words)
    year = words.pop() if len(words) > 1 and _YEAR.fullmatch(words[-1]) and "year" in catalogue.attributes else None
    while len(words) > 1 and words[-1] in _AROUND:
        words.pop()
    while len(words) > 1 and words[0] in _AROUND:
        words.pop(0)
    core = Said(asked.article, tuple(words), "".join(words))
    likeness = _likeness(catalogue, titles, core, table)
    if year is not None:
        likeness = {
            row: score
            for row, score in likeness.items()
            if any(_is_true(catalogue, row, (year,), slack) for slack in YEARS_APART)
        }
    ranked = sorted(likeness.items(), key=lambda pair: -pair[1])
    if ranked and ranked[0][1] >= threshold:
        best = ranked[0][1]
        close = [row for row, score in ranked if best - score <= margin]
        if len({label(catalogue, row) for row in close}) == 1:
            return close[0]
        raise Ambiguous(text, _labels(catalogue, close))
    if len(rows := _holding(titles, core)) == 1:
        return rows[0]
    near = [row for row, score in ranked if score >= ASKED_ABOUT]
    raise Ambiguous(text, _labels(catalogue, rows or [*near, *_near(titles, core)]))


def _likeness(catalogue: Catalogue, titles: Titles, asked: Said, table: Collection[int]) -> dict[int, float]:
    """By row: how like its title is, for titles of the same numbers that are long enough to be misspelt.

    One that would have to be misspelt with a word of the catalogue, or in its number, is held to be just under the
    threshold.
    """
    if len(asked.tight) < SHORTEST:
        return {}
    known = ordinary_words(catalogue)
    found = process.extract(
        asked.tight,
        titles.tight,
        scorer=OSA.normalized_similarity,
        score_cutoff=NEAREST / 100,
        limit=30,
    )
    likeness: dict[int, float] = {}
    for tight, score, at in found:
        form = titles.forms[at]
        if not form.whole and any(same.whole for same in titles.of(tight)):
            continue  # "Jurassic Park" is a title, before it is a part of "The Lost World: Jurassic Park"
        fits = form.said.numbers == asked.numbers and asked.article in ("", form.said.article)
        if fits and len(tight) >= SHORTEST and (form.whole or form.tells):
            score = 100 * score + (ON_THE_TABLE if form.row in table else 0.0)
            others = set(asked.words).difference(form.said.words)
            if any(len(word) > 2 and word in known for word in others) or _differs_in_number(others, form.said.words):
                score = min(score, JUST_UNDER)
            likeness[form.row] = max(score, likeness.get(form.row, 0.0))
    return likeness


def _differs_in_number(others: Collection[str], words: Collection[str]) -> bool:
    """Whether one of the words said is the plural, or the singular, of a word of the title."""
    return any(f"{word}s" in words or (word[-1:] == "s" and word[:-1] in words) for word in others)


def _holding(titles: Titles, asked: Said) -> list[int]:
    """Rows of long titles that hold all the words said, two at least."""
    words = set(asked.words)
    if len(words) < 2:
        return []
    return _rows(f for f in titles.forms if f.whole and len(f.said.words) > LONG and words.issubset(f.said.words))


def _near(titles: Titles, asked: Said) -> list[int]:
    """Rows of the titles to ask about: alike, or holding what was said; best first."""
    text = " ".join(asked.words)
    least = ASKED_ABOUT if len(asked.tight) >= SHORTEST else 100.0
    found = process.extract(text, titles.spaced, scorer=fuzz.ratio, score_cutoff=least, limit=MOST_OPTIONS)
    if len(text) >= SHORTEST_HELD:
        found += process.extract(
            text, titles.spaced, scorer=fuzz.token_set_ratio, score_cutoff=LEAST_HELD, limit=MOST_OPTIONS
        )
    found.sort(key=lambda one: -one[1])
    return _rows(titles.forms[at] for _, _, at in found)


def _labels(catalogue: Catalogue, rows: Iterable[int]) -> list[str]:
    return list(dict.fromkeys(label(catalogue, row) for row in rows))[:MOST_OPTIONS]
