"""What a message names of the catalogue (titles, names), and how it is worded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from .. import prompts
from ..catalog.items import Catalogue
from ..catalog.text import fold
from . import wording
from .facets import Facets
from .own_words import own_words
from .wording import End, Opinion, words_said

#: Longest title looked for, in words.
LONGEST = 10

_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_ARTICLE = re.compile(r"^(?:the|a|an) ")
#: What may stand before a title that is written like any other word, and what may stand after it.
_BEFORE_TITLE = re.compile(
    r"\b(?:loved?|hated?|liked?|enjoyed|seen|saw|watched|finished|rated?|adored?|know|tell me about|more about|why"
    r"|what is|directed|made|wrote|in the style of|similar to|like|is|was)$"
)
_AFTER_TITLE = re.compile(
    r"^(?:is|was|has|had|isn['’]t|wasn['’]t|made|gets?|got|looks?|sounds?|bored|blew|felt|needs)\b|^['’]s\b"
)
_CAPITALS = re.compile(r"(?<=[\w,;] )[A-Z][\w'’\-]*(?: (?:[A-Z][\w'’\-]*|of|the|and|in|to|a|\d+))*")
_TRAILING = re.compile(r"(?: (?:of|the|and|in|to|a))+$")
#: Words that say nothing of what is asked for.
_FILLER_WORDS = """
    a an the and or but of to for with in on at by from as is are was were be been am i im i'm i've i'd i'll me
    my we us our we're you your you've you'd he she it its it's this that that's these those they them there
    there's do does did will would should can could let lets let's if then please pls thanks hey hi hmm hm well
    ok okay yes yeah nah nope oh ah so just also too really very quite bit maybe perhaps any some anything
    something somewhere someone anyone everything ever only again other others else another want wanna need show
    find give get got have has had recommend recommending suggest looking look see watch try about what what's
    which who where kind kinds sort sorts type stuff thing things one ones tonight today instead rather same
    like similar
"""
#: Words that say that something is liked or not, and nothing of what it is.
_OPINION_WORDS = """
    don't dont doesn't didn't can't cannot couldn't won't isn't aren't wasn't no not nothing never none without
    less more all liked likes love loved loves enjoy enjoyed adore hate hated hates dislike disliked loathe bear
    stand fan big huge into dig prefer usually always favourite favorite favourites weakness sucker crazy mood
    feel feeling up stop avoid enough tired sick fed off seen saw watched know evening care interested
"""
#: What catalogues hold: said beside a taste ("war films"), no part of it.
_KIND_WORDS = """
    film films movie movies picture pictures show shows series book books novel novels song songs album albums game
    games item items product products place places restaurant restaurants
