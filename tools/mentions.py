"""What a message names of the catalogue (titles, names), and how it is worded."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from .. import prompts
from ..catalog.items import Catalogue
from ..catalog.text import fold
from . import wording
from .facets import Facets
from .wording import Opinion, words_said

#: Longest title looked for, in words.
LONGEST = 10
#: What a title is replaced by where a message is read for its form.
STANDS_FOR_TITLE = "it"

_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_ARTICLE = re.compile(r"^(?:the|a|an) ")
#: What may stand before a title that is written like any other word, and what may stand after it.
_BEFORE_TITLE = re.compile(
    r"\b(?:loved?|hated?|liked?|enjoyed|seen|saw|watched|finished|rated?|adored?|know|tell me about|more about|why|what is"
    r"|directed|made|wrote|in the style of|similar to|like|^is|^was)$"
)
_AFTER_TITLE = re.compile(r"^(?:is|was|has|had|isn['’]t|wasn['’]t|made|gets?|got|looks?|sounds?|bored|blew|felt|needs)\b|^['’]s\b")
#: Words that say nothing of what a taste is about.
_EMPTY = frozenset(
    "a an the and or but of to for with in on at by from as is are was were be been am i im me my we us our you your he she"
    " it its this that these those they them do does did don't dont doesn't didn't can can't cannot could couldn't will would"
    " not no nothing never none please really very so too just also any some anything something all ever only again much"
    " love loved loves like liked likes enjoy enjoyed adore hate hated hates dislike disliked loathe bear stand bore bores bored"
    " fan big huge into dig prefer usually always favourite favorite favourites weakness sucker crazy about mood up"
    " stop avoid show recommend recommending enough tired sick off stuff thing things kind sort kinds tonight today evening"
    " i'm i've i'd isn't aren't wasn't watch see want need give get got have has had what more my husband wife interested care"
    .split()
)


@dataclass(frozen=True, slots=True)
class Mentions:
    """What one message names, and how.

    Attributes:
        bare: the message with each title replaced by "it": its form.
        words: its words as written, each once, in order. wish_words, told_words: those of the clauses that ask for
            something, and those of the others that say what it is about; both without the words of titles.
        titles: titles of the catalogue that stand in it, longest first.
        capitals: runs of capitalised words inside a sentence that are no title or name here: perhaps a title we lack.
        names, refused_names: people, brands and so on of the catalogue, as the catalogue writes them.
        refused: folded words shortly after a refusal ("no", "without").
        lows, highs: numbers it names as bounds; a decade gives its first and last year.
        grade: a grade it gives, and what it is out of if that is said.
        places: places of the shown list it points at (1 = first, -1 = last).
        opinion: what it thinks of what it speaks of, where that is plain.
        negates, points, passing: whether it says no, points at something shown, or speaks of tonight only.
    """

    bare: str
    words: tuple[str, ...]
    wish_words: tuple[str, ...]
    told_words: tuple[str, ...]
    titles: tuple[str, ...]
    capitals: tuple[str, ...]
    names: tuple[str, ...]
    refused_names: tuple[str, ...]
    refused: frozenset[str]
    lows: tuple[int, ...]
    highs: tuple[int, ...]
    grade: tuple[int, int | None] | None
    places: tuple[int, ...]
    opinion: Opinion | None
    negates: bool
    points: bool
    passing: bool


class MentionIndex:
    """Titles and names of one catalogue, looked up by the words of a message. Made once per catalogue."""

    def __init__(self, catalogue: Catalogue, facets: Facets) -> None:
        self._ordinary = _ordinary_words(catalogue)
        self._titles: dict[str, str] = {}
        titles = catalogue.frame["title"].to_list()
        for title in titles:
            self._titles.setdefault(fold(title), title)
        for title in titles:
            self._titles.setdefault(_ARTICLE.sub("", fold(title)), title)
        self._names: dict[str, str] = {}
        surnames: dict[str, str | None] = {}
        for spec in facets.names:
            column = catalogue.frame[spec.name].drop_nulls()
            values = column.explode().drop_nulls() if spec.kind == "labels" else column
            for value in values.unique().sort().to_list():
                if value == value.lower():
                    continue  # a word, not a name ("tense"): a search finds it by meaning
                folded = fold(value)
                self._names.setdefault(folded, value)
                last = folded.split()[-1] if " " in folded else ""
                if len(last) >= 4:
                    # a surname that several people share names none of them; the surname itself still matches all
                    surnames[last] = value if last not in surnames else None
        for last, value in surnames.items():
            self._names.setdefault(last, value or last)

    def read(self, message: str) -> Mentions:
        """What ``message`` names."""
        spans = self._titles_in(message)
        titles = tuple(spans.values())
        bare, rest = _replaced(message, spans, STANDS_FOR_TITLE), _replaced(message, spans, " ")
        lows, highs = wording.numbers_said(rest)
        refused = wording.refused_words(bare)
        names = self._names_in(rest)
        unwanted = {name for name, said in names.items() if set(said.split()) <= refused}
        told = words_said(wording.statement(_replaced(message, spans, "")))
        return Mentions(
            bare=bare,
            words=words_said(message),
            wish_words=words_said(wording.wish(rest)),
            told_words=tuple(word for word in told if word.casefold().replace("’", "'") not in _EMPTY) or told,
            titles=titles,
            capitals=_capitals(rest, names),
            names=tuple(name for name in names if name not in unwanted),
            refused_names=tuple(name for name in names if name in unwanted),
            refused=refused,
            lows=lows,
            highs=highs,
            grade=wording.grade_said(bare),
            places=wording.places_said(rest),
            opinion=wording.opinion_said(bare),
            negates=wording.refuses(bare),
            points=wording.points(rest),
            passing=wording.passing(message),
        )

    def _titles_in(self, message: str) -> dict[tuple[int, int], str]:
        """Titles by where they stand in the message (from, to), longest first."""
        found: dict[tuple[int, int], str] = {}
        taken: set[int] = set()
        words = list(_WORD.finditer(message))
        for size in range(min(LONGEST, len(words)), 0, -1):
            for start in range(len(words) - size + 1):
                span = range(start, start + size)
                at, end = words[start].start(), words[start + size - 1].end()
                key = fold(message[at:end])
                title = self._titles.get(key)
                if title is None or taken.intersection(span):
                    continue
                if " " not in key and not self._is_title(message, at, end):
                    continue
                found[at, end] = title
                taken.update(span)
        return found

    def _is_title(self, message: str, at: int, end: int) -> bool:
        """Whether a single word that is a title is meant as one."""
        word, before, after = message[at:end], message[:at].rstrip(), message[end:]
        if not before and not after.strip(" ?!."):
            return True
        if re.search(r"[\"'“‘]$", message[:at]) and re.match(r"[\"'”’]", after):
            return True
        closed = not re.match(r"\s+\w", after)
        framed = bool(_BEFORE_TITLE.search(before.casefold())), bool(_AFTER_TITLE.match(after.lstrip().casefold()))
        opens = not before or before.endswith((".", "!", "?", ":"))
        if word[:1].isupper():
            return not opens or word.casefold() not in self._ordinary or framed[1] or closed
        if word.casefold() in self._ordinary or len(word) < 3:
            return framed[0] and closed
        return any(framed)

    def _names_in(self, message: str) -> dict[str, str]:
        """Names with the folded words that said them, longest first."""
        words = _WORD.findall(message)
        found: dict[str, str] = {}
        taken: set[int] = set()
        for size in range(min(4, len(words)), 0, -1):
            for start in range(len(words) - size + 1):
                span = range(start, start + size)
                key = fold(" ".join(words[start : start + size]))
                if key not in self._names or taken.intersection(span):
                    continue
                if size == 1 and not words[start][:1].isupper() and key in self._ordinary:
                    continue
                found.setdefault(self._names[key], key)
                taken.update(span)
        return found


def _ordinary_words(catalogue: Catalogue) -> frozenset[str]:
    """Words that descriptions and demonstrations write small: not names by themselves."""
    small = r"\b\p{Ll}[\p{Ll}'’]+\b"
    texts = pl.concat([catalogue.frame["description"].drop_nulls(), pl.Series(prompts.everyday_texts())])
    return frozenset(texts.str.extract_all(small).explode().drop_nulls().unique().to_list())


def _replaced(message: str, spans: Iterable[tuple[int, int]], by: str) -> str:
    for at, end in sorted(spans, reverse=True):
        message = message[:at] + by + message[end:]
    return message


def _capitals(message: str, names: Iterable[str]) -> tuple[str, ...]:
    known = {fold(name) for name in names}
    runs = re.findall(r"(?<=[\w,;] )[A-Z][\w'’\-]*(?: (?:[A-Z][\w'’\-]*|of|the|and|in|to|a|\d+))*", message)
    cleaned = (re.sub(r"(?: (?:of|the|and|in|to|a))+$", "", run) for run in runs)
    return tuple(
        run
        for run in dict.fromkeys(cleaned)
        if len(run) > 1 and fold(run) not in known and not re.fullmatch(r"I['’]\w+", run)
    )


def labels_said(labels: Iterable[str], message: str) -> set[str]:
    """Labels that stand in the message; a plain plural counts ("westerns", "comedies")."""
    said = f" {fold(message)} "
    return {label for label in labels if any(f" {form} " in said for form in _forms(fold(label)))}


def _forms(label: str) -> tuple[str, ...]:
    return (label, f"{label}s", f"{label}es", f"{label[:-1]}ies" if label.endswith("y") else label)
