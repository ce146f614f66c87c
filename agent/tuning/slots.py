"""Filling the slots of a phrasing: one written line becomes many things somebody may have said."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from .phrasings import Call, Phrasing
from .shells import TRADES, Domain, lexicon

#: ``{t1}``, ``{g1s}``, ``{u1:price}``, ``{d1.min}``, ``{y1+1}``.
SLOT = re.compile(r"\{(?P<name>[a-z]\d)(?P<form>[a-z]|:[a-z]+|\.[a-z]+|[+-]1)?\}")
_ARTICLE = re.compile(r"\b([Aa])n? (?=\{)")
_PLACES = ("first", "second", "third", "fourth", "fifth")
_DECADES = {
    1920: ("the twenties", "the 1920s"),
    1930: ("the thirties", "the 30s"),
    1940: ("the forties", "the 40s"),
    1950: ("the fifties", "the 50s", "the 1950s"),
    1960: ("the sixties", "the 60s", "the 1960s"),
    1970: ("the seventies", "the 70s", "the '70s"),
    1980: ("the eighties", "the 80s", "the 1980s"),
    1990: ("the nineties", "the 90s", "the '90s"),
    2000: ("the two thousands", "the 2000s"),
    2010: ("the 2010s", "the twenty-tens"),
}  # fmt: skip
#: Round numbers that people name, by attribute.
_ROUND: Mapping[str, Sequence[int]] = {
    "price": (5, 10, 12, 15, 20, 25, 30, 40, 50, 60, 75, 80, 100, 120, 150, 200),
    "stars": (3, 4),
    "runtime": (80, 90, 95, 100, 110, 120, 130, 150, 180),
    "pages": (100, 150, 200, 250, 300, 350, 400, 500, 600, 800),
    "minutes": (15, 20, 30, 40, 45, 60, 90, 120),
    "players": (2, 3, 4, 5, 6, 8),
    "year": (1975, 1980, 1990, 2000, 2005, 2010, 2015),
}
_VERDICTS = {1: "dislike", 2: "dislike", 3: "seen", 4: "like", 5: "like"}


@dataclass(frozen=True)
class Filled:
    """A phrasing with its slots filled.

    Attributes:
        say: the message. plan: the calls. reply: where there are none.
        past: earlier turns: message, calls, reply.
        titles: those of the list on the table; none where there is no list.
    """

    say: str
    plan: tuple[Call, ...]
    reply: str
    past: tuple[tuple[str, tuple[Call, ...], str], ...]
    titles: tuple[str, ...]


def slots_of(phrasing: Phrasing) -> frozenset[str]:
    """The slots a phrasing has, with their forms: ``t1``, ``u1:price``."""
    texts = [phrasing.say, *(turn.say for turn in phrasing.past)]
    texts += [str(call) for plan in (phrasing.plan, *(turn.plan for turn in phrasing.past)) for call in plan]
    return frozenset(
        found["name"] + (found["form"] if (found["form"] or "").startswith(":") else "")
        for text in texts
        for found in SLOT.finditer(text)
    )


def fill(
    phrasing: Phrasing, domain: Domain, rng: Random, *, words: Mapping[str, Any] | None = None, lower: bool = False
) -> Filled:
    """Fill the slots at random.

    Args:
        domain: whose items are spoken of.
        words: titles, people, subjects, moods and labels to fill in; None: the lexicon's of the domain.
        lower: the person writes no capitals, in titles neither.

    Raises:
        ValueError: the words are too few for the phrasing.
    """
    values = _values(phrasing, domain, lexicon()[domain] if words is None else words, rng)
    shown = phrasing.shown or any(name[0] in "ln" for name in slots_of(phrasing))
    titles = tuple(values.pop("titles")) if shown else ()
    told = {
        name: value.lower() if lower and name[0] in "tlpqm" and isinstance(value, str) else value
        for name, value in values.items()
    }

    def said(text: str) -> str:
        filled = _ARTICLE.sub("\\1 ", text)
        filled = SLOT.sub(lambda found: str(_said(told, found["name"], found["form"])), filled)
        filled = re.sub(r"\b([Aa])(?= \x00[aeiouAEIOU])", r"\1n", filled).replace("\x00", "")
        return filled.lower() if lower else filled

    def planned(calls: Sequence[Call]) -> tuple[Call, ...]:
        return tuple((name, {key: _planned(told, value, lower) for key, value in args.items()}) for name, args in calls)

    return Filled(
        say=said(phrasing.say),
        plan=planned(phrasing.plan),
        reply=phrasing.reply,
        past=tuple((said(turn.say), planned(turn.plan), turn.reply) for turn in phrasing.past),
        titles=titles,
    )


def _values(phrasing: Phrasing, domain: Domain, words: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    """A value for each slot of a phrasing; no two slots of a kind have the same."""
    names = sorted(slots_of(phrasing))
    kinds: Mapping[str, Sequence[Any]] = {
        "t": words["titles"],
        "p": words["people"],
        "q": words["subjects"],
        "m": words["moods"],
        "g": list(words["labels"]),
        "y": range(max(1930, TRADES[domain].numbers.get("year", (1930, 0))[0]), 2022),
        "d": [decade for decade in _DECADES if decade >= TRADES[domain].numbers.get("year", (1930, 0))[0]],
        "n": range(1, 6),
        "r": range(1, 6),
    }
    values: dict[str, Any] = {"titles": rng.sample(list(words["titles"]), 5)}
    values |= {f"l{place}": title for place, title in enumerate(values["titles"], start=1)}
    for kind, options in kinds.items():
        wanted = sorted({name[:2] for name in names if name[0] == kind})
        free = [one for one in options if kind != "t" or one not in values["titles"]]
        drawn = rng.sample(free, len(wanted))
        # "between 1970 and 1990": the first is the lower
        values |= dict(zip(wanted, sorted(drawn) if kind in "yd" else drawn, strict=True))
    for name in names:
        if name[0] == "u" and ":" in name:
            values[name[:2]] = rng.choice(_ROUND[name.partition(":")[2]])
    for name in [one for one in values if one[0] == "g"]:
        forms = words["labels"][values[name]]
        values |= {f"{name}s": rng.choice(forms["s"]), f"{name}n": rng.choice(forms["n"])}
        values[f"{name}label"] = values[name]
    for name in [one for one in values if one[0] == "d" and len(one) == 2]:
        values |= {f"{name}words": rng.choice(_DECADES[values[name]])}
    return values


def _said(values: Mapping[str, Any], name: str, form: str | None) -> str:
    """What stands in the message; marked, so that the article before it can be chosen."""
    kind = name[0]
    value = values[name]
    if kind == "g":
        value = values[name + form] if form in ("s", "n") else str(value).lower()
    elif kind == "d":
        value = values[f"{name}words"]
    elif kind == "n":
        value = str(value) if form == "d" else _PLACES[value - 1]
    return f"\x00{value}"


def _planned(values: Mapping[str, Any], value: Any, lower: bool) -> Any:
    """What stands in the plan: a slot alone keeps its type, one within a text is written out."""
    if not isinstance(value, str):
        return value
    whole = SLOT.fullmatch(value)
    if whole:
        return _meant(values, whole["name"], whole["form"])
    filled = SLOT.sub(lambda found: str(_meant(values, found["name"], found["form"])), value)
    return filled.lower() if lower and SLOT.search(value) else filled


def _meant(values: Mapping[str, Any], name: str, form: str | None) -> Any:
    value = values[name]
    match name[0]:
        case "g":
            # written out it is the label, as the catalogue spells it
            return values.get(f"{name}label", value)
        case "d":
            return value + 9 if form == ".max" else value
        case "y":
            return value + int(form) if form in ("+1", "-1") else value
        case "r":
            return _VERDICTS[value] if form == ".verdict" else value
        case _:
            return value