"""
_FILLER = frozenset(_FILLER_WORDS.split())
_EMPTY = _FILLER.union(_OPINION_WORDS.split())
_EMPTY_IN_TASTES = _EMPTY.union(_KIND_WORDS.split())
#: Beside a label these say no more than it does ("a good comedy").
_EMPTY_BESIDE_LABELS = frozenset(
    piece for word in (*_EMPTY_IN_TASTES, *["good", "great", "nice", "best", "decent"]) for piece in fold(word).split()
)


@dataclass(frozen=True, slots=True)
class Mentions:
    """What one message names, and how.

    Attributes:
        bare: the message with each title, known or not, replaced by "it": its form.
        telling: its words as written, each once, in order, without those that say nothing of what is meant.
        wish_words, told_words: the telling words of the clauses that ask for something, and of the others; no titles.
        beside_words: the telling words of the clauses that point at nothing ("like it, *but funnier*").
        told_label: the label that the told words are, as the catalogue writes it.
        titles: titles of the catalogue that stand in it, in order.
        unknown: runs of capitalised words where a title would stand: perhaps a title we lack.
        names, refused_names: people, brands and so on of the catalogue, as the catalogue writes them.
        refused: folded words shortly after a refusal ("no", "without"). uncommon: those that are no ordinary words of
            the catalogue, such as a brand.
        lows, highs: numbers it names as bounds; a decade gives its first and last year.
        leanings: attributes it wants more or less of than what is shown (see `wording.leanings`).
        bounds_only: whether it asks for a range of numbers and for nothing else.
        grade: a grade it gives, and what it is out of if that is said.
        places: places of the shown list it points at (1 = first, -1 = last).
        opinion: what it thinks of what it speaks of, where that is plain.
        negates, points, passing: whether it says no, points at something shown, or speaks of tonight only.
    """

    bare: str
    telling: tuple[str, ...]
    wish_words: tuple[str, ...]
    beside_words: tuple[str, ...]
    told_words: tuple[str, ...]
    told_label: str | None
    titles: tuple[str, ...]
    unknown: tuple[str, ...]
    names: tuple[str, ...]
    refused_names: tuple[str, ...]
    refused: frozenset[str]
    uncommon: frozenset[str]
    lows: tuple[int, ...]
    highs: tuple[int, ...]
    leanings: tuple[tuple[str, End], ...]
    bounds_only: bool
    grade: tuple[int, int | None] | None
    places: tuple[int, ...]
    opinion: Opinion | None
    negates: bool
    points: bool
    passing: bool


class MentionIndex:
    """Titles and names of one catalogue, looked up by the words of a message. Made once per catalogue."""

    def __init__(self, catalogue: Catalogue, facets: Facets) -> None:
        self._catalogue = catalogue
        self._ordinary = _ordinary_words(catalogue)
        self._titles: dict[str, str] = {}
        titles = catalogue.frame["title"].to_list()
        for title in titles:
            self._titles.setdefault(fold(title), title)
        for title in titles:
            self._titles.setdefault(_ARTICLE.sub("", fold(title)), title)
        self._labels = {form: label for spec in facets.choices for label in spec.values for form in _forms(fold(label))}
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
        titles = tuple(spans[span] for span in sorted(spans))
        rest = _replaced(message, spans, " ")
        names = self._names_in(rest)
        unknown = {
            span: run
            for span, run in _unknown_titles(message, spans).items()
            if not names and fold(run) not in self._labels
        }
        spans |= unknown
        bare, rest = _replaced(message, spans, wording.STANDS_FOR_TITLE), _replaced(message, spans, " ")
        lows, highs = wording.numbers_said(rest)
        leanings = wording.leanings(rest)
        refused = wording.refused_words(bare)
        unwanted = {name for name, said in names.items() if set(said.split()) <= refused}
        opinion = wording.opinion_said(own_words(self._catalogue, bare))
        told = _left(wording.statement(rest), _EMPTY_IN_TASTES) or _telling(wording.statement(rest), _EMPTY)
        if opinion == "dislike":  # "pens, but not by Acme" dislikes no pens
            told = tuple(word for word in told if refused.issuperset(fold(word).split())) or told
        return Mentions(
            bare=bare,
            telling=_telling(wording.without_bounds(message), _FILLER),
            wish_words=_telling(wording.without_bounds(wording.wish(rest)), _FILLER),
            beside_words=_left(wording.without_bounds(wording.beside(bare)), _FILLER),
            told_words=told,
            told_label=self._labels.get(fold(" ".join(told))),
            titles=titles,
            unknown=tuple(unknown.values()),
            names=tuple(name for name in names if name not in unwanted),
            refused_names=tuple(name for name in names if name in unwanted),
            refused=refused,
            uncommon=frozenset(fold(message).split()) - self._ordinary,
            lows=lows,
            highs=highs,
            leanings=leanings,
            bounds_only=bool(lows or highs or leanings) and wording.bounds_only(_left(message, _EMPTY)),
            grade=wording.grade_said(bare),
            places=wording.places_said(rest),
            opinion=opinion,
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
    texts = pl.concat([catalogue.frame["description"].drop_nulls(), pl.Series(_everyday())])
    return frozenset(texts.str.extract_all(small).explode().drop_nulls().unique().to_list())


def _everyday() -> list[str]:
    """What demonstrations say, without the titles and names in it."""
    texts = []
    for demonstration in prompts.demonstrations():
        text = demonstration.say
        for call in demonstration.calls:
            for argument in ("title", "like", "named", "not_named"):
                if argument in call["arguments"]:
                    text = re.sub(re.escape(call["arguments"][argument]), " ", text, flags=re.IGNORECASE)
        texts.append(text)
    return texts


def _telling(text: str, empty: frozenset[str]) -> tuple[str, ...]:
    """The words that say something; all of them where none does."""
    return _left(text, empty) or words_said(text)


def _left(text: str, empty: frozenset[str]) -> tuple[str, ...]:
    return tuple(word for word in words_said(text) if word.casefold().replace("’", "'") not in empty)


def _replaced(message: str, spans: Iterable[tuple[int, int]], by: str) -> str:
    for at, end in sorted(spans, reverse=True):
        message = message[:at] + by + message[end:]
    return message


def _unknown_titles(message: str, known: Iterable[tuple[int, int]]) -> dict[tuple[int, int], str]:
    """Runs of capitalised words that stand where a title would, by where they stand; ``known`` is left out."""
    taken = list(known)
    found: dict[tuple[int, int], str] = {}
    for match in _CAPITALS.finditer(message):
        run = _TRAILING.sub("", match.group())
        at, end = match.start(), match.start() + len(run)
        if any(at < other_end and other_at < end for other_at, other_end in taken):
            continue
        framed = _BEFORE_TITLE.search(message[:at].rstrip().casefold()) or _AFTER_TITLE.match(
            message[end:].lstrip().casefold()
        )
        if framed and len(run) > 1 and not re.fullmatch(r"I['’]\w+", run):
            found[at, end] = run
    return found


def labels_said(labels: Iterable[str], message: str) -> dict[str, str]:
    """Labels that stand in the message, with the folded words that say them; a plain plural counts ("comedies")."""
    said = f" {fold(message)} "
    found = {}
    for label in labels:
        for form in _forms(fold(label)):
            if f" {form} " in said:
                found[label] = form
                break
    return found


def said_beyond(text: str, labels: Iterable[str], *, numbers: bool) -> tuple[str, ...]:
    """The folded words of a search that its filters do not say already, without those that say nothing.

    Args:
        text: what is searched for.
        labels: filtered by, wanted or refused.
        numbers: a number is filtered by too, so that numbers and the words that bound them are said already.
    """
    left = f" {fold(wording.without_bounds(text) if numbers else text)} "
    for label in labels:
        for form in _forms(fold(label)):
            left = left.replace(f" {form} ", "  ")
    words = (word for word in left.split() if word not in _EMPTY_BESIDE_LABELS)
    return tuple(word for word in words if not (numbers and wording.bounds_only([word])))


def wanted_and_refused(found: Mapping[str, str], mentions: Mentions) -> tuple[set[str], set[str]]:
    """Labels, with the words that say them, as those a message wants and those it refuses."""
    refused = {label for label, said in found.items() if set(fold(said).split()) <= mentions.refused}
    return set(found) - refused, refused


def _forms(label: str) -> tuple[str, ...]:
    return (label, f"{label}s", f"{label}es", f"{label[:-1]}ies" if label.endswith("y") else label)


def label_words(mentions: Mentions) -> list[str]:
    """The words of a message that may mean a label: no names, no titles, no empty words."""
    named = {word for name in (*mentions.names, *mentions.refused_names) for word in fold(name).split()}
    words = dict.fromkeys(word.casefold() for word in words_said(mentions.bare))
    return [word for word in words if word not in _EMPTY and len(word) > 2 and not set(fold(word).split()) & named]
