"""Examples of written replies: phrasings by hand, filled with items and claims, in the prompt that the graph makes.

A phrasing (``corpus/replies.jsonl``) says what was asked, which claims the first items have, and what is said of them.
Its slots are filled from the lexicon, claims and reply alike, so that a reply says nothing that its prompt does not
hold: every filled example passes the checker (a test proves it).

Slots: ``{q}`` a subject, ``{g}`` a label (``{gs}`` as a plural noun), ``{d}`` a decade, ``{p}`` a person or brand that
was asked for, ``{k}`` a stated taste; and of the item at place i: ``{ti}`` its title, ``{yi}`` its year, ``{wi}`` and
``{vi}`` words of its description, ``{xi}`` and ``{zi}`` titles on record, ``{ri}`` and ``{si}`` what it shares,
``{ni}`` how many people, ``{bi}`` its label, ``{ci}`` whom or what it names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TypeVar

import numpy as np
from langchain_core.messages import AnyMessage

from ...catalog.text import fold, one_line
from ...graphs.writing import reply_messages, told_of
from ...tools.checking import Grounds
from ...tools.frames import Phrase, called
from ...tools.results import Card, Claim
from .shells import DOMAINS, TRADES, Domain, lexicon

#: An answer longer than this would not end within the tokens it is given.
LONGEST_ANSWER = 235
#: Tries to fill a phrasing with names short enough.
MOST_TRIES = 40

_DECADES = {1950: "fifties", 1960: "sixties", 1970: "seventies", 1980: "eighties", 1990: "nineties"}
_T = TypeVar("_T")
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Phrasing:
    """A way to introduce a list.

    Attributes:
        domain: where it fits; None: anywhere.
        ask: the request.
        cards: kinds of claims, item by item.
        reply: what is said.
    """

    domain: Domain | None
    ask: str
    cards: tuple[tuple[str, ...], ...]
    reply: str


@dataclass(frozen=True)
class ReplyExample:
    """A filled phrasing: the prompt, the answer, and what the answer is checked against."""

    messages: Sequence[AnyMessage]
    answer: str
    grounds: Grounds


@cache
def phrasings() -> tuple[Phrasing, ...]:
    """All phrasings of the corpus."""
    text = (files(__package__) / "corpus" / "replies.jsonl").read_text(encoding="utf-8")
    records = [json.loads(line) for line in text.splitlines() if line.strip()]
    return tuple(
        Phrasing(
            domain=None if record["domain"] == "any" else record["domain"],
            ask=record["ask"],
            cards=tuple(map(tuple, record["cards"])),
            reply=record["reply"],
        )
        for record in records
    )


def reply_examples(n: int, seed: int) -> list[tuple[list[AnyMessage], str]]:
    """Prompts with their answers, each phrasing about equally often, in random order."""
    return [(list(example.messages), example.answer) for example in filled(n, seed)]


def filled(n: int, seed: int) -> list[ReplyExample]:
    """The same with what each answer rests on."""
    rng = np.random.default_rng(seed)
    every = phrasings()
    found: list[ReplyExample] = []
    while len(found) < n:
        for at in rng.permutation(len(every)):
            if len(found) == n:
                break
            if (example := fill(every[int(at)], rng)) is not None:
                found.append(example)
    return found


def fill(phrasing: Phrasing, rng: np.random.Generator) -> ReplyExample | None:
    """A phrasing with names in its slots; None where no try is short enough for prompt and answer."""
    for _ in range(MOST_TRIES):
        domain = phrasing.domain or _domain_for(phrasing, rng)
        example = _Filling(domain, phrasing, rng).example()
        if example is not None:
            return example
    return None


def _domain_for(phrasing: Phrasing, rng: np.random.Generator) -> Domain:
    dated = any(slot[0] in "yd" for slot in _SLOT.findall(phrasing.ask + phrasing.reply))
    fitting = [domain for domain in DOMAINS if not dated or "year" in TRADES[domain].numbers]
    return fitting[int(rng.integers(len(fitting)))]


class _Filling:
    """One filling of a phrasing."""

    def __init__(self, domain: Domain, phrasing: Phrasing, rng: np.random.Generator) -> None:
        self._phrasing, self._rng = phrasing, rng
        self._trade, self._words = TRADES[domain], lexicon()[domain]
        self._records: dict[str, str] = {}
        titles = list(self._words["titles"])
        places = rng.choice(len(titles), size=min(len(titles), 4 * len(phrasing.cards)), replace=False)
        self._titles = [one_line(titles[int(at)], 80) for at in places]
        self._slots: dict[str, str] = {
            "q": self._one(self._words["subjects"]),
            "g": self._one(list(self._words["labels"])),
            "p": self._one(self._words["people"]),
            "k": self._one(self._words["moods"]) + " " + self._plural(self._one(list(self._words["labels"]))),
        }
        self._slots["gs"] = self._plural(self._slots["g"])
        self._decade = self._one(list(_DECADES))
        self._slots["d"] = _DECADES[self._decade]

    def example(self) -> ReplyExample | None:
        cards = [self._card(place, kinds) for place, kinds in enumerate(self._phrasing.cards, start=1)]
        if len(set(self._used())) < len(self._used()) or any(
            Phrase.of(card.title).plain or card.title[0].islower() for card in cards
        ):
            return None  # "Her" could be taken for a word, and "eXistenZ" for no beginning of a sentence
        request = self._say(self._phrasing.ask)
        answer = self._say(self._phrasing.reply)
        told = told_of(request, cards, self._records)
        if len(answer) > LONGEST_ANSWER or told != cards:
            return None
        listed = max(len(cards), int(self._rng.integers(len(cards), 6)))
        grounds = Grounds(cards, request, listed, self._records)
        return ReplyExample(reply_messages(request, cards, self._records), answer, grounds)

    def _used(self) -> list[str]:
        """Names that the answer tells apart."""
        return [fold(self._slots[slot]) for slot in self._slots if slot[0] in "txz" and len(slot) == 2]

    def _say(self, text: str) -> str:
        return _SLOT.sub(lambda match: self._slots[match[1]], text)

    def _one(self, among: Sequence[_T]) -> _T:
        return among[int(self._rng.integers(len(among)))]

    def _plural(self, label: str) -> str:
        return str(self._one(self._words["labels"][label]["s"]))

    def _card(self, place: int, kinds: Sequence[str]) -> Card:
        title = self._titles.pop()
        self._slots[f"t{place}"] = called(title)
        first = self._decade if self._dated else 1950
        year = first + int(self._rng.integers(0, 10 if self._dated else 75))
        labels = [self._slots["g"]] if any(kind.startswith("asked-label") for kind in kinds) else []
        others = [label for label in self._words["labels"] if label not in labels]
        labels += [self._one(others)] if self._rng.random() < 0.5 or not labels else []
        self._slots[f"b{place}"] = labels[0]
        person = self._slots["p"] if "asked-name" in kinds else self._one(self._words["people"])
        self._slots[f"c{place}"] = person
        attributes: dict[str, float | str | tuple[str, ...]] = {
            self._trade.choice: tuple(labels),
            self._trade.named: (person,),
        }
        if "year" in self._trade.numbers:
            attributes["year"] = float(year)
            self._slots[f"y{place}"] = str(year)
        self._slots[f"n{place}"] = str(int(self._rng.integers(12, 900)))
        claims = tuple(self._claim(place, kind, attributes) for kind in kinds)
        return Card(
            ordinal=place, id=f"i{place}", title=title, description="", attributes=attributes, score=0.0, parts={},
            ranks={}, claims=claims,
        )  # fmt: skip

    @property
    def _dated(self) -> bool:
        return any("asked-year" in kinds or "asked-label-year" in kinds for kinds in self._phrasing.cards)

    def _claim(self, place: int, kind: str, attributes: Mapping[str, float | str | tuple[str, ...]]) -> Claim:
        evidence = [f"catalogue:i{place}:{kind}"]
        if kind in _HISTORY:
            shape, two = _HISTORY[kind.removesuffix("2")], kind.endswith("2")
            names = [self._on_record(f"{slot}{place}", evidence) for slot in ("xz" if two else "x")]
            if kind == "shares":
                self._shared(place, evidence)
            text = shape.format(names=" and ".join(names), n=self._slots[f"n{place}"],
                                r=self._slots.get(f"r{place}"), s=self._slots.get(f"s{place}"))  # fmt: skip
            return Claim(text=text, evidence=tuple(evidence))
        return Claim(text=_PLAIN[kind](self, place, attributes), evidence=tuple(evidence))

    def _on_record(self, slot: str, evidence: list[str]) -> str:
        title = self._titles.pop()
        self._slots[slot] = called(title)
        evidence.insert(0, f"log:u:{slot}")
        self._records[evidence[0]] = f"in your log: {title}, rated 4"
        return title

    def _shared(self, place: int, evidence: list[str]) -> None:
        relation = self._trade.named
        self._slots[f"r{place}"], self._slots[f"s{place}"] = relation, self._slots[f"c{place}"]
        evidence.append(f"graph:{place}")
        self._records[evidence[-1]] = f"{relation}: {self._slots[f's{place}']}"

    def words(self, place: int, most: int) -> str:
        """Words of the subject, in quotation marks, as a claim about an item's description has them."""
        long = [word for word in dict.fromkeys(fold(self._slots["q"]).split()) if len(word) > 3]
        chosen = self._rng.permutation(len(long))[:most].tolist()
        held = [long[int(at)] for at in sorted(chosen)] or [fold(self._slots["q"]).split()[-1]]
        self._slots[f"w{place}"], self._slots[f"v{place}"] = held[0], held[-1]
        return ", ".join(f"“{word}”" for word in held)

    def quoted(self) -> str:
        return f"“{self._slots['q']}”"

    def facts(self, attributes: Mapping[str, float | str | tuple[str, ...]], *names: str) -> list[tuple[str, str]]:
        trade = {"label": self._trade.choice, "name": self._trade.named, "year": "year"}
        told = []
        for name in names:
            value = attributes[trade[name]]
            said = ", ".join(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else value
            told.append((trade[name], said))
        return told

    def slot(self, name: str) -> str:
        return self._slots[name]


def _asked(*names: str) -> Callable[[_Filling, int, Mapping[str, float | str | tuple[str, ...]]], str]:
    def text(filling: _Filling, _place: int, attributes: Mapping[str, float | str | tuple[str, ...]]) -> str:
        return "as asked: " + "; ".join(f"{name} {said}" for name, said in filling.facts(attributes, *names))

    return text


def _fact(name: str) -> Callable[[_Filling, int, Mapping[str, float | str | tuple[str, ...]]], str]:
    def text(filling: _Filling, _place: int, attributes: Mapping[str, float | str | tuple[str, ...]]) -> str:
        return ": ".join(filling.facts(attributes, name)[0])

    return text


#: Claims that name titles on record, as :mod:`llm4rec.tools.claims` words them; with "2", two titles.
_HISTORY: dict[str, str] = {
    "also": "people who chose {names} also chose this",
    "after": "people who chose {names} chose this soon after",
    "content": "close in content to {names}, on your record",
    "look": "its picture is close to that of {names}, on your record",
    "goes": "goes with {names}, on your record",
    "both": "{n} people chose both {names} and this",
    "shares": "shares {r} {s} with {names}, on your record",
}
_HISTORY |= {f"{kind}2": shape for kind, shape in _HISTORY.items() if kind not in ("both", "shares")}
#: The others.
_PLAIN: Mapping[str, Callable[[_Filling, int, Mapping[str, float | str | tuple[str, ...]]], str]] = {
    "mentions": lambda filling, place, _: f"its description mentions {filling.words(place, 1)}",
    "mentions2": lambda filling, place, _: f"its description mentions {filling.words(place, 2)}",
    "meaning": lambda filling, _place, _: f"its text is close in meaning to {filling.quoted()}",
    "title": lambda filling, _place, _: f"its title is close to {filling.quoted()}",
    "picture": lambda filling, _place, _: f"its picture is close to {filling.quoted()}",
    "yourpicture": lambda _filling, _place, _: "its picture is close to your picture",
    "taste": lambda filling, _place, _: f"you said you like {filling.slot('k')}",
    "popular": lambda filling, place, _: f"widely chosen ({filling.slot(f'n{place}')} people)",
    "lately": lambda _filling, _place, _: "follows from what you chose lately, taken together",
    "asked-label": _asked("label"),
    "asked-name": _asked("name"),
    "asked-year": _asked("year"),
    "asked-label-year": _asked("label", "year"),
    "fact-label": _fact("label"),
    "fact-name": _fact("name"),
    "fact-year": _fact("year"),
}
