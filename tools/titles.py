"""How titles are written and how people say them: the forms that a title is known by.

"The Matrix", "matrix" and "Matrix, The" are one title; so are "Rocky II" and "rocky 2", "Fast & Loose" and "fast and
loose", "Spider-Man" and "spiderman". A title may also be said in part: "Dr. Strangelove".
"""

from __future__ import annotations

import re
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import polars as pl

from ..catalog.items import Catalogue
from ..catalog.text import fold

T = TypeVar("T")

#: A title of more words than this is hardly ever said in full (products: "Brother Genuine TN330 Mono Laser ...").
LONG = 8

_MOVED = re.compile(r"^(.+), (the|a|an|le|la|les|l'|il|el|los|las|der|die|das)(?=$|\s*[(:])", re.IGNORECASE)
_BRACKETS = re.compile(r"\(([^()]*)\)")
_CUT = re.compile(r":\s|\s[-–—|]\s")
_CUT_LONG = re.compile(r":\s|\s[-–—|]\s|[,(]")
_ARTICLES = frozenset({"the", "a", "an"})
_PARTS = frozenset({"part", "vol", "volume", "chapter", "episode"})
_ROMAN = {"ii": "2", "iii": "3", "iv": "4", "vi": "6", "vii": "7", "viii": "8", "ix": "9", "xi": "11", "xii": "12"}
#: These are letters too ("V for Vendetta", "X-Men"): numbers only where a title, or its first part, ends.
_ROMAN_AT_END = {"v": "5", "x": "10"}
_SPELLED = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_NUMBERS = _ROMAN | {word: str(value) for value, word in enumerate(_SPELLED, start=2)}


class PerCatalogue(Generic[T]):
    """What is made of a catalogue once, and kept while the catalogue lives. Safe to use from many threads."""

    def __init__(self, make: Callable[[Catalogue], T]) -> None:
        self._make = make
        self._kept: dict[int, T] = {}
        self._lock = threading.Lock()

    def __call__(self, catalogue: Catalogue) -> T:
        # A catalogue cannot be hashed (it holds a frame), so it is known by its address while it lives.
        key = id(catalogue)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._make(catalogue)
                weakref.finalize(catalogue, self._kept.pop, key, None)
            return self._kept[key]


@dataclass(frozen=True, slots=True)
class Said:
    """A title, or what was said for one, as it is compared.

    Attributes:
        article: the English article it begins with; "" for none.
        words: the others, numbers as digits.
        tight: the words without spaces between them.
    """

    article: str
    words: tuple[str, ...]
    tight: str

    @property
    def numbers(self) -> tuple[str, ...]:
        """Its numbers: what tells a sequel from the film before."""
        return tuple(sorted(word for word in self.words if word.isdigit()))


def said(text: str) -> Said:
    """Read a title, or what was said for one."""
    plain = _MOVED.sub(r"\2 \1", text.strip()).replace("&", " and ")
    words = fold(re.sub(r"['’`]", "", plain)).split()
    article = words.pop(0) if len(words) > 1 and words[0] in _ARTICLES else ""
    return _as_compared(article, words)


def _as_compared(article: str, words: Sequence[str]) -> Said:
    digits = [_NUMBERS.get(word, word) for word in words]
    if len(digits) > 1:
        digits[-1] = _ROMAN_AT_END.get(digits[-1], digits[-1])
    kept = [
        word
        for at, word in enumerate(digits)
        if not (0 < at < len(digits) - 1 and word in _PARTS and digits[at + 1].isdigit())
    ]
    return Said(article, tuple(kept), "".join(kept))


@dataclass(frozen=True, slots=True)
class Form:
    """One way to say a title.

    Attributes:
        row: of the item.
        said: the form, as it is compared.
        whole: whether it is the title or another name in its brackets, and not just a part of it.
        tells: of a part, whether it tells the title: what stands before a colon is often the name of a series, unless
            there is a number in it, or too much behind it to be said.
    """

    row: int
    said: Said
    whole: bool
    tells: bool


@dataclass(frozen=True)
class Titles:
    """All forms of all titles.

    Attributes:
        exact: rows by folded title.
        forms: in row order. spaced, tight: their words, with and without spaces between them.
        by_tight: positions in ``forms`` by their letters, without their article and with it.
    """

    exact: Mapping[str, Sequence[int]]
    forms: Sequence[Form]
    spaced: Sequence[str]
    tight: Sequence[str]
    by_tight: Mapping[str, Sequence[int]]

    def of(self, tight: str) -> list[Form]:
        """The forms of these letters."""
        return [self.forms[at] for at in self.by_tight.get(tight, ())]


def _titles_of(catalogue: Catalogue) -> Titles:
    exact: defaultdict[str, list[int]] = defaultdict(list)
    by_tight: defaultdict[str, list[int]] = defaultdict(list)
    forms: list[Form] = []
    for row, title in enumerate(catalogue.frame["title"].to_list()):
        exact[fold(title)].append(row)
        for form in forms_of(row, title):
            for letters in dict.fromkeys((form.said.tight, form.said.article + form.said.tight)):  # "thematrix"
                by_tight[letters].append(len(forms))
            forms.append(form)
    spaced, tight = [" ".join(form.said.words) for form in forms], [form.said.tight for form in forms]
    return Titles(dict(exact), forms, spaced, tight, dict(by_tight))


def forms_of(row: int, title: str) -> list[Form]:
    """The ways to say a title, each once: as written, without what is in brackets, that alone, and its parts."""
    bare = _BRACKETS.sub(" ", title).strip()
    wholes = [title, bare, *(inner for inner in _BRACKETS.findall(title) if not inner.strip().isdigit())]
    is_long = len(fold(title).split()) > LONG
    first, *others = (_CUT_LONG if is_long else _CUT).split(bare)
    found: dict[str, Form] = {}
    for text in wholes:
        form = said(text)
        if form.tight:
            found.setdefault(form.tight, Form(row, form, True, True))
    for at, text in enumerate((first, *others) if others else ()):
        form = said(re.sub(r",?\s+or$", "", text.strip(), flags=re.IGNORECASE))
        # "Resurrection" alone could be anything; so could the first word of a list.
        telling = len(form.words) > 1 or (at == 0 and len(form.tight) >= 4 and "," not in bare)
        if telling and not form.tight.isdigit():
            found.setdefault(form.tight, Form(row, form, False, at > 0 or is_long or bool(form.numbers)))
    return list(found.values())


#: The titles of a catalogue.
titles_of = PerCatalogue(_titles_of)


def _words_of(catalogue: Catalogue) -> frozenset[str]:
    texts = pl.concat([catalogue.frame["title"], catalogue.frame["description"]]).drop_nulls()
    words = texts.str.to_lowercase().str.extract_all(r"\p{L}+").explode().drop_nulls().unique()
    return frozenset(words.to_list())


#: The words that titles and descriptions of a catalogue are written in, lower case: none of them is a misspelling.
ordinary_words = PerCatalogue(_words_of)
